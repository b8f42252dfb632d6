//! Factor models over the embedded stores: their vectors are there before they are
//! served, whatever was lost.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test: what is not as expected fails it")]

use std::{sync::Arc, time::Duration};

use funnelweb_blob_store::{FileBlobs, store::Blobs};
use funnelweb_core::limits;
use funnelweb_factor_learned::{
    Factors, Gathered, Handles, LearnedModels, Similarity, Table, names,
    store::{Error, Learned, Lists, Relation, Slate, Tenant},
};
use funnelweb_factor_vectors::{
    EmbeddedVectors,
    store::{Filter, Metric, Vectors},
};

struct Fixture {
    _folder: tempfile::TempDir,
    blobs: Arc<FileBlobs>,
    vectors: Arc<EmbeddedVectors>,
    t: Tenant,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(FileBlobs::new(folder.path()).unwrap());
        let vectors = Arc::new(EmbeddedVectors::new(folder.path()));
        Self { _folder: folder, blobs, vectors, t: Tenant::new("t").unwrap() }
    }

    /// As another process would, or this one after a start.
    fn models(&self) -> LearnedModels {
        LearnedModels::looking_every(Duration::from_secs(3600), self.blobs.clone(), self.vectors.clone())
    }

    async fn put(&self, version: u64, factors: &Factors) {
        let bytes = factors.encode().unwrap();
        self.blobs.put(&self.t, &names::factors("s"), version, bytes.into()).await.unwrap();
    }

    async fn spaces(&self) -> Vec<String> {
        self.vectors.spaces(&self.t, "s").await.unwrap()
    }

    async fn count(&self, space: &str) -> u64 {
        self.vectors.describe(&self.t, "s", space).await.unwrap().unwrap().vectors
    }
}

fn factors(items: u64, users: u64) -> Factors {
    let handles = |count: u64| Handles::new((1..=count).collect()).unwrap();
    let values = |count: u64| (0..2 * count).map(|at| 1.0 + at as f32).collect();
    Factors {
        items: handles(items),
        users: handles(users),
        dimension: 2,
        unobserved_weight: 0.1,
        regularisation: 0.2,
        regularisation_exponent: 0.5,
        mean_weight: 1.5,
        gramian: vec![4.0, 3.0, 3.0, 4.0],
        item_values: values(items),
        user_values: values(users),
    }
}

#[tokio::test]
async fn a_model_is_served_with_its_vectors() {
    let it = Fixture::new();
    let models = it.models();
    assert_eq!(models.factors(&it.t, "s").await, Ok(None));
    // More than fit one change of a space; one of zeros is like nothing.
    let items = limits::VECTOR_BATCH as u64 + 5;
    let mut learned = factors(items, 3);
    learned.item_values[..2].fill(0.0);
    it.put(7, &learned).await;
    models.refresh(&it.t, "s").await.unwrap();
    let model = models.factors(&it.t, "s").await.unwrap().unwrap();
    assert_eq!((model.version, model.dimension, u64::from(model.items)), (7, 2, items));
    assert_eq!((model.unobserved_weight, model.regularisation, model.regularisation_exponent), (0.1, 0.2, 0.5));
    assert_eq!((model.mean_weight, &*model.gramian), (1.5, &[4.0, 3.0, 3.0, 4.0][..]));
    assert_eq!((it.count(&model.item_space).await, it.count(&model.user_space).await), (items - 1, 3));
    let rows = it.vectors.get(&it.t, "s", &model.item_space, vec![items, 1, 2]).await.unwrap();
    assert_eq!(rows.found, [0, 2]);
    assert_eq!(rows.values[2..], [3.0, 4.0]);
    let hits = it.vectors.query(&it.t, "s", &model.user_space, vec![1.0, 0.0], 1, Filter::All).await.unwrap();
    assert_eq!((hits.handles, hits.scores), (vec![3], vec![5.0]));
}

#[tokio::test]
async fn spaces_of_the_version_before_stay_and_older_ones_go() {
    let it = Fixture::new();
    let models = it.models();
    it.vectors.create(&it.t, "s", "embedding", 2, Metric::Cosine).await.unwrap();
    for version in [3, 5, 9] {
        it.put(version, &factors(4, 2)).await;
        models.refresh(&it.t, "s").await.unwrap();
    }
    let expected = ["embedding", "factors-items@5", "factors-items@9", "factors-users@5", "factors-users@9"];
    assert_eq!(it.spaces().await, expected);
}

#[tokio::test]
async fn spaces_that_are_lost_or_half_filled_are_filled_again() {
    let it = Fixture::new();
    it.put(1, &factors(4, 2)).await;
    // By a process that was killed in the middle of it.
    it.vectors.create(&it.t, "s", "factors-items@1", 2, Metric::InnerProduct).await.unwrap();
    it.vectors.upsert(&it.t, "s", "factors-items@1", vec![1], vec![9.0, 9.0]).await.unwrap();
    let models = it.models();
    assert!(models.factors(&it.t, "s").await.unwrap().is_some());
    assert_eq!(it.count("factors-items@1").await, 4);
    it.vectors.drop_space(&it.t, "s", "factors-users@1").await.unwrap();
    models.refresh(&it.t, "s").await.unwrap();
    assert_eq!(it.count("factors-users@1").await, 2);
}

#[tokio::test]
async fn without_anything_learned_there_is_no_model() {
    let it = Fixture::new();
    let models = it.models();
    it.put(1, &factors(4, 2)).await;
    models.refresh(&it.t, "s").await.unwrap();
    let nothing = Factors { gramian: vec![0.0; 4], ..factors(0, 0) };
    it.put(2, &nothing).await;
    models.refresh(&it.t, "s").await.unwrap();
    assert_eq!(models.factors(&it.t, "s").await, Ok(None));
}

#[tokio::test]
async fn a_scenario_is_forgotten_and_others_are_not() {
    let it = Fixture::new();
    let models = it.models();
    let handles = Handles::new(vec![1, 2]).unwrap();
    let alike = Table { offsets: vec![0, 1, 2], ids: vec![1, 0], scores: vec![0.5, 0.5] };
    let nobody = || Table::empty(0);
    let learned = Similarity::new(handles, Handles::default(), alike, nobody(), nobody()).unwrap().encode();
    for scenario in ["s", "s2"] {
        it.blobs.put(&it.t, &names::similarity(scenario), 1, learned.clone().into()).await.unwrap();
    }
    it.put(1, &factors(4, 2)).await;
    let similar = async |tenant: &Tenant, scenario: &str| {
        models.related(tenant, scenario, Relation::SimilarItems, &[1, 3], 10).await.unwrap()
    };
    let found = Lists { offsets: vec![0, 1, 1], handles: vec![2], scores: vec![0.5] };
    assert_eq!(similar(&it.t, "s").await, found);
    assert!(models.factors(&it.t, "s").await.unwrap().is_some());
    models.forget_scenario(&it.t, "s").await.unwrap();
    assert_eq!(similar(&it.t, "s").await, Lists::empty(2));
    assert_eq!(models.factors(&it.t, "s").await, Ok(None));
    assert_eq!(it.spaces().await, [""; 0]);
    assert_eq!(similar(&it.t, "s2").await, found);
    assert_eq!(similar(&Tenant::new("other").unwrap(), "s2").await, Lists::empty(2));
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    let it = Fixture::new();
    let models = it.models();
    let related = async |scenario: &str, handles: usize, limit: usize| {
        let handles = vec![7; handles];
        match models.related(&it.t, scenario, Relation::UserItems, &handles, limit as u32).await {
            Err(Error::Invalid(message)) => message,
            other => format!("{other:?}"),
        }
    };
    assert!(related("../s", 1, 1).await.starts_with("scenario-id"));
    assert!(related("s", limits::RELATED + 1, 1).await.starts_with("handles"));
    assert!(related("s", 1, 0).await.starts_with("limit: must be 1 to 1000, got 0"));
    assert!(related("s", 1, limits::RELATED + 1).await.starts_with("limit"));
    assert!(related("s", limits::RELATED, limits::RELATED).await.starts_with("Ok"));
    assert!(models.factors(&it.t, "").await.is_err());
}

#[tokio::test]
async fn slates_are_served_and_forgotten() {
    let it = Fixture::new();
    let models = it.models();
    assert_eq!(models.precomputed(&it.t, "s", 7).await, Ok(None));
    let slate = |made_ms: u64| Slate { made_ms, handles: vec![9, 3], scores: vec![2.0, -1.0] };
    for version in [1, 2] {
        let mut gathered = Gathered::with_capacity(1, 2);
        gathered.push(7, &slate(version));
        let file = gathered.finish().unwrap().encode();
        it.blobs.put(&it.t, &names::slates("s"), version, file.into()).await.unwrap();
        models.refresh(&it.t, "s").await.unwrap();
        assert_eq!(models.precomputed(&it.t, "s", 7).await, Ok(Some(slate(version))));
        assert_eq!(models.precomputed(&it.t, "s", 8).await, Ok(None));
    }
    let other = Tenant::new("other").unwrap();
    assert_eq!(models.precomputed(&other, "s", 7).await, Ok(None));
    models.forget_scenario(&it.t, "s").await.unwrap();
    assert_eq!(models.precomputed(&it.t, "s", 7).await, Ok(None));
    assert!(models.precomputed(&it.t, "", 7).await.is_err());
}

#[test]
fn the_most_slates_fit_a_blob_and_their_memory() {
    // Whatever they are of: an item has a handle, its part and an id for every entry.
    let entries = limits::PRECOMPUTED_USERS * limits::COUNT as usize;
    let most = 8 * entries + 28 * limits::PRECOMPUTED_USERS + 12 * entries;
    assert!(most <= limits::BLOB_BYTES && most <= limits::PRECOMPUTED_CACHE_BYTES, "{most}");
}

#[test]
fn what_folding_in_needs_fits_its_memory() {
    // Hundreds of the largest models.
    assert!(limits::FOLD_IN_CACHE_BYTES / (4 * limits::LEARNED_DIMENSIONS.pow(2)) > 200);
}
