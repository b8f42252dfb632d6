//! Why something cannot be learned or computed.

/// Why something cannot be learned or computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An interaction's row or column lies outside the matrix.
    #[error("interaction ({row}, {column}) lies outside a matrix of {rows} rows and {columns} columns")]
    Outside {
        /// The row that was named.
        row: u32,
        /// The column that was named.
        column: u32,
        /// Rows of the matrix.
        rows: u32,
        /// Columns of the matrix.
        columns: u32,
    },
    /// An interaction's weight is NaN or infinite.
    #[error("the weight of interaction ({row}, {column}) is not finite")]
    Weight {
        /// Its row.
        row: u32,
        /// Its column.
        column: u32,
    },
    /// A value of a vector is NaN or infinite.
    #[error("{what} has a value that is not finite")]
    NotFinite {
        /// Which vector or matrix.
        what: &'static str,
    },
    /// A list or matrix is not as long as the others say.
    #[error("{what} has {found} values, not {expected}")]
    Shape {
        /// Which list or matrix.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length that fits.
        expected: usize,
    },
    /// A setting is outside its range.
    #[error("{name} must be {range}, not {found}")]
    Setting {
        /// The field of the configuration.
        name: &'static str,
        /// What it may be.
        range: &'static str,
        /// What it is.
        found: f64,
    },
    /// No interaction is left to learn from.
    #[error("there are no interactions to learn from")]
    Empty,
    /// A catalogue is too large for a method whose memory is its square.
    #[error("{items} items are too many for EASE: it holds items² numbers, so the limit is {limit}")]
    TooManyItems {
        /// Items of the catalogue.
        items: u32,
        /// The most that are allowed.
        limit: u32,
    },
    /// A matrix that must be inverted is singular to working precision.
    #[error("the item-item matrix cannot be inverted; more regularisation is needed")]
    Singular,
    /// Whoever watched it had it stop.
    #[error("it was stopped")]
    Stopped,
    /// The threads cannot be started.
    #[error("{threads} threads cannot be started: {message}")]
    Threads {
        /// How many were asked for; 0 is one a core.
        threads: usize,
        /// What the system says.
        message: String,
    },
}

/// What a computation gives.
pub type Result<T> = std::result::Result<T, Error>;

/// Refuses a setting that is not within `range`.
pub(crate) fn check(name: &'static str, range: &'static str, found: f64, within: bool) -> Result<()> {
    // NaN is within nothing, whatever the caller compared.
    if within && !found.is_nan() { Ok(()) } else { Err(Error::Setting { name, range, found }) }
}

/// Refuses a list of another length.
pub(crate) fn check_length(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::Shape { what, found, expected }) }
}

/// Refuses NaN and infinity.
pub(crate) fn check_finite(what: &'static str, values: &[f32]) -> Result<()> {
    if values.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(Error::NotFinite { what }) }
}
