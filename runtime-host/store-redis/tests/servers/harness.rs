//! Servers of our own, each on a free port with a folder that goes with it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use funnelweb_store_redis::{RedisSettings, RedisStore};
use funnelweb_test_servers::Server as Process;
pub use funnelweb_test_servers::{
    Kind, free_port,
    proxy::{Fault, Proxy},
};

/// A running server; it ends with the value, and with this process.
pub struct Server {
    pub port: u16,
    process: Process,
}

const PATIENCE_MS: u64 = 30_000;

/// Time for a server to answer.
const START: Duration = Duration::from_secs(20);

impl Server {
    pub fn start(kind: Kind) -> Self {
        Self::with(kind, &[])
    }

    /// With more arguments; `{folder}` is the server's folder.
    pub fn with(kind: Kind, arguments: &[&str]) -> Self {
        for _ in 0..10 {
            let process = Process::redis(kind, arguments);
            let server = Self { port: process.port(), process };
            if server.is_ready() {
                return server;
            }
        }
        panic!("{kind:?} did not start");
    }

    /// Stops it at once, as a crash would; see [`Server::restart`].
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Starts it again, on the same port.
    pub fn restart(&mut self) {
        self.process.restart();
        assert!(self.is_ready(), "it did not start again");
    }

    /// Whether it answers, and is ours: another may have taken the port.
    fn is_ready(&self) -> bool {
        let folder = self.folder().canonicalize().unwrap();
        let start = Instant::now();
        while start.elapsed() < START {
            if let Ok(mut connection) = self.client().get_connection_with_timeout(Duration::from_secs(1)) {
                match redis::cmd("CONFIG").arg("GET").arg("dir").query::<Vec<String>>(&mut connection) {
                    Ok(answer) => return answer.last().is_some_and(|dir| Path::new(dir) == folder),
                    Err(error) => assert!(error.to_string().to_lowercase().contains("loading"), "{error}"),
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = std::fs::read_to_string(self.folder().join("log")).unwrap_or_default();
        eprintln!("{log}");
        false
    }

    pub fn folder(&self) -> &Path {
        self.process.folder()
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).unwrap()
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Says something to it directly.
    pub fn say<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.client().get_connection().unwrap()).unwrap()
    }

    /// With so much time for a call that a busy machine does not make one fail.
    pub async fn store(&self) -> RedisStore {
        let settings = RedisSettings { response_timeout_ms: PATIENCE_MS, ..RedisSettings::of(self.url()) };
        RedisStore::connect(&settings).await.unwrap()
    }
}

/// Of the server behind a proxy.
pub fn url(proxy: &Proxy) -> String {
    format!("redis://127.0.0.1:{}", proxy.port())
}

/// Three primaries that share the slots.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    pub fn start(kind: Kind) -> Self {
        Self::start_with(kind, &[])
    }

    /// With more arguments for each node.
    pub fn start_with(kind: Kind, more: &[&str]) -> Self {
        let node = |_| {
            let bus = free_port().to_string();
            let given = ["--cluster-enabled", "yes", "--cluster-node-timeout", "3000", "--cluster-port", &bus];
            Server::with(kind, &[given.as_slice(), more].concat())
        };
        let nodes: Vec<Server> = (0..3).map(node).collect();
        let slots = [(0, 5460), (5461, 10922), (10923, 16383)];
        for (at, (node, (from, to))) in nodes.iter().zip(slots).enumerate() {
            node.say::<()>(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]);
            node.say::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
        }
        let [first, others @ ..] = nodes.as_slice() else { panic!("no nodes") };
        let bus: Vec<String> = first.say(&["CONFIG", "GET", "cluster-port"]);
        for node in others {
            node.say::<()>(&["CLUSTER", "MEET", "127.0.0.1", &first.port.to_string(), &bus[1]]);
        }
        let start = Instant::now();
        let formed = |node: &Server| {
            let info: String = node.say(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok")
                && info.contains("cluster_known_nodes:3")
                && info.contains("cluster_slots_ok:16384")
        };
        while !nodes.iter().all(formed) {
            assert!(start.elapsed() < START, "no cluster was formed");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { nodes }
    }

    /// The place of the node that a key is on.
    pub fn node_of(&self, key: &str) -> usize {
        let slot: u16 = self.nodes[0].say(&["CLUSTER", "KEYSLOT", key]);
        usize::from(slot > 5460) + usize::from(slot > 10922)
    }

    pub fn settings(&self) -> RedisSettings {
        RedisSettings { cluster: true, response_timeout_ms: PATIENCE_MS, ..RedisSettings::of(self.nodes[0].url()) }
    }

    pub async fn store(&self) -> RedisStore {
        RedisStore::connect(&self.settings()).await.unwrap()
    }
}
