//! How far an import is, kept beside its source until it is done.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{Batch, Error, Result, source::Position};

/// Where an import stands: the content of the state file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Of the source and of what is done with it; a state with another is of
    /// another import.
    pub(crate) fingerprint: String,
    pub(crate) offset: u64,
    pub(crate) line: u64,
    pub(crate) rows: u64,
    pub(crate) batch: Batch,
}

impl State {
    /// Nothing is imported yet.
    pub(crate) fn new(fingerprint: String) -> Self {
        Self { fingerprint, offset: 0, line: 0, rows: 0, batch: Batch::default() }
    }

    /// What became of the lines so far.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Lines of the source that were read.
    #[must_use]
    pub fn lines_read(&self) -> u64 {
        self.line
    }

    /// Where the state of an import of `source` is kept: beside it, or in a folder
    /// of one's choice.
    pub(crate) fn path(source: &Path, folder: Option<&Path>, purpose: &str) -> PathBuf {
        let name = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = folder.or_else(|| source.parent()).unwrap_or(Path::new(""));
        folder.join(format!(".{name}.{purpose}.funnelweb-import"))
    }

    /// The state that a run that was cut off left. A file that cannot be read as a
    /// state counts as none: the worst that follows is that lines are sent again.
    pub(crate) fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Writes the state in one piece: to a new file that then takes the old one's
    /// place.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let fresh = path.with_extension("funnelweb-import.new");
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&fresh)?;
            serde_json::to_writer(&file, self)?;
            file.flush()?;
            std::fs::rename(&fresh, path)
        };
        write().map_err(|source| Error::State { path: path.to_owned(), source })
    }

    /// Removes the state: there is nothing left to take up.
    ///
    /// # Errors
    /// When that fails for another reason than that there is none.
    pub(crate) fn remove(path: &Path) -> Result<()> {
        match std::fs::remove_file(path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::State { path: path.to_owned(), source })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn position(&self) -> Position {
        Position { offset: self.offset, line: self.line }
    }
}
