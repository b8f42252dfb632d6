//! The product on MongoDB's protocol and Redis: the same behaviour, and the keys
//! and collections of the design, seen with other programs' eyes.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bson::{Document, doc};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    fixtures::{FEED, act, import, item, recommend, scenario, slate},
    harness::{Options, Server, workspace},
};

#[path = "../../runtime-host/xtask/src/servers.rs"]
mod servers;

/// Time for a server to start.
const START: Duration = Duration::from_secs(30);

/// A store's server. It is stopped by a shell that waits for the end of its input,
/// which comes with the end of this process, however it ends.
struct Process {
    shell: Child,
    port: u16,
    _folder: TempDir,
}

impl Process {
    fn start(program: &Path, arguments: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut shell = Command::new("sh");
        shell.args(["-c", r#""$0" "$@" </dev/null & read -r _; kill -9 $!; wait"#]).arg(program);
        shell.args(arguments(port, folder.path())).stdin(Stdio::piped()).stdout(Stdio::null());
        let this = Self { shell: shell.spawn().unwrap(), port, _folder: folder };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < START, "{} did not start", program.display());
            std::thread::sleep(Duration::from_millis(20));
        }
        this
    }

    fn redis() -> Self {
        let ours = workspace().join("target/servers/redis/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).chain([ours]).map(|folder| folder.join("redis-server"));
        let named = std::env::var_os("FUNNELWEB_REDIS_SERVER").map(PathBuf::from);
        let program = named.or_else(|| places.find(|place| place.is_file()));
        let missing = || panic!("there is no redis-server: run `cargo xtask redis-servers`");
        let program = program.unwrap_or_else(missing);
        Self::start(&program, |port, folder| {
            let text = format!("--port {port} --bind 127.0.0.1 --save  --appendonly no --dir {}", folder.display());
            text.split(' ').map(str::to_owned).collect()
        })
    }

    fn ferretdb() -> Self {
        Self::start(&servers::ferretdb().unwrap(), |port, folder| {
            let fixed = ["--handler=sqlite", "--debug-addr=-", "--state-dir=-", "--telemetry=disable"];
            let mut arguments: Vec<String> = fixed.map(str::to_owned).into();
            arguments.push("--log-level=error".to_owned());
            arguments.push(format!("--listen-addr=127.0.0.1:{port}"));
            arguments.push(format!("--sqlite-url=file:{}/", folder.display()));
            arguments
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

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
    let (redis, mongo) = (Process::redis(), Process::ferretdb());
    let mongo_url = format!("mongodb://127.0.0.1:{}", mongo.port);
    let mut server = Server::with(Options {
        args: vec!["--runtime-config".into(), workspace().join("runtime-host/config/remote.toml").into()],
        env: vec![
            ("FUNNELWEB_MONGODB_URL".to_owned(), mongo_url.clone().into()),
            ("FUNNELWEB_REDIS_URL".to_owned(), format!("redis://127.0.0.1:{}", redis.port).into()),
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

    let kind = |key: &str| ask(redis.port, &format!("TYPE {key}"));
    assert_eq!(kind("hot:items:acme:feed"), "+zset");
    assert_eq!(kind("exposed:acme:ann:feed"), "+set");
    assert!((86_000..=86_400).contains(&ttl(redis.port, "exposed:acme:ann:feed")));
    assert_eq!(kind("item:stats:acme:i01"), "+hash");
    for key in ["scenario:config:acme:feed", "user:profile:acme:ann:feed"] {
        assert_eq!(kind(key), "+string", "{key}");
        assert!((3_000..=3_600).contains(&ttl(redis.port, key)), "{key}");
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
