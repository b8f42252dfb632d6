//! Operators over logs that come in parts: what a shard's steps change, and when windows of
//! all shards speak. How far shards go is said here by the test.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test suite: a failed check is a panic")]

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use funnelweb_factor_documents::store::Documents;
use funnelweb_factor_events::{
    publish::{Announcer, Said},
    store::*,
};
use funnelweb_store_mongodb::{MongoDocuments, MongoEvents, MongoStreams};
use funnelweb_stream::{
    Engine, Outcome,
    conformance::{Counting, Suite},
    shards::{Arrivals, Shard, Shards},
    store::{DeadLetter, Place, Seen, StreamStore},
};
use support::{Server, clock, live::MemoryLive};

const SECOND: u64 = 1000;
const NAME: &str = "counting";

/// In windows of ten seconds, which wait for twice as long.
fn counting() -> Counting {
    Counting::new(NAME, 10 * SECOND, 20 * SECOND)
}

/// Keeps what it is told.
#[derive(Default)]
struct Told {
    said: Mutex<Vec<Said>>,
    letters: Mutex<Vec<(String, String)>>,
    away: AtomicBool,
}

impl Told {
    fn there(&self) -> Result<(), Error> {
        if self.away.load(Ordering::Relaxed) { Err(Error::Unavailable("away".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Announcer for Told {
    async fn announce(&self, _: &Tenant, _: &str, messages: Vec<Said>) -> Result<(), Error> {
        self.there()?;
        self.said.lock().unwrap().extend(messages);
        Ok(())
    }
    async fn bury(&self, _: &Tenant, letters: Vec<(String, String)>) -> Result<(), Error> {
        self.there()?;
        self.letters.lock().unwrap().extend(letters);
        Ok(())
    }
}

/// How far shards go.
#[derive(Default)]
struct Ends(Mutex<Vec<Shard>>);

#[async_trait]
impl Shards for Ends {
    async fn ends(&self, _: &Tenant) -> Result<Vec<Shard>, Error> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// A log of which something waits to be published, or not.
struct Waiting {
    log: MongoEvents,
    waits: Arc<AtomicBool>,
}

#[async_trait]
impl Events for Waiting {
    async fn append(&self, t: &Tenant, e: Vec<Event>, f: Vec<Vec<Effect>>) -> Result<Vec<AppendOutcome>, Error> {
        self.log.append(t, e, f).await
    }
    async fn history(&self, t: &Tenant, query: HistoryQuery) -> Result<Vec<StoredEvent>, Error> {
        self.log.history(t, query).await
    }
    async fn read(&self, t: &Tenant, offset: u64, limit: u32) -> Result<Vec<StoredEvent>, Error> {
        self.log.read(t, offset, limit).await
    }
    async fn is_unpublished(&self, _: &Tenant, _: Duration) -> Result<bool, Error> {
        Ok(self.waits.load(Ordering::Relaxed))
    }
    async fn settle(&self, t: &Tenant) -> Result<(), Error> {
        self.log.settle(t).await
    }
    async fn restore(&self, t: &Tenant, events: Vec<StoredEvent>) -> Result<(), Error> {
        self.log.restore(t, events).await
    }
    async fn last_offset(&self, t: &Tenant) -> Result<u64, Error> {
        self.log.last_offset(t).await
    }
    async fn raise_last_offset(&self, t: &Tenant, offset: u64) -> Result<(), Error> {
        self.log.raise_last_offset(t, offset).await
    }
}

struct World {
    _server: Server,
    documents: MongoDocuments,
    live: Arc<MemoryLive>,
    events: MongoEvents,
    state: Arc<MongoStreams>,
    told: Arc<Told>,
    ends: Arc<Ends>,
    waits: Arc<AtomicBool>,
    engine: Engine,
    tenant: Tenant,
    /// Divisible by the size of windows.
    now: u64,
}

impl World {
    /// With two shards that have nothing.
    async fn new() -> Self {
        let (server, clock, live) = (Server::ferretdb().await, clock(), Arc::<MemoryLive>::default());
        let store = server.store_at(&clock, |_| {}).await;
        let documents = MongoDocuments::new(store.clone(), Some(live.clone()));
        let events = MongoEvents::new(store, live.clone());
        let told = Arc::<Told>::default();
        let state = MongoStreams::sharded(&events, told.clone()).await.unwrap();
        let (ends, waits) = (Arc::<Ends>::default(), Arc::<AtomicBool>::default());
        let log = Waiting { log: events.clone(), waits: waits.clone() };
        let engine = Engine::new(Arc::new(log), state.clone()).with_shards(ends.clone());
        let now = clock.load(Ordering::Relaxed);
        let tenant = Tenant::new("t").unwrap();
        let world = Self { _server: server, documents, live, events, state, told, ends, waits, engine, tenant, now };
        world.reach(0, 0);
        world
    }

    /// What can be read of the two shards.
    fn reach(&self, one: u64, other: u64) {
        *self.ends.0.lock().unwrap() = vec![Shard { shard: 1, end: one }, Shard { shard: 2, end: other }];
    }

    fn place(&self, shard: u32) -> Place {
        Place::main(&self.tenant, NAME).at(shard)
    }

    /// Gives a shard events of these times, whose offsets in the log are from `logged` on.
    async fn take(&self, shard: u32, from: u64, times: &[u64], logged: u64) -> bool {
        let event = |(at, timestamp_ms): (u64, &u64)| {
            let event = event(from + at, *timestamp_ms);
            (StoredEvent { offset: from + at, event }, logged + at)
        };
        let events: Vec<(StoredEvent, u64)> = (0..).zip(times).map(event).collect();
        let next = from + events.len() as u64;
        let arrivals = Arrivals { from, next, events, ..Arrivals::default() };
        self.engine.take(&self.place(shard), &counting(), arrivals, self.now).await.unwrap()
    }

    /// Has windows speak until none has more to say; until when it rests.
    async fn speak(&self, now_ms: u64) -> Option<u64> {
        loop {
            match self.engine.step(&self.tenant, &counting(), now_ms).await.unwrap() {
                Outcome::Advanced => {}
                Outcome::Rests(until) => return until,
            }
        }
    }

    /// What windows said, in order: their ends before now in seconds, and counts.
    async fn said(&self) -> Vec<(i64, u64)> {
        let all = self.state.published(&self.tenant, "recommendation-metrics", 0, 1000).await.unwrap();
        let one = |body: &str| {
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            let end = body["end"].as_i64().unwrap() - self.now.cast_signed();
            (end / SECOND.cast_signed(), body["count"].as_u64().unwrap())
        };
        all.iter().map(|message| one(&message.body)).collect()
    }

    async fn counted(&self) -> f64 {
        self.state.counters().await.unwrap().iter().flat_map(|(_, counters)| counters.values()).sum()
    }
}

fn event(number: u64, timestamp_ms: u64) -> Event {
    Event {
        event_id: format!("e{number}"),
        scenario_id: "feed".to_owned(),
        user_id: format!("user{}", number % 3),
        item_id: "i".to_owned(),
        action_type: "click".to_owned(),
        timestamp_ms,
        body: "{}".to_owned(),
        signal: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_shards_conforms() {
    let world = World::new().await;
    let (store, documents, live) = (&*world.state, &world.documents, &*world.live);
    Suite { store, documents, live, now_ms: world.now, prefix: "s-" }.run_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_wait_for_the_shard_that_is_furthest_behind() {
    let world = World::new().await;
    let at = |seconds: u64| world.now - seconds * SECOND;
    // Both have something in the window that ends 90 seconds ago.
    world.reach(4, 3);
    assert!(world.take(1, 0, &[at(95), at(92), at(30), at(30)], 100).await);
    assert!(world.take(2, 0, &[at(94)], 200).await);
    // The other has more to be read, so that its watermark counts.
    assert_eq!(world.speak(world.now).await, Some(world.now + SECOND));
    assert_eq!(world.said().await, []);
    // It is counted, though.
    assert_eq!(world.counted().await, 5.0);
    assert!(world.take(2, 1, &[at(93), at(35)], 201).await);
    world.speak(world.now).await;
    // Of all shards together, and no window whose end is not passed by both: 35 less 10.
    assert_eq!(world.said().await, [(-90, 4)]);
    // A shard at rest is followed by the clock.
    world.speak(world.now + 45 * SECOND).await;
    assert_eq!(world.said().await, [(-90, 4), (-30, 1), (-20, 2)]);
    let told = world.told.said.lock().unwrap().clone();
    assert_eq!(told.iter().map(|said| said.offset).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_says_nothing_while_events_wait_to_be_published() {
    let world = World::new().await;
    world.reach(1, 0);
    assert!(world.take(1, 0, &[world.now - 95 * SECOND], 1).await);
    world.waits.store(true, Ordering::Relaxed);
    assert_eq!(world.speak(world.now).await, Some(world.now + SECOND));
    assert_eq!(world.said().await, []);
    world.waits.store(false, Ordering::Relaxed);
    world.speak(world.now).await;
    assert_eq!(world.said().await, [(-90, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_to_a_shard_is_said_with_all_others() {
    let world = World::new().await;
    let at = |seconds: u64| world.now - seconds * SECOND;
    world.reach(1, 1);
    assert!(world.take(1, 0, &[at(75)], 1).await && world.take(2, 0, &[at(75)], 2).await);
    world.speak(world.now).await;
    assert_eq!(world.said().await, [(-70, 2)]);
    // Within the lateness: the window ended 10 seconds before the watermark of the clock.
    world.reach(1, 2);
    assert!(world.take(2, 1, &[at(71)], 3).await);
    world.speak(world.now).await;
    assert_eq!(world.said().await, [(-70, 2), (-70, 3)]);
    // And it says so once.
    world.speak(world.now).await;
    assert_eq!(world.said().await.len(), 2);
    // After it the window is closed, and panes are gone: it counts, and no window has it.
    world.speak(world.now + 60 * SECOND).await;
    world.reach(1, 3);
    assert!(world.take(2, 2, &[at(72)], 4).await);
    world.speak(world.now + 60 * SECOND).await;
    assert_eq!(world.said().await.len(), 2);
    let late = world.state.counters().await.unwrap();
    let late = late[0].1.iter().find(|(series, _)| series.name == "stream_late_events_total").unwrap();
    assert_eq!((world.counted().await, *late.1), (5.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_begins_where_the_operator_is_and_takes_what_is_its_own() {
    let world = World::new().await;
    let now = world.now;
    assert!(!world.take(1, 5, &[now], 1).await);
    assert!(world.take(1, 0, &[now, now], 1).await);
    // Twice, and by who was here before.
    assert!(!world.take(1, 0, &[now, now], 1).await);
    assert_eq!(world.counted().await, 2.0);
    let of = |next, newest_ms| (next, newest_ms);
    let shards = world.state.shards(&world.place(0)).await.unwrap();
    assert_eq!(
        shards.iter().map(|(shard, at)| (*shard, of(at.next, at.newest_ms))).collect::<Vec<_>>(),
        [(1, (2, now))]
    );
    // What is imported is the log's own to give, and what a shard has of it is passed over.
    let restored = vec![StoredEvent { offset: 10, event: event(10, now) }];
    world.events.restore(&world.tenant, restored).await.unwrap();
    let position = Position { operator: NAME.to_owned(), next: 10, newest_ms: now };
    world.state.set_positions(&world.tenant, Ok(vec![position])).await.unwrap();
    assert!(world.take(1, 2, &[now, now, now], 9).await);
    // Of the offsets 9 to 11, the last one.
    assert_eq!(world.counted().await, 3.0);
    world.speak(now).await;
    assert_eq!(world.counted().await, 4.0);
    assert_eq!(world.state.progress(&world.place(0)).await.unwrap().next, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_deleted_takes_along_what_is_on_its_way() {
    let world = World::new().await;
    let now = world.now;
    let all: Vec<Event> = (0..6).map(|number| event(number, now)).collect();
    world.events.append(&world.tenant, all, vec![vec![]; 6]).await.unwrap();
    world.documents.delete_user(&world.tenant, "user1".to_owned()).await.unwrap();
    // Events 0 to 5, whose offsets in the log are 1 to 6, and what the user did since.
    assert!(world.take(1, 0, &[now; 6], 1).await);
    assert_eq!(world.counted().await, 4.0);
    assert!(world.take(1, 6, &[now; 3], 7).await);
    assert_eq!(world.counted().await, 7.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_is_the_step_s_and_goes_when_it_is_told_to() {
    let world = World::new().await;
    let seen = |generation: u64, byte: u8| Seen { generation, bytes: vec![byte] };
    let letter = DeadLetter {
        offset: 0,
        scenario_id: String::new(),
        user_id: String::new(),
        reason: "odd".to_owned(),
        about: "record 0 of shard 1".to_owned(),
    };
    let step = async |from: u64, seen: Vec<Seen>, forget_below: u64, dead: Vec<DeadLetter>| {
        let arrivals = Arrivals { from, next: from + 1, seen, forget_below, dead, ..Arrivals::default() };
        world.engine.take(&world.place(1), &counting(), arrivals, world.now).await
    };
    let kept = async |shard| {
        let mut kept = world.state.seen(&world.place(shard)).await.unwrap();
        kept.sort_by_key(|seen| (seen.generation, seen.bytes.clone()));
        kept
    };
    assert!(step(0, vec![seen(0, 1), seen(1, 2)], 0, vec![letter.clone()]).await.unwrap());
    assert!(!step(0, vec![seen(7, 7)], 0, vec![]).await.unwrap());
    assert!(step(1, vec![seen(1, 3)], 0, vec![]).await.unwrap());
    assert_eq!(kept(1).await, [seen(0, 1), seen(1, 2), seen(1, 3)]);
    assert_eq!(kept(2).await, []);
    assert!(step(2, vec![], 1, vec![]).await.unwrap());
    assert_eq!(kept(1).await, [seen(1, 2), seen(1, 3)]);
    let (user, told) = world.told.letters.lock().unwrap()[0].clone();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let expected = serde_json::json!({
        "operator": NAME, "shard": 1, "offset": 0, "scenario_id": "", "user_id": "", "about": letter.about,
        "reason": "odd",
    });
    assert_eq!((user.as_str(), told), ("", expected));
    // While nobody can be told, steps wait; then each is made, and told once.
    world.told.away.store(true, Ordering::Relaxed);
    assert!(step(3, vec![], 0, vec![letter.clone()]).await.is_err());
    world.told.away.store(false, Ordering::Relaxed);
    assert!(!step(3, vec![], 0, vec![letter]).await.unwrap());
    assert_eq!(world.state.progress(&world.place(1)).await.unwrap().next, 4);
    assert_eq!(world.told.letters.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_nobody_knows_any_more_hold_windows() {
    let world = World::new().await;
    world.reach(1, 1);
    assert!(world.take(1, 0, &[world.now - 95 * SECOND], 1).await);
    assert!(world.take(2, 0, &[world.now - 95 * SECOND], 2).await);
    // A broker has not heard of a part of the log.
    world.ends.0.lock().unwrap().pop();
    let step = world.engine.step(&world.tenant, &counting(), world.now).await;
    assert!(step.unwrap_err().to_string().contains("1 shards of tenant t's log are known, 2 were"));
    world.reach(1, 1);
    world.speak(world.now).await;
    let said: BTreeMap<i64, u64> = world.said().await.into_iter().collect();
    assert_eq!(said, BTreeMap::from([(-90, 2)]));
}
