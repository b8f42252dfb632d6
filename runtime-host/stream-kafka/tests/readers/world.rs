//! A deployment: its servers, its log of events, and processes that follow it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_factor_events::{
    publish::{Accepted, Announcer, Publisher},
    store::{Error, Event, Events, Tenant},
};
use funnelweb_factor_live::store::{CountAdd, HotAdd, LiveEffects};
use funnelweb_log_kafka::{KafkaLog, KafkaPublisher, KafkaSettings};
use funnelweb_store_mongodb::{MongoEvents, MongoSettings, MongoStore, MongoStreams};
use funnelweb_stream::{Grown, Streams, Watched, conformance::Counting, operator::Operator, store::StreamStore};
use funnelweb_stream_kafka::{KafkaShards, Readers};
use funnelweb_test_servers::Server;
use tokio::{
    sync::watch,
    task::{JoinHandle, block_in_place},
};

use crate::finishing::Finishing;

/// Time for anything, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);
pub const SECOND: u64 = 1000;
/// Of windows.
pub const SIZE_MS: u64 = 10 * SECOND;
const PARTITIONS: u32 = 4;
pub const USERS: usize = 24;
const ITEMS: usize = 3;
/// The name of an operator that fails whatever it is given.
pub const BROKEN: &str = "broken";

/// An operator that counts; what is late stays in its windows.
pub fn operator(name: &'static str) -> Arc<dyn Operator> {
    let counting = Counting::new(name, SIZE_MS, limits::STREAM_WINDOW_MS);
    Arc::new(if name == BROKEN { counting.broken() } else { counting })
}

/// Nobody counts heat here.
pub struct NoLive;

#[async_trait]
impl LiveEffects for NoLive {
    async fn apply(&self, _: &Tenant, _: u128, _: Vec<HotAdd>, _: Vec<CountAdd>) -> Result<(), Error> {
        Ok(())
    }
    async fn forget_user(&self, _: &Tenant, _: &str, _: Vec<String>) -> Result<(), Error> {
        Ok(())
    }
    async fn forget_scenario(&self, _: &Tenant, _: &str, _: Vec<String>) -> Result<(), Error> {
        Ok(())
    }
}

/// A publisher that publishes what it had before once more now and then: in another order,
/// in part, and all of it.
pub struct Stutter {
    to: Arc<KafkaPublisher>,
    had: Mutex<Vec<(u128, Vec<Accepted>)>>,
    calls: AtomicUsize,
    /// Events that it published again.
    pub again: AtomicUsize,
}

impl Stutter {
    pub fn new(to: Arc<KafkaPublisher>) -> Arc<Self> {
        let (calls, again) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { to, had: Mutex::default(), calls, again })
    }
}

#[async_trait]
impl Publisher for Stutter {
    async fn publish(&self, tenant: &Tenant, batch: u128, events: Vec<Accepted>) -> Result<usize, Error> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let once_more = {
            let mut had = self.had.lock().unwrap();
            had.push((batch, events.clone()));
            had.get(call * 7 % had.len()).cloned().filter(|_| call.is_multiple_of(3))
        };
        self.to.publish(tenant, batch, events).await?;
        if let Some((batch, mut events)) = once_more {
            events.truncate(1 + call % 5);
            self.again.fetch_add(events.len(), Ordering::Relaxed);
            self.to.publish(tenant, batch, events).await?;
        }
        Ok(0)
    }
}

/// The servers, and a deployment's log of events. One at a time: each is a broker.
pub struct World {
    _alone: tokio::sync::MutexGuard<'static, ()>,
    pub kafka: Server,
    _mongodb: Server,
    settings: KafkaSettings,
    pub store: Arc<MongoStore>,
    pub tenant: Tenant,
}

impl World {
    pub async fn new() -> Self {
        static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let alone = ALONE.lock().await;
        let (kafka, mongodb) = block_in_place(|| (Server::kafka(&[]), Server::ferretdb(&[])));
        let settings = KafkaSettings {
            partitions: PARTITIONS,
            connect_timeout_ms: 60_000,
            operation_timeout_ms: 60_000,
            append_timeout_ms: 120_000,
            session_timeout_ms: 6_000,
            discover_interval_ms: 1_000,
            ..KafkaSettings::of(format!("127.0.0.1:{}", kafka.port()))
        };
        let url = format!("mongodb://127.0.0.1:{}/", mongodb.port());
        // This server answers nobody any more once many updates wait for its own connections.
        let of_store =
            MongoSettings { operation_timeout_ms: 20_000, pool_max: 16, ..MongoSettings::new(url, "funnelweb") };
        let begun = Instant::now();
        let store = loop {
            match MongoStore::connect(of_store.clone()).await {
                Ok(store) => break store,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        Self { _alone: alone, kafka, _mongodb: mongodb, settings, store, tenant: Tenant::new("acme").unwrap() }
    }

    pub fn log(&self) -> KafkaLog {
        KafkaLog::new(self.settings.clone()).unwrap()
    }

    pub fn publisher(&self) -> Arc<KafkaPublisher> {
        Arc::new(KafkaPublisher::new(self.log()).unwrap())
    }

    /// Behaviours that are published; patiently, so that none waits to be swept.
    pub fn events(&self, publisher: Arc<dyn Publisher>) -> MongoEvents {
        MongoEvents::new(Arc::clone(&self.store), Arc::new(NoLive)).published_by(publisher, PATIENCE)
    }

    /// A process that follows. All of them are in this one, since the server takes the writes
    /// of one only.
    pub async fn process(&self, names: &[&'static str]) -> Process {
        let publisher = self.publisher();
        let events = self.events(publisher.clone());
        let announcer: Arc<dyn Announcer> = publisher;
        let state = MongoStreams::sharded(&events, announcer).await.unwrap();
        let state: Arc<dyn StreamStore> = Arc::new(Finishing(state));
        let (shards, grown) = (Arc::new(KafkaShards::new(&self.log()).unwrap()), Arc::new(Grown::default()));
        let watched = Watched::new(Arc::new(events), state.clone(), grown.clone()).with_shards(shards.clone());
        let watched: Arc<dyn Events> = Arc::new(watched);
        let operators = names.iter().map(|name| operator(name)).collect();
        let streams = Arc::new(Streams::new(watched.clone(), state.clone(), operators, grown).with_shards(shards));
        streams.mark_all().await;
        let (stop, stopped) = watch::channel(false);
        let readers = tokio::spawn(Readers::new(self.log(), streams.clone()).follow(stopped));
        let follows = tokio::spawn(streams.follow());
        Process { watched, state, stop, readers, follows }
    }

    /// Appends events of these times.
    pub async fn append(&self, events: &MongoEvents, from: usize, times: &[u64]) {
        let event = |(at, timestamp_ms): (usize, &u64)| event(from + at, *timestamp_ms);
        let events_: Vec<Event> = times.iter().enumerate().map(event).collect();
        let effects = vec![Vec::new(); events_.len()];
        events.append(&self.tenant, events_, effects).await.unwrap();
    }
}

pub fn event(number: usize, timestamp_ms: u64) -> Event {
    Event {
        event_id: format!("e{number}"),
        scenario_id: "feed".to_owned(),
        user_id: format!("user{}", number % USERS),
        item_id: item(number),
        action_type: "click".to_owned(),
        timestamp_ms,
        body: "{}".to_owned(),
        signal: None,
    }
}

pub fn item(number: usize) -> String {
    format!("item{}", number % ITEMS)
}

pub struct Process {
    pub watched: Arc<dyn Events>,
    pub state: Arc<dyn StreamStore>,
    stop: watch::Sender<bool>,
    readers: JoinHandle<()>,
    follows: JoinHandle<()>,
}

impl Process {
    /// Without a word to anybody.
    pub fn die(self) {
        self.readers.abort();
        self.follows.abort();
    }

    /// As a host that is drained.
    pub async fn end(self) {
        self.follows.abort();
        self.stop.send_replace(true);
        self.readers.await.unwrap();
    }

    pub async fn counted(&self, operator: &str) -> BTreeMap<String, u64> {
        let all = self.state.counters().await.unwrap();
        let of = all.iter().flat_map(|(_, counters)| counters.iter());
        let of = of.filter(|(series, _)| series.name == "seen_total" && series.labels[1].1 == operator);
        of.map(|(series, value)| (series.labels[0].1.clone(), *value as u64)).collect()
    }

    /// What windows of an operator said last.
    pub async fn said(&self, tenant: &Tenant, operator: &str) -> BTreeMap<(String, u64), u64> {
        let all = self.state.published(tenant, "recommendation-metrics", 0, 10_000).await.unwrap();
        all.iter().filter_map(|message| said(&message.key, &message.body, operator)).collect()
    }

    pub async fn counts(&self, operator: &str, expected: &BTreeMap<String, u64>) {
        let begun = Instant::now();
        loop {
            let counted = self.counted(operator).await;
            if counted.values().sum::<u64>() >= expected.values().sum() {
                assert_eq!(counted, *expected);
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{counted:?} of {expected:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

pub fn said(key: &str, body: &str, operator: &str) -> Option<((String, u64), u64)> {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    (body["by"] == operator).then(|| ((key.to_owned(), body["end"].as_u64().unwrap()), body["count"].as_u64().unwrap()))
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// The counts of events by item.
pub fn by_item(numbers: impl IntoIterator<Item = usize>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    numbers.into_iter().for_each(|number| *counts.entry(item(number)).or_default() += 1);
    counts
}
