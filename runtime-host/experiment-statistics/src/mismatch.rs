//! Whether groups have the users that they should have by their ratios. When they have not, users
//! were lost or counted in one group and not in the other, and nothing else in the report can be
//! believed (Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled
//! Experiments", KDD 2019).

use crate::{
    error::{self, Error, Result},
    limits, special,
};

/// Users in all groups that the prior of [`sequential`] is worth: it expects shares to be off by
/// √(θ (1 − θ) / 1000), 1.6 points at a half. With so many, users who come 52 to 48 are found out
/// at about 5,800 of them at α = 0.05, 50.5 to 49.5 at about 108,000; with 10,000 it would be
/// 8,800 and 92,000.
pub const CONCENTRATION: f64 = 1000.0;

/// A group of an experiment, its users and its part by configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// Who were assigned to it.
    pub users: u64,
    /// How many should be, in proportion to those of the others: above 0.
    pub ratio: f64,
}

/// What [`chi_square`] says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChiSquare {
    /// Σ (users − expected)² / expected.
    pub statistic: f64,
    /// Groups less one.
    pub degrees: f64,
    /// Of the ratios being as configured.
    pub p_value: f64,
}

/// What [`sequential`] says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mismatch {
    /// ln of the Bayes factor, of other ratios over those configured.
    pub log_bayes_factor: f64,
    /// The always-valid p-value of the ratios being as configured.
    pub p_value: f64,
}

/// Pearson's χ² test of the users against the ratios, for one look.
///
/// # Errors
/// [`Error::Setting`] for fewer than two groups or a ratio that is not above 0;
/// [`Error::TooFewUsers`] when a group should have fewer than [`limits::EXPECTED_USERS`].
pub fn chi_square(groups: &[Group]) -> Result<ChiSquare> {
    let shares = shares(groups)?;
    let users = users(groups);
    let smallest = shares.iter().copied().fold(1.0, f64::min);
    let least = limits::EXPECTED_USERS / smallest;
    if users < least {
        return Err(Error::TooFewUsers { found: users as u64, least: least.ceil() as u64 });
    }
    let off = |(group, share): (&Group, &f64)| {
        let expected = users * share;
        (group.users as f64 - expected).powi(2) / expected
    };
    let statistic = groups.iter().zip(&shares).map(off).sum();
    let degrees = (groups.len() - 1) as f64;
    Ok(ChiSquare { statistic, degrees, p_value: special::chi_square_above(statistic, degrees) })
}

/// The multinomial test of Lindon and Malek ("Anytime-Valid Inference for Multinomial Count
/// Data", NeurIPS 2022; 2020 as "Sequential Testing of Multinomial Hypotheses"), which may be
/// looked at after every user, from the p-value of the look before; 1 at the first.
///
/// The Bayes factor of users n_i against shares θ_i, with a Dirichlet prior around them, of
/// α_i = c θ_i with c = [`CONCENTRATION`]:
///
/// ```text
/// BF = Γ(c) / Γ(c + n) · Π Γ(α_i + n_i) / Γ(α_i) · Π θ_i^(−n_i),   p = the least 1 / BF so far
/// ```
///
/// When users are assigned by the shares it is a martingale that begins at 1, so the chance that
/// it ever reaches 1/α is at most α (Ville): exactly, not only for many users.
///
/// # Errors
/// [`Error::Setting`] for fewer than two groups, a ratio that is not above 0 or a `previous` that
/// is no p-value.
pub fn sequential(groups: &[Group], previous: f64) -> Result<Mismatch> {
    let previous = error::p_value(previous)?;
    let shares = shares(groups)?;
    let counted: Vec<(f64, f64)> = groups.iter().map(|group| group.users as f64).zip(shares).collect();
    let log_bayes_factor = bayes_factor(&counted, CONCENTRATION);
    Ok(Mismatch { log_bayes_factor, p_value: previous.min((-log_bayes_factor).exp()) })
}

/// ln of the Bayes factor above, of counts and the shares that they should have, with a prior of
/// this concentration.
pub(crate) fn bayes_factor(counted: &[(f64, f64)], concentration: f64) -> f64 {
    let users: f64 = counted.iter().map(|(count, _)| count).sum();
    let all = concentration + users;
    // The Gamma functions by Stirling's formula, put together so that only small terms are left:
    // the divergence of posterior shares from θ, less half a logarithm, and Stirling's errors.
    let part = |(count, share): &(f64, f64)| {
        let prior = concentration * share;
        let posterior = prior + count;
        let off = (count - users * share) / (all * share);
        all * share * special::entropy_excess(off) - 0.5 * (count / prior).ln_1p() + special::stirling_error(posterior)
            - special::stirling_error(prior)
    };
    let parts: f64 = counted.iter().map(part).sum();
    let whole =
        0.5 * (users / concentration).ln_1p() + special::stirling_error(concentration) - special::stirling_error(all);
    parts + whole
}

/// The groups' ratios, of 1 together.
fn shares(groups: &[Group]) -> Result<Vec<f64>> {
    if groups.len() < 2 {
        let found = groups.len() as f64;
        return Err(Error::Setting { name: "the groups of an experiment", range: "at least 2", found });
    }
    let range = 1e-6..=1e6;
    if let Some(group) = groups.iter().find(|group| !range.contains(&group.ratio)) {
        return Err(Error::Setting { name: "the ratio of a group", range: "from 1e-6 to 1e6", found: group.ratio });
    }
    let sum: f64 = groups.iter().map(|group| group.ratio).sum();
    Ok(groups.iter().map(|group| group.ratio / sum).collect())
}

fn users(groups: &[Group]) -> f64 {
    groups.iter().map(|group| group.users as f64).sum()
}

#[cfg(test)]
mod tests;
