//! The templates that `funnelweb component new` begins projects from, in
//! `runtime-host/templates`: of each a project is begun under `target/templates`, tested in
//! its own language, built, and tried on its samples by `funnelweb component test`, under
//! the limits of production; then they run in a server ([`served`]).
//!
//! What a project's tools fetch and compile stays in its folder, so that it is there the
//! next time; projects of a language have it together, where the tools let them.

mod served;

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use self::served::Built;
use crate::{
    setup::install,
    shell::{capture, exists, run},
};

/// Whose components they are.
const TENANT: &str = "acme";
/// Of which `--fast` tests the logic alone: CPython is compiled for half a minute each time.
const SLOW: [(&str, &str); 2] = [("python", "rank"), ("python", "recall")];
/// Languages of which `--fast` has a server run this world alone: it takes seconds to compile
/// one in JavaScript, and some ten in Python. In Rust it runs one of each world.
const SAMPLED: ([&str; 2], &str) = (["javascript", "python"], "rerank");
/// What an operator allows, who wants to have components in Python: the READMEs say so.
const UPLOAD_BYTES: u32 = 20_000_000;

/// How much is done.
#[derive(Clone, Copy, PartialEq)]
pub enum Extent {
    /// All of all templates.
    All,
    /// Less of those that take long.
    Fast,
}

/// A language, and how its projects are tested.
struct Language {
    name: &'static str,
    /// What its tools make in a project, and need again.
    made: &'static str,
    /// Whether projects may have that together.
    is_shared: bool,
    /// Tests the logic.
    tests: &'static str,
    /// Whether what is built is larger than a server takes whose operator says nothing.
    is_large: bool,
}

const LANGUAGES: [Language; 3] = [
    Language {
        name: "rust",
        made: "target",
        is_shared: true,
        tests: "cargo fmt --check && cargo clippy --release --all-targets --target-dir target -- --deny warnings \
                && cargo test --release --target-dir target",
        is_large: false,
    },
    Language {
        name: "javascript",
        made: "node_modules",
        // npm replaces a link by a folder.
        is_shared: false,
        tests: "npm test",
        is_large: false,
    },
    Language {
        name: "python",
        made: ".venv",
        is_shared: true,
        tests: "python3 -m unittest discover -s tests",
        is_large: true,
    },
];

/// Tests them; components and host must be built.
pub fn test(root: &Path, extent: Extent) -> Result<()> {
    if !exists("npm") {
        install("Node.js", &["nodejs", "npm"])?;
    }
    if capture(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_err() {
        install("Python", &["python3", "python3-venv"])?;
    }
    let mut served = Vec::new();
    for language in &LANGUAGES {
        let templates = entries(&root.join("runtime-host/templates").join(language.name))?;
        ensure!(!templates.is_empty(), "there is no template in {}", language.name);
        let mut first: Option<PathBuf> = None;
        for world in templates.iter().filter_map(|template| template.file_name()?.to_str()) {
            println!("==> template {}/{world}", language.name);
            let is_built = extent == Extent::All || !SLOW.contains(&(language.name, world));
            let tested = begin(root, language, world, first.as_deref()).and_then(|project| {
                test_one(root, language, &project, is_built)?;
                Ok(project)
            });
            let project = tested.with_context(|| format!("template {}/{world}", language.name))?;
            let is_served = extent == Extent::All || !SAMPLED.0.contains(&language.name) || world == SAMPLED.1;
            if is_built && is_served {
                served.push(Built { folder: project.clone(), name: named(language, world), world: world.to_owned() });
            }
            first.get_or_insert(project);
        }
    }
    served::test(root, UPLOAD_BYTES, &served)
}

/// What the project of a template is called.
fn named(language: &Language, world: &str) -> String {
    format!("{}-{world}", language.name)
}

/// Begins a project anew, but for what its tools made before; returns its folder. `first` is
/// that of the language's first.
fn begin(root: &Path, language: &Language, world: &str, first: Option<&Path>) -> Result<PathBuf> {
    let projects = root.join("target/templates");
    let name = named(language, world);
    let (project, begun) = (projects.join(&name), projects.join("begun"));
    if begun.exists() {
        fs::remove_dir_all(&begun)?;
    }
    for folder in [&begun, &project] {
        fs::create_dir_all(folder)?;
    }
    for entry in entries(&project)?.iter().filter(|entry| !entry.ends_with(language.made)) {
        if entry.is_dir() { fs::remove_dir_all(entry)? } else { fs::remove_file(entry)? }
    }
    let new = ["component", "new", &name, "--lang", language.name, "--world", world, "--tenant", TENANT];
    run(within(&begun, funnelweb(root)).args(new))?;
    for entry in entries(&begun.join(&name))? {
        fs::rename(&entry, project.join(entry.file_name().unwrap_or_default()))?;
    }
    if language.name == "rust" {
        // What this workspace is locked to.
        fs::copy(root.join("Cargo.lock"), project.join("Cargo.lock"))?;
    }
    if let Some(first) = first.filter(|_| language.is_shared) {
        // Crates of all are called the same there; that the sources are new tells them apart.
        share(&first.join(language.made), &project.join(language.made))?;
    }
    Ok(project)
}

/// Tests the logic of a project, and the component.
fn test_one(root: &Path, language: &Language, project: &Path, is_built: bool) -> Result<()> {
    run(within(project, "sh").args(["-c", language.tests]))?;
    if !is_built {
        return Ok(());
    }
    run(within(project, funnelweb(root)).args(["component", "build"]))?;
    let mut test = within(project, funnelweb(root));
    test.args(["component", "test"]);
    if language.is_large {
        test.args(["--upload-bytes", &UPLOAD_BYTES.to_string()]);
    }
    run(&mut test)
}

fn funnelweb(root: &Path) -> PathBuf {
    root.join("target/release/funnelweb")
}

/// A program in a folder, as it runs outside of this repository, whose flags for components
/// cargo would find otherwise.
fn within(folder: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("CARGO_ENCODED_RUSTFLAGS", "");
    command
}

/// Has `link` lead to `folder`.
fn share(folder: &Path, link: &Path) -> Result<()> {
    match std::os::unix::fs::symlink(folder, link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut entries = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}
