//! How many events a second one tenant's file takes durably, what each costs
//! and how large the file grows: batches of 100 over 1,000 users and 100,000
//! items, each event with a profile, a hot and two count effects; one batch
//! under way at a time, then eight, which share syncs and pages:
//! `cargo run --release -p funnelweb-factor-events --example append_rate`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, run by hand")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use funnelweb_factor_documents::SqliteDocuments;
use funnelweb_factor_events::{SqliteEvents, store::*};
use funnelweb_factor_live::{SqliteLive, store::Live};
use funnelweb_tenant_store::TenantStores;

const ROUNDS: u64 = 3;
const BATCHES: u64 = 400;
const BATCH: u64 = 100;
const USERS: u64 = 1000;
const ITEMS: u64 = 100_000;

fn event(number: u64) -> (Event, Vec<Effect>) {
    // A fixed sequence that looks random.
    let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let (user, item) = (random % USERS, (random >> 8) % ITEMS);
    let event = Event {
        event_id: format!("event_{number:012}_{random:x}"),
        scenario_id: "vlog_main_feed".to_owned(),
        user_id: format!("user_{user}"),
        item_id: format!("item_{item}"),
        action_type: "click".to_owned(),
        timestamp_ms: 1_700_000_000_000 + number * 10,
        body: format!(
            r#"{{"event_id":"event_{number}","user_id":"user_{user}","context":{{"device_type":"mobile"}}}}"#
        ),
        signal: None,
    };
    let category = ("category".to_owned(), format!("category_{}", item % 20), 1.0);
    let tags = (0..3).map(|tag| ("tags".to_owned(), format!("tag_{}", (item * 7 + tag) % 200), 0.5));
    let effects = vec![
        Effect::Hot(HotEffect { weight: 1.0, half_life_s: 21_600 }),
        Effect::Count(CountEffect { field: "view_count".to_owned(), amount: 1.0 }),
        Effect::Count(CountEffect { field: "click_count".to_owned(), amount: 1.0 }),
        Effect::Profile(ProfileEffect {
            preferences: std::iter::once(category).chain(tags).collect(),
            half_life_s: 604_800,
            counters: vec![("total_watch_count".to_owned(), 1.0)],
            recent: true,
        }),
    ];
    (event, effects)
}

/// CPU time of this process until now, from Linux's clock ticks.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold anything, in parentheses.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

async fn measure(at_once: u64) {
    let folder = tempfile::tempdir().unwrap();
    let stores = Arc::new(TenantStores::new(folder.path()).unwrap());
    let documents = SqliteDocuments::new(stores.clone()).unwrap();
    let live = SqliteLive::new(stores.clone()).unwrap();
    let events = SqliteEvents::new(stores, &documents, &live).unwrap();
    let tenant = Tenant::new("acme").unwrap();
    live.hot_top(&tenant, "vlog_main_feed".to_owned(), 1, vec![], 0).await.unwrap();
    let mut number = 0;
    for round in 0..ROUNDS {
        let mut slowest = Duration::ZERO;
        let (started, cpu_before) = (Instant::now(), cpu());
        for _ in 0..BATCHES / at_once {
            let asked = Instant::now();
            let tasks: Vec<_> = (0..at_once)
                .map(|_| {
                    let (batch, effects) = (number..number + BATCH).map(event).unzip();
                    number += BATCH;
                    let (events, tenant) = (events.clone(), tenant.clone());
                    tokio::spawn(async move { events.append(&tenant, batch, effects).await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap().unwrap();
            }
            slowest = slowest.max(asked.elapsed());
        }
        let count = (BATCHES * BATCH) as f64;
        println!(
            "{at_once} at once, round {round}: {:.0} events/s, {:.1} µs CPU each, slowest answer {slowest:?}",
            count / started.elapsed().as_secs_f64(),
            (cpu() - cpu_before).as_secs_f64() * 1e6 / count
        );
    }
    drop((events, live, documents));
    let bytes = std::fs::metadata(folder.path().join("tenants/acme.db")).unwrap().len();
    println!("{} MB a 100,000 events", bytes as f64 / 1e6 * 100_000.0 / (ROUNDS * BATCHES * BATCH) as f64);
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    measure(1).await;
    measure(8).await;
}
