//! Sources that are files.

use std::{fs, io::Write as _, os::unix::fs::symlink, time::Duration};

use flate2::{Compression, write::GzEncoder};
use funnelweb_core::job::State;
use funnelweb_jobs::StartError;
use serde_json::json;

use crate::fixture::{Fixture, events, one, tenant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_imported_when_it_has_changed() {
    let fixture = Fixture::new(|_| ()).await;
    let path = fixture.write("acme/items.csv", "item_id,title\na,A\nb,B\n");
    let first = &fixture.sources(one("items.csv", "items")).await[0];
    assert_eq!((&first["state"], &first["lines"]["created"]), (&json!("imported"), &json!(2)), "{first}");
    assert_eq!(fixture.state("items.csv", "items").await, "unchanged");
    // Its time is another, its content is not.
    fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    assert_eq!(fixture.state("items.csv", "items").await, "unchanged");
    assert_eq!(fixture.requests(), [2]);
    fixture.write("acme/items.csv", "item_id,title\na,C\nb,B\n");
    let third = &fixture.sources(one("items.csv", "items")).await[0];
    assert_eq!((&third["state"], &third["lines"]["replaced"]), (&json!("imported"), &json!(2)));
    let rows = fixture.intakes.0.lock().unwrap().rows.clone();
    assert_eq!(rows[&("acme".to_owned(), "a".to_owned())]["metadata"]["title"], "C");
    // Read otherwise it is another source; and it may be wanted all the same.
    let mut params = one("items.csv", "items");
    params["sources"][0]["on_duplicate"] = json!("skip");
    assert_eq!(fixture.sources(params.clone()).await[0]["state"], "imported");
    assert_eq!(fixture.sources(params.clone()).await[0]["state"], "unchanged");
    params["force"] = json!(true);
    assert_eq!(fixture.sources(params).await[0]["state"], "imported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_counts_each_row_once() {
    let fixture = Fixture::new(|_| ()).await;
    fixture.write("acme/log.csv", events(1500));
    assert_eq!(fixture.sources(one("log.csv", "behaviors")).await[0]["lines"]["accepted"], 1500);
    fixture.write("acme/log.csv", events(1600));
    let grown = &fixture.sources(one("log.csv", "behaviors")).await[0];
    assert_eq!((&grown["lines"]["accepted"], &grown["lines"]["duplicates"]), (&json!(100), &json!(1500)));
    assert_eq!(fixture.rows(), 1600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reads_what_is_another_tenant_s() {
    let fixture = Fixture::new(|_| ()).await;
    let secret = fixture.write("other/secret.csv", "item_id\nsecret\n");
    symlink(&secret, fixture.folder.path().join("files/acme/link.csv")).unwrap();
    symlink("../other", fixture.folder.path().join("files/acme/folder")).unwrap();
    fixture.write("acme/mine.csv", "item_id\nmine\n");
    for from in ["../other/secret.csv", "/etc/passwd", secret.to_str().unwrap(), "a/../../other/secret.csv"] {
        let (pointer, message) = fixture.refused(&one(from, "items"));
        assert_eq!(pointer, "/sources/0/from");
        assert!(message.starts_with("must be a relative path"), "{message}");
    }
    for from in ["link.csv", "folder/secret.csv"] {
        let run = fixture.run("acme", one(from, "items")).await;
        assert_eq!((run.state, run.attempts), (State::Failed, 1));
        assert!(run.error.contains("leads out of the folder"), "{}", run.error);
    }
    // What one source is refused does not keep the others from being imported.
    let params = json!({"sources": [{"from": "link.csv", "kind": "items"}, {"from": "none.csv", "kind": "items"},
                                    {"from": "mine.csv", "kind": "items"}]});
    let sources = fixture.sources(params).await;
    let states: Vec<_> = sources.iter().map(|source| source["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["failed", "failed", "imported"]);
    assert_eq!(sources[1]["error"], "there is no such file");
    // The same path is each tenant's own file.
    let run = fixture.run("other", one("mine.csv", "items")).await;
    assert_eq!((run.state, run.error.as_str()), (State::Failed, "mine.csv: there is no such file"));
    let taken = fixture.intakes.0.lock().unwrap().rows.keys().cloned().collect::<Vec<_>>();
    assert_eq!(taken, [("acme".to_owned(), "mine".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_are_refused_are_shown_and_fail_nothing_but_all_of_them() {
    let fixture = Fixture::new(|_| ()).await;
    fixture.write("acme/items.ndjson", "{\"item_id\":\"a\"}\nnot json\n\n{\"item_id\":\"bad\"}\n");
    let source = &fixture.sources(one("items.ndjson", "items")).await[0];
    assert_eq!((&source["lines"]["all"], &source["lines"]["refused"]), (&json!(3), &json!(2)));
    let lines: Vec<_> = source["errors"].as_array().unwrap().iter().map(|error| error["line"].clone()).collect();
    assert_eq!(lines, [json!(2), json!(4)]);
    fixture.write("acme/bad.ndjson", "{\"item_id\":\"bad\"}\nx\n");
    let run = fixture.run("acme", one("bad.ndjson", "items")).await;
    assert_eq!(run.state, State::Failed);
    assert!(run.error.starts_with("bad.ndjson: all 2 lines were refused; line 1: is bad"), "{}", run.error);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_in_a_way_that_may_pass_goes_on_where_it_stood() {
    let fixture = Fixture::new(|_| ()).await;
    fixture.write("acme/first.csv", events(10));
    fixture.write("acme/log.csv", events(2500));
    fixture.intakes.0.lock().unwrap().busy_after = Some(2);
    let params =
        json!({"sources": [{"from": "first.csv", "kind": "behaviors"}, {"from": "log.csv", "kind": "behaviors"}]});
    let run = fixture.run("acme", params).await;
    assert_eq!((run.state, run.attempts), (State::Succeeded, 2), "{}", run.error);
    assert_eq!(fixture.requests(), [10, 1000, 1000, 500]);
    assert!(run.outcome.contains(r#""all":2500"#), "{}", run.outcome);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_stops_between_two_batches() {
    let fixture = Fixture::new(|_| ()).await;
    fixture.write("acme/log.csv", events(50_000));
    let jobs = fixture.jobs();
    let run = fixture.start(&jobs, "acme", one("log.csv", "behaviors")).await.unwrap();
    while fixture.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    jobs.cancel(&tenant("acme"), &run.id).await.unwrap();
    assert_eq!(fixture.over(&jobs, "acme", &run.id).await.state, State::Cancelled);
    assert!(fixture.rows() < 50_000);
    jobs.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_s_limits_hold() {
    let fixture = Fixture::new(|settings| {
        settings.source_bytes_max = 100_000;
        settings.source_lines_max = 1500;
    })
    .await;
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![b'x'; 10_000_000]).unwrap();
    fixture.write("acme/bomb.csv.gz", bomb.finish().unwrap());
    let run = fixture.run("acme", one("bomb.csv.gz", "items")).await;
    assert_eq!((run.state, run.attempts), (State::Failed, 1));
    assert_eq!(run.error, "bomb.csv.gz: has over 100000 bytes, decompressed");
    fixture.write("acme/log.csv", events(3000));
    let run = fixture.run("acme", one("log.csv", "behaviors")).await;
    assert_eq!(run.error, "log.csv: has over 1500 lines, the limit `sync.source_lines_max`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_operator_s_leave_nothing_is_read() {
    let fixture = Fixture::off().await;
    for from in ["items.csv", "https://a.example/items.csv"] {
        let error =
            ("/sources/0/from".to_owned(), "this server imports nothing: its operator has not set `sync`".to_owned());
        assert_eq!(fixture.refused(&one(from, "items")), error);
        let jobs = fixture.jobs();
        assert_eq!(fixture.start(&jobs, "acme", one(from, "items")).await, Err(StartError::Params(error)));
        jobs.drain().await;
    }
    let fixture = Fixture::new(|_| ()).await;
    let (_, message) = fixture.refused(&one("https://a.example/items.csv", "items"));
    assert_eq!(message, "this server imports no URLs: its operator has not set `sync.urls`");
    let fixture = Fixture::new(|settings| {
        settings.folder = None;
        settings.urls = vec!["https://a.example".to_owned()];
    })
    .await;
    let (_, message) = fixture.refused(&one("items.csv", "items"));
    assert_eq!(message, "this server imports no files: its operator has not set `sync.folder`");
}
