//! On a real server: Milvus Lite, or the one that `FUNNELWEB_TEST_MILVUS_URL` names.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use funnelweb_factor_vectors::{
    conformance::Suite,
    store::{Error, Filter, Hits, Metric, Tenant, Vectors},
};
use funnelweb_store_milvus::{MilvusSettings, MilvusVectors};
use funnelweb_test_servers::{
    Server,
    proxy::{Fault, Proxy},
};

fn acme() -> Tenant {
    Tenant::new("acme").unwrap()
}

async fn connect(port: u16) -> MilvusVectors {
    let mut settings = MilvusSettings::of(format!("http://127.0.0.1:{port}"));
    settings.operation_timeout_ms = 30_000;
    MilvusVectors::connect(settings).await.unwrap()
}

async fn fill(vectors: &MilvusVectors) {
    vectors.create(&acme(), "feed", "embedding", 2, Metric::Cosine).await.unwrap();
    vectors.upsert(&acme(), "feed", "embedding", vec![7, 8], vec![1.0, 0.0, 0.0, 1.0]).await.unwrap();
}

async fn ask(vectors: &MilvusVectors) -> Result<Hits, Error> {
    vectors.query(&acme(), "feed", "embedding", vec![1.0, 0.1], 1, Filter::All).await
}

#[tokio::test]
async fn passes_the_suite() {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let prefix = format!("run-{seconds}-");
    if let Ok(url) = std::env::var("FUNNELWEB_TEST_MILVUS_URL") {
        let vectors = MilvusVectors::connect(MilvusSettings::of(url)).await.unwrap();
        return Suite { vectors: &vectors, prefix: &prefix }.run().await;
    }
    let server = Server::milvus();
    Suite { vectors: &connect(server.port()).await, prefix: &prefix }.run().await;
}

#[tokio::test]
async fn a_server_that_was_killed_has_what_was_written() {
    let mut server = Server::milvus();
    let vectors = connect(server.port()).await;
    fill(&vectors).await;
    server.stop();
    let failed = ask(&vectors).await.unwrap_err();
    assert!(matches!(&failed, Error::Unavailable(text) if text.starts_with("milvus: ")), "{failed}");
    server.restart();
    // The breaker lets a call through again after two seconds at most.
    let start = Instant::now();
    let hits = loop {
        match ask(&vectors).await {
            Err(error) if start.elapsed() > Duration::from_secs(20) => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            Ok(hits) => break hits,
        }
    };
    assert_eq!(hits.handles, [7]);
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_the_next_ones_are_not_made() {
    let server = Server::milvus();
    fill(&connect(server.port()).await).await;
    let proxy = Proxy::before(server.port());
    let mut settings = MilvusSettings::of(format!("http://127.0.0.1:{}", proxy.port()));
    settings.operation_timeout_ms = 1000;
    let vectors = MilvusVectors::connect(settings).await.unwrap();
    assert_eq!(ask(&vectors).await.unwrap().handles, [7]);
    proxy.set(Fault::Stall);
    let start = Instant::now();
    let failed = ask(&vectors).await.unwrap_err().to_string();
    assert!(failed.contains("no answer in"), "{failed}");
    assert!((900..3000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    let start = Instant::now();
    let mut failed = String::new();
    while !failed.ends_with("not tried, the calls before failed") {
        assert!(start.elapsed() < Duration::from_secs(20), "{failed}");
        failed = ask(&vectors).await.unwrap_err().to_string();
    }
    proxy.set(Fault::None);
    while let Err(error) = ask(&vectors).await {
        assert!(start.elapsed() < Duration::from_secs(60), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_space_that_another_process_dropped_is_gone_for_all() {
    let server = Server::milvus();
    let [ours, theirs] = [connect(server.port()).await, connect(server.port()).await];
    fill(&ours).await;
    assert_eq!(ask(&theirs).await.unwrap().handles, [7]);
    theirs.drop_space(&acme(), "feed", "embedding").await.unwrap();
    assert_eq!(ask(&ours).await.unwrap(), Hits::default());
    let refused = ours.upsert(&acme(), "feed", "embedding", vec![7], vec![1.0, 0.0]).await.unwrap_err();
    assert_eq!(refused, Error::invalid("space", "there is no embedding"));
    // Made in another shape by the others, it takes that shape.
    theirs.create(&acme(), "feed", "embedding", 1, Metric::InnerProduct).await.unwrap();
    let asked = ours.query(&acme(), "feed", "embedding", vec![1.0], 1, Filter::All).await;
    assert_eq!(asked.unwrap(), Hits::default());
}

#[tokio::test]
async fn nobody_there_is_an_error_that_says_so() {
    let port = funnelweb_test_servers::free_port();
    let connected = MilvusVectors::connect(MilvusSettings::of(format!("http://127.0.0.1:{port}"))).await;
    let failed = connected.map(|_| ()).unwrap_err().to_string();
    assert!(failed.starts_with("milvus: GetVersion: ") && failed.contains("refused"), "{failed}");
}
