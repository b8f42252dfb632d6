//! Real servers for tests: each on a free port, with a folder that goes with it,
//! and gone when the value is, or the process that has it. And a [`proxy`] that
//! fails as networks do.
//!
//! Nothing is installed. Redis and Valkey are those of the machine or what
//! `cargo xtask redis-servers` unpacked; FerretDB is built, Milvus Lite and Kafka are
//! fetched once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "for tests: a server that cannot be had is a failed test"
)]

mod cache;
pub mod ferretdb;
pub mod kafka;
pub mod milvus;
pub mod proxy;

use std::{
    net::{TcpListener, TcpStream},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Time for a server to take connections; the slowest is Kafka, on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Servers of the Redis family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `redis-server`, or `$FUNNELWEB_REDIS_SERVER`.
    Redis,
    /// `valkey-server`, or `$FUNNELWEB_VALKEY_SERVER`.
    Valkey,
}

impl Kind {
    /// The variable, `PATH`, or where `cargo xtask redis-servers` puts it.
    fn program(self) -> PathBuf {
        let (variable, name) = match self {
            Self::Redis => ("FUNNELWEB_REDIS_SERVER", "redis-server"),
            Self::Valkey => ("FUNNELWEB_VALKEY_SERVER", "valkey-server"),
        };
        if let Some(named) = std::env::var_os(variable) {
            return named.into();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers/redis/bin");
        let mut places = std::env::split_paths(&path).chain([ours]).map(|folder| folder.join(name));
        let found = places.find(|place| place.is_file());
        found.unwrap_or_else(|| panic!("there is no {name}: run `cargo xtask redis-servers`, or set {variable}"))
    }
}

/// A server's process.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    folder: TempDir,
    watch: Child,
}

impl Server {
    /// A Redis or Valkey that keeps everything in memory, unless `more` arguments
    /// say otherwise; `{folder}` in them is the server's folder.
    #[must_use]
    pub fn redis(kind: Kind, more: &[&str]) -> Self {
        Self::start(kind.program(), |port, folder| {
            let folder = folder.display().to_string();
            let log = format!("{folder}/log");
            let port = port.to_string();
            let own = ["--port", &port, "--bind", "127.0.0.1", "--dir", &folder, "--logfile", &log, "--save", ""];
            own.iter().chain(more).map(|argument| argument.replace("{folder}", &folder)).collect()
        })
    }

    /// A FerretDB that stores in its folder.
    #[must_use]
    pub fn ferretdb(more: &[&str]) -> Self {
        Self::start(ferretdb::binary().unwrap(), |port, folder| {
            let (listen, store) = (format!("127.0.0.1:{port}"), format!("file:{}/", folder.display()));
            let own = ["--handler=sqlite", "--debug-addr=-", "--state-dir=-", "--telemetry=disable"];
            let places = [format!("--listen-addr={listen}"), format!("--sqlite-url={store}")];
            let more = ["--log-level=error"].iter().chain(more);
            own.iter().chain(more).map(|argument| (*argument).to_owned()).chain(places).collect()
        })
    }

    /// A Milvus Lite that stores in its folder.
    #[must_use]
    pub fn milvus() -> Self {
        Self::start(milvus::binary().unwrap(), |port, folder| {
            let (port, data) = (port.to_string(), format!("{}/data", folder.display()));
            let place = ["server", "--host", "127.0.0.1", "--port", &port, "--data-dir", &data];
            // It takes one writer at a time, and does not see to that.
            place.iter().chain(&["--max-workers", "1"]).map(|argument| (*argument).to_owned()).collect()
        })
    }

    /// A Kafka broker that stores in its folder. `more` lines of its configuration come
    /// before its own; in them `{port}` is where it is to listen, `{controller}` where
    /// it does for itself, and `{folder}` is its folder.
    #[must_use]
    pub fn kafka(more: &[&str]) -> Self {
        let kafka = kafka::Kafka::fetched().unwrap();
        Self::start("java".into(), |port, folder| kafka.prepare(folder, [port, free_port()], more).unwrap())
    }

    fn start(program: PathBuf, arguments: impl FnOnce(u16, &Path) -> Vec<String>) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let arguments = arguments(port, folder.path());
        let watch = launch(&program, &arguments, folder.path());
        let this = Self { program, arguments, port, folder, watch };
        this.wait();
        this
    }

    /// Until it takes connections, or has long enough been given the time to.
    fn wait(&self) {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if start.elapsed() > START {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("{} did not start\n{log}", self.program.display());
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Stops it at once, as a crash would.
    pub fn stop(&mut self) {
        // It watches this pipe.
        drop(self.watch.stdin.take());
        self.watch.wait().unwrap();
    }

    /// Starts it again, on the same port and folder.
    pub fn restart(&mut self) {
        self.stop();
        self.watch = launch(&self.program, &self.arguments, self.folder.path());
        self.wait();
    }

    /// Where it listens, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it was given to store in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs the program under a shell that kills it when our end of the pipe is
/// closed, by us or by our death.
fn launch(program: &Path, arguments: &[String], folder: &Path) -> Child {
    let watch = r#""$@" </dev/null & server=$!; read -r _; kill -9 $server; wait $server 2>/dev/null; true"#;
    let mut command = Command::new("sh");
    command.args(["-c", watch, "sh"]).arg(program).args(arguments).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

/// A port that nobody listens on now, and that nobody is given who asks the system for
/// any: a server that takes long to start finds it free still, and who waits for it does
/// not connect to somebody else, or to itself.
#[must_use]
pub fn free_port() -> u16 {
    /// Below what systems give out (32768 and above on Linux, 49152 elsewhere).
    const PORTS: Range<u32> = 10_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Processes that run side by side begin far from each other.
        let place = std::process::id().wrapping_mul(1009).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + place % (PORTS.end - PORTS.start);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())) {
            return listener.local_addr().unwrap().port();
        }
    }
}
