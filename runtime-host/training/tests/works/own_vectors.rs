use funnelweb_core::id::handle;
use funnelweb_factor_documents::store::{Collection, Key, Precondition};
use funnelweb_factor_vectors::store::Metric;
use funnelweb_training::{EmbeddingsParams, embeddings};
use serde_json::{Value, json};

use crate::fixture::{Fixture, Follower};

impl Fixture {
    /// What became of items' own vectors.
    async fn own(&self, version: u64) -> Value {
        let params = EmbeddingsParams::default();
        let mut outcome = embeddings(&self.context, &self.target(version), &params, Follower::new()).await.unwrap();
        outcome["own"].take()
    }

    async fn vector(&self, item: &str) -> Vec<f32> {
        let vectors = &self.context.vectors;
        vectors.get(&self.t, "feed", "embedding", vec![handle(item)]).await.unwrap().values
    }
}

fn own(items: u64, unfit: u64, written: u64, removed: u64) -> Value {
    json!({"items": items, "unfit": unfit, "written": written, "removed": removed})
}

#[tokio::test]
async fn the_space_follows_the_items() {
    let it = Fixture::new().await;
    assert_eq!(it.own(1).await, own(0, 0, 0, 0));
    assert_eq!(it.context.vectors.spaces(&it.t, "feed").await.unwrap(), [""; 0]);
    it.item("none", json!({})).await;
    it.item("one", json!({"embedding": [3.0, 4.0]})).await;
    it.item("two", json!({"embedding": [1.0, 0.0]})).await;
    it.item("zeros", json!({"embedding": [0.0, 0.0]})).await;
    it.item("long", json!({"embedding": [1.0, 0.0, 0.0]})).await;
    assert_eq!(it.own(2).await, own(2, 2, 2, 0));
    assert_eq!(it.own(3).await, own(2, 2, 0, 0));
    let vector = it.vector("one").await;
    assert!((vector[1] / vector[0] - 4.0 / 3.0).abs() < 1e-3);
    // One is another now, one has lost its vector, one got one.
    it.item("one", json!({"embedding": [4.0, 3.0]})).await;
    it.item("two", json!({})).await;
    it.item("none", json!({"embedding": [0.0, 1.0]})).await;
    assert_eq!(it.own(4).await, own(2, 2, 2, 1));
    assert_eq!(it.vector("two").await, [0.0; 0]);
    // One is gone, and its vector is there still.
    let documents = &it.context.documents;
    documents.delete(&it.t, Collection::Items, Key::new("feed", "none"), Precondition::None).await.unwrap();
    assert_eq!(it.own(5).await, own(1, 2, 0, 1));
    assert_eq!(it.vector("none").await, [0.0; 0]);
    assert_eq!(it.vector("one").await.len(), 2);
}

#[tokio::test]
async fn when_most_vectors_are_of_another_dimension_the_space_is_theirs() {
    let it = Fixture::new().await;
    it.context.vectors.create(&it.t, "feed", "embedding", 2, Metric::Cosine).await.unwrap();
    it.context.vectors.upsert(&it.t, "feed", "embedding", vec![handle("one")], vec![1.0, 1.0]).await.unwrap();
    it.item("one", json!({"embedding": [1.0, 1.0]})).await;
    it.item("two", json!({"embedding": [1.0, 2.0, 3.0]})).await;
    it.item("three", json!({"embedding": [1.0, 2.0, 4.0]})).await;
    assert_eq!(it.own(1).await, own(2, 1, 2, 1));
    let space = it.context.vectors.describe(&it.t, "feed", "embedding").await.unwrap().unwrap();
    assert_eq!((space.dimension, space.vectors), (3, 2));
    // Without any the space goes.
    for item in ["one", "two", "three"] {
        it.item(item, json!({})).await;
    }
    assert_eq!(it.own(2).await, own(0, 0, 0, 2));
    assert_eq!(it.context.vectors.describe(&it.t, "feed", "embedding").await, Ok(None));
}
