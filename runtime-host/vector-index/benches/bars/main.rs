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

use std::{hint::black_box, path::Path, time::Instant};

use data::{Data, Spread};
use funnelweb_vector_index::{Change, Filter, Index, Metric, Plan, Space};

const DIMENSION: usize = 64;
const K: usize = 100;
const QUERIES: usize = 500;

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
            let data = Data::new(*spread, size, QUERIES, DIMENSION);
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
    println!("\n{count} vectors × {DIMENSION}, {spread:?}, top {K}, {QUERIES} queries on one thread");
    let (_, _) = timed(data, |query| exact::scan(&data.items, query, K));
    let (exact_ms, truth) = timed(data, |query| exact::scan(&data.items, query, K));
    println!("  {:<44} {exact_ms:8.3} ms", "exact scan, f32");
    for (name, graph_from) in [("scan of codes, exact", usize::MAX), ("graph", 1)] {
        let index = Index::new(Space::new(DIMENSION, Metric::InnerProduct).unwrap(), Plan { graph_from, threads });
        let changes: Vec<Change> = data
            .items()
            .enumerate()
            .map(|(at, vector)| Change::Upsert { handle: handle(at as u32), vector: vector.to_vec() })
            .collect();
        changes.chunks(10_000).for_each(|changes| index.apply(changes).unwrap());
        drop(changes);
        let start = Instant::now();
        index.rebuild();
        let build_s = start.elapsed().as_secs_f64();
        if index.rebuild_due() {
            println!("  still due");
        }
        let (_, _) = timed(data, |query| index.query(query, K, None).unwrap());
        let (query_ms, found) = timed(data, |query| index.query(query, K, None).unwrap());
        let hits = found.iter().zip(&truth).map(|(found, truth)| {
            let found: std::collections::HashSet<u64> = found.iter().map(|hit| hit.handle).collect();
            truth.iter().filter(|(_, row)| found.contains(&handle(*row))).count()
        });
        let recall = hits.sum::<usize>() as f64 / (truth.len() * K) as f64;
        println!(
            "  {name:<44} {query_ms:8.3} ms   recall {recall:.4}   built in {build_s:.1} s, {} MB",
            index.memory_bytes() >> 20
        );
        for percent in [1, 10, 50] {
            let filter = |seed: usize| {
                let kept = (0..count).filter(|at| handle((at * 31 + seed) as u32) % 100 < percent);
                Filter::only(kept.map(|at| handle(at as u32)).collect())
            };
            let filters: Vec<Filter> = (0..if percent == 1 { 20 } else { 1 }).map(filter).collect();
            let mut next = 0;
            let (mixed_ms, _) = timed(data, |query| {
                next += 1;
                index.query(query, K, filters.get(next % filters.len())).unwrap()
            });
            println!("  {:<44} {mixed_ms:8.3} ms", format!("{name}, filter keeps {percent} %"));
        }
    }
}

/// As good as a hash.
fn handle(at: u32) -> u64 {
    let mixed = (u64::from(at) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}
