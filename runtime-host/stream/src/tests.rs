//! The engine over the embedded log, with operators that are written for it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_factor_documents::SqliteDocuments;
use funnelweb_factor_events::{
    SqliteEvents,
    store::{Event as Logged, Events},
};
use funnelweb_factor_live::SqliteLive;
use funnelweb_tenant_store::{Clock, Durability, Error, Purge, Tenant, TenantStores};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::{
    Engine, Grown, Outcome, SqliteStreams, StepError, Streams, Watched,
    operator::{
        Aggregated, Batch, Change, Declaration, Event, Failure, Field, Message, Metric, Operator, Output, Topic, Window,
    },
    store::{Series, StreamStore},
};

/// Counts events, their seconds, and says both of each window; some it cannot take.
struct Counting {
    declaration: Declaration,
    poison: fn(&Event) -> bool,
    /// Fails with whatever it is given while this is above 0.
    broken: AtomicUsize,
    /// Is late so often.
    late: AtomicUsize,
    /// Cannot sum anything up.
    silent: AtomicBool,
    /// How often it was asked to add.
    asked: AtomicUsize,
    /// Bytes that its accumulators have too many.
    padding: usize,
}

impl Counting {
    fn new(size_ms: u64, slide_ms: u64, allowed_lateness_ms: u64) -> Self {
        let key = vec![Field::Scenario, Field::Item];
        let declaration = Declaration { key, window: Window { size_ms, slide_ms }, allowed_lateness_ms };
        Self {
            declaration,
            poison: |_| false,
            broken: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
            silent: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            padding: 0,
        }
    }
}

fn read(accumulator: &[u8]) -> Result<(u64, f64), Failure> {
    let text = std::str::from_utf8(accumulator).map_err(|error| Failure::guest(error.to_string()))?;
    let (count, seconds) = text.split_once(' ').ok_or(Failure::guest("no accumulator"))?;
    Ok((count.parse().unwrap(), seconds.trim_end().parse().unwrap()))
}

#[async_trait]
impl Operator for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    async fn add(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let left = self.broken.load(Ordering::Relaxed);
        if left > 0 {
            self.broken.store(left - 1, Ordering::Relaxed);
            return Err(Failure::guest("broken"));
        }
        let late = self.late.load(Ordering::Relaxed);
        if late > 0 && !batches.is_empty() {
            self.late.store(late - 1, Ordering::Relaxed);
            return Err(Failure::Late("late".to_owned()));
        }
        let one = |batch: &Batch| {
            assert!(
                batch.events.iter().all(|event| (batch.pane.from_ms..batch.pane.to_ms).contains(&event.timestamp_ms))
            );
            if batch.events.iter().any(self.poison) {
                return Err(Failure::guest("poison"));
            }
            let (count, seconds) = batch.accumulator.as_deref().map_or(Ok((0, 0.0)), read)?;
            let watched: f64 = batch.events.iter().filter_map(|event| event.watch_duration).sum();
            let count = count + batch.events.len() as u64;
            Ok(format!("{count} {}{:padding$}", seconds + watched, "", padding = self.padding).into_bytes())
        };
        batches.iter().map(one).collect()
    }

    async fn merge(&self, panes: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
        let one = |panes: &Vec<Vec<u8>>| {
            assert!(panes.len() > 1);
            let read = panes.iter().map(|pane| read(pane)).collect::<Result<Vec<_>, _>>()?;
            let sum = read.iter().fold((0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            Ok(format!("{} {}", sum.0, sum.1).into_bytes())
        };
        panes.iter().map(one).collect()
    }

    async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
        let one = |pane: &Aggregated| {
            let (count, seconds) = read(&pane.accumulator)?;
            let label = ("item".to_owned(), pane.key[1].clone());
            let metric = |name: &str, amount| {
                Change::Metric(Metric { name: name.to_owned(), labels: vec![label.clone()], amount })
            };
            Ok(vec![metric("seen_total", count as f64), metric("seconds_total", seconds)])
        };
        panes.iter().map(one).collect()
    }

    async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
        if self.silent.load(Ordering::Relaxed) {
            return Err(Failure::guest("silent"));
        }
        let one = |window: &Aggregated| {
            let (count, _) = read(&window.accumulator)?;
            let (key, end) = (window.key.join("/"), window.span.to_ms);
            let body = format!(r#"{{"end": {end}, "count": {count}}}"#);
            Ok(vec![Output::Publish(Message { topic: Topic::RecommendationMetrics, key, body })])
        };
        windows.iter().map(one).collect()
    }
}

fn logged(number: usize, timestamp_ms: u64, item: &str) -> Logged {
    Logged {
        event_id: format!("e{number}"),
        scenario_id: "feed".to_owned(),
        user_id: "ann".to_owned(),
        item_id: item.to_owned(),
        action_type: "watch".to_owned(),
        timestamp_ms,
        body: r#"{"extra":{"watch_duration":0.5}}"#.to_owned(),
    }
}

/// A log and the state of operators, in a folder.
struct World {
    folder: TempDir,
    files: Arc<TenantStores>,
    log: Arc<dyn Events>,
    store: Arc<dyn StreamStore>,
    engine: Engine,
    tenant: Tenant,
}

impl World {
    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }

    fn open(folder: TempDir) -> Self {
        Self::at(folder, Arc::new(|| NOW + 1_000_000 * SECOND))
    }

    fn at(folder: TempDir, clock: Clock) -> Self {
        let files = Arc::new(TenantStores::with(folder.path(), clock, limits::OPEN_TENANTS).unwrap());
        let documents = SqliteDocuments::new(files.clone()).unwrap();
        let live = SqliteLive::new(files.clone()).unwrap();
        let log: Arc<dyn Events> = Arc::new(SqliteEvents::new(files.clone(), &documents, &live).unwrap());
        let store: Arc<dyn StreamStore> = Arc::new(SqliteStreams::new(files.clone()).unwrap());
        let engine = Engine::new(log.clone(), store.clone());
        Self { folder, files, log, store, engine, tenant: Tenant::new("acme").unwrap() }
    }

    /// The same folder, as a process that starts finds it.
    fn again(self) -> Self {
        let Self { folder, files, log, store, engine, .. } = self;
        drop((files, log, store, engine));
        Self::open(folder)
    }

    async fn append(&self, events: &[(u64, &str)]) {
        let stamp = self.log.last_offset(&self.tenant).await.unwrap();
        let place = |at: usize| stamp as usize * 100_000 + at;
        let event = |(at, (timestamp_ms, item)): (usize, &(u64, &str))| logged(place(at), *timestamp_ms, item);
        let events: Vec<Logged> = events.iter().enumerate().map(event).collect();
        for events in events.chunks(limits::EVENTS) {
            self.log.append(&self.tenant, events.to_vec(), vec![vec![]; events.len()]).await.unwrap();
        }
    }

    /// Makes steps until there is nothing more to do; whether windows are open.
    async fn run(&self, operator: &Counting, now_ms: u64) -> bool {
        loop {
            match self.engine.step(&self.tenant, operator, now_ms).await.unwrap() {
                Outcome::Advanced => {}
                Outcome::Rests(until) => return until.is_some(),
            }
        }
    }

    /// Of each item what is counted under this name.
    async fn counted(&self, name: &str) -> BTreeMap<String, f64> {
        let all = self.store.counters().await.unwrap();
        let values = all.into_iter().flat_map(|(_, values)| values.as_ref().clone());
        let of = |(series, value): (Series, f64)| {
            (series.name == name)
                .then(|| (series.labels.into_iter().next().map(|(_, value)| value).unwrap_or_default(), value))
        };
        values.filter_map(of).collect()
    }

    /// What windows said last, by key and end.
    async fn said(&self) -> BTreeMap<(String, u64), u64> {
        let messages = self.store.published(&self.tenant, "recommendation-metrics", 0, u32::MAX).await.unwrap();
        let of = |message: crate::store::Published| {
            let body: serde_json::Value = serde_json::from_str(&message.body).unwrap();
            ((message.key, body["end"].as_u64().unwrap()), body["count"].as_u64().unwrap())
        };
        messages.into_iter().map(of).collect()
    }
}

const NOW: u64 = 1_767_225_600_000;
const SECOND: u64 = 1000;

#[tokio::test]
async fn what_comes_is_counted_and_a_window_speaks_at_its_end() {
    let (world, operator) = (World::new(), Counting::new(10 * SECOND, 10 * SECOND, 0));
    world.append(&[(NOW, "a"), (NOW + 1, "a"), (NOW + 2, "b")]).await;
    assert!(world.run(&operator, NOW + SECOND).await, "a window waits for its end");
    assert_eq!(world.counted("seen_total").await, BTreeMap::from([("a".into(), 2.0), ("b".into(), 1.0)]));
    assert_eq!(world.counted("seconds_total").await["a"], 1.0);
    assert!(world.said().await.is_empty());
    // An event of another window, whose time is as far ahead as events may be behind.
    world.append(&[(NOW + 20 * SECOND, "a")]).await;
    world.run(&operator, NOW + 20 * SECOND).await;
    let end = NOW + 10 * SECOND;
    assert_eq!(world.said().await, BTreeMap::from([(("feed/a".into(), end), 2), (("feed/b".into(), end), 1)]));
    // The clock alone ends the last one.
    let idle = limits::STREAM_IDLE.as_millis() as u64;
    assert!(world.run(&operator, NOW + 30 * SECOND + idle - 1).await);
    assert!(!world.run(&operator, NOW + 30 * SECOND + idle).await);
    assert_eq!(world.said().await[&("feed/a".into(), NOW + 30 * SECOND)], 1);
}

#[tokio::test]
async fn a_late_event_is_counted_and_within_the_lateness_said() {
    let (world, operator) = (World::new(), Counting::new(10 * SECOND, 10 * SECOND, 20 * SECOND));
    world.append(&[(NOW, "a"), (NOW + 25 * SECOND, "b")]).await;
    world.run(&operator, NOW + 60 * SECOND).await;
    let end = NOW + 10 * SECOND;
    assert_eq!(world.said().await[&("feed/a".into(), end)], 1);
    world.append(&[(NOW + 1, "a"), (NOW + 2, "c")]).await;
    world.run(&operator, NOW + 60 * SECOND).await;
    let said = world.said().await;
    assert_eq!((said[&("feed/a".into(), end)], said[&("feed/c".into(), end)]), (2, 1));
    assert!(world.counted("stream_late_events_total").await.is_empty());
    // Past it, the event is counted and the window keeps silent.
    world.append(&[(NOW + 45 * SECOND, "b"), (NOW + 3, "x")]).await;
    world.run(&operator, NOW + 60 * SECOND).await;
    world.append(&[(NOW + 3, "a")]).await;
    world.run(&operator, NOW + 60 * SECOND).await;
    assert_eq!(world.said().await[&("feed/a".into(), end)], 2);
    assert_eq!(world.counted("seen_total").await["a"], 3.0);
    assert_eq!(world.counted("stream_late_events_total").await["counting"], 1.0);
    // Nobody's clock makes others late.
    world.append(&[(NOW + 3_600_000, "z")]).await;
    world.run(&operator, NOW + 60 * SECOND).await;
    world.append(&[(NOW + 46 * SECOND, "b")]).await;
    world.run(&operator, NOW + 60 * SECOND).await;
    assert_eq!(world.counted("stream_late_events_total").await["counting"], 1.0);
}

#[tokio::test]
async fn a_poisoned_event_is_passed_over_and_said_so() {
    let world = World::new();
    let operator = Counting { poison: |event| event.item_id == "p", ..Counting::new(SECOND, SECOND, 0) };
    let mut events: Vec<(u64, &str)> = (0..500).map(|at| (NOW + at, ["a", "b"][at as usize % 2])).collect();
    events.insert(77, (NOW, "p"));
    events.insert(300, (NOW + 1, "p"));
    world.append(&events).await;
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await, BTreeMap::from([("a".into(), 250.0), ("b".into(), 250.0)]));
    assert_eq!(world.counted("stream_dead_letters_total").await["counting"], 2.0);
    let dead = world.store.dead_letters(&world.tenant, 10).await.unwrap();
    assert_eq!(dead.len(), 2);
    let (name, letter) = &dead[0];
    assert_eq!((name.as_str(), letter.reason.as_str(), letter.user_id.as_str()), ("counting", "poison", "ann"));
    let mut offsets: Vec<u64> = dead.iter().map(|(_, letter)| letter.offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [78, 301]);
}

#[tokio::test]
async fn the_search_for_poison_has_an_end() {
    let world = World::new();
    let operator = Counting { poison: |event| event.item_id == "p", ..Counting::new(SECOND, SECOND, 0) };
    let events: Vec<(u64, &str)> = (0..limits::STREAM_EVENTS).map(|_| (NOW, "p")).collect();
    world.append(&events).await;
    world.run(&operator, NOW).await;
    assert!(operator.asked.load(Ordering::Relaxed) < 8 * limits::STREAM_FAILURES);
    let dead = world.store.dead_letters(&world.tenant, u32::MAX).await.unwrap();
    assert_eq!(dead.len(), events.len());
    world.append(&[(NOW, "a")]).await;
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await["a"], 1.0);
}

#[tokio::test]
async fn large_windows_fire_in_several_steps() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 60 * SECOND));
    let operator = Counting { padding: limits::STREAM_ACCUMULATOR_BYTES - 64, ..operator };
    let keys = limits::STREAM_WINDOWS_BYTES / limits::STREAM_ACCUMULATOR_BYTES + limits::STREAM_KEYS / 4;
    assert!(keys > limits::STREAM_KEYS);
    let items: Vec<String> = (0..keys).map(|at| format!("i{at:05}")).collect();
    let events: Vec<(u64, &str)> = items.iter().map(|item| (NOW, item.as_str())).collect();
    world.append(&events).await;
    let later = NOW + limits::STREAM_IDLE.as_millis() as u64 + 2 * SECOND;
    world.run(&operator, later).await;
    assert_eq!(world.said().await.len(), keys);
    // And again, for what comes late.
    world.append(&events).await;
    world.run(&operator, later).await;
    assert!(world.said().await.values().all(|count| *count == 2));
    assert_eq!(world.said().await.len(), keys);
}

#[tokio::test]
async fn messages_are_kept_for_so_long() {
    let retention = limits::TOPIC_RETENTION.as_millis() as u64;
    let now = Arc::new(AtomicU64::new(NOW + retention));
    let clock = now.clone();
    let world = World::at(tempfile::tempdir().unwrap(), Arc::new(move || clock.load(Ordering::Relaxed)));
    let operator = Counting::new(SECOND, SECOND, 0);
    let out_of_order = limits::STREAM_OUT_OF_ORDER.as_millis() as u64;
    world.append(&[(NOW, "a"), (NOW + SECOND + out_of_order, "a")]).await;
    world.run(&operator, NOW + 10 * SECOND + out_of_order).await;
    assert_eq!(world.said().await.len(), 1);
    let first = ("feed/a".to_owned(), NOW + SECOND);
    for (later, is_kept) in [(0, true), (1, false)] {
        now.store(NOW + 2 * retention + later, Ordering::Relaxed);
        let at = NOW + (2 + later) * (SECOND + out_of_order);
        world.append(&[(at, "a")]).await;
        world.run(&operator, at).await;
        assert_eq!(world.said().await.contains_key(&first), is_kept);
    }
}

#[tokio::test]
async fn an_operator_that_is_broken_loses_nothing() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    world.append(&[(NOW, "a"), (NOW, "b")]).await;
    operator.broken.store(9, Ordering::Relaxed);
    let error = world.engine.step(&world.tenant, &operator, NOW).await.unwrap_err();
    assert!(matches!(error, StepError::Operator { .. }), "{error}");
    operator.broken.store(0, Ordering::Relaxed);
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await.values().sum::<f64>(), 2.0);
    assert!(world.store.dead_letters(&world.tenant, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_operator_that_sums_nothing_up_passes_no_window_over() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    world.append(&[(NOW, "a")]).await;
    let later = NOW + 2 * limits::STREAM_IDLE.as_millis() as u64;
    operator.silent.store(true, Ordering::Relaxed);
    assert_eq!(world.engine.step(&world.tenant, &operator, later).await.unwrap(), Outcome::Advanced);
    world.engine.step(&world.tenant, &operator, later).await.unwrap_err();
    operator.silent.store(false, Ordering::Relaxed);
    world.run(&operator, later).await;
    assert_eq!(world.said().await.len(), 1);
    assert!(world.store.dead_letters(&world.tenant, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_late_once_is_counted() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    world.append(&[(NOW, "a")]).await;
    operator.late.store(1, Ordering::Relaxed);
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await["a"], 1.0);
    // And what always is, is passed over.
    world.append(&[(NOW, "a")]).await;
    operator.late.store(2, Ordering::Relaxed);
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await["a"], 1.0);
    assert_eq!(world.store.dead_letters(&world.tenant, 10).await.unwrap()[0].1.reason, "late");
}

#[tokio::test]
async fn a_pane_that_cannot_be_read_any_more_begins_anew() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    world.append(&[(NOW, "a"), (NOW, "a"), (NOW, "b")]).await;
    world.run(&operator, NOW).await;
    let file = world.files.open(&world.tenant).await.unwrap();
    let spoil = "UPDATE stream_panes SET accumulator = x'00' WHERE instr(key, 'a') > 0";
    file.write(Durability::Relaxed, move |write| write.execute_batch(spoil).map_err(Error::from)).await.unwrap();
    world.append(&[(NOW, "a"), (NOW, "b"), (NOW, "a")]).await;
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await, BTreeMap::from([("a".into(), 4.0), ("b".into(), 2.0)]));
    let dead = world.store.dead_letters(&world.tenant, 10).await.unwrap();
    assert!(dead.iter().all(|(_, letter)| letter.reason.starts_with("pane of feed a")) && !dead.is_empty(), "{dead:?}");
}

#[tokio::test]
async fn windows_speak_though_the_log_never_rests() {
    let (world, operator) = (World::new(), Counting::new(10 * SECOND, 10 * SECOND, 0));
    for at in 0..20 {
        world.append(&[(NOW + at * 5 * SECOND, "a")]).await;
        world.engine.step(&world.tenant, &operator, NOW + 200 * SECOND).await.unwrap();
        // More than the step takes.
        world.append(&[(NOW + at * 5 * SECOND + 1, "a")]).await;
    }
    assert!(world.said().await.len() > 3, "{:?}", world.said().await);
}

#[tokio::test]
async fn a_window_before_those_that_are_firing_speaks_too() {
    let (world, operator) = (World::new(), Counting::new(10 * SECOND, 10 * SECOND, 60 * SECOND));
    let items: Vec<String> = (0..limits::STREAM_KEYS + 5).map(|at| format!("k{at:04}")).collect();
    let events: Vec<(u64, &str)> = items.iter().map(|item| (NOW + 30 * SECOND, item.as_str())).collect();
    world.append(&events).await;
    let later = NOW + 200 * SECOND;
    for _ in 0..2 {
        assert_eq!(world.engine.step(&world.tenant, &operator, later).await.unwrap(), Outcome::Advanced);
    }
    let progress = world.store.progress(&world.tenant, "counting").await.unwrap();
    assert!(progress.firing.is_some(), "{progress:?}");
    world.append(&[(NOW + 5 * SECOND, "a")]).await;
    world.run(&operator, later).await;
    assert_eq!(world.said().await[&("feed/a".into(), NOW + 10 * SECOND)], 1);
    assert_eq!(world.said().await.len(), items.len() + 1);
}

#[tokio::test]
async fn what_is_deleted_during_a_step_stays_deleted() {
    /// Waits before it adds.
    struct Held(Counting, Semaphore, Semaphore);
    #[async_trait]
    impl Operator for Held {
        fn name(&self) -> &str {
            self.0.name()
        }
        fn declaration(&self) -> &Declaration {
            self.0.declaration()
        }
        async fn add(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
            self.1.add_permits(1);
            let _go = self.2.acquire().await.unwrap();
            self.0.add(batches).await
        }
        async fn merge(&self, panes: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
            self.0.merge(panes).await
        }
        async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
            self.0.changes(panes).await
        }
        async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
            self.0.summary(windows).await
        }
    }
    let world = World::new();
    world.append(&[(NOW, "a")]).await;
    let held = Held(Counting::new(SECOND, SECOND, 0), Semaphore::new(0), Semaphore::new(0));
    let purge = async {
        let _in = held.1.acquire().await.unwrap();
        world.files.purge(&world.tenant, Purge::Scenario("feed".to_owned())).await.unwrap();
        held.2.add_permits(1);
    };
    let (step, ()) = tokio::join!(world.engine.step(&world.tenant, &held, NOW), purge);
    assert_eq!(step.unwrap(), Outcome::Advanced);
    world.run(&held.0, NOW).await;
    assert!(world.counted("seen_total").await.is_empty());
    assert_eq!(world.store.first_pane(&world.tenant, "counting", 0).await.unwrap(), None);
}

#[tokio::test]
async fn one_of_two_engines_makes_a_step() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    world.append(&vec![(NOW, "a"); 3000]).await;
    let (one, other) = tokio::join!(world.run(&operator, NOW), world.run(&operator, NOW));
    assert!(one && other);
    assert_eq!(world.counted("seen_total").await["a"], 3000.0);
}

#[tokio::test]
async fn what_is_written_when_nobody_waits_any_more_is_counted() {
    let world = World::new();
    let grown = Arc::new(Grown::default());
    let watched: Arc<dyn Events> = Arc::new(Watched::new(world.log.clone(), grown.clone()));
    let operator: Arc<dyn Operator> = Arc::new(Counting::new(SECOND, SECOND, 0));
    let streams = Arc::new(Streams::new(watched.clone(), world.store.clone(), vec![operator], grown));
    let following = tokio::spawn(streams.follow());
    // After the look at what grew before.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let event = logged(0, NOW, "a");
    let append = watched.append(&world.tenant, vec![event], vec![vec![]]);
    // Begun, and left.
    assert!(tokio::time::timeout(Duration::ZERO, append).await.is_err());
    let counted = async {
        while world.counted("seen_total").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted).await.unwrap();
    following.abort();
}

#[tokio::test]
async fn a_file_that_cannot_be_read_hides_no_other_s_counters() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    world.append(&[(NOW, "a")]).await;
    world.run(&operator, NOW).await;
    std::fs::write(world.folder.path().join("tenants/bad.db"), "this is no database, however long it is").unwrap();
    assert_eq!(world.store.tenants().await.unwrap().len(), 2);
    assert_eq!(world.counted("seen_total").await["a"], 1.0);
    // What is deleted is not shown any more.
    world.files.purge(&world.tenant, Purge::User("nobody".to_owned())).await.unwrap();
    assert_eq!(world.counted("seen_total").await["a"], 1.0);
    let file = world.files.open(&world.tenant).await.unwrap();
    let label = r#"UPDATE counters SET labels = '[["item","a"],["scenario","feed"]]'"#;
    file.write(Durability::Relaxed, move |write| write.execute_batch(label).map_err(Error::from)).await.unwrap();
    world.files.purge(&world.tenant, Purge::Scenario("feed".to_owned())).await.unwrap();
    assert!(world.counted("seen_total").await.is_empty());
}

#[tokio::test]
async fn many_keys_fire_in_several_steps() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    let items: Vec<String> = (0..limits::STREAM_KEYS * 2 + 7).map(|at| format!("i{at:05}")).collect();
    let events: Vec<(u64, &str)> = items.iter().map(|item| (NOW, item.as_str())).collect();
    world.append(&events).await;
    let later = NOW + 10 * limits::STREAM_IDLE.as_millis() as u64;
    let mut steps = 0;
    while world.engine.step(&world.tenant, &operator, later).await.unwrap() == Outcome::Advanced {
        steps += 1;
    }
    assert_eq!(steps, events.len().div_ceil(limits::STREAM_EVENTS as usize) + 3);
    assert_eq!(world.said().await.len(), items.len());
    let messages = world.store.published(&world.tenant, "recommendation-metrics", 0, u32::MAX).await.unwrap();
    assert_eq!(messages.len(), items.len(), "each window speaks once");
    assert_eq!(messages.last().unwrap().offset, items.len() as u64);
    // Nothing is left of them.
    assert_eq!(world.store.first_pane(&world.tenant, "counting", 0).await.unwrap(), None);
}

#[tokio::test]
async fn a_tenant_has_so_many_counters() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    let items: Vec<String> = (0..limits::METRIC_SERIES).map(|at| format!("i{at}")).collect();
    let events: Vec<(u64, &str)> = items.iter().map(|item| (NOW, item.as_str())).collect();
    world.append(&events).await;
    world.run(&operator, NOW).await;
    let seen = world.counted("seen_total").await.len() + world.counted("seconds_total").await.len();
    assert_eq!(seen, limits::METRIC_SERIES);
    let refused = world.counted("metric_series_refused_total").await;
    assert_eq!(refused.values().sum::<f64>(), limits::METRIC_SERIES as f64);
    // Those that are there go on.
    world.append(&[(NOW, "i0")]).await;
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await["i0"], 2.0);
}

#[tokio::test]
async fn so_many_dead_letters_are_kept() {
    let world = World::new();
    let operator = Counting { poison: |_| true, ..Counting::new(SECOND, SECOND, 0) };
    world.append(&vec![(NOW, "p"); limits::DEAD_LETTERS + 3]).await;
    world.run(&operator, NOW).await;
    let dead = world.store.dead_letters(&world.tenant, u32::MAX).await.unwrap();
    assert_eq!(dead.len(), limits::DEAD_LETTERS);
    assert_eq!((dead[0].1.offset, dead.last().unwrap().1.offset), (limits::DEAD_LETTERS as u64 + 3, 4));
    assert_eq!(world.counted("stream_dead_letters_total").await["counting"], limits::DEAD_LETTERS as f64 + 3.0);
}

#[tokio::test]
async fn a_deleted_user_or_scenario_leaves_no_state() {
    let world = World::new();
    let operator = Counting {
        declaration: Declaration {
            key: vec![Field::Scenario, Field::User],
            ..Counting::new(SECOND, SECOND, 0).declaration
        },
        poison: |event| event.item_id == "p",
        ..Counting::new(SECOND, SECOND, 0)
    };
    for purge in [Purge::User("ann".to_owned()), Purge::Scenario("feed".to_owned())] {
        world.append(&[(NOW, "a"), (NOW, "p")]).await;
        world.run(&operator, NOW).await;
        assert!(world.store.first_pane(&world.tenant, "counting", 0).await.unwrap().is_some());
        world.files.purge(&world.tenant, purge).await.unwrap();
        assert_eq!(world.store.first_pane(&world.tenant, "counting", 0).await.unwrap(), None);
        assert!(world.store.dead_letters(&world.tenant, 10).await.unwrap().is_empty());
    }
}

/// Against a count from the raw events; the process ends at any time.
async fn compare(windows: (u64, u64, u64), now: u64, batches: Vec<Vec<(u64, u8)>>, restarts: Vec<bool>) {
    let (slides, slide, late) = windows;
    let operator = Counting::new(slides * slide * SECOND, slide * SECOND, late * SECOND);
    let mut world = World::new();
    let items = ["a", "b", "c"];
    let mut all: Vec<(u64, &str)> = Vec::new();
    for (batch, restart) in batches.into_iter().zip(restarts) {
        let events: Vec<(u64, &str)> =
            batch.into_iter().map(|(at, item)| (NOW + at * SECOND, items[usize::from(item) % 3])).collect();
        world.append(&events).await;
        all.extend(&events);
        if restart {
            // Between two steps, or after all of them.
            world.engine.step(&world.tenant, &operator, NOW + now * SECOND).await.unwrap();
            world = world.again();
        } else {
            world.run(&operator, NOW + now * SECOND).await;
        }
    }
    world.run(&operator, NOW + 100_000_000).await;
    let mut seen: BTreeMap<String, f64> = BTreeMap::new();
    all.iter().for_each(|(_, item)| *seen.entry((*item).to_owned()).or_default() += 1.0);
    assert_eq!(world.counted("seen_total").await, seen);
    let seconds: f64 = world.counted("seconds_total").await.values().sum();
    assert_eq!(seconds, all.len() as f64 * 0.5);
    // Without late events every window said what is in it.
    if world.counted("stream_late_events_total").await.is_empty() {
        let mut expected: BTreeMap<(String, u64), u64> = BTreeMap::new();
        for (at_ms, item) in &all {
            let first = at_ms - at_ms % (slide * SECOND) + slide * SECOND;
            for end in (0..slides).map(|at| first + at * slide * SECOND) {
                *expected.entry((format!("feed/{item}"), end)).or_default() += 1;
            }
        }
        assert_eq!(world.said().await, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn windows_agree_with_a_count_of_the_raw_events(
        windows in (1..5_u64, 1..20_u64, 0..400_u64),
        now in 0..400_u64,
        batches in proptest::collection::vec(proptest::collection::vec((0..200_u64, any::<u8>()), 1..40), 1..6),
        restarts in proptest::collection::vec(any::<bool>(), 6),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(compare(windows, now, batches, restarts));
    }
}

#[tokio::test]
async fn what_breaks_the_contract_is_refused() {
    /// Answers with what it is told to.
    struct Wrong(Vec<Change>, Vec<u8>, Declaration);
    #[async_trait]
    impl Operator for Wrong {
        fn name(&self) -> &str {
            "wrong"
        }
        fn declaration(&self) -> &Declaration {
            &self.2
        }
        async fn add(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
            Ok(batches.iter().map(|_| self.1.clone()).collect())
        }
        async fn merge(&self, _: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
            Ok(vec![])
        }
        async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
            Ok(panes.iter().map(|_| self.0.clone()).collect())
        }
        async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
            let body = "x".repeat(limits::STREAM_MESSAGE_BYTES + 1);
            let message = Message { topic: Topic::RecommendationMetrics, key: String::new(), body };
            Ok(windows.iter().map(|_| vec![Output::Publish(message.clone()); limits::STREAM_OUTPUTS]).collect())
        }
    }
    let metric = |name: &str, amount: f64, labels: usize| {
        let label = |at: usize| (format!("l{}", "x".repeat(at)), String::new());
        Change::Metric(Metric { name: name.to_owned(), labels: (0..labels).map(label).collect(), amount })
    };
    let labelled = |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Change::Metric(Metric { name: "x_total".to_owned(), labels, amount: 1.0 })
    };
    let long = format!("{}_total", "n".repeat(limits::METRIC_NAME_BYTES));
    for (changes, bytes, expected) in [
        (vec![metric("seen", 1.0, 0)], 1, "its name must be"),
        (vec![metric(&long, 1.0, 0)], 1, "its name must be"),
        (vec![metric("x_total_total", 1.0, 0)], 1, "its name must be"),
        (vec![metric("stream_late_events_total", 1.0, 0)], 1, "are the host's"),
        (vec![labelled(&[("tenant", "other")])], 1, "labels must be"),
        (vec![labelled(&[("__name__", "x")])], 1, "labels must be"),
        (vec![labelled(&[("a", "x"), ("a", "y")])], 1, "labels must be"),
        (vec![labelled(&[("a", &"x".repeat(limits::ID_BYTES + 1))])], 1, "labels must be"),
        (vec![metric("x_total", -1.0, 0)], 1, "its amount must be"),
        (vec![metric("x_total", f64::NAN, 0)], 1, "its amount must be"),
        (vec![metric("x_total", 2.0 * limits::METRIC_AMOUNT, 0)], 1, "its amount must be"),
        (vec![metric("x_total", 1.0, limits::METRIC_LABELS + 1)], 1, "at most 8 labels"),
        (vec![metric("x_total", 1.0, 0); limits::STREAM_CHANGES + 1], 1, "at most 64 a pane"),
        (vec![], limits::STREAM_ACCUMULATOR_BYTES + 1, "an accumulator may have"),
    ] {
        let world = World::new();
        let operator = Wrong(changes, vec![0; bytes], Counting::new(SECOND, SECOND, 0).declaration);
        world.append(&[(NOW, "a")]).await;
        assert_eq!(world.engine.step(&world.tenant, &operator, NOW).await.unwrap(), Outcome::Advanced);
        let dead = world.store.dead_letters(&world.tenant, 10).await.unwrap();
        assert!(dead[0].1.reason.contains(expected), "{:?}", dead[0]);
    }
    // A window that says too much is passed over, and the next ones speak.
    let world = World::new();
    let operator = Wrong(vec![], vec![1], Counting::new(SECOND, SECOND, 0).declaration);
    world.append(&[(NOW, "a")]).await;
    let later = NOW + 2 * limits::STREAM_IDLE.as_millis() as u64;
    while world.engine.step(&world.tenant, &operator, later).await.unwrap() == Outcome::Advanced {}
    let dead = world.store.dead_letters(&world.tenant, 10).await.unwrap();
    assert!(dead[0].1.reason.contains("a message may have") && dead[0].1.about.starts_with("feed a"), "{:?}", dead[0]);
}
