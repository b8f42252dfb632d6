//! Two rankers on one slate: team-draft interleaving (Radlinski, Kurup and Joachims, "How Does
//! Clickthrough Data Reflect Retrieval Quality?", CIKM 2008). Each item of a slate was drafted by
//! one of them, which has the credit when it is clicked; without a difference between them, either
//! is as likely. Every user is their own control, so it takes far fewer of them than two groups.

use crate::{
    error::{self, Error, Result},
    estimate::{Estimate, Interval},
    level::Alpha,
    moments::Moments,
    special,
};

/// What users gave to a treatment ranker and to the control.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Interleaved {
    treatment: u64,
    control: u64,
    ties: u64,
    credit: Moments,
}

/// What [`Interleaved::sign_test`] says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignTest {
    /// Users who preferred the treatment.
    pub treatment: u64,
    /// Users who preferred the control.
    pub control: u64,
    /// Users who preferred neither, whom the test leaves out.
    pub ties: u64,
    /// Of those who preferred one, the share of the treatment.
    pub share: f64,
    /// Of that share (Clopper and Pearson, Biometrika 1934).
    pub interval: Interval,
    /// Of a half, on both sides; it is at most α when the interval leaves out the half.
    pub p_value: f64,
}

impl Interleaved {
    /// Adds a user, with the credits over all their slates.
    ///
    /// # Errors
    /// [`Error::Value`], and nothing is added.
    pub fn add(&mut self, treatment: f64, control: f64) -> Result<()> {
        let credit = error::value(treatment)? - error::value(control)?;
        self.credit.add(credit)?;
        if credit > 0.0 {
            self.treatment += 1;
        } else if credit < 0.0 {
            self.control += 1;
        } else {
            self.ties += 1;
        }
        Ok(())
    }

    /// Adds other users. A user who is in both counts twice.
    pub fn merge(&mut self, other: &Self) {
        self.treatment += other.treatment;
        self.control += other.control;
        self.ties += other.ties;
        self.credit.merge(&other.credit);
    }

    /// Which ranker more users preferred, each with one voice: the exact binomial test of a half,
    /// for one look.
    ///
    /// # Errors
    /// [`Error::TooFewUsers`] when nobody preferred either.
    pub fn sign_test(&self, alpha: Alpha) -> Result<SignTest> {
        let (treatment, control) = (self.treatment as f64, self.control as f64);
        let users = treatment + control;
        if users == 0.0 {
            return Err(Error::TooFewUsers { found: 0, least: 1 });
        }
        let tail = alpha.get() / 2.0;
        // The share that so few of `users` would be seen at with probability α/2; see below.
        let end = |few: f64| if few == 0.0 { 0.0 } else { special::beta_quantile(tail, few, users - few + 1.0) };
        let interval = Interval { low: end(treatment), high: 1.0 - end(control) };
        let few = treatment.min(control);
        let p_value = (2.0 * special::beta_below(0.5, 0.5, users - few, few + 1.0)).min(1.0);
        Ok(SignTest {
            treatment: self.treatment,
            control: self.control,
            ties: self.ties,
            share: treatment / users,
            interval,
            p_value,
        })
    }

    /// How much more credit a user gives to the treatment. Its interval and p-value are for one
    /// look; [`crate::Anytime`] takes it as well.
    ///
    /// # Errors
    /// Those of [`Moments::mean`].
    pub fn credit(&self) -> Result<Estimate> {
        self.credit.mean()
    }
}

impl SignTest {
    /// By how much the treatment is preferred, where a tie is a half: −½ to ½ (Chapelle, Joachims,
    /// Radlinski and Yue, "Large-Scale Validation and Analysis of Interleaved Search Evaluation",
    /// TOIS 2012, Δ_AB).
    #[must_use]
    pub fn preference(&self) -> f64 {
        let (treatment, control) = (self.treatment as f64, self.control as f64);
        (treatment - control) / (2.0 * (treatment + control + self.ties as f64))
    }
}

#[cfg(test)]
mod tests;
