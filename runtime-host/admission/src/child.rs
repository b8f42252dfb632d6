//! The process that an upload is admitted and compiled in: `admit-component <in> <out>`.
//!
//! It bounds itself before it reads a byte, inspects, compiles, and says what came of it
//! as one line of JSON. Run it before anything else in `main`: it needs one thread.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use funnelweb_core::limits;
use funnelweb_engine::{Engines, bounded};
use rustix::process::{Resource, Rlimit, nice, setrlimit};
use serde::{Deserialize, Serialize};
use wasmtime::{Engine, component::Component};

use crate::{Inspected, Refused, Rule, inspect};

/// The lowest priority.
const NICE: i32 = 19;
/// More time of a processor than the whole may take by the clock: the clock is looked at
/// by whoever waits, who may be gone.
const CPU_TIMEOUT: Duration = Duration::from_secs(limits::COMPONENT_COMPILE_TIMEOUT.as_secs() + 5);
/// Machine code of one component.
const OUTPUT_BYTES: u64 = 512 * 1024 * 1024;
/// Files that are open at once: the three of every process, and one of its own.
const FILES: u64 = 16;

/// What came of an upload.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Admitted {
        inspected: Box<Inspected>,
        compile_ms: u64,
        machine_code_bytes: u64,
    },
    Refused(Refused),
    /// It is not the upload's.
    Fault(String),
}

/// Does what the process is for. `arguments` are the file to read and the file to write.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let verdict = bound().map_err(fault).and_then(|()| match arguments.into_iter().collect::<Vec<_>>().as_slice() {
        [from, to] => admit(Path::new(from), Path::new(to)),
        _ => Err(fault("expected the component to read and the file to write")),
    });
    let verdict = verdict.unwrap_or_else(|verdict| verdict);
    match say(&verdict) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fault(cause: impl ToString) -> Verdict {
    Verdict::Fault(cause.to_string())
}

/// What is done to an upload from here on is done within these.
fn bound() -> io::Result<()> {
    nice(NICE)?;
    let limits = [
        (Resource::Core, 0),
        // Address space costs nothing until it is written to, and engines reserve a lot.
        (Resource::Data, limits::COMPONENT_COMPILE_BYTES),
        (Resource::Fsize, OUTPUT_BYTES),
        (Resource::Nofile, FILES),
    ];
    for (resource, most) in limits {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    // By the first of the two it is ended by a signal that says why.
    let seconds = CPU_TIMEOUT.as_secs();
    setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), maximum: Some(seconds + 1) })?;
    Ok(())
}

fn admit(from: &Path, to: &Path) -> Result<Verdict, Verdict> {
    let wasm = fs::read(from).map_err(|error| fault(format!("{}: {error}", from.display())))?;
    let inspected = inspect(&wasm).map_err(Verdict::Refused)?;
    let engine = Engines::tenants_compiler().map_err(fault)?;
    let begin = Instant::now();
    let code = compile(&engine, &wasm).map_err(|error| {
        let help = "build it again with another version of its toolchain; what is valid may still be too much for the compiler";
        Verdict::Refused(Refused::new(Rule::Compile, bounded(format!("it cannot be compiled: {error:#}")), help))
    })?;
    let compile_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    write(to, &code).map_err(|error| fault(format!("{}: {error}", to.display())))?;
    Ok(Verdict::Admitted { inspected: Box::new(inspected), compile_ms, machine_code_bytes: code.len() as u64 })
}

/// It is made ready as where it runs, so that what the engine has no room for is found.
fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    Component::new(engine, wasm)?.serialize()
}

/// In pieces: what is written at once may be cached in one piece, and is then mapped as
/// one when a byte of it is touched.
fn write(to: &Path, code: &[u8]) -> io::Result<()> {
    let mut file = File::create(to)?;
    code.chunks(16 * 1024).try_for_each(|piece| file.write_all(piece))
}

fn say(verdict: &Verdict) -> io::Result<()> {
    let mut line = serde_json::to_vec(verdict)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}
