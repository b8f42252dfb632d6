//! Uploads are admitted in a process of their own: [`crate::child`].

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use funnelweb_core::limits;
use rustix::process::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

use crate::{Inspected, Refused, Rule, child::Verdict};

/// Of a verdict; the longest names all imports that there may be.
const VERDICT_BYTES: u64 = 1024 * 1024;
/// Of what it prints when it fails.
const STDERR_BYTES: u64 = 16 * 1024;
/// The exit code of a panic.
const PANICKED: i32 = 101;
/// Said by the runtime when there is no memory for what it needs.
const OUT_OF_MEMORY: &str = "memory allocation of";

/// Admits uploads, each in a process of its own.
#[derive(Debug, Clone)]
pub struct Compiler {
    program: PathBuf,
    arguments: Vec<OsString>,
    timeout: Duration,
}

/// An upload that may become a component.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// What is known of it.
    pub inspected: Inspected,
    /// Time that it took to compile.
    pub compile_ms: u64,
    /// Bytes of the file that was written.
    pub machine_code_bytes: u64,
}

/// Why an upload is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It breaks a rule.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The process could not do its work, which says nothing of the upload.
    #[error("component could not be compiled: {0}")]
    Fault(String),
}

impl Compiler {
    /// One that starts `program` with these arguments, to which the file to read and the
    /// file to write are added, and which calls [`crate::child::run`] with those two.
    #[must_use]
    pub fn new<A: Into<OsString>>(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.into(), arguments, timeout: limits::COMPONENT_COMPILE_TIMEOUT }
    }

    /// With another time for each upload.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Inspects and compiles an upload. Its machine code is in `out` afterwards, which is
    /// whole or not there; the folder of `out` is where it works.
    ///
    /// # Errors
    /// [`Error::Refused`], of [`Rule::Compile`] also when the process ended by a limit of
    /// its own; [`Error::Fault`] when it could not be started or cannot read or write.
    pub async fn admit(&self, wasm: &[u8], out: &Path) -> Result<Admitted, Error> {
        // A process that does nothing but refuse is saved.
        crate::check_size(wasm.len(), limits::COMPONENT_BYTES_MOST)?;
        let files = Files::beside(out);
        tokio::fs::write(&files.from, wasm).await.map_err(|error| fault(&files.from, &error))?;
        let spoken = self.speak(&files).await?;
        match spoken {
            Verdict::Admitted { inspected, compile_ms, machine_code_bytes } => {
                tokio::fs::rename(&files.to, out).await.map_err(|error| fault(out, &error))?;
                Ok(Admitted { inspected: *inspected, compile_ms, machine_code_bytes })
            }
            Verdict::Refused(refused) => Err(refused.into()),
            Verdict::Fault(cause) => Err(Error::Fault(cause)),
        }
    }

    /// What the process says.
    async fn speak(&self, files: &Files) -> Result<Verdict, Error> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .args([&files.from, &files.to])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| fault(&self.program, &error))?;
        let ended = tokio::time::timeout(self.timeout, listen(&mut child)).await;
        let Ok(ended) = ended else { return Err(self.timed_out().into()) };
        let (status, verdict, printed) = ended.map_err(|error| fault(&self.program, &error))?;
        match serde_json::from_slice(&verdict) {
            Ok(verdict) if status.success() => Ok(verdict),
            _ => Err(self.failed(status, &String::from_utf8_lossy(&printed))),
        }
    }

    fn timed_out(&self) -> Refused {
        refused(format!("it takes more than {} s to inspect and compile", self.timeout.as_secs_f64()))
    }

    /// Of a process that ended without a verdict.
    fn failed(&self, status: ExitStatus, printed: &str) -> Error {
        tracing::warn!(%status, printed, "process that compiles a component failed");
        if printed.contains(OUT_OF_MEMORY) {
            let most = limits::COMPONENT_COMPILE_BYTES / 1024 / 1024;
            return refused(format!("it takes more than {most} MiB of memory to inspect and compile")).into();
        }
        let signal = status.signal().and_then(Signal::from_named_raw);
        match (status.signal(), signal) {
            (_, Some(Signal::XCPU)) => self.timed_out().into(),
            (_, Some(Signal::XFSZ)) => refused("its machine code is too large".to_owned()).into(),
            (Some(number), _) => refused(format!("the process that compiles it was ended by signal {number}")).into(),
            (None, _) if status.code() == Some(PANICKED) => refused("the compiler fails with it".to_owned()).into(),
            (None, _) => Error::Fault(format!("{}: {status} without a verdict", self.program.display())),
        }
    }
}

fn refused(message: String) -> Refused {
    let help = "make it smaller: build for size (`opt-level = \"s\"`, `lto = \"fat\"`), with fewer dependencies and \
                without functions of many thousand instructions";
    Refused::new(Rule::Compile, message, help)
}

fn fault(path: &Path, error: &io::Error) -> Error {
    Error::Fault(format!("{}: {error}", path.display()))
}

/// All that a process prints, as far as it may, and how it ended.
async fn listen(child: &mut Child) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (verdict, printed) = tokio::try_join!(read(stdout, VERDICT_BYTES), read(stderr, STDERR_BYTES))?;
    Ok((child.wait().await?, verdict, printed))
}

/// No more than so many bytes are kept; the rest is read so that nobody waits.
async fn read(from: Option<impl AsyncRead + Unpin>, bytes: u64) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(bytes).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

/// What a process reads and writes; removed when it is over, however it ends.
struct Files {
    from: PathBuf,
    to: PathBuf,
}

impl Files {
    fn beside(out: &Path) -> Self {
        static UPLOADS: AtomicU64 = AtomicU64::new(0);
        let number = UPLOADS.fetch_add(1, Ordering::Relaxed);
        let beside = |what: &str| {
            let mut name = out.file_name().map(OsStr::to_owned).unwrap_or_default();
            name.push(format!(".{}-{number}.{what}", std::process::id()));
            out.with_file_name(name)
        };
        Self { from: beside("upload"), to: beside("part") }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // One of them was renamed, or never made.
        for file in [&self.from, &self.to] {
            let _ = std::fs::remove_file(file);
        }
    }
}
