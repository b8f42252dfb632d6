//! What slates made ahead take: `cargo run --release --example slates [USERS] [ITEMS]`,
//! 100,000 users and 100 items of a catalogue of 100,000 unless said otherwise. They are
//! gathered, written and read as by the job and by whoever serves them, the ones before
//! still in service.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it prints figures and fails loudly")]

use std::time::Instant;

use funnelweb_core::id::handle;
use funnelweb_factor_learned::{Gathered, Slates, store::Slate};

const CATALOGUE: usize = 100_000;

fn main() {
    let number = |at: usize, default: usize| std::env::args().nth(at).map_or(default, |text| text.parse().unwrap());
    let (users, items) = (number(1, 100_000), number(2, 100));
    let catalogue: Vec<u64> = (0..CATALOGUE).map(|item| handle(&format!("item_{item}"))).collect();
    let mut handles: Vec<u64> = (0..users).map(|user| handle(&format!("user_{user}"))).collect();
    handles.sort_unstable();

    let start = Instant::now();
    let mut gathered = Gathered::with_capacity(users, items);
    for (at, user) in handles.iter().enumerate() {
        let of = (0..items).map(|place| catalogue.get((at * 31 + place * 977) % CATALOGUE).copied().unwrap());
        let slate = Slate { made_ms: 1, handles: of.collect(), scores: (0..items).map(|at| -(at as f32)).collect() };
        gathered.push(*user, &slate);
    }
    let slates = gathered.finish().unwrap();
    println!("gathered in {:?}: {} MB in memory; {}", start.elapsed(), slates.bytes() / 1_000_000, memory());
    let start = Instant::now();
    let file = slates.encode();
    drop(slates);
    println!("written in {:?}: {} MB; {}", start.elapsed(), file.len() / 1_000_000, memory());
    let before = Slates::decode(&file).unwrap();
    let start = Instant::now();
    let after = Slates::decode(&file).unwrap();
    println!("read in {:?} beside the ones before: {}", start.elapsed(), memory());
    drop(before);
    let start = Instant::now();
    let found: usize = handles.iter().filter_map(|user| after.slate(*user)).map(|slate| slate.handles.len()).sum();
    println!("found {found} items in {:?} a user", start.elapsed() / users.max(1) as u32);
}

/// What the process has in memory, and the most it had.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().replace('\t', " ");
    format!("{}, {}", of("VmRSS"), of("VmHWM"))
}
