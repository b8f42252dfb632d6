//! Events that are published to a real broker, which goes away and comes back.
//!
//! `cargo xtask kafka` makes sure of it and of what it takes. There is no skipping: a
//! machine without fails.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test suite: a failed check is a panic"
)]

mod support;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use funnelweb_factor_events::{conformance::Suite, publish::Accepted, store::*};
use funnelweb_log_kafka::{
    Behavior, Change, Duplicates, KafkaLog, KafkaPublisher, KafkaSettings, Start, StoredRecord, Subscription, Topic,
};
use funnelweb_store_mongodb::{MongoDocuments, MongoEvents, MongoStore};
use funnelweb_test_servers::{
    Server as Broker, free_port,
    proxy::{Fault, Proxy},
};
use support::{Server, clock, live::MemoryLive};
use tokio::task::block_in_place;

const PATIENCE: Duration = Duration::from_secs(120);
/// How long an append waits for Kafka.
const PUBLISH: Duration = Duration::from_millis(500);

/// A MongoDB and a Kafka, and processes between them.
struct Deployment {
    mongo: Server,
    broker: Broker,
    proxy: Proxy,
    clock: Arc<AtomicU64>,
    live: Arc<MemoryLive>,
    t: Tenant,
    next: usize,
}

impl Deployment {
    async fn new() -> Self {
        let behind = free_port();
        let proxy = Proxy::before(behind);
        let local = "127.0.0.1";
        let broker = Broker::kafka(&[
            &format!(
                "listeners=PLAINTEXT://{local}:{{port}},FAULTY://{local}:{behind},CONTROLLER://{local}:{{controller}}"
            ),
            &format!("advertised.listeners=PLAINTEXT://{local}:{{port}},FAULTY://{local}:{}", proxy.port()),
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,FAULTY:PLAINTEXT",
        ]);
        let (mongo, t) = (Server::ferretdb().await, Tenant::new("acme:eu").unwrap());
        Self { mongo, broker, proxy, clock: clock(), live: Arc::default(), t, next: 0 }
    }

    fn settings(&self, port: u16) -> KafkaSettings {
        KafkaSettings {
            partitions: 3,
            connect_timeout_ms: 60_000,
            operation_timeout_ms: 20_000,
            append_timeout_ms: 5_000,
            session_timeout_ms: 30_000,
            ..KafkaSettings::of(format!("127.0.0.1:{port}"))
        }
    }

    /// Whether Kafka is there does not matter.
    async fn process(&self, patience: Duration) -> MongoEvents {
        self.events(self.mongo.store_at(&self.clock, |_| {}).await, patience)
    }

    fn events(&self, store: Arc<MongoStore>, patience: Duration) -> MongoEvents {
        let log = KafkaLog::new(self.settings(self.proxy.port())).unwrap();
        let publisher = KafkaPublisher::new(log).unwrap();
        MongoEvents::new(store, self.live.clone()).published_by(Arc::new(publisher), patience)
    }

    /// Appends some events, of five users, all of which are accepted; how long it took.
    async fn append(&mut self, process: &MongoEvents, count: usize) -> Duration {
        let start = Instant::now();
        let event = |number: usize| Event {
            event_id: format!("e-{number}"),
            scenario_id: "feed".to_owned(),
            user_id: format!("user-{}", number % 5),
            item_id: "i".to_owned(),
            action_type: "click".to_owned(),
            timestamp_ms: self.clock.load(Ordering::Relaxed),
            body: format!(r#"{{"number":{number}}}"#),
            signal: None,
        };
        let events: Vec<Event> = (self.next..self.next + count).map(event).collect();
        let outcomes = process.append(&self.t, events, vec![vec![]; count]).await;
        assert_eq!(outcomes, Ok(vec![AppendOutcome::Accepted; count]));
        self.next += count;
        // So that batches have an order.
        self.clock.fetch_add(1, Ordering::Relaxed);
        start.elapsed()
    }

    /// Until nothing is left.
    async fn sweep(&self, process: &MongoEvents) {
        self.clock.fetch_add(200_000, Ordering::Relaxed);
        let start = Instant::now();
        loop {
            let swept = process.sweep().await;
            if swept.is_ok() && self.left().await == 0 {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{swept:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn left(&self) -> u64 {
        self.mongo.collection("fw_batches").await.count_documents(bson::doc! {}).await.unwrap()
    }

    /// All records of the tenant's topic, in the order of each partition.
    async fn read(&self) -> BTreeMap<u32, Vec<StoredRecord>> {
        let log = KafkaLog::connect(self.settings(self.broker.port())).await.unwrap();
        let topics = Subscription::Topics(vec![Topic::Behaviors(self.t.to_string())]);
        let mut group = log.join(&format!("reader-{}", self.next), &topics).unwrap();
        let Change::Assigned(assigned) = group.next().await.unwrap() else { panic!("it has none to lose") };
        let starts = vec![Start::Oldest; assigned.partitions.len()];
        let mut all = BTreeMap::new();
        // The first record takes longest; a partition may be empty.
        let mut patience = Duration::from_secs(10);
        for mut partition in assigned.begin(starts).unwrap() {
            let records: &mut Vec<_> = all.entry(partition.at.partition).or_default();
            while let Ok(more) = tokio::time::timeout(patience, partition.next(1000)).await {
                records.extend(more);
                patience = Duration::from_secs(1);
            }
        }
        group.leave().await;
        all
    }

    /// That every event is in the topic as it is in the log, at its one place, under its
    /// user's key; and once when duplicates are told. How many there were.
    async fn check(&self, process: &MongoEvents) -> usize {
        let (now_ms, mut count) = (self.clock.load(Ordering::Relaxed), 0);
        let mut places: HashMap<(u128, u32), Accepted> = HashMap::new();
        let mut once = Vec::new();
        for records in self.read().await.into_values() {
            let mut duplicates = Duplicates::default();
            for StoredRecord { record, .. } in records {
                let Behavior { batch, accepted } = Behavior::decode(&self.t, &record.payload, now_ms).unwrap();
                assert_eq!(record.key, accepted.event.user_id.as_bytes());
                let place = (batch, accepted.index);
                assert_eq!(places.entry(place).or_insert_with(|| accepted.clone()), &accepted);
                if duplicates.is_new(batch, accepted.index, now_ms) {
                    once.push(StoredEvent { offset: accepted.offset, event: accepted.event });
                }
                count += 1;
            }
        }
        once.sort_by_key(|stored| stored.offset);
        assert_eq!(once, process.read(&self.t, 0, 1000).await.unwrap());
        assert_eq!(once.len(), self.next);
        count
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_whatever_kafka_does() {
    let mut deployment = Deployment::new().await;
    let process = deployment.process(PUBLISH).await;
    // A new tenant's topic takes longer than appends wait.
    deployment.append(&process, 1).await;
    deployment.sweep(&process).await;
    for _ in 0..20 {
        deployment.append(&process, 10).await;
    }
    deployment.sweep(&process).await;
    let start = deployment.next;
    println!("{start} events, {} records", deployment.check(&process).await);

    // It does not answer, and then it does.
    deployment.proxy.set(Fault::Stall);
    let mut took = Duration::ZERO;
    for _ in 0..20 {
        took += deployment.append(&process, 10).await;
    }
    assert!(took < 20 * PUBLISH + Duration::from_secs(5), "{took:?}");
    assert!(deployment.left().await >= 20);
    deployment.proxy.set(Fault::None);
    deployment.sweep(&process).await;
    println!("{} events, {} records", deployment.next, deployment.check(&process).await);

    // It dies while events come, with the process; the next one starts without it.
    let mut answers = 0;
    for at in 0..20 {
        if at == 10 {
            block_in_place(|| deployment.broker.stop());
        }
        answers += usize::from(deployment.append(&process, 3).await < PUBLISH);
    }
    drop(process);
    let process = deployment.process(PUBLISH).await;
    for _ in 0..10 {
        deployment.append(&process, 3).await;
    }
    println!("{answers} of 20 appends did not wait, {} batches are left", deployment.left().await);
    block_in_place(|| deployment.broker.restart());
    deployment.append(&process, 3).await;
    deployment.sweep(&process).await;
    println!("{} events, {} records", deployment.next, deployment.check(&process).await);

    // Answers get lost.
    for round in 0..20 {
        deployment.proxy.set(if round % 2 == 0 { Fault::HalfAReply } else { Fault::Cut });
        deployment.append(&process, 5).await;
        deployment.proxy.set(Fault::None);
        deployment.append(&process, 5).await;
    }
    deployment.sweep(&process).await;
    println!("{} events, {} records", deployment.next, deployment.check(&process).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_have_an_order_while_kafka_answers() {
    let mut deployment = Deployment::new().await;
    let process = deployment.process(PATIENCE).await;
    for _ in 0..30 {
        deployment.append(&process, 20).await;
    }
    assert_eq!(deployment.left().await, 0);
    let mut last: HashMap<String, u64> = HashMap::new();
    for records in deployment.read().await.into_values() {
        for StoredRecord { record, .. } in records {
            let behavior = Behavior::decode(&deployment.t, &record.payload, u64::MAX).unwrap();
            let (user, offset) = (behavior.accepted.event.user_id, behavior.accepted.offset);
            let before = last.insert(user, offset);
            assert!(before.is_none_or(|before| before <= offset), "{before:?} and {offset}");
        }
    }
    assert_eq!(last.len(), 5);
}

/// A log whose events are published is one as any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_published_conforms() {
    let world = Deployment::new().await;
    let store = world.mongo.store_at(&world.clock, |_| {}).await;
    let events = world.events(store.clone(), PATIENCE);
    let documents = MongoDocuments::new(store, Some(world.live.clone()));
    let now_ms = world.clock.load(Ordering::Relaxed);
    Suite { events: &events, documents: &documents, live: &*world.live, now_ms, prefix: "k-" }.run().await;
    assert_eq!(world.left().await, 0, "everything is published");
}
