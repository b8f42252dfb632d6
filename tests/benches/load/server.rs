//! The binary as a child process; it ends with its [`Server`].

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use funnelweb_test_servers::{Kind, Server as Store};
use tempfile::TempDir;

use crate::common;

/// Where a server keeps what it is given.
#[derive(Debug, Clone, Copy)]
pub enum Stores {
    /// Its data directory.
    Embedded,
    /// Redis and MongoDB.
    Remote,
}

/// `funnelweb up` and its data directory.
pub struct Server {
    folder: TempDir,
    running: Option<Running>,
    remote: Option<Remote>,
    config: Option<PathBuf>,
}

/// The servers of the remote stores.
struct Remote {
    redis: Store,
    mongodb_url: String,
    // It ends with the run.
    _ferretdb: Option<Store>,
}

impl Remote {
    fn start() -> Self {
        let redis = Store::redis(Kind::Redis, &[]);
        if let Ok(mongodb_url) = std::env::var("FUNNELWEB_TEST_MONGODB_URL") {
            return Self { redis, mongodb_url, _ferretdb: None };
        }
        let ferretdb = Store::ferretdb(&[]);
        Self { redis, mongodb_url: format!("mongodb://127.0.0.1:{}", ferretdb.port()), _ferretdb: Some(ferretdb) }
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("funnelweb-load-").tempdir().unwrap()
}

struct Running {
    child: Child,
    address: SocketAddr,
    start_time: Duration,
    // Kept open, so that the child can go on printing.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it on a new data directory and a free port.
    pub fn start(stores: Stores) -> Self {
        let remote = matches!(stores, Stores::Remote).then(Remote::start);
        let mut server = Self { folder: folder(), running: None, remote, config: None };
        server.spawn();
        server
    }

    /// The same with embedded stores and a runtime configuration.
    pub fn start_with(config: &str) -> Self {
        let folder = folder();
        let path = folder.path().join("runtime.toml");
        fs::write(&path, config).unwrap();
        let mut server = Self { folder, running: None, remote: None, config: Some(path) };
        server.spawn();
        server
    }

    /// Ends it and starts it again on the same data.
    pub fn restart(&mut self) {
        self.stop();
        self.spawn();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            Command::new("kill").arg(running.child.id().to_string()).status().unwrap();
            let status = running.child.wait().unwrap();
            assert!(status.success(), "{status}: {}", self.log());
        }
    }

    fn spawn(&mut self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let binary = std::env::var_os("FUNNELWEB_BIN").map(PathBuf::from);
        let binary = binary.unwrap_or_else(|| root.join("target/release/funnelweb"));
        assert!(binary.exists(), "{} does not exist; `cargo xtask build` makes it", binary.display());
        let start = Instant::now();
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = Command::new(binary);
        command.current_dir(root).args(["up", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(self.folder.path().join("data")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        if let Some(config) = &self.config {
            command.arg("--runtime-config").arg(config);
        }
        if let Some(remote) = &self.remote {
            command.args(["--runtime-config", "runtime-host/config/remote.toml"]);
            command.env("FUNNELWEB_MONGODB_URL", &remote.mongodb_url);
            command.env("FUNNELWEB_REDIS_URL", format!("redis://127.0.0.1:{}", remote.redis.port()));
        }
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.strip_prefix("Listening on http://").and_then(|rest| rest.split(' ').next());
        let Some(address) = address else {
            let _ = child.kill();
            panic!("it did not start: {line}{}", self.log());
        };
        let address = address.parse().unwrap();
        self.running = Some(Running { child, address, start_time: start.elapsed(), _stdout: stdout });
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// From the command to the line that says that it listens.
    pub fn start_time(&self) -> Duration {
        self.running().start_time
    }

    pub fn address(&self) -> SocketAddr {
        self.running().address
    }

    /// `http://127.0.0.1:12345`
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The processor time it has had.
    pub fn cpu(&self) -> Duration {
        common::cpu(&self.running().child.id().to_string())
    }

    /// What it has of memory, and the most it has had.
    pub fn memory(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running().child.id())).unwrap();
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
        };
        format!("VmRSS {} MiB, VmHWM {} MiB", megabytes("VmRSS:"), megabytes("VmHWM:"))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}
