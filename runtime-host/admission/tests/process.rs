//! Uploads that are admitted in a process of their own, and processes that end as they
//! should not. This program is that process as well, when its first argument says so.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "it is a test")]

use std::{
    env,
    ffi::OsString,
    fs,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use funnelweb_admission::{Admitted, Compiler, Error, Manifest, Rule, child};
use funnelweb_core::limits;
use rustix::process::{Resource, Signal, getpid, getpriority_process, getrlimit, kill_process};

const RANKER: &str = "(component
    (core module $m (memory 1) (func (export \"f\") (result i32) (i32.const 1)))
    (core instance (instantiate $m))
    (instance $own) (export \"funnelweb:pipeline/rank@0.1.0\" (instance $own)))";
const MANIFEST: &str = r#"{"name": "own", "version": "1.0.0", "world": "rank"}"#;

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    match arguments.next().as_deref().and_then(|first| first.to_str()) {
        Some("admit-component") => child::run(arguments),
        Some("sleep") => {
            thread::sleep(Duration::from_secs(600));
            ExitCode::SUCCESS
        }
        Some("within-limits") => within_limits(arguments),
        Some("takes-memory") => takes_memory(arguments),
        Some("panics") => panic!("no"),
        Some("crashes") => {
            kill_process(getpid(), Signal::KILL).unwrap();
            ExitCode::SUCCESS
        }
        Some("says-nothing") => ExitCode::SUCCESS,
        // Whatever the test runner was asked for.
        _ => {
            tests();
            ExitCode::SUCCESS
        }
    }
}

// --- what the process does ---

/// What bounds the process stays until it ends.
fn bound(arguments: impl Iterator<Item = OsString>) {
    let _ = child::run(arguments.chain([OsString::from("one argument too many")]));
}

fn within_limits(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    bound(arguments);
    let most = |resource| getrlimit(resource).maximum.unwrap();
    let seconds = limits::COMPONENT_COMPILE_TIMEOUT.as_secs();
    let held = most(Resource::Data) == limits::COMPONENT_COMPILE_BYTES
        && (seconds..seconds + 15).contains(&getrlimit(Resource::Cpu).current.unwrap())
        && most(Resource::Core) == 0
        && most(Resource::Nofile) <= 64
        && most(Resource::Fsize) <= 1 << 30
        && getpriority_process(None).unwrap() == 19
        && env::vars_os().next().is_none();
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn takes_memory(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    bound(arguments);
    let mut taken = Vec::new();
    loop {
        taken.push(Vec::<u8>::with_capacity(64 << 20));
        if taken.len() as u64 > limits::COMPONENT_COMPILE_BYTES >> 26 {
            return ExitCode::FAILURE;
        }
    }
}

// --- what becomes of it ---

fn tests() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        admits(folder.path()).await;
        refuses(folder.path()).await;
        bounds(folder.path()).await;
        faults(folder.path()).await;
        tokio::join!(ends(folder.path()), is_ended_with_its_caller(folder.path()));
    });
    // Nothing is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn compiler(mode: &str) -> Compiler {
    Compiler::new(env::current_exe().unwrap(), [mode])
}

fn ranker() -> Vec<u8> {
    Manifest::embed(&wat::parse_str(RANKER).unwrap(), MANIFEST).unwrap()
}

async fn admit(mode: &str, folder: &Path) -> Result<Admitted, Error> {
    compiler(mode).admit(&ranker(), &folder.join("out")).await
}

#[track_caller]
fn is_refused(admitted: Result<Admitted, Error>, rule: Rule, said: &str) {
    match admitted {
        Err(Error::Refused(refused)) => {
            assert!(refused.rule == rule && refused.message.contains(said), "{refused:?}");
            assert!(!refused.help.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn is_fault(admitted: Result<Admitted, Error>) {
    assert!(matches!(admitted, Err(Error::Fault(_))), "{admitted:?}");
}

async fn admits(folder: &Path) {
    let out = folder.join("own.cwasm");
    let admitted = compiler("admit-component").admit(&ranker(), &out).await.unwrap();
    assert_eq!(admitted.inspected, funnelweb_admission::inspect(&ranker()).unwrap());
    let code = fs::read(&out).unwrap();
    assert_eq!(code.len() as u64, admitted.machine_code_bytes);
    assert!(code.starts_with(b"\x7fELF") && admitted.compile_ms < 60_000);
    // Machine code is never taken, our own neither.
    is_refused(compiler("admit-component").admit(&code, &out).await, Rule::Compiled, "machine code");
    assert_eq!(fs::read(&out).unwrap(), code);
    fs::remove_file(out).unwrap();
}

async fn refuses(folder: &Path) {
    let out = folder.join("out");
    let compiler = compiler("admit-component");
    is_refused(compiler.admit(b"", &out).await, Rule::Size, "empty");
    is_refused(compiler.admit(b"hello", &out).await, Rule::Wasm, "not WebAssembly");
    let without = wat::parse_str(RANKER).unwrap();
    is_refused(compiler.admit(&without, &out).await, Rule::Manifest, "no custom section");
    // Valid, and more than the compiler can do for one of it.
    let locals = "(local i64 i64 i64 i64 i64 i64 i64 i64)".repeat(6000);
    let large = RANKER.replace("(func (export", &format!("(func {locals}) (func (export"));
    let large = Manifest::embed(&wat::parse_str(large).unwrap(), MANIFEST).unwrap();
    if let Err(error) = compiler.admit(&large, &out).await {
        is_refused(Err(error), Rule::Compile, "cannot be compiled");
    } else {
        fs::remove_file(out).unwrap();
    }
}

async fn bounds(folder: &Path) {
    // It says that its arguments are wrong, and then that its limits are right.
    is_fault(admit("within-limits", folder).await);
    let begin = Instant::now();
    let refused = admit("takes-memory", folder).await;
    let mib = limits::COMPONENT_COMPILE_BYTES >> 20;
    is_refused(refused, Rule::Compile, &format!("more than {mib} MiB of memory"));
    assert!(begin.elapsed() < limits::COMPONENT_COMPILE_TIMEOUT);
}

async fn faults(folder: &Path) {
    is_fault(Compiler::new("/no/such/program", ["admit-component"]).admit(&ranker(), &folder.join("out")).await);
    is_fault(admit("says-nothing", folder).await);
    let nowhere = folder.join("nowhere");
    is_fault(compiler("admit-component").admit(&ranker(), &nowhere.join("out")).await);
    is_refused(admit("panics", folder).await, Rule::Compile, "compiler fails");
    is_refused(admit("crashes", folder).await, Rule::Compile, "signal 9");
}

async fn ends(folder: &Path) {
    let begin = Instant::now();
    let refused =
        compiler("sleep").with_timeout(Duration::from_millis(300)).admit(&ranker(), &folder.join("slow")).await;
    is_refused(refused, Rule::Compile, "more than 0.3 s");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

/// What nobody waits for any more is ended, and its files are gone.
async fn is_ended_with_its_caller(folder: &Path) {
    let out = folder.join("dropped");
    let compiler = compiler("sleep");
    let ranker = ranker();
    let admitted = compiler.admit(&ranker, &out);
    assert!(tokio::time::timeout(Duration::from_millis(300), admitted).await.is_err());
    let left = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with("dropped");
    assert!(!fs::read_dir(folder).unwrap().any(|entry| left(entry.unwrap())));
}
