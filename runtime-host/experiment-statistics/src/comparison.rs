//! A group against the control: by how much it differs, absolutely and relatively.

use crate::{
    error::Result,
    estimate::{Estimate, Interval},
    level::Alpha,
    sequential::Anytime,
};

/// A metric in a treatment group and in the control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    treatment: Estimate,
    control: Estimate,
    difference: Estimate,
}

/// What a comparison says at one look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Of treatment − control.
    pub difference: Interval,
    /// Of treatment / control − 1; none while it has no ends, which is while the control's
    /// metric may be zero or less. It leaves zero when `difference` does.
    pub lift: Option<Interval>,
    /// Of no difference.
    pub p_value: f64,
}

impl Comparison {
    /// Of two groups with no user in common.
    ///
    /// # Errors
    /// [`crate::Error::NoVariance`] when neither has any, [`crate::Error::TooLarge`].
    pub fn new(treatment: Estimate, control: Estimate) -> Result<Self> {
        let difference = treatment.minus(&control)?;
        difference.known()?;
        Ok(Self { treatment, control, difference })
    }

    /// Treatment − control.
    #[must_use]
    pub fn difference(&self) -> &Estimate {
        &self.difference
    }

    /// The control.
    #[must_use]
    pub fn control(&self) -> &Estimate {
        &self.control
    }

    /// Treatment / control − 1; none when the control's metric is zero or less.
    #[must_use]
    pub fn lift(&self) -> Option<f64> {
        let lift = self.difference.value() / self.control.value();
        (self.control.value() > 0.0 && lift.is_finite()).then_some(lift)
    }

    /// The same against a control that had this lift already: treatment − (1 + lift) · control,
    /// which is below zero when the true lift is below this one.
    ///
    /// # Errors
    /// Those of [`Comparison::new`].
    pub fn against(&self, lift: f64) -> Result<Self> {
        Self::new(self.treatment, self.control.times(1.0 + lift)?)
    }

    /// What it says when it is looked at once, at a day that was fixed before. Variances are
    /// taken as they are, so it takes users enough in both groups for sums to be normal.
    ///
    /// # Errors
    /// Those of [`Estimate::p_value`].
    pub fn once(&self, alpha: Alpha) -> Result<Reading> {
        let critical = self.difference.critical(alpha);
        Ok(self.reading(critical, self.difference.p_value()?))
    }

    /// What it says at one of many looks, with the p-value of the look before; 1 at the first.
    ///
    /// Each group has its own variance, or that of all users where it makes the difference less
    /// sure (s_p² (1/n₁ + 1/n₂), of the pooled s_p²). The two are the same with groups of one size.
    /// A small group beside a large one has too little variance whenever its few users who act
    /// have not come yet; with a tenth of users and 1 % who act, looks then find a difference in a
    /// third of experiments that have none.
    ///
    /// The relative interval tests each lift by treatment − (1 + lift) · control. With V for
    /// the variance of that, its τ² is in proportion, which is fixed in advance as long as the
    /// groups' sizes keep their ratio.
    ///
    /// # Errors
    /// Those of [`Anytime::p_value`].
    pub fn anytime(&self, rule: &Anytime, previous: f64) -> Result<Reading> {
        let cautious = self.cautious()?;
        let p_value = rule.p_value(&cautious.difference, previous)?;
        Ok(cautious.reading(rule.critical(&cautious.difference), p_value))
    }

    /// With variances as they are for many looks.
    pub(crate) fn cautious(&self) -> Result<Self> {
        let [weight_t, weight_c] = [&self.treatment, &self.control].map(|group| (group.users() - 1) as f64);
        let squares = self.treatment.variance_per_user() * weight_t + self.control.variance_per_user() * weight_c;
        let pooled = |group: &Estimate| {
            let variance = squares / (weight_t + weight_c) / group.users() as f64;
            Estimate::new(group.value(), variance, group.users())
        };
        let alike = Self::new(pooled(&self.treatment)?, pooled(&self.control)?)?;
        Ok(if alike.difference.variance() > self.difference.variance() { alike } else { *self })
    }

    fn reading(&self, critical: f64, p_value: f64) -> Reading {
        Reading { difference: self.difference.within(critical), lift: self.fieller(critical), p_value }
    }

    /// All ratios ρ with (t − ρ c)² ≤ k² (v_t + ρ² v_c), less one (Fieller, "Some Problems in
    /// Interval Estimation", JRSS B 1954). The delta method would take c for certain to be far
    /// from zero; this does not, and at ρ = 1 it is the test of the difference.
    fn fieller(&self, critical: f64) -> Option<Interval> {
        let (t, c) = (self.treatment.value(), self.control.value());
        let (var_t, var_c) = (self.treatment.variance(), self.control.variance());
        let square = critical * critical;
        let scale = c * c - square * var_c;
        if c <= 0.0 || scale <= 0.0 {
            return None;
        }
        let half = critical * (var_t * scale + var_c * t * t).sqrt() / scale;
        let centre = (t * c - scale) / scale;
        let lift = Interval { low: centre - half, high: centre + half };
        (lift.low.is_finite() && lift.high.is_finite()).then_some(lift)
    }
}

#[cfg(test)]
mod tests;
