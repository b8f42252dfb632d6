//! The conformance suite on SQLite, and what is particular to it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::store::NewDocument;
use crate::{
    conformance::{Suite, handle_of},
    store::{Collection::Items, ColumnKind},
};

fn open(folder: &Path, clock: &Arc<AtomicU64>) -> SqliteDocuments {
    let clock = clock.clone();
    let stores = TenantStores::with(folder, Arc::new(move || clock.load(Ordering::Relaxed)), 4).unwrap();
    SqliteDocuments::with_handles(Arc::new(stores), handle_of).unwrap()
}

fn fresh() -> (TempDir, Arc<AtomicU64>, SqliteDocuments) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(AtomicU64::new(1_700_000_000_000));
    let documents = open(folder.path(), &clock);
    (folder, clock, documents)
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let (_folder, clock, documents) = fresh();
    let advance = |ms| {
        clock.fetch_add(ms, Ordering::Relaxed);
    };
    Suite { documents: &documents, advance: &advance, prefix: "" }.run().await;
}

#[tokio::test]
async fn a_copy_taken_while_it_is_open_has_everything_acknowledged() {
    let (folder, clock, documents) = fresh();
    let t = Tenant::new("t").unwrap();
    let new = NewDocument { key: Key::new("s", "a"), body: "{}".to_owned() };
    documents.insert_many(&t, Items, vec![new], false).await.unwrap();
    // What kill -9 leaves: the file and a WAL that nobody checkpointed.
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("tenants")).unwrap();
    for name in ["t.db", "t.db-wal"] {
        std::fs::copy(folder.path().join("tenants").join(name), copy.path().join("tenants").join(name)).unwrap();
    }
    let again = open(copy.path(), &clock);
    assert!(again.get(&t, Items, Key::new("s", "a")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_row_of_another_version_is_derived_anew() {
    let (_folder, _, documents) = fresh();
    let t = Tenant::new("t").unwrap();
    let new = NewDocument { key: Key::new("s", "a"), body: r#"{"metadata":{"n":3}}"#.to_owned() };
    documents.insert_many(&t, Items, vec![new], false).await.unwrap();
    let file = documents.stores.open(&t).await.unwrap();
    file.write(Durability::Durable, |write| {
        Ok::<_, Error>(write.execute("UPDATE documents SET row = x'00'", []).map(|_| ())?)
    })
    .await
    .unwrap();
    let columns = vec![ColumnSpec { name: "n".to_owned(), kind: ColumnKind::Numeric }];
    let answer = documents.item_columns(&t, "s".to_owned(), vec![handle_of("a")], columns, 0).await.unwrap();
    assert_eq!(answer.table.numeric, [3.0]);
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize, u8, u16),
    Delete(usize, u8),
    Read(usize, u8),
    Page(usize),
    Purge(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..2_usize, 0..6_u8, any::<u16>()).prop_map(|(t, id, n)| Step::Put(t, id, n)),
        2 => (0..2_usize, 0..6_u8).prop_map(|(t, id)| Step::Delete(t, id)),
        3 => (0..2_usize, 0..6_u8).prop_map(|(t, id)| Step::Read(t, id)),
        2 => (0..2_usize).prop_map(Step::Page),
        1 => (0..2_usize).prop_map(Step::Purge),
    ];
    prop::collection::vec(step, 1..40)
}

async fn follow(steps: Vec<Step>) {
    // One file at a time stays open, so that closing and opening is part of it.
    let folder = tempfile::tempdir().unwrap();
    let stores = TenantStores::with(folder.path(), Arc::new(|| 1), 1).unwrap();
    let documents = SqliteDocuments::new(Arc::new(stores)).unwrap();
    let tenants = ["a", "b"].map(|id| Tenant::new(id).unwrap());
    let mut models = [BTreeMap::new(), BTreeMap::new()];
    let key = |id: u8| Key::new("s", id.to_string());
    let columns = || vec![ColumnSpec { name: "n".to_owned(), kind: ColumnKind::Numeric }];
    for step in steps {
        match step {
            Step::Put(t, id, n) => {
                let body = serde_json::json!({"metadata": {"n": n}}).to_string();
                documents.replace(&tenants[t], Items, key(id), body, Precondition::None).await.unwrap();
                models[t].insert(id, n);
            }
            Step::Delete(t, id) => {
                let existed = documents.delete(&tenants[t], Items, key(id), Precondition::None).await.unwrap();
                assert_eq!(existed, models[t].remove(&id).is_some());
            }
            Step::Read(t, id) => {
                let handles = vec![id::handle(&id.to_string())];
                let read = documents.item_columns(&tenants[t], "s".to_owned(), handles, columns(), 0).await.unwrap();
                assert_eq!(read.table.numeric.first().copied(), models[t].get(&id).map(|n| f32::from(*n)));
                let got = documents.get(&tenants[t], Items, key(id)).await.unwrap();
                assert_eq!(got.is_some(), models[t].contains_key(&id));
            }
            Step::Page(t) => {
                let page = documents.query(&tenants[t], Items, Query { limit: 100, ..Query::default() }).await.unwrap();
                let mut ids: Vec<u8> = page.documents.iter().map(|found| found.key.id.parse().unwrap()).collect();
                ids.sort_unstable();
                assert_eq!(ids, models[t].keys().copied().collect::<Vec<_>>());
                let lists = documents.newest_items(&tenants[t], "s".to_owned(), vec![(None, 100)]).await.unwrap();
                assert_eq!(lists[0].len(), models[t].len());
            }
            Step::Purge(t) => {
                let gone = documents.delete_scenario(&tenants[t], "s".to_owned()).await.unwrap();
                assert_eq!(gone, models[t].len() as u64);
                models[t].clear();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn two_tenants_never_see_each_other(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(follow(steps));
    }
}
