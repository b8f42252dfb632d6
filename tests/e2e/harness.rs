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

    /// The most memory it has had so far, in bytes (`VmHWM`).
    pub fn peak_memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
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

/// Calls one server in the name of one tenant.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    url: String,
    tenant: String,
}

impl Client {
    /// A client for the server at `url`.
    pub fn new(url: &str, tenant: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self { agent: config.into(), url: url.to_owned(), tenant: tenant.to_owned() }
    }

    /// The tenant.
    pub fn name(&self) -> &str {
        &self.tenant
    }

    /// A request with the gateway's headers (user `ann`) and without a body.
    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let request_id = format!("r{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let headers = [
            ("x-tenant-id", self.tenant.as_str()),
            ("x-user-id", "ann"),
            ("x-request-id", &request_id),
            ("authorization", "Bearer test"),
        ];
        Call {
            client: self,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            body: None,
        }
    }

    /// `GET`
    pub fn get(&self, path: &str) -> Call<'_> {
        self.call("GET", path)
    }

    /// `DELETE`
    pub fn delete(&self, path: &str) -> Call<'_> {
        self.call("DELETE", path)
    }

    /// `POST` with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Call<'_> {
        self.call("POST", path).json(body)
    }

    /// `PUT` with a JSON body.
    pub fn put(&self, path: &str, body: &Value) -> Call<'_> {
        self.call("PUT", path).json(body)
    }

    /// `PATCH` with a JSON body.
    pub fn patch(&self, path: &str, body: &Value) -> Call<'_> {
        self.call("PATCH", path).json(body)
    }
}

/// A request that is being put together.
#[derive(Clone)]
pub struct Call<'a> {
    client: &'a Client,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl fmt::Debug for Call<'_> {
    /// The request, a long body cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body.as_deref().unwrap_or_default();
        let body = String::from_utf8_lossy(&body[..body.len().min(400)]);
        write!(f, "{} {} {:?} {body}", self.method, self.path, self.headers)
    }
}

impl Call<'_> {
    /// Sets a header in place of any of that name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Leaves a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// In the name of this user.
    pub fn user(self, user: &str) -> Self {
        self.header("x-user-id", user)
    }

    /// With a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// With any body.
    pub fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", kind)
    }

    /// Sends it; `Err` when no response came.
    pub fn try_send(self) -> Result<Reply, ureq::Error> {
        let response = match &self.body {
            Some(body) => self.client.agent.run(self.request().body(body.as_slice()).unwrap()),
            None => self.client.agent.run(self.request().body(()).unwrap()),
        };
        self.reply(response?)
    }

    fn request(&self) -> http::request::Builder {
        let mut request =
            http::Request::builder().method(self.method.as_str()).uri(format!("{}{}", self.client.url, self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    fn reply(&self, response: http::Response<ureq::Body>) -> Result<Reply, ureq::Error> {
        let (parts, mut body) = response.into_parts();
        let body = body.with_config().limit(256 << 20).read_to_vec()?;
        Ok(Reply {
            call: format!("{} {}", self.method, self.path),
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    }

    /// Sends it.
    pub fn send(self) -> Reply {
        let call = format!("{} {}", self.method, self.path);
        self.try_send().unwrap_or_else(|error| panic!("{call}: {error}"))
    }

    /// Sends it with a body of unknown length (chunked).
    pub fn stream(self, kind: &str, body: impl Read + Send + 'static) -> Reply {
        let call = self.header("content-type", kind);
        let request = call.request().body(ureq::SendBody::from_owned_reader(body)).unwrap();
        let response = call.client.agent.run(request).unwrap_or_else(|error| panic!("{}: {error}", call.path));
        call.reply(response).unwrap()
    }

    /// Sends it, and panics unless the response has this status.
    pub fn expect(self, status: u16) -> Reply {
        let reply = self.send();
        assert_eq!(reply.status, status, "{}: {}", reply.call, reply.text());
        reply
    }
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Reply {
    call: String,
    /// The status code.
    pub status: u16,
    /// All headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Panics unless the status is one of these.
    pub fn assert_status(&self, statuses: &[u16]) {
        assert!(statuses.contains(&self.status), "{}: {}: {}", self.call, self.status, self.text());
    }

    /// The code of an error; empty for anything else.
    pub fn json_code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The body as JSON; `null` when it is empty.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.call, self.text()))
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
