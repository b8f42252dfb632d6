//! How fast and how good an index is, beside an exact scan in the same run.
//!
//! `cargo bench -p funnelweb-vector-index -- [--vectors N] [--spread trained|gaussian]
//! [--threads N] [--export FOLDER]`; without `--vectors`, 100,000 and 1,000,000. What is
//! exported is what `tests/comparison/hnswlib_vectors.py` reads.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench prints a table or fails"
)]

mod data;
mod exact;

use std::{collections::HashSet, hint::black_box, path::Path, time::Instant};

use data::{Data, Spread};
use funnelweb_vector_index::{Change, Filter, Hit, Metric, Plan, Space, Store};

const DIMENSION: usize = 64;
const K: usize = 100;
/// Queries of each kind; fewer where a scan takes long.
const QUERIES: usize = 500;
const QUERIES_OF_MANY: usize = 200;
/// Vectors put in at once.
const PART: usize = 10_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let sizes = value("--vectors").map_or(vec![100_000, 1_000_000], |count| vec![count.parse().unwrap()]);
    let spreads = match value("--spread") {
        None => vec![Spread::Trained, Spread::Gaussian],
        Some("gaussian") => vec![Spread::Gaussian],
        Some(_) => vec![Spread::Trained],
    };
    let threads = value("--threads").map_or(Plan::default().threads, |count| count.parse().unwrap());
    for size in sizes {
        for spread in &spreads {
            let data = Data::new(*spread, size, if size > 200_000 { QUERIES_OF_MANY } else { QUERIES }, DIMENSION);
            if let Some(folder) = value("--export") {
                export(&data, *spread, Path::new(folder));
            }
            run(&data, *spread, threads);
        }
    }
}

fn export(data: &Data, spread: Spread, folder: &Path) {
    let bytes = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    let name = |what: &str| folder.join(format!("{what}-{spread:?}-{}.f32", data.items().len()));
    std::fs::write(name("items"), bytes(&data.items)).unwrap();
    std::fs::write(name("queries"), bytes(&data.queries)).unwrap();
}

/// The median of the times of all queries, in milliseconds, and what they gave.
fn timed<T>(data: &Data, mut query: impl FnMut(&[f32]) -> T) -> (f64, Vec<T>) {
    let mut times = Vec::new();
    let found = data.queries().map(|vector| {
        let start = Instant::now();
        let found = black_box(query(black_box(vector)));
        times.push(start.elapsed().as_secs_f64() * 1e3);
        found
    });
    let found = found.collect();
    times.sort_unstable_by(f64::total_cmp);
    (times[times.len() / 2], found)
}

fn run(data: &Data, spread: Spread, threads: usize) {
    let count = data.items().len();
    println!("\n{count} vectors × {DIMENSION}, {spread:?}, top {K}, {} queries on one thread", data.queries().len());
    timed(data, |query| exact::scan(&data.items, query, K));
    let (exact_ms, truth) = timed(data, |query| exact::scan(&data.items, query, K));
    println!("  {:<44} {exact_ms:8.3} ms", "exact scan, f32");
    for (name, graph_from) in [("scan of codes", usize::MAX), ("graph", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(DIMENSION, Metric::InnerProduct).unwrap();
        let plan = Plan { graph_from, threads };
        let store = Store::open(folder.path(), space, plan).unwrap().0;
        for (part, vectors) in data.items.chunks(PART * DIMENSION).enumerate() {
            let vectors = vectors.chunks(DIMENSION).enumerate();
            let upsert = |(at, vector): (usize, &[f32])| Change::Upsert {
                handle: handle((part * PART + at) as u32),
                vector: vector.to_vec(),
            };
            store.apply(&vectors.map(upsert).collect::<Vec<_>>()).unwrap();
        }
        let (maintain_s, ()) = seconds(|| store.maintain().unwrap());
        let (save_s, ()) = seconds(|| store.save().unwrap());
        let memory = store.memory_bytes() >> 20;
        drop(store);
        let (open_s, store) = seconds(|| Store::open(folder.path(), space, plan).unwrap().0);
        timed(data, |query| store.query(query, K, None).unwrap());
        let (query_ms, found) = timed(data, |query| store.query(query, K, None).unwrap());
        let recall = recall(&found, &truth);
        println!("  {name:<44} {query_ms:8.3} ms   recall {recall:.4}");
        filtered(data, &store, name);
        let build_s = maintain_s - save_s;
        println!(
            "  {name}: built in {build_s:.1} s on {threads} threads, saved in {save_s:.1} s, opened in {open_s:.1} s, {memory} MB"
        );
    }
}

/// Queries of filters that were used before, and of those that were not.
fn filtered(data: &Data, store: &Store, name: &str) {
    for percent in [1, 10, 50] {
        let filter = |seed: usize| {
            let kept = (0..data.items().len() as u32).map(handle);
            let kept = kept.filter(|handle| (handle >> 40) * (2 * seed as u64 + 1) % 1000 < percent * 10);
            Filter::only(kept.collect())
        };
        let fresh: Vec<Filter> = (0..21).map(filter).collect();
        let mut next = fresh.iter();
        let mut first: Vec<f64> = data
            .queries()
            .map_while(|query| {
                Some({
                    let filter = next.next()?;
                    seconds(|| store.query(query, K, Some(filter)).unwrap()).0 * 1e3
                })
            })
            .collect();
        first.sort_unstable_by(f64::total_cmp);
        let mut next = fresh.iter().cycle();
        let (again_ms, _) = timed(data, |query| store.query(query, K, next.next()).unwrap());
        let label = format!("{name}, filter keeps {percent} %");
        println!("  {label:<44} {again_ms:8.3} ms   a filter's first use {:.3} ms", first[first.len() / 2]);
    }
}

fn recall(found: &[Vec<Hit>], truth: &[Vec<(f32, u32)>]) -> f64 {
    let hits = found.iter().zip(truth).map(|(found, truth)| {
        let found: HashSet<u64> = found.iter().map(|hit| hit.handle).collect();
        truth.iter().filter(|(_, row)| found.contains(&handle(*row))).count()
    });
    hits.sum::<usize>() as f64 / (truth.len() * K) as f64
}

fn seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed().as_secs_f64(), done)
}

/// As good as a hash.
fn handle(at: u32) -> u64 {
    let mixed = (u64::from(at) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}
