//! The conformance suite on SQLite, and what is particular to it.

use super::*;
use crate::{conformance::Suite, store::HotEffect};

const NOW_MS: u64 = 1_700_000_000_000;

fn open(folder: &std::path::Path) -> (SqliteDocuments, SqliteLive, SqliteEvents) {
    let stores = Arc::new(TenantStores::with(folder, Arc::new(|| NOW_MS), 4).unwrap());
    let documents = SqliteDocuments::new(stores.clone()).unwrap();
    let live = SqliteLive::new(stores.clone()).unwrap();
    let events = SqliteEvents::new(stores, &documents, &live).unwrap();
    (documents, live, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    let (documents, live, events) = open(folder.path());
    Suite { events: &events, documents: &documents, live: &live, now_ms: NOW_MS, prefix: "" }.run().await;
}

#[tokio::test]
async fn a_failure_after_the_insert_takes_the_event_back() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _, events) = open(folder.path());
    let t = Tenant::new("t").unwrap();
    let event = Event {
        event_id: "e".to_owned(),
        scenario_id: "s".to_owned(),
        user_id: "u".to_owned(),
        item_id: "i".to_owned(),
        action_type: "click".to_owned(),
        timestamp_ms: NOW_MS,
        body: "{}".to_owned(),
    };
    let file = events.stores.open(&t).await.unwrap();
    let change = async |sql: &'static str| {
        file.write(Durability::Durable, move |write| write.execute_batch(sql).map_err(Error::from)).await.unwrap();
    };
    let append = async || {
        let hot = Effect::Hot(HotEffect { weight: 1.0, half_life_s: 1 });
        events.append(&t, vec![event.clone()], vec![vec![hot]]).await
    };
    change("ALTER TABLE journal RENAME TO away").await;
    assert!(matches!(append().await, Err(Error::Unavailable(_))));
    assert_eq!(events.read(&t, 0, 10).await.unwrap(), []);
    change("ALTER TABLE away RENAME TO journal").await;
    assert_eq!(append().await, Ok(vec![AppendOutcome::Accepted]));
}
