//! Why something cannot be said about an experiment.

use crate::limits;

/// Why something cannot be said about an experiment. No answer of this crate is NaN: where a
/// formula has none, it is one of these.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is outside its range.
    #[error("{name} must be {range}, not {found}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it may be.
        range: &'static str,
        /// What it is.
        found: f64,
    },
    /// What was observed is no number, or one too large to be squared: see [`limits::VALUE`].
    #[error("a value must be a number of at most {most:e} in size, not {0}", most = limits::VALUE)]
    Value(f64),
    /// There are too few users for the formula.
    #[error("{found} users are too few, it takes {least}")]
    TooFewUsers {
        /// How many there are; of a comparison, in its smaller group.
        found: u64,
        /// How many it takes.
        least: u64,
    },
    /// All users are alike, so there is nothing to tell chance by.
    #[error("all users have the same value, so chance has no measure")]
    NoVariance,
    /// The denominator of a ratio is zero or less: nobody saw anything.
    #[error("the denominators add up to nothing")]
    NoDenominator,
    /// An estimate or its variance is beyond [`limits::VALUE`] or [`limits::VARIANCE`].
    #[error("an estimate is too large to be computed with")]
    TooLarge,
}

/// What a call of this crate comes to.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A value that can be squared and added up.
pub(crate) fn value(value: f64) -> Result<f64> {
    // NaN is in no range.
    if (-limits::VALUE..=limits::VALUE).contains(&value) { Ok(value) } else { Err(Error::Value(value)) }
}

/// A p-value.
pub(crate) fn p_value(p: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&p) {
        Ok(p)
    } else {
        Err(Error::Setting { name: "a p-value", range: "from 0 to 1", found: p })
    }
}
