//! How often a report may be wrong.

use crate::{
    error::{Error, Result},
    special,
};

/// The share of false alarms, α: above 0, below 1. An interval "at α" holds the truth with
/// probability 1 − α.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Alpha(f64);

impl Alpha {
    /// That share.
    ///
    /// # Errors
    /// [`Error::Setting`] for one that is not between 0 and 1.
    pub fn new(alpha: f64) -> Result<Self> {
        if alpha > 0.0 && alpha < 1.0 {
            Ok(Self(alpha))
        } else {
            Err(Error::Setting { name: "alpha", range: "above 0 and below 1", found: alpha })
        }
    }

    /// As a number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

/// The share of effects that are found, 1 − β, of those that are as large as they were planned
/// to be: from 0.5, below 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Power(f64);

impl Power {
    /// That share.
    ///
    /// # Errors
    /// [`Error::Setting`] for one out of range: to find less than half of them is no plan.
    pub fn new(power: f64) -> Result<Self> {
        if (0.5..1.0).contains(&power) {
            Ok(Self(power))
        } else {
            Err(Error::Setting { name: "power", range: "from 0.5, below 1", found: power })
        }
    }

    /// As a number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// Standard errors by which an estimate exceeds the truth in the share β of experiments.
    pub(crate) fn quantile(self) -> f64 {
        special::normal_quantile_above(1.0 - self.0)
    }
}
