//! Behaviours, drawn from the latent model session by session.

use std::collections::{BTreeMap, VecDeque};

use funnelweb_core::time;
use serde::Serialize;
use serde_json::json;

use crate::{
    Fields, Kind, World,
    catalogue::fields,
    draw::{Draws, Purpose, rounded},
    truth::{Latent, Taste},
    words::{CITIES, DEVICES},
};

/// A behaviour, as a line of `POST /api/v1/behaviors`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// The same for the same world (kind, size, seed), whenever it is made:
    /// loading it again counts nothing twice.
    pub event_id: String,
    /// `vlog_main_feed`.
    pub scenario_id: &'static str,
    /// `user_0001`.
    pub user_id: String,
    /// `vlog_000123`.
    pub item_id: String,
    /// `impression`, `click`, `watch`, …
    pub action_type: &'static str,
    /// RFC 3339.
    pub timestamp: String,
    /// Where and on what.
    pub context: Context,
    /// `watch_duration` (s), `completion_rate`, `price`, …
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: Fields,
}

/// The circumstances of a behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Context {
    /// `mobile`, `desktop` or `tablet`.
    pub device_type: &'static str,
    /// The user's city.
    pub location: &'static str,
}

impl Event {
    /// One line of NDJSON, without its line feed.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        // Strings, finite numbers and maps with string keys: serialising cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The history of a world, made as it is read.
pub struct Events<'w> {
    writer: Writer<'w>,
    session: u64,
}

/// Behaviours as they are put down.
pub(crate) struct Writer<'w> {
    world: &'w World,
    /// What the ids of its behaviours begin with.
    prefix: String,
    /// Nothing happens later.
    latest_ms: u64,
    made: u64,
    pub(crate) queue: VecDeque<Event>,
}

/// A session under way.
pub(crate) struct Session {
    pub(crate) draws: Draws,
    pub(crate) taste: Taste,
    pub(crate) context: Context,
    pub(crate) time_ms: u64,
}

impl<'w> Events<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let size = world.size;
        let marked = format!("{} {} {} {}", world.seed, size.items, size.users, size.events);
        // Tells apart the ids of worlds of different seed or size.
        let mark = funnelweb_core::id::value_hash(&marked);
        let writer = Writer::new(world, format!("{}_{mark:08x}", world.kind.name()), world.now_ms);
        Self { writer, session: 0 }
    }

    /// Queues the behaviours of one visit. How much of the history is made tells
    /// how far its time has come, so sessions follow each other evenly.
    fn visit(&mut self) {
        let world = self.writer.world;
        let number = self.session;
        self.session += 1;
        let left = 1.0 - self.writer.made as f64 / world.size.events.max(1) as f64;
        let before_ms = (left * world.kind.traits().history_ms as f64) as u64;
        let mut session = Session::new(world, Purpose::Session, number, world.now_ms - before_ms);
        for _ in 0..5 + session.draws.below(8) {
            let Some(item) = exposure(world, &mut session) else { continue };
            self.writer.expose(&mut session, &item);
        }
    }
}

/// What the user comes to see: popular, random, or searched for.
fn exposure(world: &World, session: &mut Session) -> Option<Latent> {
    let (items, time_ms) = (world.size.items, session.time_ms);
    let draws = &mut session.draws;
    let source = draws.unit();
    if source < 0.4 {
        return published(world, draws, time_ms, |draws| world.permutation.item(draws.zipf(items)));
    }
    if source < 0.6 {
        return published(world, draws, time_ms, |draws| draws.below(items));
    }
    let mut best: Option<(f64, Latent)> = None;
    for _ in 0..16 {
        // What is popular is found first, by whatever is searched for.
        let popular = |draws: &mut Draws| world.permutation.item(draws.zipf(items));
        let Some(found) = published(world, draws, time_ms, popular) else { continue };
        let score = session.taste.match_with(&found) + 0.1 * draws.gumbel();
        if best.as_ref().is_none_or(|(most, _)| score > *most) {
            best = Some((score, found));
        }
    }
    best.map(|(_, item)| item)
}

impl<'w> Writer<'w> {
    pub(crate) fn new(world: &'w World, prefix: String, latest_ms: u64) -> Self {
        Self { world, prefix, latest_ms, made: 0, queue: VecDeque::new() }
    }

    /// The user is shown an item and does what they are likely to.
    pub(crate) fn expose(&mut self, session: &mut Session, item: &Latent) {
        let probability = self.world.click_probability(&session.taste, item, session.time_ms);
        self.push(session, item, "impression", Fields::new());
        session.pass(2.0, 8.0);
        let clicked = session.draws.chance(probability);
        match self.world.kind {
            Kind::Vlog => self.video(session, item, clicked),
            Kind::News => self.article(session, item, clicked),
            Kind::Ecommerce => self.product(session, item, clicked),
        }
        if clicked && session.draws.chance(0.25 * probability) {
            self.push(session, item, "like", Fields::new());
        }
        if clicked && session.draws.chance(0.08 * probability) {
            self.push(session, item, "share", Fields::new());
        }
        if !clicked && probability < 0.1 && session.draws.chance(0.04) {
            self.push(session, item, "dislike", Fields::new());
        }
    }

    fn video(&mut self, session: &mut Session, item: &Latent, clicked: bool) {
        if !clicked {
            return;
        }
        self.push(session, item, "click", Fields::new());
        let completion = (0.55 + 0.1 * item.quality + 0.25 * session.draws.normal()).clamp(0.05, 1.0);
        let watched_s = (item.duration_s() * completion).round();
        session.pass(watched_s, watched_s + 2.0);
        let extra = json!({"watch_duration": watched_s as u32, "completion_rate": rounded(completion, 100.0)});
        self.push(session, item, "watch", fields(extra));
    }

    fn article(&mut self, session: &mut Session, item: &Latent, clicked: bool) {
        if !clicked {
            return;
        }
        self.push(session, item, "click", Fields::new());
        let completion = (0.5 + 0.1 * item.quality + 0.25 * session.draws.normal()).clamp(0.05, 1.0);
        // Four words a second.
        let read_s = (item.words() / 4.0 * completion).round();
        session.pass(read_s, read_s + 5.0);
        let extra = json!({"read_duration": read_s as u32, "completion_rate": rounded(completion, 100.0)});
        self.push(session, item, "read", fields(extra));
    }

    fn product(&mut self, session: &mut Session, item: &Latent, clicked: bool) {
        if !clicked {
            return;
        }
        self.push(session, item, "click", Fields::new());
        session.pass(2.0, 40.0);
        self.push(session, item, "view", Fields::new());
        if !session.draws.chance(0.3) {
            return;
        }
        let extra = fields(json!({"price": item.price(), "quantity": 1 + session.draws.below(2)}));
        session.pass(2.0, 20.0);
        self.push(session, item, "add_to_cart", extra.clone());
        if session.draws.chance(0.5) {
            session.pass(20.0, 90.0);
            self.push(session, item, "purchase", extra);
        }
    }

    fn push(&mut self, session: &Session, item: &Latent, action_type: &'static str, extra: Fields) {
        let world = self.world;
        self.queue.push_back(Event {
            event_id: format!("{}_{:07}", self.prefix, self.made),
            scenario_id: world.scenario_id(),
            user_id: world.user_id(session.taste.user),
            item_id: world.item_id(item.item),
            action_type,
            timestamp: time::format_ms(session.time_ms.min(self.latest_ms)),
            context: session.context,
            extra,
        });
        self.made += 1;
    }
}

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let told = self.writer.made - self.writer.queue.len() as u64;
        if told >= self.writer.world.size.events {
            return None;
        }
        // A session in a world with nothing published yet is empty; time moves
        // on with what is made, so after a few the world counts as silent.
        for _ in 0..1000 {
            if let Some(event) = self.writer.queue.pop_front() {
                return Some(event);
            }
            self.visit();
        }
        None
    }
}

impl Session {
    pub(crate) fn new(world: &World, purpose: Purpose, number: u64, time_ms: u64) -> Self {
        let mut draws = Draws::new(world.seed, purpose, number);
        let user = visitor(&mut draws, number, world.size.users);
        let taste = world.taste(user);
        let context = Context {
            device_type: draws.pick(&DEVICES),
            location: CITIES.get(taste.city as usize).copied().unwrap_or_default(),
        };
        Self { draws, taste, context, time_ms }
    }

    fn pass(&mut self, least_s: f64, most_s: f64) {
        self.time_ms += (self.draws.between(least_s, most_s) * 1000.0) as u64;
    }
}

/// Three sessions of four go round all users, so that each has a history; the
/// others are Zipf, so that some are regulars.
fn visitor(draws: &mut Draws, session: u64, users: u32) -> u32 {
    if session % 4 == 3 { draws.zipf(users) } else { ((session - session / 4) % u64::from(users)) as u32 }
}

/// A drawn item that is published by then; None after 32 that are not.
fn published(
    world: &World,
    draws: &mut Draws,
    time_ms: u64,
    mut draw: impl FnMut(&mut Draws) -> u32,
) -> Option<Latent> {
    (0..32).find_map(|_| {
        let item = world.latent(draw(draws)).0;
        (item.published_ms <= time_ms).then_some(item)
    })
}
