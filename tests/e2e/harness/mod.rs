//! The real binary as a child process, and a client for it.
//!
//! ```ignore
//! let acme = harness::shared().tenant("acme");              // one server for all tests
//! let reply = acme.get("/api/v1/items/feed/i1").send();
//! assert_eq!((reply.status, reply.json()["item_id"].as_str()), (200, Some("i1")));
//!
//! let mut server = Server::start();                          // one of its own, to kill
//! server.kill9();
//! server.restart();
//! ```
//!
//! No child outlives the tests: it is killed when its [`Server`] is dropped, and
//! by a guard process when the test process ends in any other way.

use std::{
    ffi::OsString,
    fmt, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

mod client;

pub use client::{Call, Client, Reply};

/// How long a start may take; the first of all compiles every component.
const START: Duration = Duration::from_secs(120);
/// How long a server may take to end after SIGTERM.
const END: Duration = Duration::from_secs(30);

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The binary under test: `$FUNNELWEB_BIN`, or `target/release/funnelweb`.
pub fn binary() -> PathBuf {
    let path =
        std::env::var_os("FUNNELWEB_BIN").map_or_else(|| workspace().join("target/release/funnelweb"), PathBuf::from);
    assert!(path.exists(), "{} does not exist; `cargo xtask build` makes it", path.display());
    path
}

/// The server that tests share; each takes a tenant of its own.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}

/// The manifest under test: `$FUNNELWEB_MANIFEST`, or the workspace's `spin.toml`.
pub fn manifest() -> PathBuf {
    std::env::var_os("FUNNELWEB_MANIFEST").map_or_else(|| workspace().join("spin.toml"), PathBuf::from)
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The manifest; [`manifest`] unless said otherwise.
    pub manifest: PathBuf,
    /// Further arguments of `funnelweb up`.
    pub args: Vec<OsString>,
    /// Further environment.
    pub env: Vec<(String, OsString)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { manifest: manifest(), args: Vec::new(), env: Vec::new() }
    }
}

/// A running (or killed) `funnelweb up` and its folder.
pub struct Server {
    options: Options,
    // Holds `data` and `log`; removed after the child is dead.
    folder: TempDir,
    running: Option<Running>,
}

struct Running {
    child: Child,
    guard: Guard,
    address: SocketAddr,
    // Kept open, so that the child can go on printing.
    _stdout: BufReader<std::process::ChildStdout>,
}

impl Server {
    /// The product as shipped, on a new data directory and a free port.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// As said, on a new data directory and a free port.
    pub fn with(options: Options) -> Self {
        let folder = tempfile::Builder::new().prefix("funnelweb-e2e-").tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        // Compiled once for all servers of all runs; the files are named by content.
        let compiled = Path::new(env!("CARGO_TARGET_TMPDIR")).join("components");
        fs::create_dir_all(&compiled).unwrap();
        symlink(&compiled, data.join("components")).unwrap();
        let mut server = Self { options, folder, running: None };
        server.restart();
        server
    }

    /// Starts on the same data directory, after [`Self::kill9`] or
    /// [`Self::sigterm`]; how long it took until it listened.
    pub fn restart(&mut self) -> Duration {
        assert!(self.running.is_none(), "it is running");
        // One at a time, so that a cold cache is filled once.
        static STARTING: Mutex<()> = Mutex::new(());
        let _one = STARTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let begin = Instant::now();
        let log = fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut child = Command::new(binary())
            .current_dir(workspace())
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.data_dir())
            .arg("-f")
            .arg(&self.options.manifest)
            .args(&self.options.args)
            .envs(self.options.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let guard = Guard::of(child.id(), self.folder.path());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // The end of its output ends this as well; a server that hangs is ended
        // by its guard when the test run is.
        stdout.read_line(&mut line).unwrap();
        let address = line.strip_prefix("Listening on http://").and_then(|rest| rest.split(' ').next());
        let Some(address) = address.and_then(|address| address.trim().parse().ok()) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server did not start: {line:?}\n{}", self.log());
        };
        self.running = Some(Running { child, guard, address, _stdout: stdout });
        let elapsed = begin.elapsed();
        assert!(elapsed < START, "the start took {elapsed:?}");
        elapsed
    }

    /// Ends it as a power cut would.
    pub fn kill9(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.guard.dismiss();
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    /// Asks it to end.
    pub fn signal_term(&self) {
        let status =
            Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let mut running = self.running.take().unwrap();
        let deadline = Instant::now() + END;
        loop {
            if let Some(status) = running.child.try_wait().unwrap() {
                running.guard.dismiss();
                return status;
            }
            if Instant::now() > deadline {
                let _ = running.child.kill();
                let _ = running.child.wait();
                running.guard.dismiss();
                panic!("it did not end within {END:?}\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to end and waits until it has.
    pub fn sigterm(&mut self) -> ExitStatus {
        self.signal_term();
        let status = self.wait();
        assert_eq!(status.signal(), None, "{}", self.log());
        status
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().address
    }

    /// `http://127.0.0.1:12345`
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().unwrap().child.id()
    }

    /// Where it keeps everything.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What it has written to standard error, over all its starts.
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// The memory it has, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory it has had so far, in bytes.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// A client for a tenant, with all the headers that a gateway sets.
    pub fn tenant(&self, tenant: &str) -> Client {
        Client::new(&self.url(), tenant)
    }

    /// Sends bytes on a connection of its own, and returns all that comes back
    /// until the server closes it; send `Connection: close`.
    pub fn raw(&self, bytes: &[u8]) -> String {
        self.raw_within(bytes, END)
    }

    /// [`Self::raw`], or what has come when nothing more came for so long.
    pub fn raw_within(&self, bytes: &[u8], pause: Duration) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(pause)).unwrap();
        // It may answer and close before it has read everything.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            answer.extend_from_slice(&chunk[..read]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
        self.kill9();
    }
}

/// A process that kills the server, and removes its folder, when the test
/// process is gone: it waits for the end of a pipe that only that one holds.
struct Guard(Child);

impl Guard {
    fn of(pid: u32, folder: &Path) -> Self {
        let script = r#"trap '' INT TERM; read -r word; [ "$word" = dismissed ] || { kill -9 "$1"; rm -rf "$2"; }"#;
        let child = Command::new("sh")
            .args(["-c", script, "sh", &pid.to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn dismiss(&mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            let _ = pipe.write_all(b"dismissed\n");
        }
        let _ = self.0.wait();
    }
}

/// Tries until it succeeds, or panics with what it waits for.
pub fn eventually<T>(what: &str, within: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
