//! The conformance suite on SQLite, and what is particular to it.

use funnelweb_core::limits;
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use funnelweb_tenant_store::{Part, Purge, Write};
use tempfile::TempDir;

use super::*;
use crate::conformance::{Change, Suite};

const START_MS: u64 = 1_700_000_000_000;

fn open(folder: &Path, clock: &Arc<AtomicU64>) -> SqliteLive {
    let clock = clock.clone();
    let stores = TenantStores::with(folder, Arc::new(move || clock.load(Ordering::Relaxed)), 4).unwrap();
    stores.register(Arc::new(Names)).unwrap();
    SqliteLive::new(Arc::new(stores)).unwrap()
}

/// Knows the ids of the suite's items.
struct Names;

impl Part for Names {
    fn name(&self) -> &'static str {
        "names"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[]
    }

    fn purge(&self, _: &mut Write<'_>, _: &Purge) -> Result<u64, Error> {
        Ok(0)
    }

    fn item_id(&self, _: &rusqlite::Connection, handle: u64) -> Result<Option<String>, Error> {
        let names = ["a", "b", "c", "d", "x", "h", "b:x"].map(str::to_owned).into_iter();
        Ok(names.chain((0..800).map(|at| format!("i{at}"))).find(|name| id::handle(name) == handle))
    }
}

fn fresh() -> (TempDir, Arc<AtomicU64>, SqliteLive) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(AtomicU64::new(START_MS));
    let live = open(folder.path(), &clock);
    (folder, clock, live)
}

/// As an event does it: the tables and memory, under the next number.
fn change(live: &SqliteLive, tenant: &Tenant, hot: Vec<HotChange>, counts: Vec<CountChange>) -> Change {
    let (live, tenant) = (live.clone(), tenant.clone());
    Box::pin(async move {
        let tables = live.tables.clone();
        let file = live.stores.open(&tenant).await.unwrap();
        let work = move |write: &mut Write<'_>| {
            for one in &hot {
                tables.store_hot(write, one)?;
            }
            tables.store_counts(write, counts.iter().map(|one| (one.handle, &*one.field, one.amount)))?;
            let (seq, number) = (settled(write)? + 1, write.number());
            funnelweb_tenant_store::set_settled(write, seq)?;
            write.after_commit(move || tables.show(number, seq, &hot, &counts));
            Ok::<_, Error>(())
        };
        file.write(Durability::Durable, work).await.unwrap();
    })
}

fn add_hot(live: &SqliteLive, tenant: &Tenant, item: &str, weight: f64, at_ms: u64, half_life_s: u32) -> Change {
    let weights = vec![Weight { handle: id::handle(item), weight, at_ms }];
    change(live, tenant, vec![HotChange { scenario: "feed".to_owned(), half_life_s, weights }], vec![])
}

fn add_count(live: &SqliteLive, tenant: &Tenant, item: &str, field: &str, amount: f64) -> Change {
    change(live, tenant, vec![], vec![CountChange { handle: id::handle(item), field: field.into(), amount }])
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let (_folder, clock, live) = fresh();
    let suite = Suite {
        live: &live,
        advance: &|ms| {
            clock.fetch_add(ms, Ordering::Relaxed);
        },
        add_hot: &|tenant, item, weight, at_ms| add_hot(&live, tenant, item, weight, at_ms, 3600),
        add_count: &|tenant, item, field, amount| add_count(&live, tenant, item, field, amount),
        prefix: "",
    };
    suite.run().await;
}

async fn rows(live: &SqliteLive, tenant: &Tenant, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    let file = live.stores.open(tenant).await.unwrap();
    // Through the writer, so after everything that was queued before.
    file.write(Durability::Relaxed, move |write| Ok::<_, Error>(write.query_row(&sql, [], |row| row.get(0))?))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_not_in_the_tables_yet_is_counted_once() {
    let (_folder, _, live) = fresh();
    let t = Tenant::new("t").unwrap();
    let file = live.stores.open(&t).await.unwrap();
    let (tables, number) = (live.tables.clone(), file.number());
    let count = |amount| [CountChange { handle: 7, field: "n".into(), amount }];
    let read = async || live.item_stats(&t, "feed".to_owned(), vec![7], vec!["n".to_owned()]).await.unwrap()[0];
    tables.show(number, 1, &[], &count(1.0));
    assert_eq!(read().await, 1.0);
    tables.show(number, 2, &[], &count(2.0));
    // From memory, then made anew.
    assert_eq!(read().await, 3.0);
    tables.memory.cache.forget(&LiveKey::Stats { file: number, handle: 7 });
    assert_eq!(read().await, 3.0);
    // The tables have the first; memory drops it after that, and never before.
    let stored = tables.clone();
    let settle = move |write: &mut Write<'_>| {
        stored.store_counts(write, [(7, "n", 1.0)])?;
        funnelweb_tenant_store::set_settled(write, 1)
    };
    file.write(Durability::Durable, settle).await.unwrap();
    tables.memory.cache.forget(&LiveKey::Stats { file: number, handle: 7 });
    assert_eq!(read().await, 3.0);
    let settled = tables.clone();
    let drop = move |write: &mut Write<'_>| {
        settled.settled_after(write, 1);
        Ok::<_, Error>(())
    };
    file.write(Durability::Durable, drop).await.unwrap();
    tables.memory.cache.forget(&LiveKey::Stats { file: number, handle: 7 });
    assert_eq!(read().await, 3.0);
    let gone = tables.clone();
    file.write(Durability::Durable, move |write| {
        gone.settled_after(write, 2);
        gone.delete_counters(write, vec![7])
    })
    .await
    .unwrap();
    assert_eq!(read().await, 0.0);
}

#[tokio::test]
async fn everything_is_there_again_after_it_was_opened_anew() {
    let (folder, clock, live) = fresh();
    let t = Tenant::new("t").unwrap();
    let (feed, ann) = ("feed".to_owned(), "ann".to_owned());
    add_hot(&live, &t, "a", 4.0, START_MS, 3600).await;
    add_count(&live, &t, "a", "n", 2.0).await;
    live.expose(&t, feed.clone(), Some(ann.clone()), vec!["a".to_owned(), "b".to_owned()], 60).await.unwrap();
    assert_eq!(rows(&live, &t, "exposures").await, 1);
    drop(live);
    let live = open(folder.path(), &clock);
    let a = id::handle("a");
    assert_eq!(live.hot_scores(&t, feed.clone(), vec![a], START_MS + 3_600_000).await.unwrap(), [2.0]);
    assert_eq!(live.item_stats(&t, feed.clone(), vec![a], vec!["n".to_owned()]).await.unwrap(), [2.0]);
    assert_eq!(live.exposed(&t, feed, ann).await.unwrap().len(), 2);
}

#[tokio::test]
async fn places_served_outlive_an_orderly_end_and_are_counted_once() {
    let (folder, clock, mut live) = fresh();
    let t = Tenant::new("t").unwrap();
    let (feed, field) = (|| "feed".to_owned(), || vec![SERVED_PLACES.to_owned()]);
    let serve = async |live: &SqliteLive, items: &[&str]| {
        live.expose(&t, feed(), None, items.iter().map(|&item| item.to_owned()).collect(), 0).await.unwrap();
    };
    let count =
        async |live: &SqliteLive, item| live.item_stats(&t, feed(), vec![id::handle(item)], field()).await.unwrap()[0];
    for round in 1..4 {
        serve(&live, &["a", "b"]).await;
        // From memory, before it is written and after; then made anew.
        assert_eq!(count(&live, "a").await, f64::from(round));
        live.flush().await;
        assert_eq!(count(&live, "a").await, f64::from(round));
        let file = live.stores.open(&t).await.unwrap().number();
        live.tables.memory.cache.forget(&LiveKey::Stats { file, handle: id::handle("a") });
        assert_eq!(count(&live, "a").await, f64::from(round));
        drop(live);
        live = open(folder.path(), &clock);
        assert_eq!((count(&live, "a").await, count(&live, "b").await), (f64::from(round), f64::from(round)));
    }
    // What is deleted is not written any more.
    serve(&live, &["a", "b"]).await;
    let (tables, file) = (live.tables.clone(), live.stores.open(&t).await.unwrap());
    file.write(Durability::Durable, move |write| tables.delete_counters(write, vec![id::handle("a")])).await.unwrap();
    live.flush().await;
    assert_eq!((count(&live, "a").await, count(&live, "b").await), (0.0, 4.0));
}

#[tokio::test]
async fn a_new_half_life_keeps_what_scores_were_worth() {
    let (_folder, _, live) = fresh();
    let t = Tenant::new("t").unwrap();
    add_hot(&live, &t, "a", 4.0, START_MS, 3600).await;
    live.hot_top(&t, "feed".to_owned(), 1, vec![], START_MS).await.unwrap();
    let then_ms = START_MS + 3_600_000;
    add_hot(&live, &t, "b", 1.0, then_ms, 7200).await;
    let scores = async |now_ms| {
        live.hot_scores(&t, "feed".to_owned(), ["a", "b"].map(id::handle).to_vec(), now_ms).await.unwrap()
    };
    assert_eq!(scores(then_ms).await, [2.0, 1.0]);
    assert_eq!(scores(then_ms + 7_200_000).await, [1.0, 0.5]);
}

#[tokio::test]
async fn the_coldest_go_when_there_are_too_many() {
    let (_folder, _, live) = fresh();
    let t = Tenant::new("t").unwrap();
    let tables = live.tables.clone();
    let file = live.stores.open(&t).await.unwrap();
    let all = limits::HOT_MEMBERS + limits::HOT_MEMBERS / 8 + 1;
    let fill = move |write: &mut Write<'_>| {
        let weight = |at| Weight { handle: id::handle(&format!("i{at}")), weight: at as f64 + 1.0, at_ms: START_MS };
        let weights = (0..all).map(weight).collect();
        tables.store_hot(write, &HotChange { scenario: "feed".to_owned(), half_life_s: 3600, weights })
    };
    file.write(Durability::Relaxed, fill).await.unwrap();
    assert_eq!(rows(&live, &t, "hot_items").await, limits::HOT_MEMBERS as i64);
    let handles = vec![id::handle("i0"), id::handle(&format!("i{}", all - 1))];
    let scores = live.hot_scores(&t, "feed".to_owned(), handles, START_MS).await.unwrap();
    assert_eq!(scores, [0.0, all as f32]);
}

#[tokio::test]
async fn exposure_rows_are_merged_and_expired_ones_deleted() {
    let (_folder, clock, live) = fresh();
    let t = Tenant::new("t").unwrap();
    let (feed, ann) = (|| "feed".to_owned(), || "ann".to_owned());
    live.exposed(&t, feed(), ann()).await.unwrap();
    for at in 0..1200 {
        live.expose(&t, feed(), Some(ann()), vec![format!("i{}", at % 7)], 3600).await.unwrap();
        if at % 100 == 0 {
            rows(&live, &t, "exposures").await;
        }
    }
    let merged = rows(&live, &t, "exposures").await;
    assert!(merged < 300, "{merged} rows for 7 items");
    assert_eq!(live.exposed(&t, feed(), ann()).await.unwrap().len(), 7);
    clock.fetch_add(3_600_000, Ordering::Relaxed);
    for _ in 0..merged {
        live.expose(&t, feed(), Some("bob".to_owned()), vec!["x".to_owned()], 1).await.unwrap();
    }
    assert_eq!(rows(&live, &t, "exposures WHERE user = 'ann'").await, 0);
    assert!(live.exposed(&t, feed(), ann()).await.unwrap().is_empty());
}

#[tokio::test]
async fn purging_takes_memory_along() {
    let (_folder, _, live) = fresh();
    let t = Tenant::new("t").unwrap();
    let (feed, a) = (|| "feed".to_owned(), id::handle("a"));
    let fill = async || {
        add_hot(&live, &t, "a", 1.0, START_MS, 3600).await;
        live.expose(&t, feed(), Some("ann".to_owned()), vec!["a".to_owned()], 60).await.unwrap();
        assert_eq!(live.exposed(&t, feed(), "ann".to_owned()).await.unwrap(), [a]);
        assert_eq!(live.hot_scores(&t, feed(), vec![a], START_MS).await.unwrap(), [1.0]);
    };
    fill().await;
    live.stores.purge(&t, Purge::Scenario(feed())).await.unwrap();
    assert!(live.exposed(&t, feed(), "ann".to_owned()).await.unwrap().is_empty());
    assert_eq!(live.hot_scores(&t, feed(), vec![a], START_MS).await.unwrap(), [0.0]);
    fill().await;
    live.stores.purge(&t, Purge::User("ann".to_owned())).await.unwrap();
    assert!(live.exposed(&t, feed(), "ann".to_owned()).await.unwrap().is_empty());
    assert_eq!(live.hot_scores(&t, feed(), vec![a], START_MS).await.unwrap(), [1.0]);
}
