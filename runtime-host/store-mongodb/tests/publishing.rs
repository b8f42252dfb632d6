//! Events that are published: each at least once, whatever dies when.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test suite: a failed check is a panic"
)]

mod support;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bson::doc;
use funnelweb_factor_events::{
    publish::{Accepted, Publisher},
    store::*,
};
use funnelweb_store_mongodb::MongoEvents;
use support::{Server, clock, live::MemoryLive};

/// Longer than anything that a test waits for by design.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the clock moves by, so that everything may be swept.
const LATER_MS: u64 = 200_000;

/// How a publisher behaves.
#[derive(Debug, Clone, PartialEq)]
enum Mood {
    Up,
    Down,
    /// It takes the events and does not answer.
    Silent,
    /// It refuses those of one tenant.
    Against(&'static str),
}

/// Keeps what it is given.
struct Memory {
    mood: Mutex<Mood>,
    published: Mutex<Vec<(Tenant, u128, Accepted)>>,
}

impl Memory {
    fn new() -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(Mood::Up), published: Mutex::default() })
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Event ids in the order in which they came, with their indexes.
    fn ids(&self) -> Vec<(u32, String)> {
        let published = self.published.lock().unwrap();
        published.iter().map(|(_, _, accepted)| (accepted.index, accepted.event.event_id.clone())).collect()
    }
}

#[async_trait]
impl Publisher for Memory {
    async fn publish(&self, tenant: &Tenant, batch: u128, events: Vec<Accepted>) -> Result<usize, Error> {
        let mood = self.mood.lock().unwrap().clone();
        match mood {
            Mood::Down => return Err(Error::Unavailable("down".to_owned())),
            Mood::Against(id) if id == tenant.as_str() => return Err(Error::Denied("not this one".to_owned())),
            _ => {}
        }
        let all = events.into_iter().map(|accepted| (tenant.clone(), batch, accepted));
        self.published.lock().unwrap().extend(all);
        match mood {
            Mood::Silent => std::future::pending().await,
            _ => Ok(0),
        }
    }
}

struct Backend {
    events: MongoEvents,
    live: Arc<MemoryLive>,
    clock: Arc<AtomicU64>,
}

impl Backend {
    async fn new(server: &Server, publisher: &Arc<Memory>) -> Self {
        Self::with(server, Arc::<Memory>::clone(publisher), Arc::default(), &clock(), PATIENCE).await
    }

    /// Another process, when the live structures and the clock are those of one.
    async fn with(
        server: &Server,
        publisher: Arc<dyn Publisher>,
        live: Arc<MemoryLive>,
        clock: &Arc<AtomicU64>,
        patience: Duration,
    ) -> Self {
        let store = server.store_at(clock, |_| {}).await;
        let events = MongoEvents::new(store, live.clone()).published_by(publisher, patience);
        Self { events, live, clock: clock.clone() }
    }

    async fn append(&self, t: &Tenant, ids: &[&str]) -> Result<Vec<AppendOutcome>, Error> {
        let events: Vec<Event> = ids.iter().map(|id| event(id, self.clock.load(Ordering::Relaxed))).collect();
        let effects = ids.iter().map(|_| vec![Effect::Hot(HotEffect { weight: 1.0, half_life_s: 60 })]).collect();
        self.events.append(t, events, effects).await
    }

    fn later(&self) {
        self.clock.fetch_add(LATER_MS, Ordering::Relaxed);
    }
}

/// `user-7` is the seventh of its user's.
fn event(id: &str, at_ms: u64) -> Event {
    Event {
        event_id: id.to_owned(),
        scenario_id: "feed".to_owned(),
        user_id: id.split('-').next().unwrap().to_owned(),
        item_id: "i".to_owned(),
        action_type: "click".to_owned(),
        timestamp_ms: at_ms,
        body: r#"{"context":{"n":0.1}}"#.to_owned(),
        signal: Some(Signal {
            weight: 0.3,
            hot_half_life_s: 60,
            profile_half_life_s: 60,
            known: true,
            preferences: vec![("tags".to_owned(), "ä".to_owned(), -0.1)],
        }),
    }
}

async fn left(server: &Server) -> Vec<bson::Document> {
    use futures::TryStreamExt;
    server.collection("fw_batches").await.find(doc! {}).await.unwrap().try_collect().await.unwrap()
}

fn tenant(id: &str) -> Tenant {
    Tenant::new(id).unwrap()
}

fn pairs(all: &[(u32, &str)]) -> Vec<(u32, String)> {
    all.iter().map(|(index, id)| (*index, (*id).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_is_published_with_its_place() {
    Server::each(async |server| {
        let (memory, t) = (Memory::new(), tenant("t"));
        let backend = Backend::new(server, &memory).await;
        backend.append(&t, &["ann-0", "bob-0", "ann-1"]).await.unwrap();
        // Those that are there are not, nor one that comes twice.
        let outcomes = backend.append(&t, &["ann-1", "ann-2", "ann-2", "bob-0", "bob-1"]).await.unwrap();
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == AppendOutcome::Accepted).count(), 2);
        backend.append(&t, &["ann-0"]).await.unwrap();
        let expected = pairs(&[(0, "ann-0"), (1, "bob-0"), (2, "ann-1"), (1, "ann-2"), (3, "bob-1")]);
        assert_eq!(memory.ids(), expected);
        let published = memory.published.lock().unwrap().clone();
        let stored = backend.events.read(&t, 0, 10).await.unwrap();
        let as_stored = published.iter().map(|(_, _, accepted)| (accepted.offset, accepted.event.clone()));
        assert_eq!(
            as_stored.collect::<Vec<_>>(),
            stored.into_iter().map(|one| (one.offset, one.event)).collect::<Vec<_>>()
        );
        let batches: HashSet<u128> = published.iter().map(|(_, batch, _)| *batch).collect();
        assert_eq!(batches.len(), 2);
        assert!(batches.iter().all(|batch| batch >> 80 == u128::from(backend.clock.load(Ordering::Relaxed))));
        assert_eq!(left(server).await, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_events_are_accepted_and_published_later_in_order() {
    Server::each(async |server| {
        let (memory, t) = (Memory::new(), tenant("t"));
        let backend = Backend::new(server, &memory).await;
        memory.set(Mood::Down);
        for at in 0..20 {
            assert_eq!(backend.append(&t, &[&*format!("ann-{at}")]).await, Ok(vec![AppendOutcome::Accepted]));
            // So that their batches have an order.
            backend.clock.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(backend.live.batches(), 20);
        // What is left says what is left to be done; it holds up no backup.
        assert!(left(server).await.iter().all(|batch| !batch.contains_key("effects")));
        assert_eq!(backend.events.settle(&t).await, Ok(()));
        backend.later();
        assert!(matches!(backend.events.sweep().await, Err(Error::Unavailable(_))));
        assert_eq!((left(server).await.len(), memory.ids()), (20, vec![]));
        memory.set(Mood::Up);
        let start = Instant::now();
        while backend.events.sweep().await.is_err() {
            assert!(start.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // A first attempt may have had a part of them.
        let mut ids = memory.ids();
        ids.dedup();
        assert_eq!(ids, (0..20).map(|at| (0, format!("ann-{at}"))).collect::<Vec<_>>());
        assert_eq!((left(server).await, backend.live.batches()), (vec![], 20));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_hangs_holds_no_append() {
    let server = Server::ferretdb().await;
    let (memory, t, clock) = (Memory::new(), tenant("t"), clock());
    let patience = Duration::from_millis(300);
    let backend = Backend::with(&server, memory.clone(), Arc::default(), &clock, patience).await;
    memory.set(Mood::Silent);
    // Warm, so that what takes time is the publisher.
    backend.append(&t, &["ann-0"]).await.unwrap();
    let start = Instant::now();
    for at in 1..30 {
        backend.append(&t, &[&*format!("ann-{at}")]).await.unwrap();
    }
    // After five it is not asked, but for a probe now and then.
    assert!(start.elapsed() < 20 * patience, "{:?}", start.elapsed());
    memory.set(Mood::Up);
    backend.later();
    tokio::time::sleep(Duration::from_secs(2)).await;
    backend.events.sweep().await.unwrap();
    let ids: HashSet<_> = memory.ids().into_iter().collect();
    assert_eq!(ids.len(), 30);
    assert_eq!(left(&server).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_cannot_be_published_holds_up_no_other() {
    let server = Server::ferretdb().await;
    let memory = Memory::new();
    let backend = Backend::new(&server, &memory).await;
    memory.set(Mood::Down);
    for at in 0..20 {
        backend.append(&tenant("no"), &[&*format!("ann-{at}")]).await.unwrap();
        backend.append(&tenant("yes"), &[&*format!("bob-{at}")]).await.unwrap();
    }
    memory.set(Mood::Against("no"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    backend.later();
    let swept = backend.events.sweep().await;
    assert!(matches!(&swept, Err(Error::Denied(_))), "{swept:?}");
    assert_eq!(memory.ids().len(), 20);
    assert!(left(&server).await.iter().all(|batch| batch.get_str("tenant_id").unwrap() == "no"));
    // A process without a publisher leaves it to those that have one, and applies.
    let without = MongoEvents::new(server.store_at(&backend.clock, |_| {}).await, backend.live.clone());
    backend.clock.fetch_add(60_000, Ordering::Relaxed);
    assert_eq!((without.sweep().await, left(&server).await.len()), (Ok(0), 20));
    memory.set(Mood::Up);
    backend.clock.fetch_add(60_000, Ordering::Relaxed);
    assert_eq!((backend.events.sweep().await, left(&server).await.len()), (Ok(20), 0));
}

/// Kills appends at every moment of their time: the caller is dropped, as it is when its
/// process dies.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_dies_anywhere_is_published_at_least_once() {
    const ROUNDS: u32 = 40;
    let server = Server::ferretdb().await;
    let (memory, live, clock, t) = (Memory::new(), Arc::<MemoryLive>::default(), clock(), tenant("t"));
    let (mut whole, mut died) = (Duration::MAX, 0);
    for round in 0..ROUNDS {
        let backend = Backend::with(&server, memory.clone(), live.clone(), &clock, PATIENCE).await;
        let ids: Vec<String> = (0..3).map(|at| format!("u{round}-{at}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        // The first tells how long one takes.
        let (start, time) = (Instant::now(), if round == 0 { whole } else { whole * round / ROUNDS });
        died += usize::from(tokio::time::timeout(time, backend.append(&t, &ids)).await.is_err());
        if round == 0 {
            whole = start.elapsed();
        }
        // Another process: the client tries again, and what was left is swept.
        clock.fetch_add(LATER_MS, Ordering::Relaxed);
        let other = Backend::with(&server, memory.clone(), live.clone(), &clock, PATIENCE).await;
        other.append(&t, &ids).await.unwrap();
        other.events.sweep().await.unwrap();
        assert_eq!(left(&server).await, []);
    }
    assert!(died > 0, "every append was done before it was to die");
    check(&other_copies(&memory), &backend_log(&server, &clock, &live, &t).await);
}

fn other_copies(memory: &Memory) -> Vec<(u128, Accepted)> {
    memory.published.lock().unwrap().iter().map(|(_, batch, accepted)| (*batch, accepted.clone())).collect()
}

async fn backend_log(server: &Server, clock: &Arc<AtomicU64>, live: &Arc<MemoryLive>, t: &Tenant) -> Vec<StoredEvent> {
    let store = server.store_at(clock, |_| {}).await;
    MongoEvents::new(store, live.clone()).read(t, 0, 1000).await.unwrap()
}

/// That each event of the log is there, always with the same batch, index and offset, and
/// that no others have those.
fn check(published: &[(u128, Accepted)], log: &[StoredEvent]) {
    let mut places = BTreeMap::new();
    for (batch, accepted) in published {
        let before = places.insert((*batch, accepted.index), accepted);
        assert!(before.is_none_or(|before| before == accepted), "{before:?} and {accepted:?}");
    }
    let mut distinct: Vec<_> = places.into_values().map(|accepted| (accepted.offset, &accepted.event)).collect();
    distinct.sort_by_key(|(offset, _)| *offset);
    assert_eq!(distinct, log.iter().map(|stored| (stored.offset, &stored.event)).collect::<Vec<_>>());
}
