//! How many users an experiment needs, and how many days that is.

use crate::{
    error::{Error, Result},
    level::{Alpha, Power},
    limits, sequential, special,
};

/// How an experiment is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Once, at its end: [`crate::Comparison::once`].
    Once,
    /// At any time, with [`crate::Anytime::for_effect`]: it takes about 1.9 times the users to
    /// its end, and mostly ends before.
    Anytime,
}

/// What an experiment should find.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// The least difference of interest, in the metric's unit: of a relative one, that of the
    /// control's value.
    pub effect: f64,
    /// How often it may find one where there is none.
    pub alpha: Alpha,
    /// How often it should find one that is as large as that.
    pub power: Power,
    /// How it is looked at.
    pub look: Look,
}

/// A group that is planned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Side {
    /// That of a user's value, or of a ratio's estimate times its users
    /// ([`crate::Estimate::variance_per_user`]). For a treatment, that of the control will do, but
    /// for one of few users whose variance grows with the effect, as that of rare events does.
    pub variance_per_user: f64,
    /// Its share of all users who come: above 0, at most 1.
    pub share: f64,
}

/// Users of two groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Users {
    /// Of the control.
    pub control: u64,
    /// Of the treatment.
    pub treatment: u64,
}

impl Plan {
    /// Users that it takes in both groups, when they come in the ratio of the shares: so many
    /// that the difference has the variance (δ / (k + z_β))², where z_β is the normal quantile of
    /// the power and k that of 1 − α/2, or √(1 + m) as of [`sequential`](crate::Anytime) for a
    /// look at any time (Chow, Shao and Wang, "Sample Size Calculations in Clinical Research",
    /// section 3.2, for unequal groups).
    ///
    /// # Errors
    /// [`Error::Setting`] for an effect that is zero, a share out of range or a variance below 0;
    /// [`Error::NoVariance`] when neither group has any, [`Error::TooLarge`] when the users
    /// cannot be counted.
    pub fn users(&self, control: Side, treatment: Side) -> Result<Users> {
        if !(self.effect.abs() > 0.0 && self.effect.abs() <= limits::VALUE) {
            return Err(Error::Setting { name: "the effect", range: "other than 0", found: self.effect });
        }
        let wanted = self.effect / (self.critical() + self.power.quantile());
        let variance = control.variance()? + treatment.variance()?;
        if variance <= 0.0 {
            return Err(Error::NoVariance);
        }
        let all = variance / wanted / wanted;
        Ok(Users { control: counted(all * control.share)?, treatment: counted(all * treatment.share)? })
    }

    /// Users that it takes when each is their own control, as in [`Interleaved`](crate::Interleaved):
    /// of whom a value has this variance, a quarter of a vote.
    ///
    /// # Errors
    /// Those of [`Plan::users`].
    pub fn paired_users(&self, variance_per_user: f64) -> Result<u64> {
        let all = |variance_per_user| Side { variance_per_user, share: 1.0 };
        Ok(self.users(all(variance_per_user), all(0.0))?.control)
    }

    fn critical(&self) -> f64 {
        match self.look {
            Look::Once => special::normal_quantile_above(self.alpha.get() / 2.0),
            Look::Anytime => sequential::narrowest(self.alpha),
        }
    }
}

impl Side {
    /// That of its mean, times the users of the whole experiment.
    fn variance(&self) -> Result<f64> {
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(Error::Setting { name: "a share", range: "above 0, at most 1", found: self.share });
        }
        if !(0.0..=*limits::VARIANCE.end()).contains(&self.variance_per_user) {
            let found = self.variance_per_user;
            return Err(Error::Setting { name: "a variance", range: "from 0 to 1e100", found });
        }
        Ok(self.variance_per_user / self.share)
    }
}

impl Users {
    /// Days until there are as many as are needed, when users come as they came so far: that of
    /// the group which takes longer, 0 when both are there. None while a group has nobody, or no
    /// day is over.
    ///
    /// It is the least to expect: whoever comes back was counted before, so that later days bring
    /// fewer new users than the first.
    #[must_use]
    pub fn days_left(&self, needed: &Self, days: f64) -> Option<u64> {
        let left = |have: u64, needed: u64| {
            let left = needed.saturating_sub(have) as f64 * days / have as f64;
            (have > 0 && left.is_finite()).then_some(left.ceil() as u64)
        };
        if !(days > 0.0 && days.is_finite()) {
            return None;
        }
        Some(left(self.control, needed.control)?.max(left(self.treatment, needed.treatment)?))
    }
}

/// Whole users, and at least two, of whom there is a variance.
fn counted(users: f64) -> Result<u64> {
    // 2⁵³: up to there, each number of users is one.
    if users <= 9_007_199_254_740_992.0 { Ok((users.ceil() as u64).max(2)) } else { Err(Error::TooLarge) }
}

#[cfg(test)]
mod tests;
