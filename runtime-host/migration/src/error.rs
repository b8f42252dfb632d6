//! Why something was not moved or kept.

use std::path::{Path, PathBuf};

use funnelweb_tenant_store::Error as StoreError;

use crate::format::Kind;

/// Why something was not moved or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        error: std::io::Error,
    },
    /// A line of an export is not what was written.
    #[error("{}: line {line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// A store refused or failed.
    #[error("{doing}: {error}")]
    Store {
        /// What was being done.
        doing: String,
        /// What the store says.
        error: StoreError,
    },
    /// The tenant has something already.
    #[error(
        "tenant {tenant} has {kind} already; an import that failed is taken up with --resume, \
         for anything else choose another --tenant"
    )]
    NotEmpty {
        /// The tenant.
        tenant: String,
        /// What it has.
        kind: Kind,
    },
    /// A folder is not what is needed.
    #[error("{}: {message}", path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// What a work gives.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn store(doing: impl Into<String>) -> impl FnOnce(StoreError) -> Self {
        let doing = doing.into();
        move |error| Self::Store { doing, error }
    }

    pub(crate) fn file(path: &Path) -> impl Fn(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::File { path: path.clone(), error }
    }

    pub(crate) fn folder(path: &Path, message: impl Into<String>) -> Self {
        Self::Folder { path: path.to_owned(), message: message.into() }
    }
}
