//! The load run: the real binary over loopback HTTP, with 100,000 items.
//!
//! For each of the stores it starts `target/release/funnelweb up` (or `$FUNNELWEB_BIN`) on a new data
//! directory, imports the catalogue, appends behaviours, starts it again, and
//! asks for recommendations with one client and with many. Client and server
//! share the machine, so the client is as small as can be. It prints figures and
//! asserts no time; it fails when a request fails.
//!
//! Settings, from the environment: `FUNNELWEB_BENCH_SECONDS` of each run (10),
//! `_CLIENTS` (16), the world's size, `_ITEMS`, `_USERS`, `_EVENTS`, and `_STORES`:
//! `embedded`, `remote` (a Redis of its own, and the MongoDB that
//! `FUNNELWEB_TEST_MONGODB_URL` names, or a FerretDB of its own), or `both`, one
//! after the other.
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
#[allow(dead_code, reason = "what the benches share")]
mod http;
#[allow(dead_code, reason = "what the benches share")]
mod server;

use std::{
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use funnelweb_core::job::{Kind, State};
use funnelweb_demo::World;
use funnelweb_import::{Client, follow};
use http::Connection;
use serde_json::{Value, json};
use server::{Server, Stores};

const TENANT: &str = "bench";
/// Behaviours in one request.
const BATCH: usize = 100;
/// Users whose answers are given again.
const CACHED_USERS: usize = 5000;
/// Connections that send behaviours.
const SENDERS: usize = 4;

fn main() -> ExitCode {
    let seconds = Duration::from_secs(common::setting("SECONDS", 10).clamp(1, 600).into());
    let clients = common::setting("CLIENTS", 16).clamp(1, 256) as usize;
    let stores = std::env::var("FUNNELWEB_BENCH_STORES").unwrap_or_else(|_| "embedded".to_owned());
    let stores: &[Stores] = match &*stores {
        "embedded" => &[Stores::Embedded],
        "remote" => &[Stores::Remote],
        "both" => &[Stores::Embedded, Stores::Remote],
        other => panic!("FUNNELWEB_BENCH_STORES is embedded, remote or both, not `{other}`"),
    };
    let world = common::world();
    let figures: Vec<_> = stores.iter().map(|stores| all(*stores, &world, clients, seconds)).collect();
    if let [embedded, remote] = &*figures {
        println!(
            "remote to embedded: p50 of a recommendation {:.2}, behaviours a second {:.2}",
            remote.recommend_p50.div_duration_f64(embedded.recommend_p50),
            remote.behaviors_per_second / embedded.behaviors_per_second,
        );
    }
    let failed: usize = figures.iter().map(|figures| figures.failed).sum();
    if failed > 0 {
        eprintln!("{failed} requests or lines failed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What two runs are compared by.
struct Figures {
    /// Of one client.
    recommend_p50: Duration,
    behaviors_per_second: f64,
    failed: usize,
}

fn all(stores: Stores, world: &World, clients: usize, seconds: Duration) -> Figures {
    println!("# {stores:?}\n");
    let mut server = Server::start(stores);
    println!("cold start, components compiled: {:.2} s", server.start_time().as_secs_f64());
    let mut failed = import(&server, world);
    let (behaviors_per_second, refused) = behaviors(&server, world);
    failed += refused;
    println!("memory after both: {}\n", server.memory());

    server.restart();
    println!("warm start: {:.2} s\n", server.start_time().as_secs_f64());
    let body = common::request(world);
    let users: Vec<String> = (0..world.size().users).map(|user| world.user_id(user)).collect();
    // Every user once, so that what is cached is cached.
    recommend(&server, &users, &body, 2, Until::Count(users.len()));
    let mut one = recommend(&server, &users, &body, 1, Until::Time(seconds));
    one.print(1);
    let mut many = recommend(&server, &users, &body, clients, Until::Time(seconds));
    many.print(clients);
    println!("memory: {}\n", server.memory());
    learn(&server, world);
    recommend(&server, &users, &body, 2, Until::Count(users.len()));
    for clients in [1, clients] {
        let mut run = recommend(&server, &users, &body, clients, Until::Time(seconds));
        run.print(clients);
        failed += run.failed;
    }
    println!("memory: {}\n", server.memory());
    failed += precompute(&server, world, &users, &body);
    for clients in [1, clients] {
        let mut run = recommend(&server, &users, &body, clients, Until::Time(seconds));
        run.print(clients);
        failed += run.failed;
    }
    println!("memory: {}\n", server.memory());
    let cached = cached(&server, world, &users, &body, clients, seconds);
    println!("memory: {}\n", server.memory());
    let recorded = recorded(&server, world, &users, &body, seconds);
    server.stop();
    failed += cached + recorded;
    failed += one.failed + many.failed;
    Figures { recommend_p50: common::quantile(&mut one.times, 0.5), behaviors_per_second, failed }
}

/// Has two channels more, and a third in the place of `latest`, learn from the
/// behaviours.
fn learn(server: &Server, world: &World) {
    let client = Client::new(&server.url(), TENANT).unwrap();
    client.put_scenario(&learned_scenario(world).to_string()).unwrap();
    println!("five channels, three of which were learned:");
    for kind in [Kind::Similarity, Kind::Embeddings] {
        let begun = client.start_job(world.scenario_id(), kind, &serde_json::Map::new()).unwrap();
        let start = Instant::now();
        let run = follow(&client, begun, &mut |_| {}).unwrap();
        assert_eq!(run.state, State::Succeeded, "{}", run.error);
        println!("  {}: {:.1} s, {}", kind.as_str(), start.elapsed().as_secs_f64(), json!(run.outcome));
    }
}

/// Has slates made ahead by the five channels, alone and while one client asks for
/// recommendations, and then serves by them and `latest`; how many requests failed.
fn precompute(server: &Server, world: &World, users: &[String], body: &[u8]) -> usize {
    let client = Client::new(&server.url(), TENANT).unwrap();
    let mut params = serde_json::Map::new();
    params.insert("active_days".to_owned(), json!(3650));
    let make = || {
        let begun = client.start_job(world.scenario_id(), Kind::Precompute, &params).unwrap();
        let start = Instant::now();
        let run = follow(&client, begun, &mut |_| {}).unwrap();
        assert_eq!(run.state, State::Succeeded, "{}", run.error);
        let spent = start.elapsed();
        let slates = run.outcome.as_ref().and_then(|outcome| outcome["slates"].as_f64()).unwrap();
        println!(
            "  {:.0} slates/s ({:.1} s), {}",
            slates / spent.as_secs_f64(),
            spent.as_secs_f64(),
            json!(run.outcome)
        );
    };
    println!("slates ahead, by five channels:");
    let cpu = server.cpu();
    make();
    println!("  server: {:.1} s of processor time, memory {}", (server.cpu() - cpu).as_secs_f64(), server.memory());
    println!("the same beside one client:");
    let over = AtomicUsize::new(0);
    let mut run = std::thread::scope(|scope| {
        scope.spawn(|| {
            make();
            over.store(1, Ordering::Relaxed);
        });
        recommend(server, users, body, 1, Until::Told(&over))
    });
    run.print(1);
    let mut scenario = learned_scenario(world);
    scenario["config"]["recall"]["strategies"] = json!([{"name": "precomputed", "limit": 100}, {"name": "latest"}]);
    // What is derived of the other channels is not there either.
    let derived = scenario["config"]["features"]["derived_features"].as_array_mut().unwrap();
    derived.retain(|feature| !feature.as_str().unwrap().starts_with("recall:"));
    client.put_scenario(&scenario.to_string()).unwrap();
    println!("served by slates made ahead, and the latest:");
    run.failed
}

/// Answers that are given again: every user asks the same once more, within their time; how
/// many requests failed.
fn cached(server: &Server, world: &World, users: &[String], body: &[u8], clients: usize, seconds: Duration) -> usize {
    let client = Client::new(&server.url(), TENANT).unwrap();
    let mut scenario = common::scenario(world, false);
    scenario["config"]["cache"] = json!({"enabled": true, "ttl_seconds": 3600});
    client.put_scenario(&scenario.to_string()).unwrap();
    // As many as fit into memory.
    let users = users.get(..CACHED_USERS).unwrap_or(users);
    println!("answers of {} users, given again:", users.len());
    let mut failed = recommend(server, users, body, 2, Until::Count(users.len())).failed;
    for clients in [1, clients] {
        let mut run = recommend(server, users, body, clients, Until::Time(seconds));
        run.print(clients);
        failed += run.failed;
    }
    failed
}

/// What it costs to record every request: one client, in many short turns without and with it, so
/// that both are of the same moments of a machine that is now slower, now faster; how many requests
/// failed.
fn recorded(server: &Server, world: &World, users: &[String], body: &[u8], seconds: Duration) -> usize {
    const TURNS: usize = 20;
    /// Until what follows from another config is there again.
    const SETTLED: Duration = Duration::from_millis(300);
    let client = Client::new(&server.url(), TENANT).unwrap();
    let (mut failed, mut times) = (0, [Vec::new(), Vec::new()]);
    for turn in 0..2 * TURNS {
        let is_recorded = turn % 2 == 1;
        let mut scenario = common::scenario(world, false);
        scenario["config"]["recording"] = json!({"share": if is_recorded { 1 } else { 0 }, "failures": is_recorded});
        client.put_scenario(&scenario.to_string()).unwrap();
        failed += recommend(server, users, body, 1, Until::Time(SETTLED)).failed;
        let run = recommend(server, users, body, 1, Until::Time(seconds / 5));
        failed += run.failed;
        times[usize::from(is_recorded)].extend(run.times);
    }
    let [without, with] = times.map(|mut times| common::quantile(&mut times, 0.5));
    println!(
        "every request recorded: p50 {:.3} ms, {:.3} without, {:.3} times",
        millis(with),
        millis(without),
        with.div_duration_f64(without)
    );
    failed
}

/// The scenario with five channels, three of which are learned.
fn learned_scenario(world: &World) -> Value {
    let mut scenario = common::scenario(world, true);
    scenario["config"]["recall"]["strategies"] = json!([
        {"name": "hot_items", "weight": 0.1, "limit": 200},
        {"name": "content_based", "weight": 0.2, "limit": 200},
        {"name": "item_cf", "weight": 0.3, "limit": 200},
        {"name": "user_cf", "weight": 0.2, "limit": 200},
        {"name": "vector_search", "weight": 0.2, "limit": 200, "params": {"vectors": "factors"}},
    ]);
    scenario
}

/// The catalogue as `funnelweb import` sends it; how many lines failed.
fn import(server: &Server, world: &World) -> usize {
    let client = Client::new(&server.url(), TENANT).unwrap();
    client.put_scenario(&common::scenario(world, true).to_string()).unwrap();
    let lines: Vec<_> = world.items().map(|item| item.to_line()).collect();
    let (count, bytes) = (lines.len(), lines.iter().map(Vec::len).sum::<usize>());
    let path = format!("/api/v1/items/{}", world.scenario_id());
    let (start, cpu) = (Instant::now(), server.cpu());
    let batch = client.post_ndjson(&path, lines.into_iter()).unwrap();
    let spent = start.elapsed();
    println!(
        "import: {:.0} items/s ({count} items, {:.1} MB, {:.2} s; {:.1} µs of the server's processor time each)",
        count as f64 / spent.as_secs_f64(),
        bytes as f64 / 1e6,
        spent.as_secs_f64(),
        micros((server.cpu() - cpu).div_f64(count as f64)),
    );
    for error in batch.errors.iter().take(3) {
        println!("  line {}: {}: {}", error.line, error.code, error.message);
    }
    count - batch.created as usize
}

/// All behaviours, in batches: how many a second, and how many batches failed.
fn behaviors(server: &Server, world: &World) -> (f64, usize) {
    let lines: Vec<_> = world.events().map(|event| event.to_line()).collect();
    if lines.is_empty() {
        return (0.0, 0);
    }
    let bodies: Vec<_> = lines.chunks(BATCH).map(|lines| [b"[", &*lines.join(&b","[..]), b"]"].concat()).collect();
    let next = AtomicUsize::new(0);
    let (start, cpu) = (Instant::now(), server.cpu());
    let send = || {
        let mut connection = Connection::open(server.address(), TENANT);
        let (mut times, mut failed) = (Vec::new(), 0);
        while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = Instant::now();
            failed += usize::from(!connection.post("/api/v1/behaviors", "sender", body, 202));
            times.push(start.elapsed());
        }
        (times, failed)
    };
    let (mut times, failed) = in_threads(SENDERS, send);
    let spent = start.elapsed();
    let per_second = lines.len() as f64 / spent.as_secs_f64();
    println!(
        "behaviours: {per_second:.0} events/s acknowledged durable (batches of {BATCH}, {SENDERS} connections; a batch p50 {:.1} ms, \
         p99 {:.1} ms; {:.1} µs of the server's processor time each; {failed} batches failed)",
        millis(common::quantile(&mut times, 0.5)),
        millis(common::quantile(&mut times, 0.99)),
        micros((server.cpu() - cpu).div_f64(lines.len() as f64)),
    );
    (per_second, failed)
}

/// When a run ends.
#[derive(Clone, Copy)]
enum Until<'a> {
    Time(Duration),
    Count(usize),
    /// When it is no longer 0.
    Told(&'a AtomicUsize),
}

/// What a run of recommendations came to.
struct Run {
    times: Vec<Duration>,
    failed: usize,
    spent: Duration,
    cpu: Duration,
    own_cpu: Duration,
}

/// `POST /api/v1/recommend`, each client one request after the other.
fn recommend(server: &Server, users: &[String], body: &[u8], clients: usize, until: Until<'_>) -> Run {
    let next = AtomicUsize::new(0);
    let (start, cpu, own_cpu) = (Instant::now(), server.cpu(), common::cpu("self"));
    let ask = || {
        let mut connection = Connection::open(server.address(), TENANT);
        let (mut times, mut failed) = (Vec::new(), 0);
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let over = match until {
                Until::Time(time) => start.elapsed() >= time,
                Until::Count(count) => at >= count,
                Until::Told(over) => over.load(Ordering::Relaxed) != 0,
            };
            if over {
                return (times, failed);
            }
            let start = Instant::now();
            failed += usize::from(!connection.post("/api/v1/recommend", &users[at % users.len()], body, 200));
            times.push(start.elapsed());
        }
    };
    let (times, failed) = in_threads(clients, ask);
    let (spent, own_cpu) = (start.elapsed(), common::cpu("self") - own_cpu);
    Run { times, failed, spent, cpu: server.cpu() - cpu, own_cpu }
}

impl Run {
    fn print(&mut self, clients: usize) {
        let count = self.times.len();
        println!(
            "recommend, {clients} clients: {:.0} req/s, p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms, {} errors\n  \
             processor time a request: server {:.0} µs, client {:.0} µs ({count} requests in {:.1} s)",
            count as f64 / self.spent.as_secs_f64(),
            millis(common::quantile(&mut self.times, 0.5)),
            millis(common::quantile(&mut self.times, 0.99)),
            millis(common::quantile(&mut self.times, 1.0)),
            self.failed,
            micros(self.cpu.div_f64(count as f64)),
            micros(self.own_cpu.div_f64(count as f64)),
            self.spent.as_secs_f64(),
        );
    }
}

/// Runs the same in several threads, and joins what each measured.
fn in_threads(threads: usize, work: impl Fn() -> (Vec<Duration>, usize) + Sync) -> (Vec<Duration>, usize) {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        let (mut times, mut failed) = (Vec::new(), 0);
        for thread in threads {
            let (more, others) = thread.join().unwrap();
            times.extend(more);
            failed += others;
        }
        (times, failed)
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
