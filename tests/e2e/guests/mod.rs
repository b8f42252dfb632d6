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

mod endpoints;
mod keyvalue;
mod manifests;
mod models;
mod operators;
mod redis;
mod stages;

pub use endpoints::ask;

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
            "exposure": {"enabled": false},
            "cache": {"enabled": false}
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
    beside_a_neighbour_of(server(), name, attacks);
}

/// Runs `attacks` on a server of which a neighbour is another tenant.
fn beside_a_neighbour_of(server: &Server, name: &str, attacks: impl FnOnce(&Server)) {
    // One at a time, so that each sees its own attacks only.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
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
