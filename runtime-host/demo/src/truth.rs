//! The latent model, and what it says of a slate.

use std::collections::HashMap;

use crate::{
    World,
    draw::{Draws, Purpose, rounded, sigmoid},
    words::{CATEGORIES, CITIES, TAGS},
};

/// What is true of an item.
pub(crate) struct Latent {
    pub(crate) item: u32,
    pub(crate) category: usize,
    pub(crate) tags: Vec<usize>,
    pub(crate) quality: f64,
    /// Log duration or price, standardised.
    pub(crate) magnitude: f64,
    pub(crate) city: u32,
    pub(crate) published_ms: u64,
}

impl Latent {
    /// The length of a video: about a minute, five seconds to fifteen minutes.
    pub(crate) fn duration_s(&self) -> f64 {
        libm::exp(libm::log(60.0) + 0.8 * self.magnitude).clamp(5.0, 900.0).round()
    }

    /// The length of an article: about 450 words.
    pub(crate) fn words(&self) -> f64 {
        libm::exp(libm::log(450.0) + 0.6 * self.magnitude).clamp(80.0, 4000.0).round()
    }

    /// The price of a product: about 40, 2.99 to 2000.99, as shops write them.
    pub(crate) fn price(&self) -> f64 {
        rounded(libm::exp(libm::log(40.0) + 0.9 * self.magnitude).clamp(2.0, 2000.0).floor() + 0.99, 100.0)
    }
}

/// What is true of a user.
pub(crate) struct Taste {
    pub(crate) user: u32,
    categories: Vec<f64>,
    /// By category and tag.
    tags: Vec<f64>,
    magnitude: f64,
    pub(crate) city: u32,
}

impl Taste {
    /// How well an item's subject suits the user, 0 to 1.
    pub(crate) fn match_with(&self, item: &Latent) -> f64 {
        let category = self.categories.get(item.category).copied().unwrap_or(0.0);
        let likings = item.tags.iter().map(|tag| self.tags.get(item.category * TAGS + tag).copied().unwrap_or(0.0));
        let tags = likings.sum::<f64>() / item.tags.len().max(1) as f64;
        category * (0.4 + 0.6 * tags)
    }
}

impl World {
    /// The latents of an item, and the draws to go on with for what is observed.
    pub(crate) fn latent(&self, item: u32) -> (Latent, Draws) {
        let mut draws = Draws::new(self.seed, Purpose::Item, u64::from(item));
        let categories = CATEGORIES as u32;
        // Categories early in the list are about three times as full as late ones.
        let category = if draws.chance(0.5) {
            draws.below(categories)
        } else {
            draws.below(categories).min(draws.below(categories))
        } as usize;
        let mut tags = Vec::with_capacity(3);
        for _ in 0..1 + draws.below(3) {
            let tag = draws.below(TAGS as u32) as usize;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        let share = (f64::from(self.permutation.rank(item)) + 0.5) / f64::from(self.size.items);
        // π / √3 is the standard deviation of the logistic distribution.
        let standing = libm::log((1.0 - share) / share) * 3.0_f64.sqrt() / std::f64::consts::PI;
        let quality = 0.6 * standing + 0.8 * draws.normal();
        let magnitude = draws.normal();
        let city = draws.below(CITIES.len() as u32);
        let within_s = self.kind.traits().published_within_ms / 1000;
        let age_s = (draws.unit() * within_s as f64) as u64;
        let published_ms = (self.now_ms / 1000 - age_s) * 1000;
        (Latent { item, category, tags, quality, magnitude, city, published_ms }, draws)
    }

    pub(crate) fn taste(&self, user: u32) -> Taste {
        let mut draws = Draws::new(self.seed, Purpose::User, u64::from(user));
        let categories = draws.taste(0.25, CATEGORIES);
        let tags = (0..CATEGORIES).flat_map(|_| draws.taste(0.5, TAGS)).collect();
        Taste { user, categories, tags, magnitude: 0.7 * draws.normal(), city: draws.below(CITIES.len() as u32) }
    }

    /// The probability that the user, shown the item at `at_ms`, takes to it.
    pub(crate) fn click_probability(&self, taste: &Taste, item: &Latent, at_ms: u64) -> f64 {
        let traits = self.kind.traits();
        let distance = item.magnitude - taste.magnitude;
        let age_ms = at_ms.saturating_sub(item.published_ms) as f64;
        let local = f64::from(u8::from(item.city == taste.city));
        sigmoid(
            -3.2 + 5.0 * taste.match_with(item) + 0.7 * item.quality - 0.25 * (distance * distance).min(4.0)
                + traits.freshness_weight * libm::exp2(-age_ms / traits.freshness_half_life_ms)
                + traits.location_weight * local,
        )
    }

    /// The probability that a user, shown an item at the world's `now`, takes to
    /// it: the truth that a recommender tries to find out. 0 for an item or user
    /// that the world does not have.
    #[must_use]
    pub fn affinity(&self, user: u32, item: u32) -> f32 {
        if user >= self.size.users || item >= self.size.items {
            return 0.0;
        }
        self.click_probability(&self.taste(user), &self.latent(item).0, self.now_ms) as f32
    }

    /// The mean [`World::affinity`] of a slate, by item ids; an id that is not of
    /// this world counts 0, and an empty slate is worth 0.
    #[must_use]
    pub fn mean_affinity<S: AsRef<str>>(&self, user: u32, slate: &[S]) -> f32 {
        if user >= self.size.users || slate.is_empty() {
            return 0.0;
        }
        let taste = self.taste(user);
        let known = slate.iter().filter_map(|id| self.item_index(id.as_ref()));
        let sum: f64 = known.map(|item| self.click_probability(&taste, &self.latent(item).0, self.now_ms)).sum();
        (sum / slate.len() as f64) as f32
    }

    /// The best possible slate for a user: what a perfect recommender would show.
    #[must_use]
    pub fn best(&self, user: u32, count: usize) -> Vec<String> {
        let taste = self.taste(user);
        let score = |item| self.click_probability(&taste, &self.latent(item).0, self.now_ms);
        self.top((0..self.size.items).map(|item| (item, score(item))).collect(), count)
    }

    /// The popularity slate, the same for everybody: the items with the most
    /// weight of behaviours (by the product's own weights of action types).
    #[must_use]
    pub fn popular(&self, count: usize) -> Vec<String> {
        let behaviors = funnelweb_core::scenario::Behaviors::default();
        let mut weights: HashMap<u32, f64> = HashMap::new();
        for event in self.events() {
            if let Some(item) = self.item_index(&event.item_id) {
                *weights.entry(item).or_default() += f64::from(behaviors.weight(event.action_type));
            }
        }
        self.top(weights.into_iter().collect(), count)
    }

    fn top(&self, mut scored: Vec<(u32, f64)>, count: usize) -> Vec<String> {
        // By score, then by index: a hash map's order must not show.
        scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        scored.truncate(count);
        scored.into_iter().map(|(item, _)| self.item_id(item)).collect()
    }
}
