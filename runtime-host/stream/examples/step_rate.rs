//! What a step of an operator costs, and of what: `cargo run --release -p funnelweb-stream
//! --example step_rate -- <operator.wasm> [events] [users] [items]`.
//!
//! Events of users and items that are drawn evenly, in an embedded log; nothing else runs.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement: it fails loudly, and its figures go to standard output"
)]

use std::{
    collections::BTreeMap,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use funnelweb_engine::{ComponentCache, Engines};
use funnelweb_factor_documents::SqliteDocuments;
use funnelweb_factor_events::{
    SqliteEvents,
    store::{AppendOutcome, Effect, Event, Events, HistoryQuery, Position, Signal, StoredEvent},
};
use funnelweb_factor_live::SqliteLive;
use funnelweb_stream::{
    ComponentOperator, Engine, Outcome, SqliteStreams,
    operator::{Aggregated, Batch, Change, Declaration, Failure, Operator, Output},
    store::{Counters, DeadLetter, Due, Error, Pane, Panes, Place, Progress, Published, Step, StreamStore, Tenant},
};
use funnelweb_tenant_store::TenantStores;

/// Time by what it was spent on.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<BTreeMap<&'static str, Duration>>>);

impl Clock {
    async fn time<T>(&self, what: &'static str, work: impl Future<Output = T>) -> T {
        let begin = Instant::now();
        let done = work.await;
        *self.0.lock().unwrap().entry(what).or_default() += begin.elapsed();
        done
    }
}

struct Timed<T: ?Sized>(Clock, Arc<T>);

#[async_trait]
impl Operator for Timed<ComponentOperator> {
    fn name(&self) -> &str {
        self.1.name()
    }
    fn declaration(&self) -> &Declaration {
        self.1.declaration()
    }
    async fn aggregate(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
        self.0.time("operator: aggregate", self.1.aggregate(batches)).await
    }
    async fn merge(&self, panes: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
        self.0.time("operator: merge", self.1.merge(panes)).await
    }
    async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
        self.0.time("operator: changes", self.1.changes(panes)).await
    }
    async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
        self.0.time("operator: summary", self.1.summary(windows)).await
    }
}

#[async_trait]
impl Events for Timed<dyn Events> {
    async fn append(
        &self,
        tenant: &Tenant,
        events: Vec<Event>,
        effects: Vec<Vec<Effect>>,
    ) -> Result<Vec<AppendOutcome>, Error> {
        self.1.append(tenant, events, effects).await
    }
    async fn history(&self, tenant: &Tenant, query: HistoryQuery) -> Result<Vec<StoredEvent>, Error> {
        self.1.history(tenant, query).await
    }
    async fn read(&self, tenant: &Tenant, offset: u64, limit: u32) -> Result<Vec<StoredEvent>, Error> {
        self.0.time("log: read", self.1.read(tenant, offset, limit)).await
    }
    async fn settle(&self, tenant: &Tenant) -> Result<(), Error> {
        self.1.settle(tenant).await
    }
    async fn restore(&self, tenant: &Tenant, events: Vec<StoredEvent>) -> Result<(), Error> {
        self.1.restore(tenant, events).await
    }
    async fn last_offset(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.1.last_offset(tenant).await
    }
    async fn raise_last_offset(&self, tenant: &Tenant, offset: u64) -> Result<(), Error> {
        self.1.raise_last_offset(tenant, offset).await
    }
}

#[async_trait]
impl StreamStore for Timed<dyn StreamStore> {
    async fn progress(&self, place: &Place) -> Result<Progress, Error> {
        self.0.time("state: progress", self.1.progress(place)).await
    }
    async fn accumulators(&self, place: &Place, panes: Vec<Pane>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.0.time("state: accumulators", self.1.accumulators(place, panes)).await
    }
    async fn first_pane(&self, main: &Place, from_ms: u64) -> Result<Option<u64>, Error> {
        self.0.time("state: first pane", self.1.first_pane(main, from_ms)).await
    }
    async fn panes(
        &self,
        main: &Place,
        range: Range<u64>,
        after: Option<Vec<String>>,
    ) -> Result<(Vec<Panes>, bool), Error> {
        self.0.time("state: panes", self.1.panes(main, range, after)).await
    }
    async fn due(&self, main: &Place, size_ms: u64, fired_ms: u64) -> Result<Vec<(Due, Panes)>, Error> {
        self.0.time("state: due", self.1.due(main, size_ms, fired_ms)).await
    }
    async fn commit(&self, place: &Place, before: Progress, step: Step) -> Result<bool, Error> {
        self.0.time("state: commit", self.1.commit(place, before, step)).await
    }
    async fn positions(&self, tenant: &Tenant) -> Result<Vec<Position>, Error> {
        self.1.positions(tenant).await
    }
    async fn set_positions(&self, tenant: &Tenant, to: Result<Vec<Position>, u64>) -> Result<(), Error> {
        self.1.set_positions(tenant, to).await
    }
    async fn end_operator(&self, tenant: &Tenant, operator: &str) -> Result<u64, Error> {
        self.1.end_operator(tenant, operator).await
    }
    async fn published(&self, tenant: &Tenant, topic: &str, offset: u64, limit: u32) -> Result<Vec<Published>, Error> {
        self.1.published(tenant, topic, offset, limit).await
    }
    async fn dead_letters(&self, tenant: &Tenant, limit: u32) -> Result<Vec<(String, DeadLetter)>, Error> {
        self.1.dead_letters(tenant, limit).await
    }
    async fn counters(&self) -> Result<Vec<(Tenant, Arc<Counters>)>, Error> {
        self.1.counters().await
    }
    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.1.tenants().await
    }
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let wasm = args.next().unwrap();
    let mut number = |default: u64| args.next().map_or(default, |text| text.parse().unwrap());
    let (events, users, items) = (number(100_000), number(100_000), number(20_000));
    let folder = tempfile::tempdir().unwrap();
    let files = Arc::new(TenantStores::new(folder.path()).unwrap());
    let documents = SqliteDocuments::new(Arc::clone(&files)).unwrap();
    let live = SqliteLive::new(Arc::clone(&files)).unwrap();
    let log = SqliteEvents::new(Arc::clone(&files), &documents, &live).unwrap();
    let clock = Clock::default();
    let state: Arc<dyn StreamStore> = Arc::new(SqliteStreams::new(files, &log).unwrap());
    let state: Arc<dyn StreamStore> = Arc::new(Timed(clock.clone(), state));
    let log: Arc<dyn Events> = Arc::new(log);
    let log: Arc<dyn Events> = Arc::new(Timed(clock.clone(), log));
    let engines = Engines::new().unwrap();
    let cache = ComponentCache::new(folder.path().join("components")).unwrap();
    let component = cache.load(engines.stages(), Path::new(&wasm)).unwrap();
    let operator = ComponentOperator::new("measured", engines.stages(), &component).await.unwrap();
    let operator = Timed(clock.clone(), Arc::new(operator));
    let acme = Tenant::new("acme").unwrap();
    let now_ms = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let begin = Instant::now();
    for first in (0..events).step_by(1000) {
        let some: Vec<Event> = (first..first + 1000).map(|at| event(at, users, items, now_ms)).collect();
        let effects = vec![vec![]; some.len()];
        log.append(&acme, some, effects).await.unwrap();
    }
    println!("appending: {:.2} s", begin.elapsed().as_secs_f64());
    let engine = Engine::new(log, state);
    let begin = Instant::now();
    let mut steps = 0;
    while engine.step(&acme, &operator, now_ms).await.unwrap() == Outcome::Advanced {
        steps += 1;
    }
    let spent = begin.elapsed();
    println!(
        "{:.0} events/s in {steps} steps, {:.1} µs each, of which",
        events as f64 / spent.as_secs_f64(),
        each(spent, events)
    );
    let mut rest = spent;
    for (what, time) in clock.0.lock().unwrap().iter() {
        println!("  {:5.1} µs {what}", each(*time, events));
        rest = rest.saturating_sub(*time);
    }
    println!("  {:5.1} µs engine", each(rest, events));
}

fn each(time: Duration, events: u64) -> f64 {
    time.as_secs_f64() * 1e6 / events as f64
}

fn event(at: u64, users: u64, items: u64, now_ms: u64) -> Event {
    let random = at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11;
    let (action, weight) = match random % 5 {
        0 => ("impression", 0.0),
        1 => ("view", 1.0),
        2 => ("click", 2.0),
        3 => ("watch", 2.0),
        _ => ("like", 3.0),
    };
    let item = (random >> 30) % items;
    let preference = |field: &str, value: String, share: f32| (field.to_owned(), value, weight * share);
    let signal = Signal {
        weight,
        hot_half_life_s: 86_400,
        profile_half_life_s: 1_209_600,
        known: true,
        preferences: vec![
            preference("category", format!("c{}", item % 20), 1.0),
            preference("tags", format!("t{}", item % 97), 0.5),
            preference("tags", format!("t{}", item % 89), 0.5),
        ],
    };
    Event {
        event_id: format!("e{at}"),
        scenario_id: "feed".to_owned(),
        user_id: format!("u{}", (random >> 8) % users),
        item_id: format!("i{item}"),
        action_type: action.to_owned(),
        timestamp_ms: now_ms,
        body: format!(
            r#"{{"event_id":"e{at}","scenario_id":"feed","item_id":"i{item}","action_type":"{action}","context":{{"device_type":"mobile"}},"extra":{{}},"timestamp":"2026-01-01T00:00:00.000Z"}}"#
        ),
        signal: (weight > 0.0).then_some(signal),
    }
}
