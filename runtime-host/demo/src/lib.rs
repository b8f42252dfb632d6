//! A demo whose truth is known: catalogues, users with latent tastes, and the
//! behaviours those tastes lead to, for short videos, news and a shop.
//!
//! Everything is drawn from a seed: the same kind, size, seed and `now` give the
//! same bytes on every platform. Items and events are made one at a time, so a
//! world of millions of items costs no more memory than a small one. Because the
//! tastes are known, so is how likely a user is to take to an item
//! ([`World::affinity`]); a test can therefore say how good a slate really is,
//! which logged clicks alone cannot.
//!
//! ```
//! use funnelweb_demo::{Kind, Size, World};
//!
//! let world = World::new(Kind::Vlog, Size { items: 500, users: 20, events: 2_000 }, 7, 1_767_225_600_000)?;
//! let line = world.items().next().map(|item| item.to_line());
//! assert!(line.is_some_and(|line| line.starts_with(br#"{"item_id":"vlog_000000""#)));
//! let best = world.best(0, 10);
//! assert!(world.mean_affinity(0, &best) > world.mean_affinity(0, &world.popular(10)));
//! # Ok::<(), funnelweb_demo::Error>(())
//! ```
//!
//! # The model
//!
//! A user *u* has, by category *c*, a liking θ\[c\] from a symmetric
//! Dirichlet(0.25), and inside each category, by tag *t*, a liking φ\[c\]\[t\] from a
//! Dirichlet(0.5), both scaled so that the strongest is 1; a preferred magnitude
//! *m* ~ N(0, 0.7²) of the world's main number (log duration, length or price);
//! and a home city. An item has a category, one to three of its tags, a magnitude
//! ~ N(0, 1), a publish time, and a quality *q* = 0.6 z + 0.8 ε, where z is the
//! logistic quantile of its popularity rank (unit variance) and ε ~ N(0, 1): what
//! is popular is better, but not by much. Then
//!
//! ```text
//! match(u, i)  = θ[c] · (0.4 + 0.6 · mean over the item's tags of φ[c][t])
//! P(click)     = sigmoid(−3.2 + 5.0 · match + 0.7 · q − 0.25 · min((m_i − m_u)², 4)
//!                        + f · 2^(−age / half-life) + l · [city of i = home of u])
//! ```
//!
//! with *f*, the half-life and *l* by world (see [`Kind`]). What a user comes to
//! see is a mixture: 40 % popular items (Zipf, exponent 1, by rank), 20 % random
//! ones, 40 % the result of a search (the best match, with Gumbel noise, of 16
//! popular ones, as a search finds what is popular first). Only what is published is
//! seen.
//!
//! Were the 16 drawn evenly from all items, nobody could foresee which of the many
//! that suit a user it is: at 5,000 items and 200,000 events even who knew the model
//! would foresee the last click little better than popularity does (NDCG@20 0.102
//! against 0.086), and a log like that could not tell recommenders apart. So it is
//! 0.232 against 0.123.

mod catalogue;
mod draw;
mod history;
mod kind;
mod truth;
mod visit;
mod words;

pub use catalogue::{Fields, Item};
pub use history::{Context, Event, Events};
pub use kind::Kind;
pub use visit::Visit;

use draw::{Draws, Purpose};

/// The tenant that the demo is loaded for.
pub const TENANT: &str = "demo";

/// The seed of the demo that `funnelweb up` loads.
pub const SEED: u64 = 7;

/// Dimensions of an item's embedding.
pub const EMBEDDING_VALUES: usize = 16;

/// Why a world cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody to recommend to, or nothing to recommend.
    #[error("a demo world needs at least one item and one user")]
    Empty,
    /// The publish times would lie before 1970.
    #[error("the demo's time, {0} ms since 1970, must be after 1971")]
    Time(u64),
}

/// How much of everything one world holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Items.
    pub items: u32,
    /// Users, all of whom get a history when there are events enough (about 30
    /// each give a clear one).
    pub users: u32,
    /// Behaviours, of all action types together.
    pub events: u64,
}

impl Default for Size {
    /// What `funnelweb up` loads of each world: small enough to be there in a
    /// second.
    fn default() -> Self {
        Self { items: 2_000, users: 200, events: 8_000 }
    }
}

impl Size {
    /// The size at which the product's speed is measured.
    pub const LARGE: Self = Self { items: 100_000, users: 1_000, events: 100_000 };
}

/// One scenario's catalogue, users and truth.
#[derive(Debug, Clone)]
pub struct World {
    kind: Kind,
    size: Size,
    seed: u64,
    now_ms: u64,
    permutation: Permutation,
    /// By category and tag; `catalogue` mixes an item's embedding from them.
    directions: Vec<[f64; EMBEDDING_VALUES]>,
}

impl World {
    /// A world as of `now_ms` (milliseconds since 1970): nothing is published or
    /// happens later.
    ///
    /// # Errors
    /// When there is no item or no user, or `now_ms` is in 1970.
    pub fn new(kind: Kind, size: Size, seed: u64, now_ms: u64) -> Result<Self, Error> {
        if size.items == 0 || size.users == 0 {
            return Err(Error::Empty);
        }
        if now_ms < 366 * 86_400_000 {
            return Err(Error::Time(now_ms));
        }
        // Worlds of one seed must not resemble each other.
        let seed = seed ^ ((kind as u64 + 1) << 40);
        Ok(Self {
            kind,
            size,
            seed,
            now_ms,
            permutation: Permutation::draw(seed, size.items),
            directions: catalogue::directions(seed),
        })
    }

    /// Which of the three it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How large it is.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// The scenario's id: `vlog_main_feed`.
    #[must_use]
    pub fn scenario_id(&self) -> &'static str {
        self.kind.scenario_id()
    }

    /// The scenario as shipped, for `POST /api/v1/scenarios`.
    #[must_use]
    pub fn scenario_json(&self) -> &'static str {
        self.kind.scenario_json()
    }

    /// The id of an item: `vlog_000123`.
    #[must_use]
    pub fn item_id(&self, item: u32) -> String {
        format!("{}_{item:06}", self.kind.name())
    }

    /// The index of an item's id; None when it is not of this world.
    #[must_use]
    pub fn item_index(&self, id: &str) -> Option<u32> {
        let item = id.strip_prefix(self.kind.name())?.strip_prefix('_')?.parse().ok()?;
        (item < self.size.items && self.item_id(item) == id).then_some(item)
    }

    /// The id of a user, from `user_0001`. The same people visit all worlds, with
    /// a taste for each.
    #[must_use]
    pub fn user_id(&self, user: u32) -> String {
        format!("user_{:04}", u64::from(user) + 1)
    }

    /// The index of a user's id; None when it is not of this world.
    #[must_use]
    pub fn user_index(&self, id: &str) -> Option<u32> {
        let user = id.strip_prefix("user_")?.parse::<u32>().ok()?.checked_sub(1)?;
        (user < self.size.users && self.user_id(user) == id).then_some(user)
    }

    /// The catalogue, one item at a time.
    pub fn items(&self) -> impl Iterator<Item = Item> + '_ {
        (0..self.size.items).map(|item| self.item(item))
    }

    /// The history, one behaviour at a time, in about the order of time (a
    /// session is told to its end before the next), ending at `now`.
    #[must_use]
    pub fn events(&self) -> Events<'_> {
        Events::new(self)
    }
}

/// The three worlds of one seed, as the demo loads them.
///
/// # Errors
/// As [`World::new`].
pub fn worlds(size: Size, seed: u64, now_ms: u64) -> Result<Vec<World>, Error> {
    Kind::ALL.into_iter().map(|kind| World::new(kind, size, seed, now_ms)).collect()
}

/// A request to paste into a shell: ten videos for the first user.
///
/// `base_url` is `http://127.0.0.1:3000` or the like.
#[must_use]
pub fn curl(base_url: &str) -> String {
    let scenario = Kind::Vlog.scenario_id();
    let base_url = base_url.trim_end_matches('/');
    format!(
        "curl -s '{base_url}/api/v1/recommend' \\\n  \
         -H 'Content-Type: application/json' \\\n  \
         -H 'X-Tenant-Id: {TENANT}' \\\n  \
         -H 'X-User-Id: user_0001' \\\n  \
         -H 'X-Request-Id: req_001' \\\n  \
         -H 'Authorization: Bearer demo' \\\n  \
         -d '{{\"scenario_id\":\"{scenario}\",\"count\":10,\"context\":{{\"device_type\":\"mobile\"}}}}'"
    )
}

/// Popularity rank ↔ item, an affine bijection on 0..n: it needs no table, and
/// neighbours in the catalogue are not neighbours in popularity.
#[derive(Debug, Clone, Copy)]
struct Permutation {
    n: u64,
    factor: u64,
    inverse: u64,
    shift: u64,
}

impl Permutation {
    fn draw(seed: u64, n: u32) -> Self {
        let mut draws = Draws::new(seed, Purpose::Permutation, 0);
        let shift = u64::from(draws.below(n));
        let n64 = u64::from(n);
        loop {
            // 1 is a unit modulo any n, so this ends.
            let factor = 1 + u64::from(draws.below(n));
            if let Some(inverse) = inverse_modulo(factor, n64) {
                return Self { n: n64, factor, inverse, shift };
            }
        }
    }

    fn rank(&self, item: u32) -> u32 {
        ((self.factor * u64::from(item) + self.shift) % self.n) as u32
    }

    fn item(&self, rank: u32) -> u32 {
        (self.inverse * ((u64::from(rank) + self.n - self.shift) % self.n) % self.n) as u32
    }
}

/// The x with a·x ≡ 1 (mod n), by Euclid's extended algorithm; None when a and n
/// have a common divisor.
fn inverse_modulo(a: u64, n: u64) -> Option<u64> {
    let (mut old, mut rest) = (i128::from(a), i128::from(n));
    let (mut old_factor, mut factor) = (1_i128, 0_i128);
    while rest != 0 {
        let quotient = old / rest;
        (old, rest) = (rest, old - quotient * rest);
        (old_factor, factor) = (factor, old_factor - quotient * factor);
    }
    (old == 1).then(|| old_factor.rem_euclid(i128::from(n)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_a_permutation() {
        for n in [1, 2, 12, 97, 2000] {
            let permutation = Permutation::draw(3, n);
            let mut ranks: Vec<u32> = (0..n).map(|item| permutation.rank(item)).collect();
            assert!((0..n).all(|item| permutation.item(permutation.rank(item)) == item), "{n}");
            ranks.sort_unstable();
            assert!(ranks.iter().enumerate().all(|(at, rank)| at as u32 == *rank), "{n}");
        }
    }

    #[test]
    fn ids_are_read_back_and_strangers_refused() {
        let world = World::new(Kind::News, Size { items: 10, users: 5, events: 0 }, 1, 1_767_225_600_000).unwrap();
        assert_eq!(world.item_index("news_000009"), Some(9));
        assert_eq!(world.item_index("news_000010"), None);
        assert_eq!(world.item_index("news_9"), None);
        assert_eq!(world.item_index("vlog_000009"), None);
        assert_eq!(world.user_index("user_0005"), Some(4));
        assert_eq!(world.user_index("user_0006"), None);
        assert_eq!(world.user_index("user_0000"), None);
        assert_eq!(world.user_index(&world.user_id(0)), Some(0));
    }

    #[test]
    fn a_world_without_anything_is_refused() {
        let size = Size { items: 0, users: 5, events: 0 };
        assert_eq!(World::new(Kind::News, size, 1, 1_767_225_600_000).unwrap_err(), Error::Empty);
        assert_eq!(World::new(Kind::News, Size::default(), 1, 5).unwrap_err(), Error::Time(5));
    }

    #[test]
    fn the_example_request_is_whole() {
        let curl = curl("http://127.0.0.1:3000/");
        assert!(curl.starts_with("curl -s 'http://127.0.0.1:3000/api/v1/recommend' \\\n  -H"));
        assert!(
            curl.ends_with(r#"-d '{"scenario_id":"vlog_main_feed","count":10,"context":{"device_type":"mobile"}}'"#)
        );
    }
}
