//! Components that do harm, beside the product's own: whatever a stage does, its
//! request is answered and others do not notice; whatever an endpoint does, it
//! reaches what the manifest gives it and nothing else.
//!
//! The fixtures stand in `tests/guests`; `cargo xtask test` builds them.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use funnelweb_core::limits;
use serde_json::{Value, json};

use crate::harness::{self, Call, Client, Options, Reply, Server};

/// What a deadline may be passed by, on a machine that runs all tests at once.
const MARGIN: Duration = Duration::from_millis(400);

// --- the server and its manifest ---

/// The folder that cargo builds components into: `$FUNNELWEB_GUESTS`, or that
/// of the workspace.
fn guests_folder() -> PathBuf {
    std::env::var_os("FUNNELWEB_GUESTS")
        .map_or_else(|| harness::workspace().join("target/wasm32-wasip2/guest"), PathBuf::from)
}

/// `fixtures.toml` behind `spin.toml`, with absolute paths.
fn manifest() -> String {
    let read = |path: &str| fs::read_to_string(harness::workspace().join(path)).unwrap();
    let joined = format!("{}\n{}", read("spin.toml"), read("tests/guests/fixtures.toml"));
    joined.replace("\"target/wasm32-wasip2/guest/", &format!("\"{}/", guests_folder().display()))
}

/// A manifest in a folder of its own.
struct Written {
    folder: tempfile::TempDir,
}

impl Written {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("spin.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("spin.toml")
    }

    /// What `funnelweb check` says, and whether it approves.
    fn check(&self) -> (bool, String) {
        let output = Command::new(harness::binary()).arg("check").arg("-f").arg(self.path()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A server of this manifest, whose outgoing requests may go to `port`.
fn server_with(manifest: &str, port: u16) -> Server {
    let manifest = Written::new(manifest);
    let args = vec!["--variable".into(), format!("probe_port={port}").into()];
    let server = Server::with(Options { manifest: manifest.path(), args, ..Options::default() });
    // It is read once, at the start; a restart would need it again.
    drop(manifest);
    server
}

/// The server that tests with guests share. Outgoing requests may go to `upstream`.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| server_with(&manifest(), upstream()))
}

/// The port of a little HTTP server, which says the path it was asked for.
fn upstream() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                reader.read_line(&mut line).unwrap();
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {}
                let head =
                    format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", path.len());
                let _ = stream.write_all(format!("{head}{path}").as_bytes());
            }
        });
        port
    })
}

/// Memory that the server has now, in bytes.
fn resident_bytes(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

/// Other tests have instances too, so memory is given some time to settle.
fn settles_below(server: &Server, bytes: u64) {
    harness::eventually(&format!("memory below {} MiB", bytes >> 20), Duration::from_secs(20), || {
        (resident_bytes(server) < bytes).then_some(())
    });
}

// --- scenarios ---

const ITEMS: usize = 30;

/// A funnel of the product's own stages, with one more rule where one is given.
pub fn scenario(change: impl FnOnce(&mut Value)) -> Value {
    let mut scenario = json!({
        "scenario_id": "feed",
        "scenario_type": "vlog",
        "config": {
            "features": {"item_features": [{"name": "quality", "type": "numeric"}]},
            "recall": {"strategies": [{"name": "latest", "limit": 50}]},
            "rank": {"model": "linear"},
            "rerank": {"rules": [{"name": "diversity", "weight": 0.3}]},
            "exposure": {"enabled": false}
        }
    });
    change(&mut scenario["config"]);
    scenario
}

/// With the hostile stage in a role, besides what does its work as it should.
pub fn with_hostile(role: &str, params: &Value) -> Value {
    scenario(|config| match role {
        "recall" => {
            let channel = json!({"name": "hostile", "limit": 40, "params": params});
            config["recall"]["strategies"].as_array_mut().unwrap().push(channel);
        }
        "rank" => config["rank"] = json!({"model": "hostile", "params": params}),
        "rerank" => {
            let rule = json!({"name": "hostile", "params": params});
            config["rerank"]["rules"].as_array_mut().unwrap().push(rule);
        }
        role => panic!("no role {role}"),
    })
}

/// A tenant with the plain scenario and its items.
pub fn tenant(server: &Server, name: &str) -> Client {
    let client = server.tenant(name);
    client.put("/api/v1/scenarios/feed", &scenario(|_| {})).expect(201);
    let items: Vec<Value> = (0..ITEMS)
        .map(|at| {
            let metadata = json!({"title": format!("{name} {at}"), "category": format!("c{}", at % 5), "quality": at});
            json!({"item_id": format!("i{at}"), "metadata": metadata})
        })
        .collect();
    client.post("/api/v1/items/feed", &json!(items)).expect(200);
    client
}

/// Replaces the tenant's scenario.
pub fn put(client: &Client, scenario: &Value) {
    client.put("/api/v1/scenarios/feed", scenario).expect(200);
}

/// What a recommendation was.
#[derive(Debug)]
pub struct Slate {
    /// Item ids.
    pub items: Vec<String>,
    /// Stage and reason.
    pub degraded: Vec<(String, String)>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Ten items for the user.
pub fn recommend(client: &Client) -> Slate {
    recommend_as(client, &json!({}))
}

/// Ten items for the user in this context.
fn recommend_as(client: &Client, context: &Value) -> Slate {
    let start = Instant::now();
    let body = json!({"scenario_id": "feed", "count": 10, "context": context});
    let reply = client.post("/api/v1/recommend", &body).expect(200).json();
    let elapsed = start.elapsed();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = reply["items"].as_array().unwrap().iter().map(|item| text(&item["item_id"])).collect();
    let degraded = reply["degraded"].as_array().unwrap().iter();
    Slate { items, degraded: degraded.map(|entry| (text(&entry["stage"]), text(&entry["reason"]))).collect(), elapsed }
}

/// Another tenant who asks for recommendations all the time, and does not want
/// to notice anything.
struct Neighbour<'scope> {
    task: thread::ScopedJoinHandle<'scope, Vec<Duration>>,
    done: &'scope AtomicBool,
}

impl<'scope> Neighbour<'scope> {
    fn start<'env>(
        scope: &'scope thread::Scope<'scope, 'env>,
        client: &'scope Client,
        done: &'scope AtomicBool,
    ) -> Self {
        let expected = recommend(client).items;
        assert_eq!(expected.len(), 10);
        let task = scope.spawn(move || {
            let mut times = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let slate = recommend(client);
                assert_eq!((slate.items, slate.degraded), (expected.clone(), Vec::new()));
                times.push(slate.elapsed);
                thread::sleep(Duration::from_millis(2));
            }
            times
        });
        Self { task, done }
    }

    /// Its requests were about as fast as ever. A request that had to wait for an
    /// attack would take a deadline; other tests take their share of the machine.
    fn finish(self) {
        self.done.store(true, Ordering::Relaxed);
        let mut times = self.task.join().unwrap();
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        println!("neighbour: {} requests, median {:?}, 95 % {:?}, worst {:?}", times.len(), at(50), at(95), at(100));
        assert!(times.len() > 20, "{times:?}");
        assert!(at(50) < Duration::from_millis(100) && at(95) < Duration::from_millis(500), "{times:?}");
    }
}

/// Runs `attacks` while a neighbour works.
fn beside_a_neighbour(name: &str, attacks: impl FnOnce(&Server)) {
    // One at a time, so that each sees its own attacks only.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = server();
    let neighbour = tenant(server, name);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let neighbour = Neighbour::start(scope, &neighbour, &done);
        // So that a failed attack ends the test, and not only itself.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attacks(server)));
        done.store(true, Ordering::Relaxed);
        match outcome {
            Ok(()) => neighbour.finish(),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
}

// --- stages ---

const TIMED_OUT: &str = "no answer within 250 ms";
const OUT_OF_MEMORY: &str = "more memory than its limit of 64 MiB";
const OUT_OF_BYTES: &str = "an answer of more bytes than its limit of 32 MiB";

/// What each attack is reported as; nothing where it is none.
fn attacks(role: &str) -> Vec<(&'static str, &'static str)> {
    let mut attacks = vec![
        ("none", ""),
        ("slow", ""),
        ("trap", "unreachable"),
        ("panic", "the stage has had enough"),
        ("exit", "exit"),
        ("loop", TIMED_OUT),
        ("print", TIMED_OUT),
        ("sleep", TIMED_OUT),
        ("recurse", "call stack exhausted"),
        ("grow", "had "),
        ("bomb", OUT_OF_MEMORY),
        ("reach", "reached: []"),
        ("count", "call 1"),
        ("complain", "no! no! "),
        ("nan", "is not finite"),
        ("infinite", "is not finite"),
    ];
    attacks.extend(match role {
        "recall" => vec![
            ("long", "1000040 candidates for a limit of 40"),
            ("short", "39 scores for 40"),
            ("repeat", "candidate 1 stands twice"),
            // Items that do not exist are passed over further on.
            ("invent", ""),
        ],
        "rank" => vec![("long", "1000030 scores for 30 candidates"), ("short", "29 scores for 30")],
        _ => vec![
            ("long", "was not offered"),
            ("short", "29 scores for 30"),
            ("invent", "was not offered"),
            ("repeat", "stands twice"),
            ("lose", "1 candidates are lost"),
            ("keep-removed", "stands twice"),
        ],
    });
    attacks
}

/// All attacks in a role; the slate is always what it is without the stage.
fn attack(client: &Client, role: &str) {
    put(client, &scenario(|_| {}));
    let without = recommend(client);
    assert_eq!((without.items.len(), &without.degraded), (10, &Vec::new()));
    let mut expected = without.items;
    if role == "rank" {
        // It keeps the order of recall where it behaves.
        put(client, &with_hostile(role, &json!({"attack": "none"})));
        expected = recommend(client).items;
        put(client, &scenario(|_| {}));
    }
    for (attack, reason) in attacks(role) {
        put(client, &with_hostile(role, &json!({"attack": attack})));
        // Twice: no instance remembers anything.
        for _ in 0..2 {
            let slate = recommend(client);
            let case = format!("{role} {attack}: {slate:?}");
            if reason.is_empty() {
                assert_eq!(slate.degraded, [], "{case}");
                assert!(role == "rank" || slate.items == expected, "{case}");
            } else {
                let [(stage, said)] = slate.degraded.as_slice() else { panic!("{case}") };
                assert_eq!(stage, "hostile", "{case}");
                assert!(said.contains(reason) && said.len() <= 800, "{case}");
                assert!(attack != "grow" || (40..64).any(|mib| said.ends_with(&format!("had {mib} MiB"))), "{case}");
                assert_eq!(slate.items.len(), 10, "{case}");
                assert!(role == "rank" || slate.items == expected, "{case}");
            }
            assert!(slate.elapsed < limits::STAGE_TIMEOUT + MARGIN, "{case}");
        }
    }
    put(client, &scenario(|_| {}));
    assert_eq!(recommend(client).degraded, []);
}

#[test]
fn whatever_a_stage_does_its_request_is_answered() {
    beside_a_neighbour("calm-1", |server| {
        let roles = ["recall", "rank", "rerank"].map(|role| (role, tenant(server, &format!("hostile-{role}"))));
        for (role, client) in &roles {
            attack(client, role);
        }
        let before = resident_bytes(server);
        for (role, client) in &roles {
            attack(client, role);
        }
        settles_below(server, before + (48 << 20));
    });
}

/// With the hostile stage for the one of the features, which is the only one that
/// reads what it does from the request.
#[test]
fn whatever_the_feature_stage_does_its_request_is_answered() {
    let features = guests_folder().join("features.wasm").display().to_string();
    let text = manifest().replace(&features, &guests_folder().join("hostile.wasm").display().to_string());
    let server = server_with(&text, upstream());
    let client = tenant(&server, "features");
    for (attack, reason) in [
        ("none", String::new()),
        ("trap", "unreachable".to_owned()),
        ("loop", TIMED_OUT.to_owned()),
        ("sleep", TIMED_OUT.to_owned()),
        ("bomb", OUT_OF_MEMORY.to_owned()),
        ("complain", "no! no! ".to_owned()),
        ("many-names", format!("10000 columns, {} is the most", limits::TABLE_COLUMNS)),
        ("long-name", format!("1000000 bytes in a column's name, {} is the most", limits::NAME_BYTES)),
        ("wide", format!("5000 values in an embedding, {} is the most", limits::EMBEDDING_VALUES)),
        ("short", "29 numeric cells for 30 rows of 1".to_owned()),
        ("infinite", "a numeric cell is infinite".to_owned()),
        ("astray", "the offsets of the multi-categorical cells do not fit".to_owned()),
        ("long", "31 rows for 30 candidates".to_owned()),
        ("lose", "29 rows for 30 candidates".to_owned()),
        ("invent", "was not offered".to_owned()),
        ("keep-removed", "30 rows for 29 candidates".to_owned()),
    ] {
        let slate = recommend_as(&client, &json!({"attack": attack}));
        let case = format!("{attack}: {slate:?}");
        assert_eq!(slate.items.len(), 10, "{case}");
        assert!(slate.elapsed < limits::STAGE_TIMEOUT + MARGIN, "{case}");
        let said = slate.degraded.iter().find(|(stage, _)| stage == "features").map(|(_, reason)| reason.as_str());
        assert_eq!(said.is_none(), reason.is_empty(), "{case}");
        assert!(said.unwrap_or_default().contains(&reason), "{case}");
    }
}

/// The ranker that fails is replaced by `linear`, not by nothing.
#[test]
fn a_ranker_that_fails_is_stood_in_for() {
    let client = tenant(server(), "stand-in");
    let linear = recommend(&client).items;
    for attack in ["trap", "short", "nan", "loop"] {
        put(&client, &with_hostile("rank", &json!({"attack": attack})));
        assert_eq!(recommend(&client).items, linear, "{attack}");
    }
}

#[test]
fn a_crowd_of_endless_stages_leaves_room_for_others() {
    beside_a_neighbour("calm-2", |server| {
        let crowd = tenant(server, "crowd");
        put(&crowd, &with_hostile("rerank", &json!({"attack": "loop"})));
        let end = Instant::now() + Duration::from_secs(2);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while Instant::now() < end {
                        let slate = recommend(&crowd);
                        assert_eq!(slate.degraded, [("hostile".to_owned(), TIMED_OUT.to_owned())]);
                    }
                });
            }
        });
    });
}

/// Every channel hostile at once, and the rule and the ranker as well.
#[test]
fn nothing_is_left_but_what_behaves() {
    let client = tenant(server(), "alone");
    let hostile = json!({"name": "hostile", "params": {"attack": "panic"}});
    let config = scenario(|config| {
        config["recall"]["strategies"] = json!([{"name": "hostile", "params": {"attack": "trap"}}, {"name": "latest"}]);
        config["rank"] = json!({"model": "hostile", "params": {"attack": "bomb"}});
        config["rerank"]["rules"] = json!([hostile, {"name": "diversity", "weight": 0.3}, hostile]);
    });
    let plain = recommend(&client).items;
    put(&client, &config);
    let slate = recommend(&client);
    assert_eq!(slate.items, plain);
    assert_eq!(slate.degraded.len(), 4, "{slate:?}");
}

#[test]
fn whatever_check_does_the_scenario_is_refused_with_a_reason() {
    beside_a_neighbour("calm-3", |server| {
        let client = tenant(server, "checker");
        let before = resident_bytes(server);
        for (check, reason) in [
            ("trap", "unreachable"),
            ("panic", "the stage has had enough"),
            ("loop", TIMED_OUT),
            ("sleep", TIMED_OUT),
            ("recurse", "call stack exhausted"),
            ("bomb", OUT_OF_MEMORY),
            ("complain", "no! no! "),
            ("reach", "reached: []"),
            ("count", "call 1"),
            ("many-columns", "10000 columns, 16 is the most"),
            ("many-items", "1000000 items, 100 is the most"),
            ("long-name", "1000000 bytes in a column's name"),
            ("amplify", OUT_OF_BYTES),
        ] {
            for role in ["recall", "rank", "rerank"] {
                for _ in 0..2 {
                    let start = Instant::now();
                    let scenario = with_hostile(role, &json!({"attack": "none", "check": check}));
                    let reply = client.put("/api/v1/scenarios/feed", &scenario).expect(422);
                    let elapsed = start.elapsed();
                    let error = &reply.json()["error"];
                    let case = format!(
                        "{role} {check} in {elapsed:?}: {}",
                        reply.text().chars().take(2000).collect::<String>()
                    );
                    assert_eq!(error["code"], "invalid_config", "{case}");
                    assert!(error["field"].as_str().unwrap().starts_with(&format!("config.{role}")), "{case}");
                    assert!(error["message"].as_str().unwrap().contains(reason), "{case}");
                    assert!(reply.body.len() < 2000, "{case}");
                    assert!(elapsed < limits::STAGE_TIMEOUT + MARGIN, "{case}");
                }
            }
        }
        settles_below(server, before + (96 << 20));
        // What was refused changed nothing.
        assert_eq!(recommend(&client).degraded, []);
    });
}

fn with_snoop(params: &Value) -> Value {
    scenario(|config| {
        let channel = json!({"name": "snoop", "params": params});
        config["recall"]["strategies"].as_array_mut().unwrap().push(channel);
    })
}

#[test]
fn a_stage_sees_its_own_tenant_and_no_other() {
    let tenants = ["own-a", "own-b"].map(|name| tenant(server(), name));
    let saw = |client: &Client, look: Value| {
        put(client, &with_snoop(&json!({"run": look})));
        let slate = recommend(client);
        let [(stage, reason)] = slate.degraded.as_slice() else { panic!("{slate:?}") };
        assert_eq!(stage, "snoop");
        assert!(slate.elapsed < limits::STAGE_TIMEOUT + MARGIN, "{slate:?}");
        reason.clone()
    };
    // Of the items of all tenants it sees those of one, whatever it asks for.
    for client in &tenants {
        let name = client.name();
        let own = saw(client, json!({"item": ["feed", "i1"]}));
        assert!(own.starts_with("saw {") && own.contains(&format!("\"{name} 1\"")), "{own}");
        assert_eq!(saw(client, json!({"items": 1000})), format!("saw {ITEMS} items"));
    }
    tenants[0].put("/api/v1/items/feed/secret", &json!({"metadata": {"title": "secret"}})).expect(201);
    assert!(saw(&tenants[0], json!({"item": ["feed", "secret"]})).contains("secret"));
    assert_eq!(saw(&tenants[1], json!({"item": ["feed", "secret"]})), "saw nothing");
    for scenario in ["../own-a/feed", "own-a/feed", "own-a:feed", "feed\0"] {
        let reason = saw(&tenants[1], json!({"item": [scenario, "secret"]}));
        assert!(!reason.contains("title"), "{reason}");
    }
    // Limits on what it may ask for at once, and no way to hold the store up.
    for look in [json!({"many": 100_000}), json!({"items": 4_000_000_000_u32})] {
        let reason = saw(&tenants[0], look.clone());
        assert!(reason.contains("Invalid"), "{look}: {reason}");
    }
    assert_eq!(saw(&tenants[0], json!("hammer")), TIMED_OUT);
    assert!(recommend(&tenants[1]).elapsed < limits::STAGE_TIMEOUT + MARGIN);
}

/// What a stage says of params is remembered for all tenants, so it cannot
/// depend on one.
#[test]
fn check_sees_no_tenant() {
    for client in ["check-a", "check-b"].map(|name| tenant(server(), name)) {
        let scenario = with_snoop(&json!({"run": "nothing", "check": {"item": ["feed", "i1"]}}));
        let reply = client.put("/api/v1/scenarios/feed", &scenario).expect(422);
        assert!(reply.text().contains("Denied") && !reply.text().contains("check-a"), "{}", reply.text());
    }
}

// --- endpoints ---

/// What `probe` answers.
pub fn ask(client: &Client, ask: &Value) -> Value {
    let reply = client.post("/probe/x", ask).expect(200);
    reply.json()
}

fn error(reply: &Reply) -> (u16, String) {
    let json = reply.json();
    assert_eq!(json["error"]["request_id"].as_str(), Some(reply.header("x-request-id")), "{json}");
    assert!(!json["error"]["message"].as_str().unwrap().is_empty(), "{json}");
    (reply.status, json["error"]["code"].as_str().unwrap().to_owned())
}

#[test]
fn key_values_are_the_tenants_own() {
    let server = server();
    let [one, other] = ["kv-one", "kv-other"].map(|name| server.tenant(name));
    let set = |store: &str, key: &str, text: &str, times: usize| json!({"do": "set", "store": store, "key": key, "text": text, "times": times});
    let get = |store: &str, key: &str| json!({"do": "get", "store": store, "key": key});
    assert_eq!(ask(&one, &get("default", "k")), Value::Null);
    ask(&one, &set("default", "k", "ours", 1));
    assert_eq!(ask(&one, &get("default", "k")), json!({"bytes": 4, "start": "ours"}));
    // Each store and each tenant has its own keys.
    assert_eq!(ask(&one, &get("second", "k")), Value::Null);
    assert_eq!(ask(&other, &get("default", "k")), Value::Null);
    assert_eq!(ask(&other, &json!({"do": "keys", "store": "default"})), json!([]));
    ask(&other, &set("default", "k", "theirs", 1));
    ask(&one, &set("default", "k", "later", 1));
    assert_eq!(ask(&one, &get("default", "k"))["start"], "later");
    assert_eq!(ask(&other, &get("default", "k"))["start"], "theirs");
    // Any text is a key, and a megabyte a value.
    for key in ["schlüssel", "鍵 with spaces", "🔑", "../../etc/passwd", "a\0b", "'; DROP TABLE key_values; --"] {
        ask(&one, &set("second", key, "é", 3));
        assert_eq!(ask(&one, &get("second", key)), json!({"bytes": 6, "start": "ééé"}), "{key}");
        assert_eq!(ask(&one, &json!({"do": "exists", "store": "second", "key": key})), json!(true));
    }
    ask(&one, &set("second", "large", "0123456789abcdef", 1 << 16));
    assert_eq!(ask(&one, &get("second", "large"))["bytes"], 1 << 20);
    assert_eq!(ask(&one, &json!({"do": "keys", "store": "second"})).as_array().unwrap().len(), 7);
    ask(&one, &json!({"do": "delete", "store": "second", "key": "🔑"}));
    ask(&one, &json!({"do": "delete", "store": "second", "key": "🔑"}));
    assert_eq!(ask(&one, &json!({"do": "exists", "store": "second", "key": "🔑"})), json!(false));
    assert_eq!(ask(&one, &json!({"do": "keys", "store": "second"})).as_array().unwrap().len(), 6);
    // Beyond the limits.
    for (key, times) in
        [("", 1), (&*"k".repeat(limits::KEY_VALUE_KEY_BYTES + 1), 1), ("k", limits::KEY_VALUE_VALUE_BYTES + 1)]
    {
        let refused = ask(&one, &set("default", key, "x", times));
        assert!(refused["error"].as_str().unwrap().starts_with("Error::Other"), "{refused}");
    }
    for store in ["third", "", "DEFAULT", "../kv-other"] {
        let refused = ask(&one, &get(store, "k"));
        assert!(refused["error"].as_str().unwrap().contains("AccessDenied"), "{refused}");
    }
    let many = ask(&one, &json!({"do": "open", "store": "default", "times": 300}));
    assert!(many["error"].as_str().unwrap().contains("StoreTableFull"), "{many}");
}

#[test]
fn variables_are_filled_in_and_no_others_are_there() {
    let client = server().tenant("variables");
    let variable = |client: &Client, name: &str| ask(client, &json!({"do": "variable", "name": name}));
    assert_eq!(variable(&client, "greeting"), json!({"value": "Hello, world!"}));
    assert_eq!(variable(&client, "port"), json!({"value": upstream().to_string()}));
    // The application's variables are not the component's.
    for name in ["probe_port", "probe_name", "nothing"] {
        assert!(variable(&client, name)["error"].as_str().unwrap().contains("Undefined"), "{name}");
    }
    for name in ["", "Greeting", "a-b", "../greeting"] {
        assert!(variable(&client, name)["error"].as_str().unwrap().contains("InvalidName"), "{name}");
    }
}

/// Key-values stay over a restart, and variables come from the environment too.
#[test]
fn a_restart_keeps_key_values_and_reads_variables_again() {
    let written = Written::new(&manifest());
    let args = vec!["--variable".into(), "probe_name=command line".into()];
    let variable = |name: &str, value: &str| (format!("SPIN_VARIABLE_{name}"), value.into());
    let env = vec![variable("PROBE_PORT", "81"), variable("PROBE_NAME", "environment")];
    let mut server = Server::with(Options { manifest: written.path(), args, env });
    let client = server.tenant("restart");
    let variable = |client: &Client, name: &str| ask(client, &json!({"do": "variable", "name": name}))["value"].clone();
    assert_eq!(variable(&client, "port"), "81");
    assert_eq!(variable(&client, "greeting"), "Hello, command line!");
    ask(&client, &json!({"do": "set", "store": "default", "key": "k", "text": "kept", "times": 1}));
    server.kill9();
    server.restart();
    let client = server.tenant("restart");
    assert_eq!(ask(&client, &json!({"do": "get", "store": "default", "key": "k"}))["start"], "kept");
}

#[test]
fn a_required_variable_without_a_value_stops_the_start() {
    let written = Written::new(&manifest());
    let data = tempfile::tempdir().unwrap();
    let up = Command::new(harness::binary())
        .args(["up", "--listen", "127.0.0.1:0", "-f"])
        .arg(written.path())
        .arg("--data-dir")
        .arg(data.path())
        .env_remove("SPIN_VARIABLE_PROBE_PORT")
        .output()
        .unwrap();
    assert!(!up.status.success());
    assert!(String::from_utf8_lossy(&up.stderr).contains("`probe_port` is required"), "{up:?}");
}

#[test]
fn outgoing_requests_go_where_the_manifest_says() {
    let client = server().tenant("outbound");
    let fetch = |url: &str| ask(&client, &json!({"do": "fetch", "url": url}));
    let port = upstream();
    assert_eq!(
        fetch(&format!("http://127.0.0.1:{port}/some/path?x=1")),
        json!({"status": 201, "body": "/some/path?x=1"})
    );
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let other = elsewhere.local_addr().unwrap().port();
    for url in [
        format!("http://127.0.0.1:{other}/"),
        format!("http://localhost:{port}/"),
        format!("http://127.0.0.2:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://127.0.0.1:{port}@127.0.0.1:{other}/"),
        format!("http://2130706433:{port}/"),
        "http://example.com/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
    ] {
        let refused = fetch(&url);
        assert!(refused["error"].is_string(), "{url}: {refused}");
    }
    let denied = fetch(&format!("http://127.0.0.1:{other}/"));
    assert!(denied["error"].as_str().unwrap().contains("HttpRequestDenied"), "{denied}");
    assert!(elsewhere.accept().is_err(), "somebody connected");
}

#[test]
fn an_endpoint_has_the_environment_of_its_manifest_and_no_files() {
    let client = server().tenant("environment");
    assert_eq!(ask(&client, &json!({"do": "environment"})), json!({"PROBE_COLOUR": "green"}));
    assert_eq!(ask(&client, &json!({"do": "files"})), json!({"seen": 0, "wrote": false}));
}

#[test]
fn an_instance_is_reused_for_its_tenant_only() {
    let [one, other] = ["reuse-one", "reuse-other"].map(|name| server().tenant(name));
    let count = |client: &Client| ask(client, &json!({"do": "count"}))["count"].as_u64().unwrap();
    let counts: Vec<u64> = (0..20).map(|_| count(&one)).collect();
    assert!(counts.last() > Some(&10), "an instance is not reused: {counts:?}");
    assert_eq!(count(&other), 1);
    // Both at once, many times: every instance counts one tenant's requests.
    let most = thread::scope(|scope| {
        let tasks = [(&one, 20_u64), (&other, 1)]
            .map(|(client, before)| scope.spawn(move || (1..=100).all(|asked| count(client) <= before + asked)));
        tasks.map(|task| task.join().unwrap())
    });
    assert_eq!(most, [true, true]);
    // An idle instance is dropped.
    thread::sleep(limits::INSTANCE_IDLE + Duration::from_millis(500));
    assert_eq!(count(&one), 1);
}

#[test]
fn an_endpoint_that_fails_is_a_500_and_the_next_request_works() {
    let client = server().tenant("failing");
    for what in ["panic", "trap", "exit", "bomb", "recurse"] {
        let start = Instant::now();
        let reply = client.post("/probe/x", &json!({"do": what})).send();
        assert_eq!(error(&reply), (500, "internal".to_owned()), "{what}");
        assert!(!reply.text().contains("enough"), "an error of ours does not quote a component: {}", reply.text());
        assert!(start.elapsed() < Duration::from_secs(2), "{what}");
        assert_eq!(ask(&client, &json!({"do": "count"})), json!({"count": 1}), "after {what}");
    }
    // What it printed is in the log.
    assert!(server().log().contains("the endpoint has had enough"));
    // More than the host would keep for it.
    let reply = client.post("/probe/x", &json!({"do": "random", "bytes": 1_u64 << 40})).send();
    assert!(reply.status == 500 || reply.json()["bytes"].as_u64().unwrap() <= 64 << 10, "{}", reply.text());
    assert_eq!(ask(&client, &json!({"do": "environment"}))["PROBE_COLOUR"], "green");
}

/// The one test that waits for [`limits::REQUEST_TIMEOUT`].
#[test]
fn an_endless_endpoint_is_a_504_and_others_do_not_notice() {
    beside_a_neighbour("calm-4", |server| {
        let [endless, streaming] = ["endless", "endless-stream"].map(|name| server.tenant(name));
        let after = limits::REQUEST_TIMEOUT..limits::REQUEST_TIMEOUT + Duration::from_secs(2);
        thread::scope(|scope| {
            for what in [json!({"do": "loop"}), json!({"do": "loop"}), json!({"do": "sleep", "ms": 3_600_000})] {
                let (endless, after) = (&endless, &after);
                scope.spawn(move || {
                    let start = Instant::now();
                    let reply = endless.post("/probe/x", &what).send();
                    assert_eq!(error(&reply), (504, "timeout".to_owned()), "{what}");
                    assert!(after.contains(&start.elapsed()), "{what}: {:?}", start.elapsed());
                });
            }
            // A response without end is ended as well.
            scope.spawn(|| {
                let start = Instant::now();
                let stream = json!({"do": "stream", "pieces": 1_000_000, "pause_ms": 20});
                let outcome = streaming.post("/probe/x", &stream).try_send();
                assert!(outcome.is_err(), "{outcome:?}");
                assert!(start.elapsed() < after.end, "{:?}", start.elapsed());
            });
            // The same tenant goes on meanwhile.
            thread::sleep(Duration::from_millis(300));
            let start = Instant::now();
            assert_eq!(ask(&endless, &json!({"do": "environment"}))["PROBE_COLOUR"], "green");
            assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        });
        assert_eq!(ask(&endless, &json!({"do": "environment"}))["PROBE_COLOUR"], "green");
    });
}

/// A connection on which a request to `probe` was sent.
fn open(tenant: &str, ask: &Value, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server().address()).unwrap();
    let body = ask.to_string();
    let head = format!(
        "POST /probe/x HTTP/1.1\r\nhost: probe.example:81\r\nx-tenant-id: {tenant}\r\nx-request-id: raw\r\n\
         authorization: Bearer t\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    // It may be refused before all is sent.
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
    stream
}

#[test]
fn a_response_is_sent_as_it_is_made() {
    let mut reader = BufReader::new(open("streaming", &json!({"do": "stream", "pieces": 4, "pause_ms": 200}), ""));
    let (start, mut arrived) = (Instant::now(), Vec::new());
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 0 {
        if line.starts_with("piece ") {
            arrived.push(start.elapsed());
        }
        line.clear();
    }
    assert_eq!(arrived.len(), 4);
    assert!(arrived[3] - arrived[0] > Duration::from_millis(400), "all at once: {arrived:?}");
}

/// A response that breaks off is not mistaken for a whole one.
#[test]
fn a_response_that_breaks_off_is_seen_to() {
    let mut answer = String::new();
    let _ = open("breaking", &json!({"do": "break_off"}), "").read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("piece 1"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "the last chunk says that all was sent: {answer}");
    assert_eq!(ask(&server().tenant("breaking"), &json!({"do": "count"})), json!({"count": 1}));
}

#[test]
fn headers_over_the_limits_are_refused() {
    let status = |headers: &str| {
        let mut answer = Vec::new();
        let _ = open("headers", &json!({"do": "environment"}), headers).read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).split(' ').nth(1).map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(status(""), "200");
    assert_eq!(status(&format!("x-large: {}\r\n", "x".repeat(limits::HEADER_BYTES / 2))), "200");
    assert_eq!(status(&format!("x-large: {}\r\n", "x".repeat(limits::HEADER_BYTES))), "431");
    let many: String = (0..200).map(|at| format!("x-{at}: x\r\n")).collect();
    assert_eq!(status(&many), "431");
    assert_eq!(status("not a header\r\n"), "400");
    assert_eq!(status("x-bad: a\0b\r\n"), "400");
    assert_eq!(status("content-length: 5\r\n"), "400");
}

fn seen(call: Call<'_>) -> BTreeMap<String, Vec<String>> {
    let pairs: Vec<(String, String)> = serde_json::from_value(call.expect(200).json()).unwrap();
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in pairs {
        seen.entry(name).or_default().push(value);
    }
    seen
}

#[test]
fn spin_headers_are_the_hosts_own() {
    let client = server().tenant("spin");
    let call = client.post("/probe-of/ann%20b/cart/1?x=1&y", &json!({"do": "headers"}));
    let call = call.header("spin-full-url", "http://evil/").header("spin-path-match-admin", "yes");
    let seen = seen(call.header("Spin-Client-Addr", "1.2.3.4:5").header("x-kept", "as it is"));
    let address = server().address();
    for (name, value) in [
        ("spin-path-info", "/cart/1"),
        ("spin-full-url", &*format!("http://{address}/probe-of/ann%20b/cart/1?x=1&y")),
        ("spin-matched-route", "/probe-of/:user_id/..."),
        ("spin-base-path", "/"),
        ("spin-raw-component-route", "/probe-of/:user_id/..."),
        ("spin-component-route", "/probe-of/:user_id"),
        ("spin-path-match-user-id", "ann%20b"),
        ("x-kept", "as it is"),
        ("x-tenant-id", "spin"),
    ] {
        assert_eq!(seen[name], [value], "{name}");
    }
    assert!(seen["spin-client-addr"][0].starts_with("127.0.0.1:"), "{seen:?}");
    let spin: Vec<_> = seen.keys().filter(|name| name.starts_with("spin-")).collect();
    assert_eq!(spin.len(), 8, "{spin:?}");
}

// --- manifests ---

/// A manifest of one stage.
fn stage(source: &Path, settings: &str) -> String {
    format!(
        "spin_manifest_version = 2\n[application]\nname = \"one\"\n[trigger]\n[component.stage]\nsource = {source:?}\n\
         [component.stage.tool.funnelweb]\n{settings}\n"
    )
}

#[test]
fn a_component_that_imports_what_it_was_not_granted_is_refused() {
    let snoop = guests_folder().join("snoop.wasm");
    let recall = "role = \"recall\"\nnames = [\"snoop\"]\n";
    let (approved, said) = Written::new(&stage(&snoop, &format!("{recall}grants = [\"documents\", \"live\"]"))).check();
    assert!(approved, "{said}");
    for (settings, import) in [
        (recall.to_owned(), "funnelweb:capabilities/documents"),
        (format!("{recall}grants = [\"documents\"]"), "funnelweb:capabilities/live"),
        // As an endpoint it lacks something else: its export.
        ("role = \"endpoint\"\ngrants = [\"documents\", \"live\"]".to_owned(), "wasi:http/handler"),
        ("role = \"rank\"\nnames = [\"snoop\"]".to_owned(), "funnelweb:capabilities/documents"),
    ] {
        let (approved, said) = Written::new(&stage(&snoop, &settings)).check();
        assert!(!approved, "{settings}");
        assert!(said.contains("`stage`") && said.contains(import), "{settings}: {said}");
    }
    // The right imports, the wrong role.
    let (approved, said) = Written::new(&stage(&guests_folder().join("rank_linear.wasm"), recall)).check();
    assert!(!approved && said.contains("`stage`") && said.contains("funnelweb:pipeline/recall"), "{said}");
}

#[test]
fn what_is_no_component_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let recall = "role = \"recall\"\nnames = [\"x\"]\n";
    for (name, content, reason) in [
        ("module.wasm", &b"\0asm\x01\0\0\0"[..], "module"),
        ("text.wasm", b"hello", ""),
        ("empty.wasm", b"", ""),
        ("cut.wasm", b"\0asm\x0d\0\x01\0\x01\xff", ""),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let (approved, said) = Written::new(&stage(&path, recall)).check();
        assert!(!approved && said.contains(name) && said.contains(reason), "{said}");
    }
    let (approved, said) = Written::new(&stage(&folder.path().join("absent.wasm"), recall)).check();
    assert!(!approved && said.contains("absent.wasm"), "{said}");
}

#[test]
fn an_unknown_key_is_refused_where_it_stands() {
    let source = guests_folder().join("snoop.wasm");
    let good = stage(&source, "role = \"recall\"\nnames = [\"snoop\"]\ngrants = [\"documents\", \"live\"]");
    for (text, place, key) in [
        (good.replace("names =", "name ="), ":9:1:", "`name`"),
        (good.replace("source =", "  sauce ="), ":6:3:", "`sauce`"),
        (format!("{good}[component.stage.bild]\ncommand = \"true\"\n"), ":11:18:", "`bild`"),
    ] {
        let written = Written::new(&text);
        let (approved, said) = written.check();
        assert!(
            !approved && said.contains(&format!("{}{place}", written.path().display())) && said.contains(key),
            "{place}: {said}"
        );
    }
}
