//! Why something cannot be split, measured or read.

use crate::limits;

/// Why something cannot be split, measured or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is outside its range.
    #[error("{name} must be {range}, not {found}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it may be.
        range: String,
        /// What it is.
        found: String,
    },
    /// There is nothing to learn from.
    #[error("no behaviour is left to learn from: {0}")]
    NoTraining(String),
    /// Nobody is asked for.
    #[error("no test user: {0}")]
    NoUsers(String),
    /// A recommender has not answered for every user who was asked for.
    #[error("`{name}` has {found} slates for {expected} users")]
    Slates {
        /// The recommender.
        name: String,
        /// Its slates.
        found: usize,
        /// The users.
        expected: usize,
    },
    /// Columns of one bootstrap differ in length.
    #[error("column {at} has {found} values, not {expected}")]
    Column {
        /// Which.
        at: usize,
        /// Its length.
        found: usize,
        /// That of the first.
        expected: usize,
    },
    /// More recommenders than a report holds.
    #[error("a report compares at most {limit} recommenders, not {0}", limit = limits::RUNS)]
    Runs(usize),
    /// A file cannot be read.
    #[error(transparent)]
    Import(#[from] funnelweb_import::Error),
    /// A line of a file is no behaviour.
    #[error("{file}, line {line}: {message}")]
    Line {
        /// The file.
        file: String,
        /// The line in it, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
}

/// What a call of this crate comes to.
pub type Result<T, E = Error> = std::result::Result<T, E>;

pub(crate) fn setting<T>(name: &'static str, range: impl Into<String>, found: impl ToString) -> Result<T> {
    Err(Error::Setting { name, range: range.into(), found: found.to_string() })
}
