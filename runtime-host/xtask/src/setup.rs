//! What a machine needs beside Rust: a C compiler, for SQLite; Make and Perl, for
//! Kafka's client and its TLS; and the standard library of the target that components
//! are built for.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    debian,
    shell::{capture, exists, run, rustc},
};

/// What components are built for.
pub const TARGET: &str = "wasm32-wasip2";

/// Whether rustup is asked for the target.
#[derive(Clone, Copy, PartialEq)]
pub enum Rustup {
    /// Yes, and if it cannot help the standard library is built here.
    First,
    /// No; for machines on which it cannot download and takes long to say so.
    Never,
}

/// Makes sure of everything; says nothing when everything is there.
pub fn setup(root: &Path, rustup: Rustup) -> Result<()> {
    build_tools()?;
    target(root, rustup)
}

fn build_tools() -> Result<()> {
    if !exists("cc") {
        install("a C compiler", &["gcc", "libc6-dev"])?;
    }
    if !exists("make") {
        install("Make", &["make"])?;
    }
    // What a small Debian has is Perl without its modules.
    if capture(Command::new("perl").args(["-MFindBin", "-MIPC::Cmd", "-MPod::Usage", "-e", "1"])).is_err() {
        install("Perl", &["perl"])?;
    }
    Ok(())
}

/// Installs packages of Debian, where that may be done.
pub fn install(what: &str, packages: &[&str]) -> Result<()> {
    let by_hand = format!("{what} is needed; on Debian: apt-get install {}", packages.join(" "));
    let is_root = capture(Command::new("id").arg("-u")).is_ok_and(|id| id == "0");
    if !is_root || !exists("apt-get") {
        bail!(by_hand);
    }
    println!("==> installing {what}: {}", packages.join(" "));
    run(Command::new("apt-get").arg("update"))
        .and_then(|()| {
            run(Command::new("apt-get").args(["install", "--yes", "--no-install-recommends"]).args(packages))
        })
        .context(by_hand)
}

/// Tries, in this order: it is there; rustup adds it; it is built from Debian's
/// copy of the standard library's source.
fn target(root: &Path, rustup: Rustup) -> Result<()> {
    let work = root.join("target/setup");
    if compiles(&work).is_ok() {
        return Ok(());
    }
    if rustup == Rustup::First && exists("rustup") {
        println!("==> adding the target {TARGET} with rustup");
        match run(Command::new("rustup").args(["target", "add", TARGET])) {
            Ok(()) if compiles(&work).is_ok() => return Ok(()),
            Ok(()) => println!("rustup has added {TARGET}, but not to the compiler in use"),
            Err(error) => println!("{error:#}"),
        }
    }
    debian::build_target(&work).with_context(|| {
        format!(
            "the target {TARGET} is missing and could not be built here; where rustup can download, \
             `rustup target add {TARGET}` is all it takes"
        )
    })?;
    compiles(&work).with_context(|| format!("the target {TARGET} was built, but does not work"))?;
    // Cargo tells a standard library by the compiler's version only, so it would
    // link what was built against another one of that version, and fail.
    let stale = root.join("target").join(TARGET);
    if stale.exists() {
        fs::remove_dir_all(&stale).with_context(|| format!("cannot remove {}", stale.display()))?;
    }
    println!("==> the target {TARGET} works");
    Ok(())
}

/// Whether a program can be compiled and linked for the target.
fn compiles(work: &Path) -> Result<()> {
    fs::create_dir_all(work)?;
    let (source, output) = (work.join("check.rs"), work.join("check.wasm"));
    fs::write(&source, "fn main() { println!(\"{:?}\", std::time::SystemTime::now()); }\n")?;
    let compile = capture(rustc().arg(&source).args(["--edition", "2024", "--target", TARGET, "-o"]).arg(&output));
    compile.map(|_| ())
}
