//! The conformance suite of documents on every server, and what is particular to
//! this backend.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test suite: a failed check is a panic"
)]

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bson::doc;
use funnelweb_core::id::handle;
use funnelweb_factor_documents::{
    conformance::{Suite, handle_of as suite_handle_of},
    store::{Collection::*, *},
};
use funnelweb_store_mongodb::{Abilities, Environment, MongoDocuments, MongoStore};
use serde_json::{Value, json};
use support::{Server, clock};

async fn conforms(server: &Server, adjust: fn(&mut Abilities), prefix: &str) {
    let clock = clock();
    let documents = MongoDocuments::new(server.store_at(&clock, adjust).await, None);
    let advance = |ms| {
        clock.fetch_add(ms, Ordering::Relaxed);
    };
    Suite { documents: &documents, advance: &advance, prefix }.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_conforms() {
    Server::each(async |server| conforms(server, |_| {}, "a-").await).await;
}

/// With the filters and the bulk writes that a server with indexes is sent.
#[tokio::test(flavor = "multi_thread")]
async fn the_filters_of_indexed_queries_conform() {
    let server = Server::ferretdb().await;
    conforms(&server, |abilities| abilities.indexed_queries = true, "b-").await;
}

/// Keys that have the same lock do not wait for themselves: with one of each kind all
/// keys have.
#[tokio::test(flavor = "multi_thread")]
async fn one_lock_of_each_kind_is_enough() {
    let server = Server::ferretdb().await;
    let clock = clock();
    let now = clock.clone();
    let environment = Environment {
        clock: Arc::new(move || now.load(Ordering::Relaxed)),
        handle_of: suite_handle_of,
        lock_stripes: 1,
        ..Environment::default()
    };
    let store = MongoStore::connect_with(server.settings(), environment).await.unwrap();
    let documents = MongoDocuments::new(store, None);
    let advance = |ms| {
        clock.fetch_add(ms, Ordering::Relaxed);
    };
    let suite = Suite { documents: &documents, advance: &advance, prefix: "c-" };
    tokio::time::timeout(Duration::from_secs(120), suite.run()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_look_as_the_design_shows() {
    Server::each(async |server| {
        let clock = clock();
        let documents = MongoDocuments::new(server.store_at(&clock, |_| {}).await, None);
        let t = Tenant::new("tenant_123").unwrap();
        let item = json!({
            "item_id": "item_001", "scenario_id": "vlog_001",
            "metadata": {"title": "视频标题", "duration": 120, "category": "entertainment", "tags": ["funny"]},
            "embedding": [0.1, 2], "status": "active",
        });
        let experiment = json!({
            "experiment_id": "exp_001", "scenario_id": "vlog_001", "status": "running",
            "groups": [{"group_id": "control", "traffic_ratio": 0.5, "config": {}}],
            "start_time": "2026-01-01T00:00:00.000Z", "end_time": "2026-02-01",
        });
        let put = async |collection, id: &str, body: &Value| {
            let key = Key::new("vlog_001", id);
            documents.replace(&t, collection, key, body.to_string(), Precondition::None).await.unwrap();
        };
        put(Items, "item_001", &item).await;
        put(Experiments, "exp_001", &experiment).await;
        let shown = async |collection: &str, filter| {
            let mut found = server.collection(collection).await.find_one(filter).await.unwrap().unwrap();
            assert!(found.get_object_id("_id").is_ok());
            let own = found.remove("_fw").unwrap();
            found.remove("_id");
            let sorted: std::collections::BTreeMap<_, _> = found.into_iter().collect();
            (sorted.into_iter().collect::<bson::Document>(), own.as_document().unwrap().clone())
        };
        let now = bson::DateTime::from_millis(1_700_000_000_000);
        let (stored, own) = shown("items", doc! { "tenant_id": "tenant_123", "item_id": "item_001" }).await;
        let expected = doc! {
            "created_at": now, "embedding": [0.1, 2], "item_id": "item_001",
            "metadata": { "category": "entertainment", "duration": 120, "tags": ["funny"], "title": "视频标题" },
            "scenario_id": "vlog_001", "status": "active", "tenant_id": "tenant_123", "updated_at": now,
        };
        assert_eq!(stored, expected);
        let fields: Vec<&str> = own.keys().map(String::as_str).collect();
        assert_eq!(fields, ["handle", "version", "status", "terms", "row"]);
        let (stored, own) = shown("experiments", doc! { "tenant_id": "tenant_123" }).await;
        assert_eq!(stored.get_datetime("start_time").unwrap().timestamp_millis(), 1_767_225_600_000);
        assert_eq!(stored.get_datetime("end_time").unwrap().timestamp_millis(), 1_769_904_000_000);
        assert_eq!(own.get_document("spelled").unwrap(), &doc! { "end_time": "2026-02-01" });
        // The design's indexes are there, to those who look.
        let names = server.collection("items").await.list_index_names().await.unwrap();
        for name in ["tenant_id_1_scenario_id_1_item_id_1", "metadata.category_1"] {
            assert!(names.iter().any(|other| other == name), "{name} is not among {names:?}");
        }
    })
    .await;
}

/// Two stores are two processes: what one writes, the other sees in time.
#[tokio::test(flavor = "multi_thread")]
async fn other_processes_see_a_write_within_a_second() {
    Server::each(async |server| {
        let (a, b) = (MongoDocuments::new(server.store().await, None), MongoDocuments::new(server.store().await, None));
        let (t, feed) = (Tenant::new("t").unwrap(), || "feed".to_owned());
        let put = async |n: u32| {
            for (collection, id) in
                [(Scenarios, "feed"), (UserProfiles, "ann"), (Items, "i"), (Items, &format!("j{n}"))]
            {
                let body = json!({"metadata": {"n": n}}).to_string();
                a.replace(&t, collection, Key::new("feed", id), body, Precondition::None).await.unwrap();
            }
        };
        let seen = async || {
            let n = |document: Option<Document>| {
                let body: Value = serde_json::from_str(&document.unwrap().body).unwrap();
                body["metadata"]["n"].as_u64().unwrap()
            };
            let columns = vec![ColumnSpec { name: "n".to_owned(), kind: ColumnKind::Numeric }];
            let columns = b.item_columns(&t, feed(), vec![handle("i")], columns, 0).await.unwrap();
            [
                n(b.get(&t, Scenarios, Key::new("feed", "feed")).await.unwrap()),
                n(b.get(&t, UserProfiles, Key::new("feed", "ann")).await.unwrap()),
                n(b.get(&t, Items, Key::new("feed", "i")).await.unwrap()),
                columns.table.numeric[0] as u64,
                b.newest_items(&t, feed(), vec![(None, 100)]).await.unwrap()[0].len() as u64 - 1,
            ]
        };
        put(1).await;
        assert_eq!(seen().await, [1; 5]);
        for round in 2..5 {
            put(u32::try_from(round).unwrap()).await;
            let start = Instant::now();
            while seen().await != [round; 5] {
                assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", seen().await);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        // What is deleted goes in the same way.
        a.delete(&t, Items, Key::new("feed", "i"), Precondition::None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(b.get(&t, Items, Key::new("feed", "i")).await.unwrap(), None);
        assert_eq!(b.item_ids(&t, feed(), vec![handle("i")]).await.unwrap(), [None]);
    })
    .await;
}

/// An item that nobody changed is not read again, however old it is: the server is
/// asked for the stamp of the scenario only.
#[tokio::test(flavor = "multi_thread")]
async fn unchanged_items_are_not_read_again() {
    Server::each(async |server| {
        let (a, b) = (MongoDocuments::new(server.store().await, None), MongoDocuments::new(server.store().await, None));
        let t = Tenant::new("t").unwrap();
        let put = async |id: &str| {
            a.replace(&t, Items, Key::new("feed", id), "{}".to_owned(), Precondition::None).await.unwrap();
        };
        put("i").await;
        let ids = async || b.item_ids(&t, "feed".to_owned(), vec![handle("i")]).await.unwrap().remove(0);
        assert_eq!(ids().await.as_deref(), Some("i"));
        // Behind our back: no stamp and no version tells of it.
        let items = server.collection("items").await;
        items.delete_one(doc! { "tenant_id": "t", "item_id": "i" }).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(ids().await.as_deref(), Some("i"));
        put("other").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(ids().await, None);
    })
    .await;
}
