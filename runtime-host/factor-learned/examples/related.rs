//! What lists cost: `cargo run --release --example related`.
//!
//! Prints the time of one call for 50 items with 100 neighbours each, in a catalogue of
//! so many, asked for in an order that no cache expects; and of reading such a file.
#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use std::time::Instant;

use funnelweb_core::id::handle;
use funnelweb_factor_learned::{Handles, Similarity, Table, format::Error, store::Relation};

const NEIGHBOURS: u32 = 100;
const ASKED: usize = 50;
const CALLS: usize = 2000;

fn main() -> Result<(), Error> {
    for items in [10_000_u32, 100_000, 500_000] {
        let mut sorted: Vec<u64> = (0..items).map(|item| handle(&format!("item_{item}"))).collect();
        sorted.sort_unstable();
        let entries = items * NEIGHBOURS;
        let alike = Table {
            offsets: (0..=items).map(|item| item * NEIGHBOURS).collect(),
            ids: (0..entries).map(|at| at.wrapping_mul(2_654_435_761) % items).collect(),
            scores: (0..entries).map(|at| 1.0 / (1.0 + (at % NEIGHBOURS) as f32)).collect(),
        };
        let nobody = || Table::empty(0);
        let file = Similarity::new(Handles::new(sorted)?, Handles::default(), alike, nobody(), nobody())?.encode();
        let start = Instant::now();
        let learned = Similarity::decode(&file)?;
        let (read, megabytes) = (start.elapsed(), file.len() / 1_000_000);
        let asked: Vec<u64> = (0..ASKED * CALLS)
            .map(|at| handle(&format!("item_{}", (at as u32).wrapping_mul(2_246_822_519) % items)))
            .collect();
        let mut times: Vec<u128> = asked
            .chunks(ASKED)
            .map(|handles| {
                let start = Instant::now();
                let lists = learned.related(Relation::SimilarItems, handles, 1000);
                assert_eq!(lists.handles.len(), ASKED * NEIGHBOURS as usize);
                start.elapsed().as_nanos()
            })
            .collect();
        times.sort_unstable();
        let at = |part: usize| times.get(CALLS * part / 100).copied().unwrap_or_default() as f64 / 1000.0;
        println!(
            "{items} items: p50 {:.1} µs, p99 {:.1} µs; {megabytes} MB read in {:.0} ms",
            at(50),
            at(99),
            read.as_secs_f64() * 1000.0
        );
    }
    Ok(())
}
