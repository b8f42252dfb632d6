//! How many events a second one tenant's file takes, in batches of 100, each
//! event with a profile, a hot and two count effects; `-- 8` has eight batches
//! under way at once, which share syncs and pages:
//! `cargo run --release -p funnelweb-factor-events --example append_rate`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, run by hand")]

use std::{sync::Arc, time::Instant};

use funnelweb_factor_documents::SqliteDocuments;
use funnelweb_factor_events::{SqliteEvents, store::*};
use funnelweb_factor_live::{SqliteLive, store::Live};
use funnelweb_tenant_store::TenantStores;

const BATCHES: u64 = 400;
const BATCH: u64 = 100;
const USERS: u64 = 2000;
const ITEMS: u64 = 5000;

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

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let stores = Arc::new(TenantStores::new(folder.path()).unwrap());
    let documents = SqliteDocuments::new(stores.clone()).unwrap();
    let live = SqliteLive::new(stores.clone()).unwrap();
    let events = SqliteEvents::new(stores, &documents, &live).unwrap();
    let tenant = Tenant::new("acme").unwrap();
    live.hot_top(&tenant, "vlog_main_feed".to_owned(), 1, vec![], 0).await.unwrap();
    let mut number = 0;
    let at_once = std::env::args().nth(1).map_or(1, |text| text.parse().unwrap());
    for round in 0..3 {
        let started = Instant::now();
        for _ in 0..BATCHES / at_once {
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
        }
        let rate = (BATCHES * BATCH) as f64 / started.elapsed().as_secs_f64();
        println!("round {round}: {rate:.0} events/s");
    }
}
