//! The project of a component: a folder with its manifest, `component.json`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use funnelweb_admission::{Manifest, Refused};

/// A project.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) folder: PathBuf,
    pub(super) manifest: Manifest,
}

impl Project {
    /// Reads the project in a folder.
    pub(super) fn load(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("component.json");
        let text = fs::read_to_string(&path)
            .with_context(|| format!("reading {}: a component's project has a manifest", path.display()))?;
        let manifest = Manifest::parse(&text).map_err(refused).with_context(|| path.display().to_string())?;
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// Where what was built is, with its manifest inside.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(&self.manifest.name).with_added_extension("wasm")
    }

    /// What was built.
    pub(super) fn component(&self) -> anyhow::Result<Vec<u8>> {
        let path = self.path();
        if !path.is_file() {
            bail!("{} is not there: build it with `funnelweb component build`", path.display());
        }
        fs::read(&path).with_context(|| format!("reading {}", path.display()))
    }
}

/// What breaks a rule, and how to mend it.
pub(super) fn refused(refused: Refused) -> anyhow::Error {
    anyhow!("{refused}\n  help: {}", refused.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_where_its_manifest_is() {
        let folder = tempfile::tempdir().unwrap();
        let fault = |folder: &Path| format!("{:#}", Project::load(folder).unwrap_err());
        assert!(fault(folder.path()).contains("component.json"));
        let manifest = folder.path().join("component.json");
        fs::write(&manifest, r#"{"name": "boost", "version": "1.0.0", "world": "rerank"}"#).unwrap();
        let project = Project::load(folder.path()).unwrap();
        assert_eq!(project.path(), folder.path().join("boost.wasm"));
        assert!(project.component().unwrap_err().to_string().contains("funnelweb component build"));
        fs::write(project.path(), b"wasm").unwrap();
        assert_eq!(project.component().unwrap(), b"wasm");
        fs::write(&manifest, r#"{"name": "boost", "version": "1.0.0", "world": "reranker"}"#).unwrap();
        let fault = fault(folder.path());
        assert!(fault.contains("manifest: ") && fault.contains("\n  help: "), "{fault}");
    }
}
