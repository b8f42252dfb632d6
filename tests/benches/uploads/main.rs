//! What components of tenants cost: a call over their own work, the first call of one that
//! was not used since the start, and memory with thousands of them.
//!
//! ```sh
//! cargo xtask bench --bench uploads
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench: it fails loudly, and its figures go to standard output"
)]

mod registered;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use funnelweb_bindings::{
    stages::{RerankStagePre, rerank::RerankRequest},
    types::{Candidates, RequestContext, Table, User},
};
use funnelweb_core::limits;
use funnelweb_engine::Engines;
use funnelweb_instance::State;
use registered::Registered;
use wasmtime::component::{Component, Linker};

/// The binary's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CANDIDATES: usize = 300;
const CALLS: usize = 20_000;
/// Distinct components, of tenants that have as many as they may.
const DISTINCT: usize = 5000;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("admit-component") {
        std::process::exit(i32::from(
            funnelweb_admission::child::run(std::env::args_os().skip(2)) != std::process::ExitCode::SUCCESS,
        ));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        fuel().await;
        calls().await;
        density().await;
    });
}

/// What counting fuel costs, beside epochs, which are looked at in both.
async fn fuel() {
    let engines = Engines::new().unwrap();
    let wasm = built("rerank_diversity");
    let mut medians = Vec::new();
    for engine in [engines.stages(), engines.tenants()] {
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        let component = Component::new(engine, &wasm).unwrap();
        let pre = RerankStagePre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
        let request = request();
        let mut times = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let begin = Instant::now();
            let mut store = State::bare(limits::COMPONENT_MEMORY_BYTES, ()).store(engine);
            // The other engine counts none.
            let _ = store.set_fuel(limits::COMPONENT_FUEL);
            State::begin(&mut store, limits::COMPONENT_TIMEOUT, limits::COMPONENT_ANSWER_BYTES);
            let instance = pre.instantiate_async(&mut store).await.unwrap();
            let answer = instance.funnelweb_pipeline_rerank().call_rerank(&mut store, &request).await.unwrap();
            std::hint::black_box(answer.unwrap());
            times.push(begin.elapsed());
        }
        medians.push(micros(quantiles(times).0));
    }
    let [without, with] = medians[..] else { return };
    println!(
        "diversity of {CANDIDATES}, with epochs {without:.1} µs, with fuel as well {with:.1} µs: {:.2}x\n",
        with / without
    );
}

/// What a call costs over what the component does: one that gives the list back.
async fn calls() {
    let registered = Registered::new();
    println!("{CANDIDATES} candidates, a fresh instance per call, {CALLS} calls\n");
    println!("| component | p50 µs | p99 µs |");
    println!("|---|---|---|");
    let uploads = [("identity (its own work: a copy)", identity()), ("diversity", built("rerank_diversity"))];
    for (name, wasm) in uploads {
        let tenant = registered.add(&wasm).await;
        let picked = registered.pick(&tenant.0, &tenant.1).await;
        let mut times = Vec::with_capacity(CALLS);
        let mut request = request();
        for _ in 0..CALLS {
            let begin = Instant::now();
            std::hint::black_box(picked.rerank(&mut request).await.unwrap());
            times.push(begin.elapsed());
        }
        let (p50, p99) = quantiles(times);
        println!("| {name} | {:.1} | {:.1} |", micros(p50), micros(p99));
    }
    println!();
}

/// Thousands of distinct ones, called at random.
async fn density() {
    let mut registered = Registered::new();
    let all = registered.add_many(&built("rerank_diversity"), DISTINCT).await;
    registered.restart();
    let before = Resident::now();
    let mut request = request();
    let mut first = Vec::with_capacity(all.len());
    for (tenant, name) in &all {
        registered.warm(tenant, name).await;
        let begin = Instant::now();
        let picked = registered.pick(tenant, name).await;
        std::hint::black_box(picked.rerank(&mut request).await.unwrap());
        first.push(begin.elapsed());
    }
    let (p50, p99) = quantiles(first);
    println!("first call of each of {DISTINCT}: p50 {:.0} µs, p99 {:.0} µs", micros(p50), micros(p99));
    let mut seed = 7_u64;
    let (mut overhead, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (tenant, name) = &all[(seed >> 33) as usize % all.len()];
        let begin = Instant::now();
        let picked = registered.pick(tenant, name).await;
        overhead.push(begin.elapsed());
        std::hint::black_box(picked.rerank(&mut request).await.unwrap());
        whole.push(begin.elapsed());
    }
    let ((pick50, pick99), (p50, p99)) = (quantiles(overhead), quantiles(whole));
    println!(
        "called at random: to find one p50 {:.0} µs, p99 {:.0} µs; with the call p50 {:.0} µs, p99 {:.0} µs",
        micros(pick50),
        micros(pick99),
        micros(p50),
        micros(p99)
    );
    println!("memory: {}; before the first call {before}", Resident::now());
}

fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// What of the process is in memory, in MiB.
struct Resident {
    /// Nothing else has it.
    own: u64,
    /// Of files: the system takes it back when it needs it.
    files: u64,
}

impl Resident {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let of = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
        };
        Self { own: of("RssAnon:") + of("RssShmem:"), files: of("RssFile:") }
    }
}

impl fmt::Display for Resident {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, files } = self;
        write!(formatter, "{} MiB, of which {own} its own and {files} of mapped files", own + files)
    }
}

/// A component of the corpus that behaves.
fn identity() -> Vec<u8> {
    let cases = funnelweb_corpus::cases();
    cases
        .into_iter()
        .find(|case| case.name == "plain-rerank")
        .map_or_else(|| built("rerank_freshness"), |case| case.upload)
}

/// A stage of the product's own.
fn built(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file: PathBuf = root.join("target/wasm32-wasip2/guest").join(name).with_extension("wasm");
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask build` makes it", file.display()))
}

fn request() -> RerankRequest {
    let handles: Vec<u64> = (0..CANDIDATES as u64).map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
    let candidates = Candidates {
        scores: (0..CANDIDATES).map(|at| 1.0 - at as f32 / CANDIDATES as f32).collect(),
        sources: vec![1; CANDIDATES],
        handles,
    };
    RerankRequest {
        context: RequestContext {
            scenario_id: "feed".to_owned(),
            user: User {
                id: String::new(),
                attributes: Vec::new(),
                preferences: Vec::new(),
                recent: Vec::new(),
                recent_weights: Vec::new(),
            },
            context: Vec::new(),
            now_ms: 1_700_000_000_000,
            count: 20,
            seed: 7,
        },
        rows: (0..CANDIDATES as u32).collect(),
        items: Table {
            rows: CANDIDATES as u32,
            categorical_names: vec!["category".to_owned()],
            categorical: (0..CANDIDATES as u32).map(|at| 1 + at % 9).collect(),
            ..funnelweb_bindings::parts::empty()
        },
        candidates,
        weight: 0.5,
        params: "{}".to_owned(),
    }
}
