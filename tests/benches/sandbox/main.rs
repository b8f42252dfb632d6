//! The price of the sandbox: the same funnel code over the same stores and data,
//! once in one native program and once in components, in one run.
//!
//! Natively a request's body is parsed, the funnel runs with the stages as
//! function calls, one after the other, and the answer is serialised. In
//! components the `recommend` endpoint is called in process, without TCP, and
//! runs each stage in a new instance through dispatch. Exposure is off for both,
//! so that every request of a user does the same work.
//!
//! Criterion reports each measurement; the tables at the end put them side by
//! side. Whole requests are measured in short turns, native and components in
//! alternation, so that a busy machine is as unfair to both.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench: it fails loudly, and its figures go to standard output"
)]

#[path = "../common.rs"]
mod common;
mod components;
mod native;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use components::{Ask, Components};
use criterion::{Criterion, criterion_group, criterion_main};
use funnelweb::{
    app::{App, Options},
    stores::Stores,
};
use funnelweb_demo::World;
use funnelweb_factor_documents::store::{Collection, Key, NewDocument, Tenant};
use funnelweb_guest::{
    dispatch::FeaturesCall,
    types::{Candidates, RequestContext, Table},
};
use http::StatusCode;
use native::{Asked, Native};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The binary's own allocator, for both.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lines in one request of the import.
const LINES: usize = 1000;
/// Turns of each side in the comparison of whole requests.
const TURNS: usize = 40;
/// Requests in a turn.
const TURN: usize = 50;
/// The row that is no stage.
const WHOLE: &str = "(whole request)";
/// Users whose answers are compared.
const COMPARED: usize = 50;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = sandbox
}
criterion_main!(benches);

/// Everything that is measured works on this.
struct Bench {
    runtime: Runtime,
    components: Components,
    native: Native,
    users: Vec<String>,
    body: Vec<u8>,
    // Removed at the end.
    _data: TempDir,
}

fn sandbox(criterion: &mut Criterion) {
    let bench = Bench::new();
    bench.compare_answers();
    bench.requests(criterion);
    let stages = bench.stages(criterion);
    stages.print();
    bench.compare_requests();
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let data = tempfile::tempdir().unwrap();
        // Compiled once for all runs; the files are named by content.
        let compiled = Path::new(env!("CARGO_TARGET_TMPDIR")).join("components");
        fs::create_dir_all(&compiled).unwrap();
        symlink(&compiled, data.path().join("components")).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let options = Options {
            manifest: root.join("spin.toml"),
            data_dir: data.path().to_owned(),
            variables: BTreeMap::new(),
            sync: None,
            components: Default::default(),
        };
        let tenant = Tenant::new("bench").unwrap();
        let app = {
            let _context = runtime.enter();
            App::load(&options, Stores::embedded(data.path()).unwrap()).unwrap()
        };
        let components = Components::new(app, &tenant);
        let world = common::world();
        let start = Instant::now();
        runtime.block_on(load(&components, &tenant, &world));
        let size = world.size();
        println!(
            "{} items, {} users, {} behaviours, loaded in {:.1} s\n",
            size.items,
            size.users,
            size.events,
            start.elapsed().as_secs_f64()
        );
        let native = Native::new(&components.app().stores, &tenant, runtime.handle());
        let users = (0..size.users).map(|user| world.user_id(user)).collect();
        Self { runtime, components, native, users, body: common::request(&world), _data: data }
    }

    /// Both sides must recommend the same. The clock differs by the time between
    /// the two, which may swap a pair at the edge.
    fn compare_answers(&self) {
        let items = |answer: &[u8]| {
            let answer: serde_json::Value = serde_json::from_slice(answer).unwrap();
            assert_eq!(answer["degraded"], serde_json::json!([]));
            let items = answer["items"].as_array().unwrap();
            items.iter().map(|item| item["item_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let users = &self.users[..self.users.len().min(COMPARED)];
        let same = users.iter().filter(|user| {
            let native = items(&self.native_request(user));
            let answer = self.runtime.block_on(self.components.recommend(user, &self.body));
            native == items(&answer)
        });
        let same = same.count();
        println!("the same slate from both for {same} of {} users\n", users.len());
        assert!(same * 10 >= users.len() * 9, "they do not run the same funnel");
    }

    fn native_request(&self, user: &str) -> Vec<u8> {
        self.native.recommend("r0", user, &self.body, common::now_ms())
    }

    fn native_requests(&self, users: &[String]) -> Vec<Duration> {
        let timed = users.iter().map(|user| {
            let start = Instant::now();
            std::hint::black_box(self.native_request(user));
            start.elapsed()
        });
        timed.collect()
    }

    fn requests(&self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("recommend");
        let mut users = self.users.iter().cycle();
        group.bench_function("native", |bencher| bencher.iter(|| self.native_request(users.next().unwrap())));
        let mut from = 0;
        group.bench_function("components", |bencher| {
            bencher.iter_custom(|count| {
                let mut users = self.users.clone();
                users.rotate_left(from % self.users.len());
                from += count as usize;
                self.components.time_requests(&self.runtime, &users, &self.body, count).iter().sum()
            });
        });
        group.finish();
    }

    /// Every stage, on what one request asked of it.
    fn stages(&self, criterion: &mut Criterion) -> Stages {
        let asked = self.native.asked(&self.users[0], &self.body, common::now_ms());
        let Asked { context, recall, features, rank, rerank, ranked } = asked;
        let (context, features, rank) = (context.unwrap(), features.unwrap(), rank.unwrap());
        let (candidates, rows) = ranked.unwrap();
        println!("{} candidates ranked\n", candidates.handles.len());
        let table = self.native.extract(&context, &features);
        let mut stages = Stages::default();
        let native = &self.native;

        for call in recall {
            let (name, ask) = (call.stage.clone(), Ask::Recall(call.clone()));
            self.stage(criterion, &mut stages, &name, (&context, &features, &ask), || {
                let start = Instant::now();
                std::hint::black_box(native.recall_one(&context, &[], &call));
                start.elapsed()
            });
        }
        let ask = Ask::Features(features.clone());
        self.stage(criterion, &mut stages, "features", (&context, &features, &ask), || {
            let start = Instant::now();
            std::hint::black_box(native.extract(&context, &features));
            start.elapsed()
        });
        let ask = Ask::Rank(rank.clone());
        let request = native::rank_request(&context, &rank, table.items.clone(), table.user);
        self.stage(criterion, &mut stages, &rank.stage, (&context, &features, &ask), || {
            let start = Instant::now();
            std::hint::black_box(rank_linear::rank(&request).unwrap());
            start.elapsed()
        });
        let mut request = native::rerank_request(&context, &candidates, &rows, table.items);
        for call in rerank {
            (request.weight, request.params) = (call.weight, call.params.clone());
            let ask = Ask::Rerank(candidates.clone(), rows.clone(), call.clone());
            self.stage(criterion, &mut stages, &call.stage, (&context, &features, &ask), || {
                let start = Instant::now();
                std::hint::black_box(native::rerank_one(&call.stage, &request).unwrap());
                start.elapsed()
            });
        }

        // The whole request of the same user.
        let user = &self.users[..1];
        pair(
            criterion,
            &mut stages,
            WHOLE,
            || self.native_requests(user)[0],
            |count| self.components.time_requests(&self.runtime, user, &self.body, count),
        );

        // The fixed prices: a ranker without candidates, a request without work.
        let none = || Candidates { handles: Vec::new(), scores: Vec::new(), sources: Vec::new() };
        let no_features = FeaturesCall { candidates: none(), ..features };
        let no_rank = funnelweb_guest::dispatch::RankCall { candidates: none(), ..rank };
        let request = native::rank_request(&context, &no_rank, Table::empty(0), Table::empty(1));
        let ask = Ask::Rank(no_rank);
        self.stage(criterion, &mut stages, "(empty stage)", (&context, &no_features, &ask), || {
            let start = Instant::now();
            std::hint::black_box(rank_linear::rank(&request).unwrap());
            start.elapsed()
        });
        let samples = RefCell::default();
        criterion.bench_function("(empty request)/component", |bencher| {
            bencher.iter_custom(|count| sample(&samples, self.components.time_empty(&self.runtime, count)));
        });
        stages.empty_request = median(samples);
        stages
    }

    /// One stage, natively and in its component; `features` makes its table.
    fn stage(
        &self,
        criterion: &mut Criterion,
        stages: &mut Stages,
        name: &str,
        given: (&RequestContext, &FeaturesCall, &Ask),
        native: impl FnMut() -> Duration,
    ) {
        let (context, features, ask) = given;
        let component = |count| self.components.time_stage(&self.runtime, context, features, ask, count);
        pair(criterion, stages, name, native, component);
    }

    /// Whole requests, in turns.
    fn compare_requests(&self) {
        let (mut native, mut components) = (Side::default(), Side::default());
        let mut users = self.users.clone();
        for _ in 0..TURNS {
            let turn = users.len().min(TURN);
            native.turn(|| self.native_requests(&users[..turn]));
            components.turn(|| self.components.time_requests(&self.runtime, &users[..turn], &self.body, turn as u64));
            users.rotate_left(turn);
        }
        println!("\nwhole requests, {} of each side", native.times.len());
        println!("                      {:>10} {:>10} {:>7}", "native", "components", "ratio");
        let mut row = |name: &str, of: fn(&mut Side) -> Duration| {
            let (native, components) = (of(&mut native), of(&mut components));
            println!(
                "{name:<21} {:>7.0} µs {:>7.0} µs {:>6.2}×",
                micros(native),
                micros(components),
                components.as_secs_f64() / native.as_secs_f64()
            );
        };
        row("p50", |side| common::quantile(&mut side.times, 0.5));
        row("p99", |side| common::quantile(&mut side.times, 0.99));
        row("processor time each", |side| side.cpu / side.times.len() as u32);
        println!("\nThe price of the sandbox is the ratio of the p50.");
    }
}

/// The same natively (once) and in components (so many times).
fn pair(
    criterion: &mut Criterion,
    stages: &mut Stages,
    name: &str,
    mut native: impl FnMut() -> Duration,
    component: impl Fn(u64) -> Vec<Duration>,
) {
    let mut group = criterion.benchmark_group(name);
    let (natives, components) = (RefCell::default(), RefCell::default());
    group.bench_function("native", |bencher| {
        bencher.iter_custom(|count| sample(&natives, (0..count).map(|_| native()).collect()));
    });
    group.bench_function("component", |bencher| {
        bencher.iter_custom(|count| sample(&components, component(count)));
    });
    group.finish();
    stages.rows.push(Row { name: name.to_owned(), native: median(natives), component: median(components) });
}

/// One side of the comparison.
#[derive(Default)]
struct Side {
    times: Vec<Duration>,
    /// Of the whole process, all threads.
    cpu: Duration,
}

impl Side {
    fn turn(&mut self, requests: impl FnOnce() -> Vec<Duration>) {
        let before = common::cpu("self");
        self.times.extend(requests());
        self.cpu += common::cpu("self").saturating_sub(before);
    }
}

/// What each stage costs.
#[derive(Default)]
struct Stages {
    rows: Vec<Row>,
    empty_request: Duration,
}

struct Row {
    name: String,
    native: Duration,
    component: Duration,
}

impl Stages {
    fn print(&self) {
        println!("\none user, by stage      native  component      more");
        for row in &self.rows {
            self.print_row(&row.name, row.native, row.component);
        }
        let stages = || self.rows.iter().filter(|row| !row.name.starts_with('('));
        let native: Duration = stages().map(|row| row.native).sum();
        let component: Duration = stages().map(|row| row.component).sum();
        self.print_row("(sum of the stages)", native, component);
        if let Some(whole) = self.rows.iter().find(|row| row.name == WHOLE) {
            // In components the channels of recall run at the same time.
            let rest = (whole.native.saturating_sub(native), whole.component.saturating_sub(component));
            self.print_row("(whole less stages)", rest.0, rest.1);
        }
        println!("{:<19} {:>10} {:>7.1} µs", "(empty request)", "", micros(self.empty_request));
    }

    fn print_row(&self, name: &str, native: Duration, component: Duration) {
        let (native, component) = (micros(native), micros(component));
        println!("{name:<19} {native:>7.1} µs {component:>7.1} µs {:>6.1} µs", component - native);
    }
}

async fn load(components: &Components, tenant: &Tenant, world: &World) {
    let scenario_id = world.scenario_id();
    let scenario =
        NewDocument { key: Key::new(scenario_id, scenario_id), body: common::scenario(world, false).to_string() };
    let documents = &components.app().stores.documents;
    documents.insert_many(tenant, Collection::Scenarios, vec![scenario], false).await.unwrap();
    let send = async |endpoint: &str, path: &str, lines: &mut dyn Iterator<Item = Vec<u8>>| {
        loop {
            let body: Vec<u8> = lines.take(LINES).flat_map(|line| [line, b"\n".to_vec()]).flatten().collect();
            if body.is_empty() {
                break;
            }
            let (status, answer) = components.call(endpoint, path, "loader", "application/x-ndjson", body).await;
            assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&answer));
            assert_ne!(status, StatusCode::MULTI_STATUS);
        }
    };
    let path = format!("/api/v1/items/{scenario_id}");
    send("items", &path, &mut world.items().map(|item| item.to_line())).await;
    send("behaviors", "/api/v1/behaviors", &mut world.events().map(|event| event.to_line())).await;
}

/// Keeps the times of single calls: their median says more on a busy machine
/// than a mean. Returns their sum, which criterion wants.
fn sample(samples: &RefCell<Vec<Duration>>, times: Vec<Duration>) -> Duration {
    let sum = times.iter().sum();
    samples.borrow_mut().extend(times);
    sum
}

/// Of no samples (a filter left the measurement out) nothing.
fn median(samples: RefCell<Vec<Duration>>) -> Duration {
    let mut samples = samples.into_inner();
    if samples.is_empty() { Duration::ZERO } else { common::quantile(&mut samples, 0.5) }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
