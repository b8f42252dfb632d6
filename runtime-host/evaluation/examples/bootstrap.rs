//! How long intervals take: 1000 resamples of 100,000 users.
//!
//! `cargo run --release -p funnelweb-evaluation --example bootstrap`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement: its figures go to standard output")]

use std::time::Instant;

use funnelweb_evaluation::bootstrap::{Bootstrap, Config};

fn main() {
    let config = Config::default();
    // Any values do: the golden ratio's multiples are spread evenly.
    let value = |at: u32| (f64::from(at) * 0.618_033_988_749_895).fract() as f32;
    let columns: Vec<Vec<f32>> = (1..=24).map(|step| (0..100_000).map(|at| value(at * step)).collect()).collect();
    for count in [1, 24] {
        let start = Instant::now();
        let bootstrap = Bootstrap::new(columns.iter().take(count).map(Vec::as_slice).collect(), &config).unwrap();
        let mean = bootstrap.mean(0).unwrap();
        println!("{count} columns, {} resamples: {:?}, {mean:?}", config.resamples, start.elapsed());
    }
}
