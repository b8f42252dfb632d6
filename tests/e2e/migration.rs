//! Moving tenants between stores, and backups, through the binary: what is
//! recommended afterwards is what was before.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::spawn,
    time::{Duration, SystemTime},
};

use funnelweb_test_servers::{Kind, Server as Process};
use serde_json::{Value, json};

use crate::{
    fixtures::{FEED, all_pages, configure, feed, import, item, ndjson, recommend, settle, slate, strings},
    goldens::{difference, normalise},
    harness::{Client, Options, Server, binary, eventually, workspace},
};

/// How far scores may be from each other that were asked for within a minute: what
/// is hot fades meanwhile.
const FADED: f64 = 2e-3;

/// Runs a command of the binary.
fn run<A: AsRef<OsStr>>(words: &[A], env: &[(String, OsString)]) -> Output {
    let mut command = Command::new(binary());
    command.current_dir(workspace()).args(words).envs(env.iter().map(|(name, value)| (name, value)));
    command.output().unwrap()
}

/// The report of a command that must succeed.
fn report<A: AsRef<OsStr>>(words: &[A], env: &[(String, OsString)]) -> Value {
    let output = run(words, env);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command says that must fail.
fn refused<A: AsRef<OsStr>>(words: &[A]) -> String {
    let output = run(words, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    said
}

fn words(all: &[&dyn AsRef<OsStr>]) -> Vec<OsString> {
    all.iter().map(|word| word.as_ref().to_owned()).collect()
}

/// A tenant of whom every kind of thing is known.
fn fill(client: &Client) {
    feed(client);
    let features = json!([
        {"name": "category", "type": "categorical", "weight": 1.0},
        {"name": "tags", "type": "multi_categorical", "weight": 1.0},
        {"name": "hot_score", "type": "numeric", "weight": 1.0},
        {"name": "click_count", "type": "numeric", "weight": 0.1}
    ]);
    configure(client, &json!({"features": {"item_features": features}, "exposure": {"enabled": true}}));
    let items: Vec<Value> =
        (0..40).map(|at| item(&format!("i{at:02}"), ["a", "b", "c"][at % 3], ["x", "y"][at % 2])).collect();
    import(client, &items);
    client.delete("/api/v1/items/feed/i39").expect(204);
    let now_ms = u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let event = |at: usize| {
        // Apart from each other: what is equally hot to seven digits is in either order.
        let at_ms = now_ms - 600_000 * (30 - at as u64);
        let action = ["click", "like", "view"][at / 3 % 3];
        json!({"scenario_id": FEED, "user_id": (["ann", "bob", "cid"][at % 3]), "item_id": format!("i{:02}", at * 7 % 39),
               "action_type": action, "timestamp": at_ms})
    };
    let events: Vec<Value> = (0..30).map(event).collect();
    assert_eq!(client.post("/api/v1/behaviors", &Value::Array(events)).expect(202).json()["accepted"], 30);
    settle(client);
}

/// What everybody is recommended, with every stage's part in it. Nobody is
/// remembered to have been shown it.
fn recommendations(client: &Client) -> Vec<Value> {
    configure(client, &json!({"exposure": {"enabled": false}}));
    let body = json!({"scenario_id": FEED, "count": 10, "return_metadata": true, "context": {"device_type": "mobile"}});
    let ask = |user: &&str| {
        let call = client.post("/api/v1/recommend?explain=true", &body).user(user);
        let mut reply = call.header("x-request-id", &format!("move-{user}")).expect(200).json();
        normalise(&mut reply);
        reply
    };
    ["ann", "bob", "cid", "new"].iter().map(ask).collect()
}

fn are_the_same(found: &[Value], expected: &[Value]) {
    for (found, expected) in found.iter().zip(expected) {
        if let Some(difference) = difference("", found, expected, FADED) {
            panic!("{difference}\n{found:#}\n{expected:#}");
        }
    }
}

/// Counts by kind, of an import's report, both sides of which must be the same.
fn counts(imported: &Value) -> Vec<(String, u64)> {
    let kinds = imported["kinds"].as_array().unwrap();
    let count = |kind: &Value| {
        assert_eq!(kind["file"], kind["stores"], "{imported:#}");
        (kind["kind"].as_str().unwrap().to_owned(), kind["stores"]["count"].as_u64().unwrap())
    };
    kinds.iter().map(count).collect()
}

/// A server that has started once, and its data directory, which is not in use.
fn stopped() -> Server {
    let mut server = Server::start();
    assert!(server.sigterm().success());
    server
}

#[test]
fn a_tenant_moves_to_servers_and_back_and_is_recommended_the_same() {
    let (redis, mongo) = (Process::redis(Kind::Redis, &[]), Process::ferretdb(&[]));
    let config = workspace().join("runtime-host/config/remote.toml");
    let env = vec![
        ("FUNNELWEB_MONGODB_URL".to_owned(), format!("mongodb://127.0.0.1:{}", mongo.port()).into()),
        ("FUNNELWEB_REDIS_URL".to_owned(), format!("redis://127.0.0.1:{}", redis.port()).into()),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);

    let mut embedded = Server::start();
    let acme = embedded.tenant("acme");
    fill(&acme);
    let shown = slate(&recommend(&acme, "dan", 8));
    assert_eq!(shown.len(), 8);
    let expected = recommendations(&acme);
    // While it is served.
    let there = file("there.ndjson.gz");
    let first = report(&words(&[&"export", &there, &"--tenant", &"acme", &"--data-dir", &embedded.data_dir()]), &[]);
    assert_eq!(slate(&recommend(&acme, "new", 5)).len(), 5);
    embedded.kill9();

    let imported =
        report(&words(&[&"import-all", &there, &"--runtime-config", &config, &"--data-dir", &file("data")]), &env);
    let moved = counts(&imported);
    let count = |kind: &str| moved.iter().find(|(name, _)| name == kind).unwrap().1;
    assert_eq!((count("scenarios"), count("items"), count("interactions")), (1, 39, 30), "{moved:?}");
    assert_eq!((count("user_profiles"), count("exposed")), (3, 1), "{moved:?}");
    assert!(count("hot_items") > 20 && count("item_stats") > 20, "{moved:?}");
    let args = words(&[&"--runtime-config", &config]);
    let mut remote = Server::with(Options { args, env: env.clone(), ..Options::default() });
    // Before anything is recommended: places that are served are counted, a little later.
    let back = file("back.ndjson");
    let second = report(
        &words(&[&"export", &back, &"--tenant", &"acme", &"--runtime-config", &config, &"--data-dir", &file("data")]),
        &env,
    );
    are_the_same(&recommendations(&remote.tenant("acme")), &expected);
    remote.kill9();

    let mut again = stopped();
    let imported =
        report(&words(&[&"import-all", &back, &"--data-dir", &again.data_dir(), &"--tenant", &"new-name"]), &[]);
    assert_eq!(counts(&imported), moved);
    again.restart();
    let client = again.tenant("new-name");
    let last = file("last.ndjson");
    let third = report(&words(&[&"export", &last, &"--tenant", &"new-name", &"--data-dir", &again.data_dir()]), &[]);
    are_the_same(&recommendations(&client), &expected);
    // To the bit.
    for kind in first["kinds"].as_object().unwrap().keys() {
        assert_eq!(second["kinds"][kind], first["kinds"][kind], "{kind}");
        assert_eq!(third["kinds"][kind], first["kinds"][kind], "{kind}");
    }
    // What was shown before the first move is not shown again.
    configure(&client, &json!({"exposure": {"enabled": true}}));
    let next = slate(&recommend(&client, "dan", 8));
    assert!(next.len() == 8 && next.iter().all(|id| !shown.contains(id)), "{shown:?} {next:?}");
    // What was acknowledged once is known.
    let history = client.get("/api/v1/behaviors?user_id=ann&limit=1000").expect(200).json();
    let known = history["events"][0].clone();
    let reply = client.post("/api/v1/behaviors", &known).user("ann").expect(202).json();
    assert_eq!((&reply["accepted"], &reply["duplicates"]), (&json!(0), &json!(1)), "{reply}");
}

#[test]
fn what_cannot_be_moved_is_refused() {
    let mut server = Server::start();
    fill(&server.tenant("acme"));
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("a.ndjson"), server.data_dir());
    let export = |tenant: &str| words(&[&"export", &file, &"--tenant", &tenant, &"--data-dir", &data]);
    assert!(refused(&export("nobody")).contains("nobody.db"));
    assert!(!file.exists());
    report(&export("acme"), &[]);
    let import = |to: &dyn AsRef<OsStr>| words(&[&"import-all", &file, &"--data-dir", to]);
    assert!(refused(&import(&data)).contains("is in use by another process"));
    assert!(refused(&["up", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()]).contains("is in use"));
    server.kill9();
    assert!(refused(&import(&data)).contains("tenant acme has scenarios already"));
    counts(&report(&words(&[&"import-all", &file, &"--data-dir", &data, &"--resume"]), &[]));
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("About i07", "About i70", 1)).unwrap();
    let line = text.lines().position(|line| line.contains("About i07")).unwrap() + 1;
    let said = refused(&import(&folder.path().join("new")));
    assert!(said.contains(&format!("a.ndjson: line {line}: was changed")), "{said}");
}

/// Writes batches of items and behaviours until it is told to stop; the ids of
/// those that were acknowledged.
fn write(client: Client, stop: Arc<AtomicBool>, done: Arc<Mutex<BTreeSet<String>>>) {
    for batch in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let ids: Vec<String> = (0..20).map(|at| format!("b{batch}_{at}")).collect();
        let items: Vec<Value> = ids.iter().map(|id| item(id, "a", "x")).collect();
        client.call("POST", "/api/v1/items/feed").body("application/x-ndjson", ndjson(&items)).expect(200);
        let event = |id: &String| json!({"event_id": id, "scenario_id": FEED, "user_id": "ann", "item_id": id, "action_type": "click"});
        client.post("/api/v1/behaviors", &Value::Array(ids.iter().map(event).collect())).expect(202);
        done.lock().unwrap().extend(ids);
    }
}

/// Items and behaviours that are there.
fn there(client: &Client) -> (BTreeSet<String>, BTreeSet<String>) {
    let items = Value::Array(all_pages(client, "/api/v1/items/feed?limit=1000", "items"));
    let mut events = BTreeSet::new();
    let mut before = String::new();
    loop {
        let page = client.get(&format!("/api/v1/behaviors?user_id=ann&limit=1000{before}")).expect(200).json();
        events.extend(strings(&page["events"], "event_id"));
        let Some(next) = page["next_before"].as_u64() else { break };
        before = format!("&before={next}");
    }
    (strings(&items, "item_id").into_iter().collect(), events)
}

#[test]
fn a_backup_that_was_taken_while_it_was_written_has_everything_acknowledged() {
    let server = Server::start();
    let client = server.tenant("acme");
    feed(&client);
    feed(&server.tenant("other"));
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<BTreeSet<String>>>::default());
    let writer = spawn({
        let (client, stop, done) = (client.clone(), stop.clone(), done.clone());
        move || write(client, stop, done)
    });
    let written = || done.lock().unwrap().clone();
    let some =
        |least: usize| eventually("writes", Duration::from_secs(60), || (written().len() >= least).then_some(()));
    some(400);
    let acknowledged = written();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("backup");
    let made = report(&words(&[&"backup", &copy, &"--data-dir", &server.data_dir()]), &[]);
    assert_eq!(made["tenants"], json!(["acme", "other"]));
    // It went on meanwhile, and goes on.
    some(written().len() + 40);
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();

    let mut restored = stopped();
    let restore = |from: &Path, to: &Path| words(&[&"restore", &from, &"--data-dir", &to]);
    assert!(refused(&restore(&copy, &server.data_dir())).contains("is in use by another process"));
    report(&restore(&copy, &restored.data_dir()), &[]);
    assert!(refused(&restore(&copy, &restored.data_dir())).contains("has files already"));
    restored.restart();
    let client = restored.tenant("acme");
    let (items, events) = there(&client);
    assert!(items.is_superset(&acknowledged) && events.is_superset(&acknowledged));
    assert!(written().is_superset(&events) || events.len() - written().len() <= 20);
    // A moment: no behaviour without what it changed.
    let profile = client.get("/api/v1/profiles/feed/ann").expect(200).json();
    assert_eq!(profile["features"]["total_click_count"], events.len());
    assert!(items.is_superset(&events), "an item is written before the behaviours about it");
    assert_eq!(slate(&recommend(&client, "bob", 10)).len(), 10);
    assert_eq!(restored.tenant("other").get("/api/v1/scenarios/feed").expect(200).json()["scenario_id"], FEED);

    let file = copy.join("tenants/acme.db");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let said = refused(&restore(&copy, &folder.path().join("new")));
    assert!(said.contains("acme.db: was changed"), "{said}");
    assert!(!folder.path().join("new").exists());
}
