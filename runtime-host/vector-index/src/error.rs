//! Why an index did not do what it was asked.

use std::path::{Path, PathBuf};

/// Why an index did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The dimension of an index is out of bounds.
    #[error("dimension must be 1 to {most}, got {got}", most = crate::limits::MAX_DIMENSION)]
    Dimension {
        /// What was asked for.
        got: usize,
    },
    /// A vector cannot be kept or compared.
    #[error("vector: {0}")]
    Vector(#[from] VectorError),
    /// One of several changes has a vector that cannot be kept; none was applied.
    #[error("vector of {handle:#018x}: {error}")]
    Change {
        /// Whose vector.
        handle: u64,
        /// What is wrong with it.
        error: VectorError,
    },
    /// More changes in one call than are taken.
    #[error("at most {most} changes at once, got {got}", most = crate::limits::MAX_CHANGES)]
    Changes {
        /// How many there were.
        got: usize,
    },
    /// A number of hits that is not given.
    #[error("k must be 1 to {most}, got {got}", most = crate::limits::MAX_K)]
    K {
        /// What was asked for.
        got: usize,
    },
    /// The index has as many vectors as it can have.
    #[error("an index has at most {most} vectors", most = crate::limits::MAX_VECTORS)]
    Full,
    /// A file cannot be read or written. After a failed write the folder has to be
    /// opened again: what of it has reached the disk is not known.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        error: std::io::Error,
    },
    /// A file is not what was written: build the index again from where its vectors
    /// come from.
    #[error("{}: damaged: {what}", path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file is of another version of the format, dimension or metric: build the
    /// index again from where its vectors come from.
    #[error("{}: has {what} {got}, expected {expected}", path.display())]
    Mismatch {
        /// Which one.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// As it is in the file.
        got: u64,
        /// As it should be.
        expected: u64,
    },
    /// An earlier write failed, see [`Error::File`].
    #[error("{}: an earlier write failed; open it again", path.display())]
    Broken {
        /// The folder.
        path: PathBuf,
    },
}

/// What is wrong with a vector.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum VectorError {
    /// It is of another dimension than the index.
    #[error("has {got} numbers, expected {expected}")]
    Dimension {
        /// That of the index.
        expected: usize,
        /// That of the vector.
        got: usize,
    },
    /// A number is NaN or infinite.
    #[error("number {position} is not finite")]
    NotFinite {
        /// Which one, from 0.
        position: usize,
    },
    /// All numbers are zero.
    #[error("is zero")]
    Zero,
    /// It is so short or long that products with it vanish or overflow.
    #[error("has length {length:e}, expected {least:e} to {most:e}",
        least = crate::limits::MIN_LENGTH, most = crate::limits::MAX_LENGTH)]
    Length {
        /// Its Euclidean length.
        length: f64,
    },
}

/// What a work gives.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn file(path: &Path) -> impl Fn(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::File { path: path.clone(), error }
    }

    pub(crate) fn damaged(path: &Path, what: &'static str) -> Self {
        Self::Damaged { path: path.to_owned(), what }
    }
}
