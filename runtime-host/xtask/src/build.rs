//! Building what `spin.toml` lists and the host that serves it.

use std::{ffi::OsString, os::unix::process::CommandExt, path::Path};

use anyhow::{Context, Result, bail};
use funnelweb_manifest::Manifest;

use crate::{
    setup::{self, TARGET},
    shell::{cargo, run},
};

/// The tools, the components, the host.
pub fn all(root: &Path) -> Result<()> {
    setup::setup(root, setup::Rustup::First)?;
    components(root)?;
    host(root)
}

/// Every component of `spin.toml`, by one cargo, which shares what they have in
/// common; `funnelweb build` runs their build commands one by one.
pub fn components(root: &Path) -> Result<()> {
    let manifest = Manifest::load(root.join("spin.toml"))?;
    let mut command = cargo(root);
    command.args(["build", "--profile", "guest", "--target", TARGET]);
    for id in manifest.components.keys() {
        command.args(["--package", id]);
    }
    run(&mut command)?;
    if let Some(component) = manifest.components.values().find(|component| !component.source.is_file()) {
        bail!("component `{}` was built, but not to {}", component.id, component.source.display());
    }
    Ok(())
}

/// The components of the end-to-end suites. Not in one build with the product's:
/// a dependency would get the features that both ask for.
pub fn test_guests(root: &Path) -> Result<()> {
    let mut command = cargo(root);
    command.args(["build", "--profile", "guest", "--target", TARGET]);
    let folder = root.join("tests/guests");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            command.arg("--package").arg(entry.file_name());
        }
    }
    run(&mut command)
}

/// The `funnelweb` binary and what it needs, with the features that the tests build it with:
/// by its package alone, the engine would be compiled once more.
pub fn host(root: &Path) -> Result<()> {
    run(cargo(root).args(["build", "--release", "--workspace", "--bin", "funnelweb"]))
}

/// Becomes the server, so that its signals are its own.
pub fn up(root: &Path, arguments: &[OsString]) -> Result<()> {
    let mut command = std::process::Command::new(root.join("target/release/funnelweb"));
    command.current_dir(root).args(["up", "--demo", "--data-dir", "data"]).args(arguments);
    Err(command.exec()).context("cannot start target/release/funnelweb")
}

/// The benches, which need components and host to be built: all, or those that the
/// arguments name.
pub fn bench(root: &Path, arguments: &[OsString]) -> Result<()> {
    let named = arguments.iter().any(|argument| argument == "--bench");
    let all: &[&str] = if named { &[] } else { &["--bench", "sandbox", "--bench", "load"] };
    // Features as the tests have them: others would build the engine anew.
    run(cargo(root).args(["bench", "--workspace"]).args(all).args(arguments))
}
