//! The conformance suite of documents on every server, and what is particular to
//! this backend.

mod support;

use std::sync::atomic::Ordering;

use funnelweb_factor_documents::conformance::Suite;
use funnelweb_store_mongodb::{Abilities, MongoDocuments};
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
