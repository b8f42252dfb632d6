//! Metrics that an experiment must not harm, whatever it is for.

use crate::{
    comparison::Comparison,
    error::{Error, Result},
    estimate::Interval,
    sequential::Anytime,
};

/// Which way a metric should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// More is better, as of clicks.
    More,
    /// Less is better, as of complaints.
    Less,
}

/// What may not get worse, and by how much it may.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guardrail {
    better: Better,
    margin: f64,
}

/// What a guardrail says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is worse by more than the margin.
    Harm,
    /// It is not worse by as much as the margin.
    Safe,
    /// It may be either.
    Open,
}

/// A verdict, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// What it says.
    pub verdict: Verdict,
    /// The ends of two one-sided confidence sequences of the difference: it is harm when all
    /// of this is beyond the margin, safe when none is.
    pub bounds: Interval,
}

impl Guardrail {
    /// With a margin in the metric's unit; 0 for none.
    ///
    /// # Errors
    /// [`Error::Setting`] for a margin below 0, or none at all.
    pub fn new(better: Better, margin: f64) -> Result<Self> {
        if margin >= 0.0 && margin.is_finite() {
            Ok(Self { better, margin })
        } else {
            Err(Error::Setting { name: "the margin of a guardrail", range: "at least 0", found: margin })
        }
    }

    /// Judges treatment − control at one of many looks. The first verdict that is not open may
    /// be acted on: of experiments whose true difference is within the margin, the share that
    /// is ever called harm is at most α, and the same of those beyond it and safe.
    ///
    /// Ends are one-sided ([`Anytime::one_sided`]), so they are somewhat nearer than those of
    /// the interval that a report shows.
    ///
    /// # Errors
    /// Those of [`Comparison::anytime`].
    pub fn judge(&self, comparison: &Comparison, rule: &Anytime) -> Result<Judgement> {
        let bounds = rule.one_sided(comparison.cautious()?.difference())?;
        let (worst, best) = match self.better {
            Better::More => (bounds.low, bounds.high),
            Better::Less => (-bounds.high, -bounds.low),
        };
        let verdict = if best < -self.margin {
            Verdict::Harm
        } else if worst > -self.margin {
            Verdict::Safe
        } else {
            Verdict::Open
        };
        Ok(Judgement { verdict, bounds })
    }
}

#[cfg(test)]
mod tests;
