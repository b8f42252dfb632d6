//! What is kept of the users of a group, however many they are.
//!
//! The user is the unit: users are assigned to groups, so users are independent and their
//! impressions are not. A user with ten impressions is one [`Pair`] of ten and their clicks.
//!
//! The sums n, Σx, Σy, Σx², Σy² and Σxy are kept as means and as sums of squares around
//! them, which hold the same but do not cancel where the mean is large and the spread is
//! small (Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983; of
//! products, Pébay, SAND2008-6212).

use crate::{
    error::{self, Error, Result},
    estimate::Estimate,
};

/// Of one value a user: purchases, watch time, whether they came back.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    users: u64,
    mean: f64,
    /// Σ (x − mean)².
    squares: f64,
}

impl Moments {
    /// Adds a user; those who did nothing too, with 0.
    ///
    /// # Errors
    /// [`Error::Value`], and nothing is added.
    pub fn add(&mut self, x: f64) -> Result<()> {
        let off = error::value(x)? - self.mean;
        self.users += 1;
        self.mean += off / self.users as f64;
        self.squares += off * (x - self.mean);
        Ok(())
    }

    /// Adds other users. A user who is in both counts twice.
    pub fn merge(&mut self, other: &Self) {
        let Some((share, weight)) = weights(self.users, other.users) else { return };
        let off = other.mean - self.mean;
        self.users += other.users;
        self.mean += off * share;
        self.squares += other.squares + off * off * weight;
    }

    /// How many users.
    #[must_use]
    pub fn users(&self) -> u64 {
        self.users
    }

    /// The mean over users, x̄, whose variance is s² / n.
    ///
    /// # Errors
    /// [`Error::TooFewUsers`] of fewer than two, [`Error::TooLarge`].
    pub fn mean(&self) -> Result<Estimate> {
        let spread = self.variance()?;
        Estimate::new(self.mean, spread / self.users as f64, self.users)
    }

    /// That of one user, s² = Σ (x − x̄)² / (n − 1).
    fn variance(&self) -> Result<f64> {
        if self.users < 2 {
            return Err(Error::TooFewUsers { found: self.users, least: 2 });
        }
        Ok(self.squares / (self.users - 1) as f64)
    }
}

/// Of two values a user, a numerator and its denominator: clicks and impressions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pair {
    x: Moments,
    y: Moments,
    /// Σ (x − x̄) (y − ȳ).
    products: f64,
}

impl Pair {
    /// Adds a user, with what is counted and what it is counted of.
    ///
    /// # Errors
    /// [`Error::Value`], and nothing is added.
    pub fn add(&mut self, x: f64, y: f64) -> Result<()> {
        let off = error::value(x)? - self.x.mean;
        error::value(y)?;
        self.x.add(x)?;
        self.y.add(y)?;
        self.products += off * (y - self.y.mean);
        Ok(())
    }

    /// Adds other users. A user who is in both counts twice.
    pub fn merge(&mut self, other: &Self) {
        let Some((_, weight)) = weights(self.users(), other.users()) else { return };
        self.products += other.products + (other.x.mean - self.x.mean) * (other.y.mean - self.y.mean) * weight;
        self.x.merge(&other.x);
        self.y.merge(&other.y);
    }

    /// How many users.
    #[must_use]
    pub fn users(&self) -> u64 {
        self.x.users
    }

    /// What is counted, alone: clicks a user.
    #[must_use]
    pub fn numerator(&self) -> &Moments {
        &self.x
    }

    /// What it is counted of, alone: impressions a user.
    #[must_use]
    pub fn denominator(&self) -> &Moments {
        &self.y
    }

    /// The ratio of sums, r = Σx / Σy, with the variance of the delta method over users,
    /// (s_x² − 2 r s_xy + r² s_y²) / (n ȳ²) (Deng, Knoblich and Lu, "Applying the Delta Method
    /// in Metric Analytics", KDD 2018, section 2). Taking each impression for independent
    /// instead, r (1 − r) / Σy, is too sure of itself where users differ.
    ///
    /// It is of first order: with few users, or hardly any denominators, it says too little.
    ///
    /// # Errors
    /// [`Error::TooFewUsers`] of fewer than two, [`Error::NoDenominator`], [`Error::TooLarge`].
    pub fn ratio(&self) -> Result<Estimate> {
        let (spread_x, spread_y) = (self.x.variance()?, self.y.variance()?);
        if self.y.mean <= 0.0 {
            return Err(Error::NoDenominator);
        }
        let n = self.users() as f64;
        let ratio = self.x.mean / self.y.mean;
        let spread_xy = self.products / (n - 1.0);
        let (apart, together) = (spread_x + ratio * ratio * spread_y, 2.0 * ratio * spread_xy);
        // Users with one ratio, all of them, have no spread: what is left then is rounding.
        let spread = if apart - together > 1e-12 * apart { apart - together } else { 0.0 };
        Estimate::new(ratio, spread / self.y.mean / self.y.mean / n, self.users())
    }
}

/// The second part's share of both, and the weight n₁ n₂ / (n₁ + n₂) of a squared difference of
/// their means; none when the second part is empty.
fn weights(first: u64, second: u64) -> Option<(f64, f64)> {
    let (first, second) = (first as f64, second as f64);
    let share = second / (first + second);
    (second > 0.0).then_some((share, first * share))
}

#[cfg(test)]
mod tests;
