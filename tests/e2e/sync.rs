//! Imports that a scenario does itself: from a file to a recommendation.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::symlink,
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    fixtures::{FEED, feed, item, ndjson, recommend, slate},
    harness::{Client, Options, Server, eventually, shared},
};

/// A server that may read the files of a folder, and one URL.
fn serving(folder: &Path, url: &str) -> Server {
    let config = folder.join("runtime.toml");
    fs::write(&config, format!("[sync]\nfolder = {folder:?}\nurls = [{url:?}]\n")).unwrap();
    Server::with(Options { args: vec!["--runtime-config".into(), config.into()], ..Options::default() })
}

/// Answers everything with the same lines.
fn web(body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/exports", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map(Result::unwrap) {
            let _ = stream.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all([head, body.clone()].concat().as_bytes());
        }
    });
    url
}

fn sources(list: &Value) -> Value {
    json!({"config": {"jobs": {"sync": {"schedule": "0 3 * * *", "params": {"sources": list}}}}})
}

/// Has the job run to its end.
fn sync(client: &Client) -> Value {
    let begun = client.post("/api/v1/jobs", &json!({"scenario_id": FEED, "kind": "sync"})).expect(202);
    let id = begun.json()["run_id"].as_str().unwrap().to_owned();
    eventually("the job is over", Duration::from_secs(30), || {
        let run = client.get(&format!("/api/v1/jobs/{id}")).expect(200).json();
        (!["queued", "running"].contains(&run["state"].as_str().unwrap())).then_some(run)
    })
}

fn states(run: &Value) -> Vec<&str> {
    let sources = run["outcome"]["sources"].as_array().unwrap_or_else(|| panic!("{run}"));
    sources.iter().map(|source| source["state"].as_str().unwrap()).collect()
}

#[test]
fn what_a_file_holds_is_recommended_and_imported_once() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["acme", "other"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let items: Vec<Value> = (0..10).map(|at| item(&format!("i{at}"), "c", "t")).collect();
    fs::write(folder.path().join("acme/items.ndjson"), ndjson(&items) + "{\"item_id\":\"a/b\"}\n").unwrap();
    let url = web("user_id,item_id,action_type\nann,i7,like\nbob,i7,like\n".to_owned());
    let mut server = serving(folder.path(), &url);
    let client = server.tenant("acme");
    feed(&client);
    let list =
        json!([{"from": "items.ndjson", "kind": "items"}, {"from": format!("{url}/log.csv"), "kind": "behaviors"}]);
    client.patch("/api/v1/scenarios/feed", &sources(&list)).expect(200);

    let first = sync(&client);
    assert_eq!((states(&first), &first["percent"]), (vec!["imported"; 2], &json!(100.0)), "{first}");
    let [catalogue, log] = [&first["outcome"]["sources"][0], &first["outcome"]["sources"][1]];
    assert_eq!((&catalogue["lines"]["created"], &catalogue["lines"]["refused"]), (&json!(10), &json!(1)), "{first}");
    assert_eq!((&catalogue["errors"][0]["line"], &catalogue["errors"][0]["field"]), (&json!(11), &json!("item_id")));
    assert_eq!(log["lines"]["accepted"], 2, "{first}");
    let ids = slate(&recommend(&client, "new", 10));
    assert_eq!((ids.len(), ids[0].as_str()), (10, "i7"), "what was liked is hot: {ids:?}");

    // Also by a process that knows of it only what was kept.
    server.kill9();
    server.restart();
    let client = server.tenant("acme");
    assert_eq!(states(&sync(&client)), ["unchanged"; 2]);
    fs::write(folder.path().join("acme/items.ndjson"), ndjson(&items[..1]) + "{\"item_id\":\"new\"}\n").unwrap();
    let third = sync(&client);
    assert_eq!(states(&third), ["imported", "unchanged"]);
    let lines = &third["outcome"]["sources"][0]["lines"];
    assert_eq!((&lines["created"], &lines["replaced"]), (&json!(1), &json!(1)), "{third}");

    // What is another tenant's is nobody else's.
    let other = server.tenant("other");
    feed(&other);
    let secret = folder.path().join("acme/items.ndjson");
    symlink(&secret, folder.path().join("other/link.ndjson")).unwrap();
    for from in ["../acme/items.ndjson", secret.to_str().unwrap(), "http://169.254.169.254/latest", "ftp://a/b"] {
        let refused = other.patch("/api/v1/scenarios/feed", &sources(&json!([{"from": from, "kind": "items"}])));
        let reply = refused.expect(422);
        assert_eq!(reply.json()["error"]["field"], "config.jobs.sync.params.sources[0].from", "{}", reply.text());
    }
    let unknown = sources(&json!([{"from": "a.csv", "mapping": "movielens"}]));
    let reply = other.patch("/api/v1/scenarios/feed", &unknown).expect(422);
    assert_eq!(reply.json()["error"]["field"], "config.jobs.sync.params.sources[0].mapping", "{}", reply.text());
    other.patch("/api/v1/scenarios/feed", &sources(&json!([{"from": "link.ndjson", "kind": "items"}]))).expect(200);
    let run = sync(&other);
    assert_eq!(run["state"], "failed", "{run}");
    assert!(run["error"].as_str().unwrap().contains("leads out of the folder"), "{run}");
    assert_eq!(other.get("/api/v1/items/feed").expect(200).json()["items"], json!([]));
}

#[test]
fn without_an_operator_s_leave_there_is_no_import() {
    let client = shared().tenant("sync-off");
    feed(&client);
    let list = json!([{"from": "items.csv", "kind": "items"}]);
    let reply = client.patch("/api/v1/scenarios/feed", &sources(&list)).expect(422);
    assert_eq!(reply.json()["error"]["field"], "config.jobs.sync.params.sources[0].from");
    assert!(reply.text().contains("its operator has not set `sync`"), "{}", reply.text());
    let call = json!({"scenario_id": FEED, "kind": "sync", "params": {"sources": list}});
    let reply = client.post("/api/v1/jobs", &call).expect(400);
    assert_eq!(reply.json()["error"]["field"], "params.sources[0].from", "{}", reply.text());
}
