//! What a certification found.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A report on a version, kept with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whether it may be activated: every check passed.
    pub passed: bool,
    /// When, as RFC 3339.
    pub at: String,
    /// Whose requests they were.
    pub scenario_id: String,
    /// What it was given.
    pub params: Map<String, Value>,
    /// How many.
    pub requests: u32,
    /// Where they are from.
    pub source: Source,
    /// What was looked at, in order.
    pub checks: Vec<Check>,
    /// Of a processor, in microseconds.
    pub time_us: Spread,
    /// About one an instruction.
    pub fuel: Spread,
    /// The most linear memory that an instance had.
    pub memory_bytes: u64,
    /// What it does to slates; none when no call was answered.
    pub effect: Option<Effect>,
}

/// Where requests are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The scenario's own, lately.
    Recorded,
    /// The demo's, since the scenario had too few.
    Samples,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `params`, `answers`, `contract`, `deterministic`, `time`.
    pub check: String,
    /// How it went.
    pub passed: bool,
    /// What was found, where it did not pass.
    pub detail: String,
}

/// How amounts are spread over calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub p50: u64,
    /// So much or less of 99 in a hundred.
    pub p99: u64,
    /// The most.
    pub max: u64,
}

impl Spread {
    /// Of these amounts.
    #[must_use]
    pub fn of(mut amounts: Vec<u64>) -> Self {
        amounts.sort_unstable();
        let at = |part: f64| {
            let place = (part * amounts.len() as f64).ceil() as usize;
            amounts.get(place.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// What a component does to slates, on average over requests.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Effect {
    /// Kendall's τ between the order before it and after it (for a ranker, today's order
    /// and its own; for a recall channel, 1).
    pub rank_correlation: f64,
    /// The part of the slate that is in today's slate; of a recall channel, the part of its
    /// items that other channels recalled as well.
    pub overlap: f64,
    /// How likely two items of today's slate are of different categories (Gini–Simpson).
    pub diversity_before: f64,
    /// The same of the slate with it.
    pub diversity_after: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_spread() {
        assert_eq!(Spread::of((1..=100).rev().collect()), Spread { p50: 50, p99: 99, max: 100 });
        assert_eq!(Spread::of(vec![7]), Spread { p50: 7, p99: 7, max: 7 });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
