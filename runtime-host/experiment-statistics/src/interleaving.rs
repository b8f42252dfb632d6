//! Two rankers on one slate: team-draft interleaving (Radlinski, Kurup and Joachims, "How Does
//! Clickthrough Data Reflect Retrieval Quality?", CIKM 2008). Each item of a slate was drafted by
//! one of them, which has the credit when it is clicked; without a difference between them, either
//! is as likely. Every user is their own control, so it takes far fewer of them than two groups.

use crate::{
    error::{self, Error, Result},
    estimate::{Estimate, Interval},
    level::Alpha,
    mismatch,
    moments::Moments,
    sequential::Anytime,
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

/// What [`Interleaved::anytime`] says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preference {
    /// Of the share of [`SignTest::share`], which holds at every look at once.
    pub interval: Interval,
    /// Of a half, on both sides, valid however often it is looked at.
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

    /// The sign test for any number of looks, from the p-value of the look before; 1 at the first.
    /// Of T users who preferred the treatment and C the control, against a share of s, with
    /// shares that are looked for from Beta(a, a), whose variance is the τ² of `rule`:
    ///
    /// ```text
    /// Λ(s) = B(a + T, a + C) / B(a, a) · s^(−T) (1 − s)^(−C),   a = (1 / 4τ² − 1) / 2
    /// p    = the least 1 / Λ(½) so far, at most 1; the interval is all s with Λ(s) ≤ 1/α
    /// ```
    ///
    /// Where each user votes once, Λ is a martingale that begins at 1, whatever their number:
    /// the mixture of Robbins ("Statistical Methods Related to the Law of the Iterated
    /// Logarithm", Annals of Mathematical Statistics 1970), as the beta-binomial one of Howard,
    /// Ramdas, McAuliffe and Sekhon ("Time-uniform, nonparametric, nonasymptotic confidence
    /// sequences", 2021, section 3). Users who come back may change their vote; what lasts in it
    /// makes Λ cross a bound less often, as the simulations of this crate show.
    ///
    /// # Errors
    /// [`Error::TooFewUsers`] when nobody preferred either; [`Error::Setting`] for a τ² of ¼ or
    /// more, which no share has, and for a `previous` that is no p-value.
    pub fn anytime(&self, rule: &Anytime, previous: f64) -> Result<Preference> {
        let previous = error::p_value(previous)?;
        let (treatment, control) = (self.treatment as f64, self.control as f64);
        if treatment + control == 0.0 {
            return Err(Error::TooFewUsers { found: 0, least: 1 });
        }
        let concentration = 0.25 / rule.mixing() - 1.0;
        if concentration <= 0.0 {
            return Err(Error::Setting { name: "the mixing variance", range: "below 0.25", found: rule.mixing() });
        }
        let of_half = mismatch::bayes_factor(&[(treatment, 0.5), (control, 0.5)], concentration);
        let votes = |count: f64, share: f64| if count == 0.0 { 0.0 } else { count * (2.0 * share).ln() };
        let is_out =
            |share: f64| of_half - votes(treatment, share) - votes(control, 1.0 - share) > -rule.alpha().get().ln();
        let share = treatment / (treatment + control);
        let low = if treatment == 0.0 { 0.0 } else { special::bisect(0.0, share, is_out) };
        let high = if control == 0.0 { 1.0 } else { special::bisect(share, 1.0, |share| !is_out(share)) };
        Ok(Preference { interval: Interval { low, high }, p_value: previous.min((-of_half).exp()) })
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
