//! The product on MongoDB's protocol and Redis: the same behaviour, and the keys
//! and collections of the design, seen with other programs' eyes.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use bson::{Document, doc};
use funnelweb_test_servers::{Kind, Server as Process};
use serde_json::json;

use crate::{
    fixtures::{FEED, act, import, item, recommend, scenario, slate},
    harness::{Options, Server, eventually, workspace},
};

/// One line of an answer of Redis to a command, as `redis-cli` would send it.
fn ask(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "{command}\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Seconds that a key has to live.
fn ttl(port: u16, key: &str) -> i64 {
    ask(port, &format!("TTL {key}")).trim_start_matches(':').parse().unwrap()
}

#[test]
fn other_programs_find_the_documented_keys_and_collections() {
    let (redis, mongo) = (Process::redis(Kind::Redis, &[]), Process::ferretdb(&[]));
    let mongo_url = format!("mongodb://127.0.0.1:{}", mongo.port());
    let mut server = Server::with(Options {
        args: vec!["--runtime-config".into(), workspace().join("runtime-host/config/remote.toml").into()],
        env: vec![
            ("FUNNELWEB_MONGODB_URL".to_owned(), mongo_url.clone().into()),
            ("FUNNELWEB_REDIS_URL".to_owned(), format!("redis://127.0.0.1:{}", redis.port()).into()),
        ],
        ..Options::default()
    });
    let client = server.tenant("acme");
    let mut feed = scenario(FEED);
    feed["config"]["exposure"] = json!({"enabled": true});
    client.post("/api/v1/scenarios", &feed).expect(201);
    let items: Vec<_> = (0..40).map(|at| item(&format!("i{at:02}"), ["a", "b"][at % 2], "x")).collect();
    import(&client, &items);
    act(&client, "ann", "like", "i01");
    let reply = recommend(&client, "ann", 8).json();
    assert_eq!(reply["degraded"], json!([]));
    let first = slate(&recommend(&client, "bob", 8));
    assert_eq!(first.first().map(String::as_str), Some("i01"), "what is hot: {first:?}");

    let kind = |key: &str| ask(redis.port(), &format!("TYPE {key}"));
    assert_eq!(kind("hot:items:acme:feed"), "+zset");
    assert_eq!(kind("exposed:acme:ann:feed"), "+set");
    assert!((86_000..=86_400).contains(&ttl(redis.port(), "exposed:acme:ann:feed")));
    assert_eq!(kind("item:stats:acme:i01"), "+hash");
    eventually("places served to be written", Duration::from_secs(10), || {
        (ask(redis.port(), "HEXISTS item:stats:acme:i01 served_places") == ":1").then_some(())
    });
    for key in ["scenario:config:acme:feed", "user:profile:acme:ann:feed"] {
        assert_eq!(kind(key), "+string", "{key}");
        assert!((3_000..=3_600).contains(&ttl(redis.port(), key)), "{key}");
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let find = |collection: &str, filter: Document| {
        runtime.block_on(async {
            let client = mongodb::Client::with_uri_str(&mongo_url).await.unwrap();
            let collection = client.database("funnelweb").collection::<Document>(collection);
            collection.find_one(filter).await.unwrap().unwrap()
        })
    };
    let stored = find("items", doc! {"tenant_id": "acme", "scenario_id": "feed", "item_id": "i01"});
    assert_eq!(stored.get_document("metadata").unwrap().get_str("category").unwrap(), "b");
    assert_eq!(stored.get_str("status").unwrap(), "active");
    assert!(stored.get_datetime("created_at").is_ok() && stored.get_datetime("updated_at").is_ok());
    let stored = find("scenarios", doc! {"tenant_id": "acme", "scenario_id": "feed"});
    assert!(stored.get_document("config").unwrap().contains_key("recall"));
    let stored = find("user_profiles", doc! {"tenant_id": "acme", "user_id": "ann", "scenario_id": "feed"});
    let scores = stored.get_document("preferences").unwrap().get_document("category_scores").unwrap();
    assert!(scores.get_f64("b").unwrap() > 0.0);
    let stored = find("interactions", doc! {"tenant_id": "acme", "user_id": "ann", "item_id": "i01"});
    assert_eq!(stored.get_str("action_type").unwrap(), "like");
    assert!(stored.get_datetime("timestamp").is_ok());

    // Nothing of it is in the process.
    server.kill9();
    server.restart();
    let second = slate(&recommend(&server.tenant("acme"), "bob", 8));
    assert_eq!(second.len(), 8);
    assert!(second.iter().all(|id| !first.contains(id)), "{first:?} {second:?}");
    assert!(slate(&recommend(&server.tenant("acme"), "cid", 8)).contains(&"i01".to_owned()));
    assert_eq!(server.tenant("other").get("/api/v1/scenarios/feed").send().status, 404);
}

#[test]
fn a_store_that_is_not_there_stops_the_start_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("remote.toml");
    let start = |text: &str| {
        std::fs::write(&config, text).unwrap();
        let output = Command::new(crate::harness::binary())
            .current_dir(workspace())
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path().join("data"))
            .arg("--runtime-config")
            .arg(&config)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = start("stores.key_value = 'redis'\nredis.urls = ['redis://127.0.0.1:1']");
    assert!(said.contains("redis") && said.contains("127.0.0.1:1"), "{said}");
    let said = start("stores.key_value = 'redis'\nredis.url = 'redis://127.0.0.1:1'");
    assert!(said.contains("remote.toml") && said.contains("unknown field `url`"), "{said}");
}
