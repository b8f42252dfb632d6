//! A number and how surely it is known, read once: at a day that was fixed before the
//! experiment began.

use crate::{
    error::{self, Error, Result},
    level::Alpha,
    limits, special,
};

/// Between what a true value lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether a value lies in it; its ends do.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// What a metric is in a group, or a difference of two, and its variance.
///
/// [`Estimate::interval`] and [`Estimate::p_value`] are for one look. Who looks every day and
/// stops at the first p-value below α is wrong several times as often as α says;
/// [`crate::Anytime`] is for them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    value: f64,
    variance: f64,
    users: u64,
    degrees: f64,
}

impl Estimate {
    /// Of so many users, with n − 1 degrees of freedom. The variance is that of the estimate,
    /// not of a user.
    ///
    /// # Errors
    /// [`Error::TooFewUsers`] of fewer than two, [`Error::TooLarge`] beyond the limits or for
    /// what is no number, [`Error::Setting`] for a variance below 0.
    pub fn new(value: f64, variance: f64, users: u64) -> Result<Self> {
        if users < 2 {
            return Err(Error::TooFewUsers { found: users, least: 2 });
        }
        if variance < 0.0 {
            return Err(Error::Setting { name: "a variance", range: "at least 0", found: variance });
        }
        let (least, most) = (*limits::VARIANCE.start(), *limits::VARIANCE.end());
        if error::value(value).is_err() || !(0.0..=most).contains(&variance) {
            return Err(Error::TooLarge);
        }
        let variance = if variance < least { 0.0 } else { variance };
        Ok(Self { value, variance, users, degrees: (users - 1) as f64 })
    }

    /// The number.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value
    }

    /// How far it is from the truth, typically: the root of its variance.
    #[must_use]
    pub fn standard_error(&self) -> f64 {
        self.variance.sqrt()
    }

    /// The variance of the number.
    #[must_use]
    pub fn variance(&self) -> f64 {
        self.variance
    }

    /// The variance times the users, which stays as it is while users come: what a
    /// [`crate::Plan`] is made from.
    #[must_use]
    pub fn variance_per_user(&self) -> f64 {
        self.variance * self.users as f64
    }

    /// How many users it is of; of a difference, those of the smaller group.
    #[must_use]
    pub fn users(&self) -> u64 {
        self.users
    }

    /// By how much it exceeds that of another group. Variances add, and degrees of freedom are
    /// those of Welch and Satterthwaite: (v₁ + v₂)² / (v₁² / (n₁ − 1) + v₂² / (n₂ − 1)) (Welch,
    /// "The Generalization of 'Student's' Problem", Biometrika 1947).
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn minus(&self, other: &Self) -> Result<Self> {
        let users = self.users.min(other.users);
        let difference = Self::new(self.value - other.value, self.variance + other.variance, users)?;
        let parts = self.variance * self.variance / self.degrees + other.variance * other.variance / other.degrees;
        if parts > 0.0 {
            let degrees = difference.variance * difference.variance / parts;
            return Ok(Self { degrees, ..difference });
        }
        Ok(difference)
    }

    /// So many times as much.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn times(&self, factor: f64) -> Result<Self> {
        let scaled = Self::new(self.value * factor, self.variance * factor * factor, self.users)?;
        Ok(Self { degrees: self.degrees, ..scaled })
    }

    /// The interval at 1 − α for one look, by Student's t.
    ///
    /// # Errors
    /// [`Error::NoVariance`].
    pub fn interval(&self, alpha: Alpha) -> Result<Interval> {
        self.known()?;
        Ok(self.within(self.critical(alpha)))
    }

    /// The p-value of being zero for one look, on both sides, by Student's t. It is at most α
    /// when zero is outside of the interval at 1 − α.
    ///
    /// # Errors
    /// [`Error::NoVariance`].
    pub fn p_value(&self) -> Result<f64> {
        self.known()?;
        Ok(special::student_beyond(self.value / self.standard_error(), self.degrees))
    }

    /// Standard errors to the ends of the interval for one look.
    pub(crate) fn critical(&self, alpha: Alpha) -> f64 {
        special::student_quantile_beyond(alpha.get(), self.degrees)
    }

    /// As many standard errors to each side.
    pub(crate) fn within(&self, critical: f64) -> Interval {
        let half = critical * self.standard_error();
        Interval { low: self.value - half, high: self.value + half }
    }

    /// That there is a variance.
    pub(crate) fn known(&self) -> Result<()> {
        if self.variance > 0.0 { Ok(()) } else { Err(Error::NoVariance) }
    }
}

#[cfg(test)]
mod tests;
