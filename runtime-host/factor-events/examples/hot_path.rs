//! What a request pays when everything is in memory (medians): columns of 500
//! items, the top of a hot list of 50,000, scores, counters, exposures:
//! `cargo run --release -p funnelweb-factor-events --example hot_path`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, run by hand")]

use std::{sync::Arc, time::Instant};

use funnelweb_core::id;
use funnelweb_factor_documents::{SqliteDocuments, store::*};
use funnelweb_factor_events::{SqliteEvents, store::*};
use funnelweb_factor_live::{SqliteLive, store::Live};
use funnelweb_tenant_store::TenantStores;

const ITEMS: usize = 50_000;
const NOW_MS: u64 = 1_700_000_000_000;

fn item(at: usize) -> NewDocument {
    let body = format!(
        r#"{{"item_id":"item_{at}","metadata":{{"title":"t","duration":{at},"category":"c{}","tags":["a","b{}"],
        "author":{{"name":"n{}"}},"views":1,"likes":2,"published":"2026-01-01T00:00:00Z","hd":true}}}}"#,
        at % 20,
        at % 200,
        at % 999
    );
    NewDocument { key: Key::new("feed", format!("item_{at}")), body }
}

async fn median(name: &str, mut work: impl AsyncFnMut()) {
    let mut times = Vec::new();
    for _ in 0..501 {
        let started = Instant::now();
        work().await;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    println!("{name}: {:?}", times.get(250).copied().unwrap_or_default());
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let stores = Arc::new(TenantStores::new(folder.path()).unwrap());
    let documents = SqliteDocuments::new(stores.clone()).unwrap();
    let live = SqliteLive::new(stores.clone()).unwrap();
    let events = SqliteEvents::new(stores, &documents, &live).unwrap();
    let tenant = Tenant::new("acme").unwrap();
    let (feed, ann) = (|| "feed".to_owned(), || "ann".to_owned());
    let started = Instant::now();
    for from in (0..ITEMS).step_by(5000) {
        documents
            .insert_many(&tenant, Collection::Items, (from..from + 5000).map(item).collect(), false)
            .await
            .unwrap();
    }
    println!("{:.0} items inserted/s", ITEMS as f64 / started.elapsed().as_secs_f64());
    for from in (0..ITEMS).step_by(1000) {
        let event = |at: usize| Event {
            event_id: format!("e{at}"),
            scenario_id: feed(),
            user_id: ann(),
            item_id: format!("item_{at}"),
            action_type: "click".to_owned(),
            timestamp_ms: NOW_MS,
            body: "{}".to_owned(),
            signal: None,
        };
        let effects = |at: usize| {
            let count = CountEffect { field: "view_count".to_owned(), amount: 1.0 };
            vec![Effect::Hot(HotEffect { weight: at as f64, half_life_s: 3600 }), Effect::Count(count)]
        };
        let (batch, effects) = (from..from + 1000).map(|at| (event(at), effects(at))).unzip();
        events.append(&tenant, batch, effects).await.unwrap();
    }
    let handles: Vec<u64> = (0..500).map(|at| id::handle(&format!("item_{}", at * 97))).collect();
    use ColumnKind::{Categorical, MultiCategorical, Numeric, Timestamp};
    let columns = [
        ("duration", Numeric),
        ("views", Numeric),
        ("likes", Numeric),
        ("hd", Numeric),
        ("created_at", Timestamp),
        ("published", Timestamp),
        ("category", Categorical),
        ("author.name", Categorical),
        ("title", Categorical),
        ("tags", MultiCategorical),
    ];
    let columns = columns.map(|(name, kind)| ColumnSpec { name: name.to_owned(), kind });
    median("item-columns, 500 x 10", async || {
        let columns = columns.to_vec();
        let answer = documents.item_columns(&tenant, feed(), handles.clone(), columns, NOW_MS).await.unwrap();
        assert_eq!(answer.table.rows, 500);
    })
    .await;
    median("newest-items, 200", async || {
        documents.newest_items(&tenant, feed(), vec![(None, 200)]).await.unwrap();
    })
    .await;
    median("hot-top, 200 of 50,000, 100 excluded", async || {
        let exclude = handles.iter().take(100).copied().collect();
        let top = live.hot_top(&tenant, feed(), 200, exclude, NOW_MS).await.unwrap();
        assert_eq!(top.handles.len(), 200);
    })
    .await;
    median("hot-scores, 500", async || {
        live.hot_scores(&tenant, feed(), handles.clone(), NOW_MS).await.unwrap();
    })
    .await;
    median("item-stats, 500 x 1", async || {
        let fields = vec!["view_count".to_owned()];
        let stats = live.item_stats(&tenant, feed(), handles.clone(), fields).await.unwrap();
        assert!(stats.iter().all(|count| *count == 1.0));
    })
    .await;
    let shown: Vec<String> = (0..20).map(|at| format!("item_{at}")).collect();
    median("expose, 20", async || live.expose(&tenant, feed(), Some(ann()), shown.clone(), 3600).await.unwrap()).await;
    median("exposed, 20", async || {
        assert_eq!(live.exposed(&tenant, feed(), ann()).await.unwrap().len(), 20);
    })
    .await;
}
