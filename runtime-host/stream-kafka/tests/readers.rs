//! Operators on the partitions of a real Kafka, by processes that come and go.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test suite: a failed check is a panic"
)]

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_factor_documents::store::Documents;
use funnelweb_factor_events::{
    publish::{Accepted, Announcer, Publisher},
    store::{Error, Event, Events, Position, Tenant},
};
use funnelweb_factor_live::store::{CountAdd, HotAdd, LiveEffects};
use funnelweb_log_kafka::{
    Change as GroupChange, KafkaLog, KafkaPublisher, KafkaSettings, Record, Start, Subscription, Topic,
};
use funnelweb_store_mongodb::{MongoDocuments, MongoEvents, MongoSettings, MongoStore, MongoStreams};
use funnelweb_stream::{
    Grown, Streams, Watched,
    operator::{
        Aggregated, Batch, Change, Declaration, Failure, Field, Message, Metric, Operator, Output, Topic as Said,
        Window,
    },
    store::{Counters, DeadLetter, Due, Pane, Panes, Place, Progress, Published, Seen, Step, StreamStore, Subject},
};
use funnelweb_stream_kafka::{KafkaShards, Readers};
use funnelweb_test_servers::Server;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
};
use tokio::{
    sync::watch,
    task::{JoinHandle, block_in_place},
};

/// Time for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
const SECOND: u64 = 1000;
/// Of windows.
const SIZE_MS: u64 = 10 * SECOND;
const PARTITIONS: u32 = 4;
const USERS: usize = 24;
const ITEMS: usize = 3;

/// The name of an operator that fails whatever it is given.
const BROKEN: &str = "broken";

/// Counts events by item, and says so of each window.
struct Counting {
    name: &'static str,
    declaration: Declaration,
}

impl Counting {
    fn new(name: &'static str) -> Self {
        // What is late stays in its windows.
        let allowed_lateness_ms = limits::STREAM_WINDOW_MS;
        let window = Window { size_ms: SIZE_MS, slide_ms: SIZE_MS };
        Self { name, declaration: Declaration { key: vec![Field::Item], window, allowed_lateness_ms } }
    }
}

fn count(accumulator: &[u8]) -> u64 {
    u64::from_be_bytes(accumulator.try_into().unwrap())
}

#[async_trait]
impl Operator for Counting {
    fn name(&self) -> &str {
        self.name
    }

    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    async fn aggregate(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
        if self.name == BROKEN {
            return Err(Failure::guest("broken"));
        }
        Ok(batches.iter().map(|batch| (batch.events.len() as u64).to_be_bytes().to_vec()).collect())
    }

    async fn merge(&self, panes: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
        let sum = |panes: &Vec<Vec<u8>>| panes.iter().map(|pane| count(pane)).sum::<u64>().to_be_bytes().to_vec();
        Ok(panes.iter().map(sum).collect())
    }

    async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
        let metric = |pane: &Aggregated| Metric {
            name: format!("{}_total", self.name),
            labels: vec![("item".to_owned(), pane.key[0].clone())],
            amount: count(&pane.accumulator) as f64,
        };
        Ok(panes.iter().map(|pane| vec![Change::Metric(metric(pane))]).collect())
    }

    async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
        let one = |window: &Aggregated| {
            let (key, end) = (window.key[0].clone(), window.span.to_ms);
            let body = format!(r#"{{"by":"{}","end":{end},"count":{}}}"#, self.name, count(&window.accumulator));
            vec![Output::Publish(Message { topic: Said::RecommendationMetrics, key, body })]
        };
        Ok(windows.iter().map(one).collect())
    }
}

/// State whose calls go on when nobody waits for them any more, as a server goes on with
/// what it was asked: this server needs those of one process to be one after the other.
struct Finishing(Arc<dyn StreamStore>);

impl Finishing {
    async fn finish<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        call: impl FnOnce(Arc<dyn StreamStore>) -> F,
    ) -> T {
        tokio::spawn(call(Arc::clone(&self.0))).await.unwrap()
    }
}

#[async_trait]
impl StreamStore for Finishing {
    async fn progress(&self, place: &Place) -> Result<Progress, Error> {
        let place = place.clone();
        self.finish(|store| async move { store.progress(&place).await }).await
    }
    async fn accumulators(&self, place: &Place, panes: Vec<Pane>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.0.accumulators(place, panes).await
    }
    async fn first_pane(&self, main: &Place, from_ms: u64) -> Result<Option<u64>, Error> {
        self.0.first_pane(main, from_ms).await
    }
    async fn panes(
        &self,
        main: &Place,
        range: Range<u64>,
        after: Option<Vec<String>>,
    ) -> Result<(Vec<Panes>, bool), Error> {
        self.0.panes(main, range, after).await
    }
    async fn due(&self, main: &Place, size_ms: u64, fired_ms: u64) -> Result<Vec<(Due, Panes)>, Error> {
        self.0.due(main, size_ms, fired_ms).await
    }
    async fn commit(&self, place: &Place, before: Progress, step: Step) -> Result<bool, Error> {
        let place = place.clone();
        self.finish(|store| async move { store.commit(&place, before, step).await }).await
    }
    async fn positions(&self, tenant: &Tenant) -> Result<Vec<Position>, Error> {
        self.0.positions(tenant).await
    }
    async fn set_positions(&self, tenant: &Tenant, to: Result<Vec<Position>, u64>) -> Result<(), Error> {
        self.0.set_positions(tenant, to).await
    }
    async fn published(&self, tenant: &Tenant, topic: &str, offset: u64, limit: u32) -> Result<Vec<Published>, Error> {
        self.0.published(tenant, topic, offset, limit).await
    }
    async fn dead_letters(&self, tenant: &Tenant, limit: u32) -> Result<Vec<(String, DeadLetter)>, Error> {
        self.0.dead_letters(tenant, limit).await
    }
    async fn counters(&self) -> Result<Vec<(Tenant, Arc<Counters>)>, Error> {
        self.0.counters().await
    }
    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.0.tenants().await
    }
    fn is_shared(&self) -> bool {
        self.0.is_shared()
    }
    async fn lead(&self, tenant: &Tenant) -> Result<bool, Error> {
        let tenant = tenant.clone();
        self.finish(|store| async move { store.lead(&tenant).await }).await
    }
    async fn leave(&self, tenant: &Tenant, wake_ms: Option<u64>) -> Result<(), Error> {
        let tenant = tenant.clone();
        self.finish(|store| async move { store.leave(&tenant, wake_ms).await }).await
    }
    async fn abandoned(&self) -> Result<Vec<Tenant>, Error> {
        self.0.abandoned().await
    }
    async fn log_until(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.0.log_until(tenant).await
    }
    async fn shards(&self, main: &Place) -> Result<BTreeMap<u32, Progress>, Error> {
        self.0.shards(main).await
    }
    async fn seen(&self, place: &Place) -> Result<Vec<Seen>, Error> {
        self.0.seen(place).await
    }
    async fn marks(&self, main: &Place, end_ms: u64, after: Option<Vec<String>>) -> Result<Vec<Due>, Error> {
        self.0.marks(main, end_ms, after).await
    }
    async fn fired(&self, main: &Place) -> Result<Progress, Error> {
        self.0.fired(main).await
    }
    async fn deleted(&self, tenant: &Tenant, of: Vec<Subject>) -> Result<BTreeMap<Subject, u64>, Error> {
        self.0.deleted(tenant, of).await
    }
}

/// Nobody counts heat here.
struct NoLive;

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
struct Stutter {
    to: Arc<KafkaPublisher>,
    had: Mutex<Vec<(u128, Vec<Accepted>)>>,
    calls: AtomicUsize,
    again: AtomicUsize,
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
struct World {
    _alone: tokio::sync::MutexGuard<'static, ()>,
    kafka: Server,
    _mongodb: Server,
    settings: KafkaSettings,
    store: Arc<MongoStore>,
    tenant: Tenant,
}

impl World {
    async fn new() -> Self {
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

    fn log(&self) -> KafkaLog {
        KafkaLog::new(self.settings.clone()).unwrap()
    }

    fn publisher(&self) -> Arc<KafkaPublisher> {
        Arc::new(KafkaPublisher::new(self.log()).unwrap())
    }

    /// Behaviours that are published; patiently, so that none waits to be swept.
    fn events(&self, publisher: Arc<dyn Publisher>) -> MongoEvents {
        MongoEvents::new(Arc::clone(&self.store), Arc::new(NoLive)).published_by(publisher, PATIENCE)
    }

    /// A process that follows. All of them are in this one, since the server takes the writes
    /// of one only.
    async fn process(&self, names: &[&'static str]) -> Process {
        let publisher = self.publisher();
        let events = self.events(publisher.clone());
        let announcer: Arc<dyn Announcer> = publisher;
        let state = MongoStreams::sharded(&events, announcer).await.unwrap();
        let state: Arc<dyn StreamStore> = Arc::new(Finishing(state));
        let (shards, grown) = (Arc::new(KafkaShards::new(&self.log()).unwrap()), Arc::new(Grown::default()));
        let watched = Watched::new(Arc::new(events), state.clone(), grown.clone()).with_shards(shards.clone());
        let watched: Arc<dyn Events> = Arc::new(watched);
        let operators = names.iter().map(|name| Arc::new(Counting::new(name)) as Arc<dyn Operator>).collect();
        let streams = Arc::new(Streams::new(watched.clone(), state.clone(), operators, grown).with_shards(shards));
        streams.mark_all().await;
        let (stop, stopped) = watch::channel(false);
        let readers = tokio::spawn(Readers::new(self.log(), streams.clone()).follow(stopped));
        let follows = tokio::spawn(streams.follow());
        Process { watched, state, stop, readers, follows }
    }

    /// Appends events of these times.
    async fn append(&self, events: &MongoEvents, from: usize, times: &[u64]) {
        let event = |(at, timestamp_ms): (usize, &u64)| event(from + at, *timestamp_ms);
        let events_: Vec<Event> = times.iter().enumerate().map(event).collect();
        let effects = vec![Vec::new(); events_.len()];
        events.append(&self.tenant, events_, effects).await.unwrap();
    }
}

fn event(number: usize, timestamp_ms: u64) -> Event {
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

fn item(number: usize) -> String {
    format!("item{}", number % ITEMS)
}

struct Process {
    watched: Arc<dyn Events>,
    state: Arc<dyn StreamStore>,
    stop: watch::Sender<bool>,
    readers: JoinHandle<()>,
    follows: JoinHandle<()>,
}

impl Process {
    /// Without a word to anybody.
    fn die(self) {
        self.readers.abort();
        self.follows.abort();
    }

    /// As a host that is drained.
    async fn end(self) {
        self.follows.abort();
        self.stop.send_replace(true);
        self.readers.await.unwrap();
    }

    async fn counted(&self, operator: &str) -> BTreeMap<String, u64> {
        let name = format!("{operator}_total");
        let all = self.state.counters().await.unwrap();
        let of = all.iter().flat_map(|(_, counters)| counters.iter()).filter(|(series, _)| series.name == name);
        of.map(|(series, value)| (series.labels[0].1.clone(), *value as u64)).collect()
    }

    /// What windows of an operator said last.
    async fn said(&self, tenant: &Tenant, operator: &str) -> BTreeMap<(String, u64), u64> {
        let all = self.state.published(tenant, "recommendation-metrics", 0, 10_000).await.unwrap();
        all.iter().filter_map(|message| said(&message.key, &message.body, operator)).collect()
    }

    async fn counts(&self, operator: &str, expected: &BTreeMap<String, u64>) {
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

fn said(key: &str, body: &str, operator: &str) -> Option<((String, u64), u64)> {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    (body["by"] == operator).then(|| ((key.to_owned(), body["end"].as_u64().unwrap()), body["count"].as_u64().unwrap()))
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// The counts of events by item.
fn by_item(numbers: impl IntoIterator<Item = usize>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    numbers.into_iter().for_each(|number| *counts.entry(item(number)).or_default() += 1);
    counts
}

/// Processes come, go and die, the broker is killed, and records come twice and in another
/// order: every event counts once, and windows say what a recount of all events does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_event_counts_once_whoever_comes_and_goes() {
    let mut world = World::new().await;
    let stutter = Arc::new(Stutter {
        to: world.publisher(),
        had: Mutex::default(),
        calls: AtomicUsize::new(0),
        again: AtomicUsize::new(0),
    });
    let events = world.events(stutter.clone());
    let mut processes = vec![world.process(&["seen", "other"]).await];
    // Times that ascend, with some that are far behind.
    let begin_ms = now_ms() - 600 * SECOND;
    let mut times: Vec<u64> = Vec::new();
    for round in 0..12 {
        let from = times.len();
        for batch in 0..5 {
            let first = times.len();
            let new = (first..first + 8 + batch).map(|number| {
                let late = if number % 11 == 0 { 40 * SECOND } else { 0 };
                begin_ms + 50 * SECOND + number as u64 * 137 - late
            });
            times.extend(new);
            world.append(&events, first, &times[first..]).await;
        }
        println!("round {round}: {} events", times.len() - from);
        match round % 6 {
            1 => processes.push(world.process(&["seen", "other"]).await),
            2 => processes.remove(0).die(),
            3 => {
                block_in_place(|| {
                    world.kafka.stop();
                    world.kafka.restart();
                });
                processes.push(world.process(&["seen", "other"]).await);
            }
            4 => processes.remove(0).end().await,
            _ => tokio::time::sleep(Duration::from_millis(1500)).await,
        }
    }
    // The last windows wait for all partitions to have passed them.
    let counted = times.len();
    times.extend(vec![now_ms(); 2 * USERS]);
    world.append(&events, counted, &times[counted..]).await;
    assert!(stutter.again.load(Ordering::Relaxed) > 20);
    let last = processes.last().unwrap();
    for operator in ["seen", "other"] {
        last.counts(operator, &by_item(0..times.len())).await;
    }
    let mut windows: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for (number, at_ms) in times[..counted].iter().enumerate() {
        *windows.entry((item(number), (at_ms / SIZE_MS + 1) * SIZE_MS)).or_default() += 1;
    }
    let begun = Instant::now();
    for operator in ["seen", "other"] {
        loop {
            let mut said = last.said(&world.tenant, operator).await;
            // Those of the last events speak when the clock has passed them.
            said.retain(|(_, end), _| *end <= begin_ms + 300 * SECOND);
            if said == windows {
                break;
            }
            let wrong = || windows.iter().filter(|(window, count)| said.get(window) != Some(count)).collect::<Vec<_>>();
            assert!(begun.elapsed() < PATIENCE, "{operator}: {:?} in {said:?}", wrong());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    // Nothing comes later, and others can read it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    last.counts("seen", &by_item(0..times.len())).await;
    let messages = last.state.published(&world.tenant, "recommendation-metrics", 0, 10_000).await.unwrap();
    let last = messages.last().unwrap().offset;
    let mut announced = announced(&world.log(), messages.len()).await;
    announced.retain(|offset, _| *offset <= last);
    let expected = messages.into_iter().map(|message| (message.offset, (message.key, message.body)));
    assert_eq!(announced, expected.collect::<BTreeMap<_, _>>());
}

/// The messages of the tenant `acme` that others read of its windows, by their offsets.
async fn announced(log: &KafkaLog, count: usize) -> BTreeMap<u64, (String, String)> {
    let mut group = log.join("check", &Subscription::Topics(vec![Topic::Metrics])).unwrap();
    let (sender, mut records) = tokio::sync::mpsc::unbounded_channel();
    let reading = tokio::spawn(async move {
        while let Ok(change) = group.next().await {
            let GroupChange::Assigned(assigned) = change else { continue };
            let starts = vec![Start::Oldest; assigned.partitions.len()];
            for mut partition in assigned.begin(starts).unwrap() {
                let sender = sender.clone();
                tokio::spawn(async move {
                    loop {
                        let records = partition.next(100).await;
                        if records.is_empty() {
                            return;
                        }
                        records.into_iter().for_each(|record| drop(sender.send(record)));
                    }
                });
            }
        }
    });
    let mut all = BTreeMap::new();
    let begun = Instant::now();
    while all.len() < count {
        let stored = tokio::time::timeout(PATIENCE, records.recv()).await.unwrap().unwrap();
        assert!(begun.elapsed() < PATIENCE);
        let (name, offset) = &stored.record.headers[0];
        assert_eq!(name, "offset");
        let offset: u64 = std::str::from_utf8(offset).unwrap().parse().unwrap();
        let key = String::from_utf8(stored.record.key).unwrap();
        let mut body: serde_json::Map<_, _> = serde_json::from_slice(&stored.record.payload).unwrap();
        assert_eq!(body.remove("tenant_id").unwrap(), "acme");
        let body: serde_json::Value = body.into();
        let ours = format!(r#"{{"by":{},"end":{},"count":{}}}"#, body["by"], body["end"], body["count"]);
        // What was announced again says the same.
        let told = (key.strip_prefix("acme/").unwrap().to_owned(), ours);
        let before = all.insert(offset, told.clone());
        assert!(before.is_none_or(|before| before == told));
    }
    reading.abort();
    all
}

/// Events from before Kafka are taken from the log, those after it from Kafka, and the
/// way back is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_there_before_is_taken_from_the_log() {
    let world = World::new().await;
    let alone = MongoEvents::new(Arc::clone(&world.store), Arc::new(NoLive));
    // As a version without Kafka has left it: some are taken, some are not.
    let state: Arc<dyn StreamStore> = MongoStreams::open(&alone).await.unwrap();
    let now = now_ms();
    world.append(&alone, 0, &[now; 30]).await;
    let engine = funnelweb_stream::Engine::new(Arc::new(alone.clone()), state);
    engine.step(&world.tenant, &Counting::new("seen"), now).await.unwrap();
    world.append(&alone, 30, &[now; 30]).await;

    let process = world.process(&["seen"]).await;
    let events = world.events(world.publisher());
    world.append(&events, 60, &[now; 40]).await;
    process.counts("seen", &by_item(0..100)).await;
    // Everything is taken, and the export of it says so.
    process.watched.settle(&world.tenant).await.unwrap();
    let positions = process.watched.positions(&world.tenant).await.unwrap().unwrap();
    assert_eq!((positions[0].operator.as_str(), positions[0].next), ("seen", 101));
    let denied = MongoStreams::open(&alone).await.err().unwrap();
    assert!(matches!(&denied, Error::Denied(rule) if rule.contains("[kafka] is missing")), "{denied}");
    process.end().await;
}

/// What is no behaviour is passed over and kept with its reason, and an operator that is
/// broken holds up no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_broken_holds_up_nothing() {
    let world = World::new().await;
    let events = world.events(world.publisher());
    let process = world.process(&[BROKEN, "seen"]).await;
    let now = now_ms();
    world.append(&events, 0, &[now; USERS]).await;
    let of_another = r#"{"tenant_id":"other","event_id":"e"}"#;
    let records = ["no JSON", of_another].map(|payload| Record::new("user1", payload)).to_vec();
    let topic = Topic::Behaviors("acme".to_owned());
    world.log().producer().unwrap().append(&topic, records).await.unwrap();
    world.append(&events, USERS, &[now; USERS]).await;
    process.counts("seen", &by_item(0..2 * USERS)).await;
    // Others read of them, too. What a step changes is there one after the other.
    let (ends, begun) = (world.log().ends().unwrap(), Instant::now());
    let dead = loop {
        let dead = process.state.dead_letters(&world.tenant, 10).await.unwrap();
        let there = ends.of(&Topic::DeadBehaviors("acme".to_owned())).await.unwrap();
        if dead.len() == 2 && there.iter().map(|there| there.end - there.start).sum::<u64>() >= 2 {
            break dead;
        }
        assert!(begun.elapsed() < PATIENCE, "{dead:?} {there:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for (operator, letter) in dead {
        assert_eq!(operator, "seen");
        assert!(letter.reason.starts_with("expected") || letter.reason.contains("missing field"), "{letter:?}");
    }
    assert!(process.counted(BROKEN).await.is_empty());
    let behind = process.watched.settle(&world.tenant).await.unwrap_err();
    assert!(matches!(&behind, Error::Unavailable(rule) if rule.contains(BROKEN)), "{behind}");
    process.end().await;
}

/// A topic that somebody deletes begins anew, with offsets that were taken before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_topic_that_is_made_anew_is_read_from_its_begin() {
    let world = World::new().await;
    let events = world.events(world.publisher());
    let (now, process) = (now_ms(), world.process(&["seen"]).await);
    world.append(&events, 0, &vec![now; 4 * USERS]).await;
    process.counts("seen", &by_item(0..4 * USERS)).await;
    process.end().await;
    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", format!("127.0.0.1:{}", world.kafka.port())).create().unwrap();
    admin.delete_topics(&["user-behaviors-acme"], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    let (ends, topic, begun) = (world.log().ends().unwrap(), Topic::Behaviors("acme".to_owned()), Instant::now());
    while !ends.of(&topic).await.unwrap().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the topic is there yet");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let events = world.events(world.publisher());
    world.append(&events, 4 * USERS, &[now; USERS]).await;
    let process = world.process(&["seen"]).await;
    process.counts("seen", &by_item(0..5 * USERS)).await;
    process.end().await;
}

/// Who is deleted while events are on their way to operators is not counted any more; who
/// comes back is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_deleted_on_its_way_is_not_counted() {
    let world = World::new().await;
    let events = world.events(world.publisher());
    let announcer: Arc<dyn Announcer> = world.publisher();
    let _state = MongoStreams::sharded(&events, announcer).await.unwrap();
    let now = now_ms();
    world.append(&events, 0, &vec![now; 2 * USERS]).await;
    let documents = MongoDocuments::new(Arc::clone(&world.store), None);
    documents.delete_user(&world.tenant, "user1".to_owned()).await.unwrap();
    let process = world.process(&["seen"]).await;
    let is_there = |number: &usize| number % USERS != 1;
    process.counts("seen", &by_item((0..2 * USERS).filter(is_there))).await;
    world.append(&events, 2 * USERS, &[now; USERS]).await;
    let all = (0..2 * USERS).filter(is_there).chain(2 * USERS..3 * USERS);
    process.counts("seen", &by_item(all)).await;
    process.die();
}
