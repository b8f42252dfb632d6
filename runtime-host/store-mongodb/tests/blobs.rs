//! The conformance suite of blobs on every server, and what is left behind by
//! processes that die.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test suite: a failed check is a panic"
)]

mod support;

use std::sync::{Arc, atomic::Ordering};

use bson::doc;
use funnelweb_blob_store::{
    conformance::Suite,
    store::{Blobs, Bytes, Error, Tenant},
};
use funnelweb_factor_learned::conformance as learned;
use funnelweb_factor_vectors::EmbeddedVectors;
use funnelweb_store_mongodb::MongoBlobs;
use support::{Server, clock};

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    Server::each(async |server| {
        let blobs = MongoBlobs::new(server.store().await);
        Suite { blobs: &blobs, prefix: "" }.run().await;
    })
    .await;
}

/// What was learned is in blobs, and so is who was deleted since.
#[tokio::test(flavor = "multi_thread")]
async fn learned_models_conform() {
    Server::each(async |server| {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(MongoBlobs::new(server.store().await));
        let vectors = Arc::new(EmbeddedVectors::new(folder.path()));
        learned::Suite { blobs, vectors, prefix: "" }.run().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_that_died_had_begun_is_not_seen_and_goes() {
    let server = Server::ferretdb().await;
    let clock = clock();
    let blobs = MongoBlobs::new(server.store_at(&clock, |_| {}).await);
    let t = &Tenant::new("t").unwrap();
    blobs.put(t, "a", 1, Bytes::from_static(b"one")).await.unwrap();
    // Chunks and a note without a head: what is there before the head is.
    let (heads, chunks) = (server.collection("model_blobs").await, server.collection("model_blob_chunks").await);
    let head = heads.find_one(doc! { "version": 1 }).await.unwrap().unwrap();
    let mut note = head.clone();
    note.insert("_id", head.get_object_id("upload").unwrap());
    note.insert("begun_ms", clock.load(Ordering::Relaxed) as i64);
    heads.insert_one(note).await.unwrap();
    heads.delete_one(doc! { "_id": head.get_object_id("_id").unwrap() }).await.unwrap();
    assert_eq!(blobs.latest(t, "a").await, Ok(None));
    assert_eq!(blobs.list(t, "").await, Ok(Vec::new()));
    // Somebody may still be at work on it.
    blobs.put(t, "a", 2, Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(chunks.count_documents(doc! {}).await.unwrap(), 2);
    clock.fetch_add(3_600_001, Ordering::Relaxed);
    blobs.put(t, "a", 3, Bytes::from_static(b"three")).await.unwrap();
    assert_eq!(chunks.count_documents(doc! {}).await.unwrap(), 2);
    assert_eq!(heads.count_documents(doc! {}).await.unwrap(), 2);
    assert_eq!(blobs.get(t, "a", 2).await.unwrap().unwrap(), "two");
    blobs.delete_prefix(t, "").await.unwrap();
    assert_eq!(chunks.count_documents(doc! {}).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_touches_is_not_deleted() {
    let server = Server::ferretdb().await;
    let clock = clock();
    let blobs = MongoBlobs::new(server.store_at(&clock, |_| {}).await);
    let t = &Tenant::new("t").unwrap();
    let there = async || blobs.list(t, "").await.unwrap().len();
    blobs.put(t, "a/b", 1, Bytes::from_static(b"one")).await.unwrap();
    blobs.put(t, "a/c", 1, Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(blobs.delete_unused(t, "a", blobs.on_the_way()).await, Ok(false));
    assert_eq!(there().await, 2);
    clock.fetch_add(3_600_001, Ordering::Relaxed);
    assert_eq!(blobs.touch(t, "a/b", 1).await, Ok(true));
    assert_eq!(blobs.delete_unused(t, "a", blobs.on_the_way()).await, Ok(false));
    assert_eq!(there().await, 1);
    assert_eq!(blobs.get(t, "a/b", 1).await.unwrap().unwrap(), "one");
    clock.fetch_add(3_600_001, Ordering::Relaxed);
    assert_eq!(blobs.delete_unused(t, "a", blobs.on_the_way()).await, Ok(true));
    assert_eq!(server.collection("model_blob_chunks").await.count_documents(doc! {}).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_lacks_something_is_damaged() {
    let server = Server::ferretdb().await;
    let blobs = MongoBlobs::new(server.store().await);
    let t = &Tenant::new("t").unwrap();
    blobs.put(t, "a", 1, Bytes::from(vec![7; 9_000_000])).await.unwrap();
    let chunks = server.collection("model_blob_chunks").await;
    assert_eq!(chunks.count_documents(doc! {}).await.unwrap(), 3);
    chunks.delete_one(doc! {}).await.unwrap();
    assert!(matches!(blobs.get(t, "a", 1).await, Err(Error::Damaged { version: 1, .. })));
}
