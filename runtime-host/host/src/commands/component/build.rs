//! `funnelweb component build`: the project's own command, and its manifest in what that
//! made.

use std::{fs, path::Path, process::Command as Process};

use anyhow::{Context as _, bail};
use funnelweb_admission::{Manifest, inspect};
use funnelweb_core::limits;

use super::{
    super::folder,
    project::{Project, refused},
    upload::SETTING,
};

/// Builds the project in a folder.
pub(super) fn build(path: &Path) -> anyhow::Result<()> {
    let project = Project::load(path)?;
    let Some(build) = &project.manifest.build else {
        bail!("component.json: `build` is missing: `{{\"command\": …, \"output\": …}}`");
    };
    println!("{}", build.command);
    let status = Process::new("sh").arg("-c").arg(&build.command).current_dir(folder(path)).status()?;
    if !status.success() {
        bail!("`{}` failed: {status}", build.command);
    }
    let output = project.folder.join(&build.output);
    let made = fs::read(&output).with_context(|| format!("reading {}, what it is to make", output.display()))?;
    let component = embed(&made, &project.manifest)?;
    fs::write(project.path(), &component).with_context(|| format!("writing {}", project.path().display()))?;
    println!("{}", said(&project.path(), component.len()));
    // A server would say so later.
    inspect(&component).map_err(refused)?;
    Ok(())
}

/// The component with its manifest, but for how it is built.
fn embed(wasm: &[u8], manifest: &Manifest) -> anyhow::Result<Vec<u8>> {
    let manifest = Manifest { build: None, ..manifest.clone() };
    Manifest::embed(wasm, &serde_json::to_string(&manifest)?).map_err(refused)
}

/// How large it is, and the limit where it is over that.
fn said(path: &Path, bytes: usize) -> String {
    let size = format!("{}: {bytes} bytes", path.display());
    if bytes <= limits::COMPONENT_BYTES {
        return size;
    }
    format!(
        "{size}, more than the {} that a server takes unless its operator allows more, by {SETTING}",
        limits::COMPONENT_BYTES
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component of nothing.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn project(build: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("made.bin"), EMPTY).unwrap();
        let manifest = format!(r#"{{"name": "boost", "version": "1.0.0", "world": "rerank"{build}}}"#);
        fs::write(folder.path().join("component.json"), manifest).unwrap();
        folder
    }

    #[test]
    fn what_the_command_makes_has_the_manifest_inside() {
        let folder = project(r#", "build": {"command": "mkdir -p out && cp made.bin out/", "output": "out/made.bin"}"#);
        // It exports nothing: what a server would say of it is said here.
        let fault = build(folder.path()).unwrap_err().to_string();
        assert!(fault.starts_with("exports: ") && fault.contains("\n  help: "), "{fault}");
        let component = fs::read(folder.path().join("boost.wasm")).unwrap();
        let manifest = Manifest::read(&component).unwrap();
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("boost", "1.0.0"));
        assert_eq!(manifest.build, None);
    }

    #[test]
    fn what_fails_is_named() {
        let fault = |manifest: &str| format!("{:#}", build(project(manifest).path()).unwrap_err());
        assert!(fault("").contains("`build` is missing"));
        assert!(fault(r#", "build": {"command": "exit 3", "output": "x"}"#).contains("`exit 3` failed"));
        assert!(fault(r#", "build": {"command": "true", "output": "x.wasm"}"#).contains("x.wasm"));
    }

    #[test]
    fn one_that_is_large_is_said_to_be() {
        let said = |bytes| said("boost.wasm".as_ref(), bytes);
        assert_eq!(said(limits::COMPONENT_BYTES), format!("boost.wasm: {} bytes", limits::COMPONENT_BYTES));
        assert!(said(limits::COMPONENT_BYTES + 1).contains(&format!("more than the {}", limits::COMPONENT_BYTES)));
    }
}
