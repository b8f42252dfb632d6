//! Over the embedded document store.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use funnelweb_core::limits;
use funnelweb_factor_documents::{SqliteDocuments, store::NewDocument};
use funnelweb_tenant_store::TenantStores;
use tempfile::TempDir;

use super::*;
use crate::{
    EmbeddedVectors,
    store::{Filter, Hits, Metric, Rows, Space},
};

struct Fixture {
    _folder: TempDir,
    documents: WithEmbeddings,
    vectors: Arc<dyn Vectors>,
    tenant: Tenant,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let vectors = Arc::new(EmbeddedVectors::new(folder.path()));
    with(folder, vectors)
}

fn with(folder: TempDir, vectors: Arc<dyn Vectors>) -> Fixture {
    let inner = SqliteDocuments::new(Arc::new(TenantStores::new(folder.path()).unwrap())).unwrap();
    let documents = WithEmbeddings::new(Arc::new(inner), Arc::clone(&vectors));
    Fixture { _folder: folder, documents, vectors, tenant: Tenant::new("acme").unwrap() }
}

fn key(id: &str) -> Key {
    Key::new("feed", id)
}

fn body(vector: &str) -> String {
    format!(r#"{{"metadata": {{"title": "x"}}, "embedding": {vector}}}"#)
}

impl Fixture {
    async fn insert(&self, items: &[(&str, &str)], replace: bool) -> Vec<InsertOutcome> {
        let documents = items.iter().map(|(id, body)| NewDocument { key: key(id), body: (*body).to_owned() });
        self.documents.insert_many(&self.tenant, Collection::Items, documents.collect(), replace).await.unwrap()
    }

    async fn replace(&self, id: &str, body: String) {
        let replaced = self.documents.replace(&self.tenant, Collection::Items, key(id), body, Precondition::None);
        replaced.await.unwrap();
    }

    async fn vector(&self, id: &str) -> Vec<f32> {
        self.vectors.get(&self.tenant, "feed", EMBEDDING, vec![id::handle(id)]).await.unwrap().values
    }

    async fn space(&self) -> Option<Space> {
        self.vectors.describe(&self.tenant, "feed", EMBEDDING).await.unwrap()
    }
}

#[tokio::test]
async fn vectors_follow_every_kind_of_write() {
    let it = fixture();
    assert_eq!(it.insert(&[("a", "{}")], false).await, [InsertOutcome::Created]);
    assert_eq!(it.space().await, None);
    it.insert(&[("b", &body("[1, 0]")), ("c", &body("[0, 2]")), ("d", "{}")], false).await;
    assert_eq!(it.space().await, Some(Space { dimension: 2, metric: Metric::Cosine, vectors: 2 }));
    // What is not inserted leaves what is there.
    let outcomes = it.insert(&[("b", &body("[5, 5]")), ("e", &body("[1, 1]"))], false).await;
    assert_eq!(outcomes, [InsertOutcome::Duplicate, InsertOutcome::Created]);
    assert_eq!(it.vector("b").await, [1.0, 0.0]);
    it.insert(&[("b", "{}"), ("c", &body("[3, 3]"))], true).await;
    assert_eq!((it.vector("b").await, it.vector("c").await), (vec![], vec![3.0, 3.0]));
    it.replace("a", body("[7, 1]")).await;
    assert_eq!(it.vector("a").await, [7.0, 1.0]);
    it.replace("a", "{}".to_owned()).await;
    assert!(it.vector("a").await.is_empty());
    let patch = |id: &str, patch: &str| {
        it.documents.patch(&it.tenant, Collection::Items, key(id), patch.to_owned(), Precondition::None)
    };
    let patched = patch("d", r#"{"embedding": [4, 4]}"#).await.unwrap();
    assert_eq!(it.vector("d").await, [4.0, 4.0]);
    patch("d", r#"{"metadata": {"title": "y"}}"#).await.unwrap();
    assert_eq!(it.vector("d").await, [4.0, 4.0]);
    patch("d", r#"{"embedding": null}"#).await.unwrap();
    assert!(it.vector("d").await.is_empty());
    it.documents.restore(&it.tenant, Collection::Items, vec![patched]).await.unwrap();
    assert_eq!(it.vector("d").await, [4.0, 4.0]);
    let delete = |id: &str, when| it.documents.delete(&it.tenant, Collection::Items, key(id), when);
    assert!(delete("c", Precondition::Version(99)).await.is_err());
    assert_eq!(it.vector("c").await, [3.0, 3.0]);
    assert!(delete("c", Precondition::None).await.unwrap());
    assert!(it.vector("c").await.is_empty());
    assert_eq!(it.documents.misfits(), 0);
    // Other collections have no vectors.
    let profile = vec![NewDocument { key: key("ann"), body: body("[1, 1]") }];
    it.documents.insert_many(&it.tenant, Collection::UserProfiles, profile, false).await.unwrap();
    assert!(it.vector("ann").await.is_empty());
    it.vectors.create(&it.tenant, "feed", "factors-items@1", 1, Metric::InnerProduct).await.unwrap();
    it.documents.delete_scenario(&it.tenant, "feed".to_owned()).await.unwrap();
    assert!(it.vectors.spaces(&it.tenant, "feed").await.unwrap().is_empty());
}

#[tokio::test]
async fn vectors_that_do_not_fit_are_counted_and_the_items_are_written() {
    let it = fixture();
    it.insert(&[("zero", &body("[0, 0, 0]")), ("a", &body("[1, 2]")), ("b", &body("[1, 2, 3]"))], false).await;
    assert_eq!(it.space().await, Some(Space { dimension: 2, metric: Metric::Cosine, vectors: 1 }));
    assert_eq!(it.documents.misfits(), 2);
    // One that no longer fits is no longer there.
    it.replace("a", body("[1, 2, 3]")).await;
    assert_eq!((it.vector("a").await, it.documents.misfits()), (vec![], 3));
    let found = it.documents.get(&it.tenant, Collection::Items, key("a")).await.unwrap().unwrap();
    assert!(found.body.contains("[1,2,3]"), "{}", found.body);
    // The space is empty: the next may have another dimension.
    it.replace("a", body("[1, 2, 3]")).await;
    assert_eq!(it.vector("a").await, [1.0, 2.0, 3.0]);
    assert_eq!(it.space().await.map(|space| space.dimension), Some(3));
}

#[tokio::test]
async fn a_batch_of_many_scenarios_goes_to_their_spaces() {
    let it = fixture();
    let documents = (0..limits::INSERT_DOCUMENTS).map(|at| {
        let scenario = ["feed", "video"][at % 2];
        NewDocument { key: Key::new(scenario, format!("item_{at}")), body: body(&format!("[1, {at}]")) }
    });
    let outcomes = it.documents.insert_many(&it.tenant, Collection::Items, documents.collect(), false).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == InsertOutcome::Created));
    for scenario in ["feed", "video"] {
        let space = it.vectors.describe(&it.tenant, scenario, EMBEDDING).await.unwrap().unwrap();
        assert_eq!(space.vectors as usize, limits::INSERT_DOCUMENTS / 2);
    }
    assert_eq!(it.vector("item_4998").await, [1.0, 4998.0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writes_at_once_the_vector_of_the_last_stays() {
    let it = Arc::new(fixture());
    for round in 0..20 {
        let writers = (1..=8).map(|at| {
            let it = Arc::clone(&it);
            tokio::spawn(async move {
                if at % 4 == 0 {
                    it.insert(&[("a", &body(&format!("[{round}, {at}]")))], true).await;
                } else {
                    it.replace("a", body(&format!("[{round}, {at}]"))).await;
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let stored = it.documents.get(&it.tenant, Collection::Items, key("a")).await.unwrap().unwrap();
        assert_eq!(it.vector("a").await, vector_of(&stored.body), "round {round}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_half() {
    let it = fixture();
    for round in 1..=20 {
        // Begun, and given up at some point of it.
        let write = it.replace("a", body(&format!("[{round}, 1]")));
        let _ = tokio::time::timeout(std::time::Duration::from_micros(100 * round), write).await;
    }
    it.replace("b", body("[1, 1]")).await;
    // A write of the same item waits for the ones before.
    let _held = it.documents.busy.hold(vec![item_key(&it.tenant, &key("a"))]).await;
    let stored = it.documents.get(&it.tenant, Collection::Items, key("a")).await.unwrap().unwrap();
    assert_eq!(it.vector("a").await, vector_of(&stored.body));
}

/// A store of vectors behind a network that fails now and then.
struct Failing {
    inner: EmbeddedVectors,
    down: AtomicBool,
}

impl Failing {
    fn up(&self) -> Result<&EmbeddedVectors, Error> {
        if self.down.load(SeqCst) { Err(Error::Unavailable("down".to_owned())) } else { Ok(&self.inner) }
    }
}

#[async_trait]
impl Vectors for Failing {
    async fn describe(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> Result<Option<Space>, Error> {
        self.up()?.describe(tenant, scenario_id, space).await
    }
    async fn get(&self, tenant: &Tenant, scenario_id: &str, space: &str, handles: Vec<u64>) -> Result<Rows, Error> {
        self.up()?.get(tenant, scenario_id, space, handles).await
    }
    async fn query(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        space: &str,
        vector: Vec<f32>,
        limit: u32,
        filter: Filter,
    ) -> Result<Hits, Error> {
        self.up()?.query(tenant, scenario_id, space, vector, limit, filter).await
    }
    async fn create(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        space: &str,
        dimension: u32,
        metric: Metric,
    ) -> Result<(), Error> {
        self.up()?.create(tenant, scenario_id, space, dimension, metric).await
    }
    async fn upsert(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        space: &str,
        handles: Vec<u64>,
        values: Vec<f32>,
    ) -> Result<(), Error> {
        self.up()?.upsert(tenant, scenario_id, space, handles, values).await
    }
    async fn delete(&self, tenant: &Tenant, scenario_id: &str, space: &str, handles: Vec<u64>) -> Result<(), Error> {
        self.up()?.delete(tenant, scenario_id, space, handles).await
    }
    async fn settle(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> Result<(), Error> {
        self.up()?.settle(tenant, scenario_id, space).await
    }
    async fn spaces(&self, tenant: &Tenant, scenario_id: &str) -> Result<Vec<String>, Error> {
        self.up()?.spaces(tenant, scenario_id).await
    }
    async fn drop_space(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> Result<(), Error> {
        self.up()?.drop_space(tenant, scenario_id, space).await
    }
    async fn drop_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.up()?.drop_scenario(tenant, scenario_id).await
    }
}

#[tokio::test]
async fn items_are_written_while_vectors_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = Arc::new(Failing { inner: EmbeddedVectors::new(folder.path()), down: AtomicBool::new(true) });
    let it = with(folder, Arc::clone(&vectors) as Arc<dyn Vectors>);
    it.replace("a", body("[1, 2]")).await;
    vectors.down.store(false, SeqCst);
    assert_eq!(it.space().await, None);
    it.replace("a", body("[1, 2]")).await;
    assert_eq!(it.vector("a").await, [1.0, 2.0]);
    vectors.down.store(true, SeqCst);
    assert!(it.documents.delete_scenario(&it.tenant, "feed".to_owned()).await.is_ok());
}
