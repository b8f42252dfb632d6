//! Why nothing was exported.

use std::path::{Path, PathBuf};

use funnelweb_tenant_store::Error as StoreError;
use parquet::errors::ParquetError;

use crate::report::Report;

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is not what it may be.
    #[error("{name}: {rule}")]
    Option {
        /// Which one.
        name: &'static str,
        /// What it must be.
        rule: String,
    },
    /// The file is there.
    #[error("{}: the file exists; --force replaces it", .0.display())]
    Exists(PathBuf),
    /// Nothing is logged.
    #[error(
        "no slate of the scenario `{0}` is logged: have it recommend to users, \
         with `exposure.log_share` above 0 in its config, and export a second later"
    )]
    NoExposures(String),
    /// Slates are logged, and nothing of them is exported.
    #[error("of {} items that were shown none is left: {}", .0.items, .0.left_out)]
    NothingLeft(Box<Report>),
    /// A store refused or failed.
    #[error("reading {what}: {error}")]
    Store {
        /// What was being read.
        what: &'static str,
        /// What the store says.
        error: StoreError,
    },
    /// The file cannot be written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        error: std::io::Error,
    },
    /// Nor can what is written to it.
    #[error("{}: {error}", path.display())]
    Parquet {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        error: ParquetError,
    },
}

/// What a work gives.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn option(name: &'static str, rule: impl Into<String>) -> Self {
        Self::Option { name, rule: rule.into() }
    }

    pub(crate) fn store(what: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |error| Self::Store { what, error }
    }

    pub(crate) fn file(path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |error| Self::File { path: path.to_owned(), error }
    }

    pub(crate) fn parquet(path: &Path) -> impl Fn(ParquetError) -> Self {
        move |error| Self::Parquet { path: path.to_owned(), error }
    }
}
