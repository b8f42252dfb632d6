//! What another ranker would have come to, from what was logged of this one: inverse propensity
//! scoring (Horvitz and Thompson 1952; of logged clicks, Strehl, Langford, Li and Kakade, "Learning
//! from Logged Implicit Exploration Data", NIPS 2010), and its self-normalised form (Swaminathan and
//! Joachims, "The Self-Normalized Estimator for Counterfactual Learning", NIPS 2015).
//!
//! An impression counts w = p(target) / p(logged) times. That is right as far as the logged
//! propensities are, and where the logged ranker shows everything that the target may show.

use crate::{
    error::{self, Error, Result},
    estimate::Estimate,
    moments::Pair,
};

/// An impression that was logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impression {
    /// What came of it: 1 for a click, 0 for none.
    pub reward: f64,
    /// How likely the logged ranker was to show it: above 0, at most 1.
    pub logged: f64,
    /// How likely the target would be to: 0 to 1.
    pub target: f64,
}

/// Logged impressions, with the weights that a target ranker gives to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Counterfactual {
    clip: Option<f64>,
    /// Of users, Σ w r of impressions.
    plain: Pair,
    /// Of users, Σ w r of Σ w.
    normalised: Pair,
    impressions: u64,
    clipped: u64,
    lost: f64,
    sum: f64,
    squares: f64,
}

/// How weights are spread: what to look at before a counterfactual estimate is believed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// The largest weight; none when they were not clipped.
    pub clip: Option<f64>,
    /// How many impressions there are.
    pub impressions: u64,
    /// How many of them had a larger weight.
    pub clipped: u64,
    /// The mean of weights as they are used. With what was cut it is 1, but for chance: if not,
    /// propensities are wrong, or the target shows what was never shown.
    pub mean: f64,
    /// The mean of what clipping cut from weights. With rewards of 0 to 1, [`Counterfactual::ips`]
    /// is too low by at most that, on average.
    pub lost: f64,
    /// Impressions of equal weight that would tell as much, (Σ w)² / Σ w² (Kish, "Survey
    /// Sampling", 1965).
    pub effective: f64,
}

impl Counterfactual {
    /// Of no impressions, with weights up to `clip`.
    ///
    /// Clipping is a choice between two evils, and there is no default: without it, few
    /// impressions that were unlikely decide alone, and intervals are not to be trusted; with it,
    /// estimates lean to what was logged, and [`Weights::lost`] says by how much at most
    /// (Ionides, "Truncated Importance Sampling", JCGS 2008; Bottou et al., "Counterfactual
    /// Reasoning and Learning Systems", JMLR 2013, section 4). 10 is a common one.
    ///
    /// # Errors
    /// [`Error::Setting`] for a `clip` below 1, or no number: it would cut weights of impressions
    /// that both rankers like alike.
    pub fn new(clip: Option<f64>) -> Result<Self> {
        if let Some(found) = clip.filter(|clip| !(1.0..f64::INFINITY).contains(clip)) {
            return Err(Error::Setting { name: "the clip of weights", range: "at least 1", found });
        }
        let (plain, normalised) = (Pair::default(), Pair::default());
        Ok(Self { clip, plain, normalised, impressions: 0, clipped: 0, lost: 0.0, sum: 0.0, squares: 0.0 })
    }

    /// Adds a user, with all their impressions.
    ///
    /// # Errors
    /// [`Error::Setting`] for a propensity out of range, [`Error::Value`] for a reward that is no
    /// number or a weight that is too large; nothing is added.
    pub fn add(&mut self, impressions: impl IntoIterator<Item = Impression>) -> Result<()> {
        let (mut count, mut clipped, mut lost) = (0_u64, 0, 0.0);
        let (mut rewards, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for impression in impressions {
            let full = impression.weight()?;
            let weight = self.clip.map_or(full, |clip| full.min(clip));
            count += 1;
            clipped += u64::from(weight < full);
            lost += full - weight;
            rewards += weight * error::value(impression.reward)?;
            sum += weight;
            squares += weight * weight;
        }
        error::value(rewards)?;
        error::value(sum)?;
        error::value(lost)?;
        self.plain.add(rewards, count as f64)?;
        self.normalised.add(rewards, sum)?;
        self.impressions += count;
        self.clipped += clipped;
        self.lost += lost;
        self.sum += sum;
        self.squares += squares;
        Ok(())
    }

    /// Σ w r / Σ 1: the reward of an impression, by inverse propensities. Without clipping it is
    /// right on average. Its variance is that of a ratio over users ([`Pair::ratio`]).
    ///
    /// # Errors
    /// Those of [`Pair::ratio`].
    pub fn ips(&self) -> Result<Estimate> {
        self.plain.ratio()
    }

    /// Σ w r / Σ w: the same, normalised by the weights. It is within the range of rewards, and
    /// mostly nearer to the truth, though not right on average with few users. Its variance is
    /// that of a ratio over users, by the delta method (Owen, "Monte Carlo theory, methods and
    /// examples", section 9.2, with users in place of samples).
    ///
    /// # Errors
    /// Those of [`Pair::ratio`].
    pub fn snips(&self) -> Result<Estimate> {
        self.normalised.ratio()
    }

    /// How weights are spread; none without impressions.
    #[must_use]
    pub fn weights(&self) -> Option<Weights> {
        let impressions = self.impressions as f64;
        (impressions > 0.0).then(|| Weights {
            clip: self.clip,
            impressions: self.impressions,
            clipped: self.clipped,
            mean: self.sum / impressions,
            lost: self.lost / impressions,
            effective: if self.squares > 0.0 { self.sum * self.sum / self.squares } else { 0.0 },
        })
    }
}

impl Impression {
    /// Before it is clipped.
    fn weight(&self) -> Result<f64> {
        if !(self.logged > 0.0 && self.logged <= 1.0) {
            let range = "above 0, at most 1";
            return Err(Error::Setting { name: "a logged propensity", range, found: self.logged });
        }
        if !(0.0..=1.0).contains(&self.target) {
            return Err(Error::Setting { name: "a target's propensity", range: "from 0 to 1", found: self.target });
        }
        error::value(self.target / self.logged)
    }
}

#[cfg(test)]
mod tests;
