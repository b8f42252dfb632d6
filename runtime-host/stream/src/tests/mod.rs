//! The engine over the embedded log, with operators that are written for it.

mod changes;
mod faults;
mod own;
mod state;
mod windows;

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
    store::{Event as Logged, Events, Position},
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
    store::{Place, Series, Step, StreamStore},
};

/// Counts events, their seconds, and says both of each window; some it cannot take.
struct Counting {
    name: String,
    begins: u64,
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
            name: "counting".to_owned(),
            begins: 0,
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

impl Counting {
    fn written(&self, count: u64, seconds: f64) -> Vec<u8> {
        format!("{count} {seconds}{:padding$}", "", padding = self.padding).into_bytes()
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
        &self.name
    }

    fn begins(&self) -> u64 {
        self.begins
    }

    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    async fn aggregate(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
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
            let seconds: f64 = batch.events.iter().filter_map(|event| event.watch_duration).sum();
            Ok(self.written(batch.events.len() as u64, seconds))
        };
        batches.iter().map(one).collect()
    }

    async fn merge(&self, panes: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
        let one = |panes: &Vec<Vec<u8>>| {
            assert!(panes.len() > 1);
            let read = panes.iter().map(|pane| read(pane)).collect::<Result<Vec<_>, _>>()?;
            let sum = read.iter().fold((0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            Ok(self.written(sum.0, sum.1))
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
        signal: None,
    }
}

/// A log and the state of operators, in a folder.
struct World {
    folder: TempDir,
    files: Arc<TenantStores>,
    documents: SqliteDocuments,
    live: SqliteLive,
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
        let events = SqliteEvents::new(files.clone(), &documents, &live).unwrap();
        let store: Arc<dyn StreamStore> = Arc::new(SqliteStreams::new(files.clone(), &events).unwrap());
        let log: Arc<dyn Events> = Arc::new(events);
        let engine = Engine::new(log.clone(), store.clone());
        Self { folder, files, documents, live, log, store, engine, tenant: Tenant::new("acme").unwrap() }
    }

    fn place(&self) -> Place {
        Place::main(&self.tenant, "counting")
    }

    /// The same folder, as a process that starts finds it.
    fn again(self) -> Self {
        let Self { folder, files, documents, live, log, store, engine, .. } = self;
        drop((files, documents, live, log, store, engine));
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
