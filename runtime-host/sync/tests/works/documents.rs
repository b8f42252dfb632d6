//! Sources that are documents of the web.

use std::{fs, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use funnelweb_core::job::State;
use serde_json::json;

use crate::{
    fixture::{Fixture, events, one},
    server::{Answer, Web},
};

async fn fixture(web: &Web) -> Fixture {
    let url = format!("{}/data", web.url);
    Fixture::new(|settings| settings.urls.push(url)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_asked_for_by_its_version() {
    let web = Web::start([Answer::ok("item_id\na\nb\n")
        .with("etag", "\"1\"")
        .with("last-modified", "Sat, 28 Nov 2026 15:00:00 GMT")]);
    let fixture = fixture(&web).await;
    let from = format!("{}/data/items.csv?day=1", web.url);
    let source = &fixture.sources(one(&from, "items")).await[0];
    assert_eq!((&source["state"], &source["lines"]["created"]), (&json!("imported"), &json!(2)), "{source}");
    let head = web.last();
    assert!(head.starts_with("get /data/items.csv?day=1 http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", web.url.trim_start_matches("http://"))), "{head}");
    assert!(!head.contains("if-none-match") && head.contains("accept-encoding: identity"), "{head}");
    web.then(Answer::status("304 Not Modified"));
    assert_eq!(fixture.state(&from, "items").await, "unchanged");
    assert!(web.last().contains("if-none-match: \"1\"\r\nif-modified-since: sat, 28 nov 2026"), "{}", web.last());
    // A server that does not know conditions, and one that says nothing of versions.
    web.then(Answer::ok("item_id\na\nb\n").with("etag", "\"1\""));
    assert_eq!(fixture.state(&from, "items").await, "unchanged");
    web.then(Answer::ok("item_id\na\nb\n"));
    assert_eq!(fixture.state(&from, "items").await, "unchanged");
    assert_eq!(fixture.requests(), [2]);
    web.then(Answer::ok("item_id\na\nb\nc\n").with("etag", "\"2\""));
    assert_eq!(fixture.state(&from, "items").await, "imported");
    assert_eq!(fixture.rows(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_pass_is_tried_again_and_half_a_document_is_none() {
    let whole = events(2000);
    let web = Web::start([
        Answer::status("500 Internal Server Error"),
        Answer::ok(whole.clone()).cut(whole.len() / 2),
        Answer::ok(whole),
    ]);
    let fixture = fixture(&web).await;
    let run = fixture.run("acme", one(&format!("{}/data/log.csv", web.url), "behaviors")).await;
    assert_eq!((run.state, run.attempts, web.requests()), (State::Succeeded, 3, 3), "{}", run.error);
    assert_eq!(fixture.requests(), [1000, 1000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gzip_is_known_by_its_content() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(b"{\"item_id\":\"a\"}\n{\"item_id\":\"b\"}\n").unwrap();
    let packed = packed.finish().unwrap();
    let web = Web::start([Answer::ok(packed.clone()), Answer::ok(packed).with("content-encoding", "gzip")]);
    let fixture = fixture(&web).await;
    let from = format!("{}/data/items", web.url);
    let params = json!({"sources": [{"from": from, "kind": "items", "format": "ndjson"}]});
    assert_eq!(fixture.sources(params.clone()).await[0]["lines"]["created"], 2);
    let mut forced = params;
    forced["force"] = json!(true);
    assert_eq!(fixture.sources(forced).await[0]["lines"]["replaced"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_will_not_pass_is_not_tried_again() {
    let web = Web::start([
        Answer::status("404 Not Found"),
        Answer::status("302 Found").with("location", "http://169.254.169.254/latest/meta-data"),
        Answer::status("304 Not Modified"),
    ]);
    let fixture = fixture(&web).await;
    let from = format!("{}/data/items.csv", web.url);
    for error in
        ["answered 404 Not Found", "answered 302 Found; a redirect is not followed", "answered 304 Not Modified"]
    {
        let run = fixture.run("acme", one(&from, "items")).await;
        assert_eq!((run.state, run.attempts), (State::Failed, 1));
        assert!(run.error.contains(error), "{}", run.error);
    }
    assert_eq!(web.requests(), 3);
    let (pointer, message) = fixture.refused(&one(&format!("{}/other/items.csv", web.url), "items"));
    assert_eq!(pointer, "/sources/0/from");
    assert!(message.starts_with("is not among the URLs"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_s_documents_are_its_own() {
    let web = Web::start([Answer::ok("item_id\na\n")]);
    let url = format!("{}/{{tenant}}", web.url);
    let fixture = Fixture::new(|settings| settings.urls.push(url)).await;
    let from = format!("{}/acme/items.csv", web.url);
    // Whose it is, is known when it is run.
    let run = fixture.run("other", one(&from, "items")).await;
    assert_eq!((run.state, web.requests()), (State::Failed, 0));
    assert!(run.error.starts_with("/sources/0/from: is not among the URLs"), "{}", run.error);
    assert_eq!(fixture.state(&from, "items").await, "imported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_has_a_limit_and_a_server_a_certificate() {
    let (web, certificate) = Web::start_tls([Answer::ok("item_id\na\n"), Answer::ok("x".repeat(101))]);
    let url = format!("{}/", web.url);
    let from = format!("{url}items.csv");
    let trusting = Fixture::new(|settings| {
        let file = settings.folder.as_ref().unwrap().join("ca.pem");
        fs::write(&file, &certificate).unwrap();
        settings.tls_ca_file = Some(file);
        settings.urls.push(url.clone());
        settings.source_bytes_max = 100;
    })
    .await;
    assert_eq!(trusting.state(&from, "items").await, "imported");
    let run = trusting.run("acme", one(&from, "items")).await;
    assert_eq!(run.error, format!("{from}: has over 100 bytes"));
    let doubting = Fixture::new(|settings| settings.urls.push(url.clone())).await;
    let run = doubting.run("acme", one(&from, "items")).await;
    assert!(run.error.contains("TLS: invalid peer certificate"), "{}", run.error);
}
