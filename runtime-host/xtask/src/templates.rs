//! The templates that `funnelweb component new` begins projects from, in
//! `runtime-host/templates`: each is made a project under `target/templates`, built by its
//! own command, tested in its own language, and tried on its samples by
//! `funnelweb component test`.
//!
//! What a project's tools fetch stays in its folder, so that it is fetched once; those in
//! Rust share a folder of what was compiled, and what this workspace is locked to.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    setup::install,
    shell::{capture, exists, run},
};

/// What is said instead of the templates' placeholders.
const TENANT: &str = "acme";
/// Names in a project's folder that its tools made, and need again.
const KEPT: [&str; 4] = ["target", "Cargo.lock", "node_modules", ".venv"];
/// The folders of the WIT packages that a project is given, and where they lie in its own.
const PACKAGES: [(&str, &str); 3] = [("tenant", ""), ("pipeline", "deps/pipeline"), ("stream", "deps/stream")];

/// A language, and how its projects test their logic.
struct Language {
    name: &'static str,
    tests: &'static str,
}

const LANGUAGES: [Language; 3] = [
    Language {
        name: "rust",
        tests: "cargo fmt --check && cargo clippy --release --all-targets --target-dir target -- --deny warnings \
                && cargo test --release --target-dir target",
    },
    Language { name: "javascript", tests: "npm test" },
    Language { name: "python", tests: "python3 -m unittest discover -s tests" },
];

/// Tests all of them; the host must be built.
pub fn test(root: &Path) -> Result<()> {
    if !exists("npm") {
        install("Node.js", &["nodejs", "npm"])?;
    }
    if capture(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_err() {
        install("Python", &["python3", "python3-venv"])?;
    }
    for language in &LANGUAGES {
        let worlds = entries(&root.join("runtime-host/templates").join(language.name))?;
        ensure!(!worlds.is_empty(), "there is no template in {}", language.name);
        for world in worlds.iter().filter_map(|template| template.file_name()?.to_str()) {
            let what = format!("{}/{world}", language.name);
            println!("==> template {what}");
            test_one(root, language, world).with_context(|| format!("template {what}"))?;
        }
    }
    Ok(())
}

fn test_one(root: &Path, language: &Language, world: &str) -> Result<()> {
    let name = format!("{}-{world}", language.name);
    let project = root.join("target/templates").join(&name);
    make(root, language, world, &project)?;
    shell(&project, language.tests)?;
    let manifest: Value = serde_json::from_slice(&fs::read(project.join("component.json"))?)?;
    let says = |path: &str| {
        let text = manifest.pointer(path).and_then(Value::as_str);
        text.with_context(|| format!("component.json does not say {path}"))
    };
    ensure!(says("/name")? == name && says("/world")? == world, "component.json is of another component");
    shell(&project, says("/build/command")?)?;
    let output = project.join(says("/build/output")?);
    ensure!(output.is_file(), "the build made no {}", output.display());
    run(Command::new(root.join("target/release/funnelweb")).args(["component", "test"]).arg(&project))
}

/// Makes a project of a template: its files with their placeholders filled in, and the
/// WIT packages.
fn make(root: &Path, language: &Language, world: &str, project: &Path) -> Result<()> {
    fs::create_dir_all(project)?;
    for entry in entries(project)? {
        let kept = KEPT.iter().any(|kept| entry.ends_with(kept));
        match (kept, entry.is_dir()) {
            (true, _) => {}
            (false, true) => fs::remove_dir_all(&entry)?,
            (false, false) => fs::remove_file(&entry)?,
        }
    }
    let name = format!("{}-{world}", language.name);
    let fill = |text: &str| text.replace("{{name}}", &name).replace("{{tenant}}", TENANT);
    copy(&root.join("runtime-host/templates").join(language.name).join(world), project, &fill)?;
    for (package, to) in PACKAGES {
        copy(&root.join("wit").join(package), &project.join("wit").join(to), &str::to_owned)?;
    }
    if language.name == "rust" {
        fs::copy(root.join("Cargo.lock"), project.join("Cargo.lock"))?;
        share(&root.join("target/templates/cargo"), &project.join("target"))?;
    }
    Ok(())
}

/// Copies a folder of texts.
fn copy(from: &Path, to: &Path, fill: &dyn Fn(&str) -> String) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in entries(from)? {
        let to = to.join(entry.file_name().unwrap_or_default());
        if entry.is_dir() {
            copy(&entry, &to, fill)?;
            continue;
        }
        let text = fs::read_to_string(&entry).with_context(|| format!("cannot read {}", entry.display()))?;
        let text = fill(&text);
        if let Some((before, _)) = text.split_once("{{") {
            bail!("{}:{}: a placeholder that is not known", entry.display(), before.lines().count().max(1));
        }
        fs::write(&to, text)?;
    }
    Ok(())
}

/// Has `link` lead to `folder`.
fn share(folder: &Path, link: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    match std::os::unix::fs::symlink(folder, link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

fn shell(project: &Path, command: &str) -> Result<()> {
    run(Command::new("sh").args(["-c", command]).current_dir(project))
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut entries = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}
