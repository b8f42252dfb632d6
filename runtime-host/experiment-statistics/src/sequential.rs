//! Intervals and p-values that may be looked at every day, with a decision at any of them.
//!
//! There is one family here, so that the p-value and the interval never disagree: the mixture
//! sequential probability ratio test with a normal mixture. Of an estimate θ̂ with variance V,
//! against θ₀, with m = τ² / V:
//!
//! ```text
//! Λ(θ₀) = √(V / (V + τ²)) · exp( τ² (θ̂ − θ₀)² / (2 V (V + τ²)) )
//! p     = the least 1 / Λ(0) so far, at most 1
//! θ̂ ± √V · √( (1 + 1/m) · (2 ln(1/α) + ln(1 + m)) ),  which is all θ₀ with Λ(θ₀) ≤ 1/α
//! ```
//!
//! Λ is that of Johari, Koomen, Pekelis and Walsh ("Peeking at A/B Tests", KDD 2017; "Always
//! Valid Inference", Operations Research 2022, section on normal data and two streams), with
//! the variance of the difference of two groups in place of 2σ²/n, so that groups may differ in
//! size and spread. The interval is the asymptotic confidence sequence of Waudby-Smith, Arbour,
//! Sinha, Kennedy and Ramdas ("Time-uniform central limit theory and asymptotic confidence
//! sequences", 2021, theorem 2.2) with ρ² = τ² / σ⁴ a user; after Robbins (1970). That
//! paper says why variances may be estimated: the share of experiments that are wrong at any
//! look tends to at most α as the first look's users grow in number. Hence
//! [`limits::ANYTIME_USERS`].
//!
//! **τ²** is the variance of the effects that are looked for. It must be chosen before the
//! experiment begins, and kept: chosen from the data, nothing here holds. A wrong one makes
//! intervals wide, not false. The interval is narrowest where m solves m = 2 ln(1/α) + ln(1 + m)
//! (8.2 at α = 0.05; the Lambert function −W₋₁(−α²/e) − 1 of Howard, Ramdas, McAuliffe and
//! Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", 2021, proposition
//! 3), and there it is √(1 + m) standard errors to each side, 3.03 at α = 0.05, not 1.96. So
//! τ² = m V at the variance that the experiment should end with: of a sample that is planned
//! ([`Anytime::for_variance`]), or of one that finds the least effect of interest
//! ([`Anytime::for_effect`]), which makes τ about three quarters of that effect.
//!
//! **Users who come back** change their values between looks, so that looks are not of sums of
//! independent terms. Of independent ones, the estimates of two looks have a correlation of the
//! smaller standard error over the larger. With more than that, a bound is crossed on either side
//! less often, not more (Slepian's inequality), and what lasts in a user only adds to it. The
//! simulations of this crate have users of both kinds.

use crate::{
    error::{self, Error, Result},
    estimate::{Estimate, Interval},
    level::{Alpha, Power},
    limits,
};

/// How an experiment is read at any time: α, and the mixing variance τ². One per metric, and
/// the same at every look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Anytime {
    alpha: Alpha,
    mixing: f64,
}

impl Anytime {
    /// With this τ², in squares of the metric's unit.
    ///
    /// # Errors
    /// [`Error::Setting`] for one that is not within [`limits::VARIANCE`].
    pub fn new(alpha: Alpha, mixing: f64) -> Result<Self> {
        if limits::VARIANCE.contains(&mixing) {
            Ok(Self { alpha, mixing })
        } else {
            Err(Error::Setting { name: "the mixing variance", range: "from 1e-100 to 1e100", found: mixing })
        }
    }

    /// Narrowest when the difference has this variance, as s₁²/n₁ + s₂²/n₂ at planned sizes.
    ///
    /// # Errors
    /// Those of [`Anytime::new`].
    pub fn for_variance(alpha: Alpha, variance: f64) -> Result<Self> {
        Self::new(alpha, best(alpha) * variance)
    }

    /// Narrowest where it has the power to find this difference, which is absolute: the least
    /// that is of interest.
    ///
    /// # Errors
    /// Those of [`Anytime::new`].
    pub fn for_effect(alpha: Alpha, power: Power, effect: f64) -> Result<Self> {
        let standard_error = effect / (narrowest(alpha) + power.quantile());
        Self::for_variance(alpha, standard_error * standard_error)
    }

    /// The share of false alarms over all looks.
    #[must_use]
    pub fn alpha(&self) -> Alpha {
        self.alpha
    }

    /// τ².
    #[must_use]
    pub fn mixing(&self) -> f64 {
        self.mixing
    }

    /// The confidence sequence at this look: with probability 1 − α, the truth is in the
    /// intervals of all looks. A difference of two groups has it by
    /// [`Comparison::anytime`](crate::Comparison::anytime), which is careful with their variances.
    ///
    /// # Errors
    /// [`Error::TooFewUsers`] below [`limits::ANYTIME_USERS`], [`Error::NoVariance`].
    pub fn interval(&self, of: &Estimate) -> Result<Interval> {
        enough(of)?;
        Ok(of.within(self.critical(of)))
    }

    /// The p-value of being zero, on both sides, from that of the look before; 1 at the first.
    /// It is at most α when zero was outside of an interval at any look.
    ///
    /// # Errors
    /// Those of [`Anytime::interval`], and [`Error::Setting`] for a `previous` that is no
    /// p-value.
    pub fn p_value(&self, of: &Estimate, previous: f64) -> Result<f64> {
        let previous = error::p_value(previous)?;
        enough(of)?;
        let (m, z) = (self.mixing / of.variance(), of.value() / of.standard_error());
        let log_ratio = 0.5 * (z * z * m / (1.0 + m) - m.ln_1p());
        Ok(previous.min((-log_ratio).exp()))
    }

    /// Ends of two one-sided confidence sequences: with probability 1 − α the truth is above
    /// `low` at all looks, and with the same probability below `high`.
    ///
    /// √V · √( 2 (1 + 1/m) · ln(1 + √(1 + m) / (2α)) ) to each side, of a mixture over one half
    /// of the normal distribution (Waudby-Smith et al. 2021, appendix on one-sided sequences).
    ///
    /// # Errors
    /// Those of [`Anytime::interval`].
    pub fn one_sided(&self, of: &Estimate) -> Result<Interval> {
        enough(of)?;
        let m = self.mixing / of.variance();
        let log = ((1.0 + m).sqrt() / (2.0 * self.alpha.get())).ln_1p();
        Ok(of.within((2.0 * (1.0 + 1.0 / m) * log).sqrt()))
    }

    /// Standard errors to the ends of the interval.
    pub(crate) fn critical(&self, of: &Estimate) -> f64 {
        let m = self.mixing / of.variance();
        ((1.0 + 1.0 / m) * (m.ln_1p() - 2.0 * self.alpha.get().ln())).sqrt()
    }
}

/// Standard errors to the ends of an interval where it is narrowest.
pub(crate) fn narrowest(alpha: Alpha) -> f64 {
    (1.0 + best(alpha)).sqrt()
}

/// Where m = 2 ln(1/α) + ln(1 + m), by Newton's method, which from the right of it stays there.
fn best(alpha: Alpha) -> f64 {
    let constant = -2.0 * alpha.get().ln();
    let mut m = constant + (2.0 * constant).sqrt();
    for _ in 0..20 {
        m = (m - (m - m.ln_1p() - constant) * (1.0 + m) / m).max(f64::MIN_POSITIVE);
    }
    m
}

/// That there are users enough, and a variance.
fn enough(of: &Estimate) -> Result<()> {
    if of.users() < limits::ANYTIME_USERS {
        return Err(Error::TooFewUsers { found: of.users(), least: limits::ANYTIME_USERS });
    }
    of.known()
}

#[cfg(test)]
mod tests;
