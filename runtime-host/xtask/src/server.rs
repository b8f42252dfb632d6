//! The host as a process, with a folder that goes with it: for what is tried from outside.
//!
//! It is gone when the value is, or the process that has it, and with it what it has
//! started.

use std::{
    ffi::OsStr,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// Time to start; the first of all compiles every component.
const START: Duration = Duration::from_secs(300);
/// Time for an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Lines of its log that are shown when something fails.
const LOG_LINES: usize = 40;
/// What the first line that it prints begins with.
const LISTENING: &str = "Listening on http://";
/// The extension of what is compiled.
const COMPILED: &str = "cwasm";
/// What the names of those that were uploaded begin with.
const UPLOADS: &[u8] = b"tenants-";
/// Starts a program, and ends all of its process group, which is its own, when our end of
/// the pipe is closed, by us or by our death. Of the output it keeps nothing open, so that
/// it ends with the program.
const WATCH: &str = r#""$@" </dev/null & exec >&-; read -r _; kill -9 0"#;

/// A server that listens.
pub struct Server {
    watch: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Server {
    /// Starts what was built, on a free port, with this runtime configuration. The folder is
    /// begun anew; it stays afterwards, until the next begins.
    pub fn start(root: &Path, folder: &Path, config: &str) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        let (data, config_file) = (folder.join("data"), folder.join("runtime.toml"));
        // Where the end-to-end suites have what is compiled: whoever comes first compiles for
        // all. What is uploaded here stays here.
        let (compiled, own) = (root.join("target/tmp/components"), data.join("components"));
        for folder in [&compiled, &own] {
            fs::create_dir_all(folder)?;
        }
        share(&compiled, &own)?;
        fs::write(&config_file, config)?;
        let (program, manifest) = (root.join("target/release/funnelweb"), root.join("spin.toml"));
        let words = ["up", "--listen", "127.0.0.1:0", "--data-dir"].map(OsStr::new);
        let rest = [data.as_os_str(), "--runtime-config".as_ref(), config_file.as_os_str(), "-f".as_ref()];
        let arguments = words.into_iter().chain(rest).chain([manifest.as_os_str()]);
        let server = Self::launch(folder, program.as_os_str(), arguments)?;
        share(&own, &compiled)?;
        Ok(server)
    }

    /// Starts a program that says where it listens, in this folder.
    fn launch<'a>(folder: &Path, program: &'a OsStr, arguments: impl Iterator<Item = &'a OsStr>) -> Result<Self> {
        let log = fs::File::create(folder.join("log"))?;
        let mut command = Command::new("sh");
        command.args(["-c", WATCH, "sh"]).arg(program).args(arguments).current_dir(folder).process_group(0);
        let mut watch = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let stdout = watch.stdout.take();
        let mut server = Self { watch, folder: folder.to_owned(), address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = first_line(stdout.context("its output")?).recv_timeout(START).unwrap_or_default();
        match address(&line) {
            Some(address) => server.address = address,
            None => bail!("the server did not start: {line:?}\n{}", server.log()),
        }
        Ok(server)
    }

    /// `http://127.0.0.1:12345`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks it in the name of a tenant and one of its users, with a JSON body; returns that
    /// of the answer, if it is a success.
    pub fn ask(&self, tenant: &str, method: &str, path: &str, body: &str) -> Result<String> {
        // Of this version an answer is in one piece, and ends with the connection.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nX-Tenant-Id: {tenant}\r\nX-User-Id: ann\r\nX-Request-Id: r1\r\n\
             Authorization: Bearer test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let answer = || -> Result<String> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(ANSWER))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(succeeded(&answer)?.to_owned())
        };
        answer().with_context(|| format!("{method} {path}"))
    }

    /// The last of what it has written to standard error.
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        // There is nobody to tell if that fails.
        let _ = self.watch.wait();
    }
}

/// Has a folder have compiled components of another, which are named by their content.
fn share(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let (entry, place) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        let is_upload = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(UPLOADS));
        if entry.extension() == Some(COMPILED.as_ref()) && !is_upload && !place.exists() {
            fs::hard_link(entry, place)?;
        }
    }
    Ok(())
}

/// Says the first line of an output, which is read to its end, so that whoever writes it can
/// go on.
fn first_line(output: ChildStdout) -> Receiver<String> {
    let (told, line) = channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut first = String::new();
        let read = output.read_line(&mut first);
        // Nobody waits any more after the time to start.
        let _ = told.send(first);
        if read.is_ok() {
            let _ = io::copy(&mut output, &mut io::sink());
        }
    });
    line
}

/// `Listening on http://127.0.0.1:12345 (ready in 80 ms)`
fn address(line: &str) -> Option<SocketAddr> {
    line.strip_prefix(LISTENING)?.split_whitespace().next()?.parse().ok()
}

/// The body of an answer that is a success.
fn succeeded(answer: &str) -> Result<&str> {
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer of HTTP: {answer:?}"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        bail!("status {status}: {body}");
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A folder of its own for a test.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("funnelweb-xtask-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn launch(folder: &Path, script: &str) -> Result<Server> {
        Server::launch(folder, "sh".as_ref(), ["-c", script].map(OsStr::new).into_iter())
    }

    /// Whether a process runs: of one that is dead and not waited for, no command is left.
    fn runs(pid: &str) -> bool {
        fs::read(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|command| !command.is_empty())
    }

    #[test]
    fn a_server_is_gone_with_all_that_it_started() {
        let folder = folder("gone");
        let script = "sleep 600 & echo $! > child; echo $$ > own; echo 'Listening on http://127.0.0.1:7 (ready in 1 ms)'; \
                      echo more; wait";
        let server = launch(&folder, script).unwrap();
        assert_eq!(server.url(), "http://127.0.0.1:7");
        let pids = ["child", "own"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
        let comes_true = |holds: &dyn Fn() -> bool| {
            let begin = Instant::now();
            while !holds() {
                assert!(begin.elapsed() < Duration::from_secs(10), "{pids:?}");
                thread::sleep(Duration::from_millis(5));
            }
        };
        // While it becomes another program a process has no command.
        comes_true(&|| pids.iter().all(|pid| runs(pid)));
        drop(server);
        comes_true(&|| !pids.iter().any(|pid| runs(pid)));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn one_that_does_not_start_says_why() {
        let folder = folder("fails");
        let error = launch(&folder, "echo 'no such file' >&2; exit 1").err().unwrap().to_string();
        assert!(error.starts_with("the server did not start: \"\"\n") && error.contains("no such file"), "{error}");
        let error = launch(&folder, "echo 'Loading'; sleep 600").err().unwrap().to_string();
        assert!(error.contains("did not start: \"Loading\\n\""), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_compiled_is_shared_but_for_uploads() {
        let folder = folder("shared");
        let (from, to) = (folder.join("from"), folder.join("to"));
        for folder in [&from, &to] {
            fs::create_dir(folder).unwrap();
        }
        for name in ["a.cwasm", "b.cwasm", "tenants-c.cwasm", "d.part"] {
            fs::write(from.join(name), "from").unwrap();
        }
        fs::write(to.join("b.cwasm"), "to").unwrap();
        share(&from, &to).unwrap();
        let content = |name: &str| fs::read_to_string(to.join(name)).unwrap_or_default();
        assert_eq!(["a.cwasm", "b.cwasm", "tenants-c.cwasm", "d.part"].map(content), ["from", "to", "", ""]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn answers_are_taken_apart() {
        assert_eq!(address("Listening on http://127.0.0.1:80 (ready in 3 ms)\n"), Some(([127, 0, 0, 1], 80).into()));
        assert_eq!(address("Listening on http://"), None);
        assert_eq!(succeeded("HTTP/1.0 201 Created\r\na: b\r\n\r\n{}\r\n\r\n").unwrap(), "{}\r\n\r\n");
        assert_eq!(succeeded("HTTP/1.0 409 Conflict\r\n\r\nno").unwrap_err().to_string(), "status 409: no");
        assert!(succeeded("").is_err());
    }
}
