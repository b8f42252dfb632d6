//! The commands of this repository: `cargo xtask <command>`.
//!
//! `up` gets from a fresh checkout to a server that answers; `test` is
//! everything CI runs. See [`USAGE`] for the rest. What a command needs and the
//! machine lacks, it sets up first: see [`setup`].

#![allow(clippy::print_stdout, reason = "a command-line tool")]

mod build;
mod debian;
mod flink;
mod kafka;
mod models;
mod redis_servers;
mod server;
mod setup;
mod shell;
mod templates;
mod test;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};

/// What `cargo xtask` without arguments prints.
const USAGE: &str = "\
usage: cargo xtask <command>

  setup [--without-rustup]  make sure of what building in C takes, and of the wasm32-wasip2 target
  redis-servers             make sure of redis-server and valkey-server, for the tests
  kafka                     make sure of Java, Maven and a Kafka broker, for the tests
  build                     set up, then build the components and the host
  up [arguments]            build, load the demo, serve; arguments go to `funnelweb up`
  test [--only <step>]      everything CI runs, or one step of it
  templates [--fast]        build and test a project of each template, and have a server run it;
                            components and host must be built
  bench [arguments]         build, then run the benches; arguments go to `cargo bench`
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    let words: Vec<_> = rest.iter().map(|argument| argument.to_string_lossy()).collect();
    let words: Vec<_> = words.iter().map(|word| &**word).collect();
    let root = root()?;
    match (&*command.to_string_lossy(), words.as_slice()) {
        ("setup", []) => setup::setup(&root, setup::Rustup::First),
        ("setup", ["--without-rustup"]) => setup::setup(&root, setup::Rustup::Never),
        ("redis-servers", []) => redis_servers::setup(&root),
        ("kafka", []) => kafka::setup(&root),
        ("build", []) => build::all(&root),
        ("up", _) => build::all(&root).and_then(|()| build::up(&root, &rest)),
        ("templates", []) => templates::test(&root, templates::Extent::All),
        ("templates", ["--fast"]) => templates::test(&root, templates::Extent::Fast),
        ("test", []) => test::all(&root),
        ("test", ["--only", step]) => test::only(&root, step),
        ("bench", _) => build::all(&root).and_then(|()| build::bench(&root, &rest)),
        ("" | "help" | "--help" | "-h", _) => {
            println!("{USAGE}\nsteps of test: {}", test::names().join(", "));
            Ok(())
        }
        (command, _) => bail!("`{command} {}` is not understood\n\n{USAGE}", words.join(" ")),
    }
}

/// The folder of the workspace.
fn root() -> Result<PathBuf> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
    let root = PathBuf::from(here).ancestors().nth(2).map(PathBuf::from);
    root.context("xtask does not stand in runtime-host/xtask")
}
