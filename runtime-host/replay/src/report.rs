//! What a comparison says.

use funnelweb_experiment_statistics::{Alpha, Error, Estimate};
use serde::Serialize;

/// How often an interval may miss.
const ALPHA: f64 = 0.05;

/// What requests that were run again come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How many.
    pub requests: u64,
    /// Of how many users.
    pub users: u64,
    /// How many have the same items in the same order.
    pub same_slates: u64,
    /// The items that both slates have, as a share of the longer one.
    pub overlap: Option<Measured>,
    /// Kendall's τ of the items that both have, −1 to 1.
    pub rank_correlation: Option<Measured>,
    /// Pairs of a slate's items that are of different categories, as a share of all pairs.
    pub diversity: Both<Option<Measured>>,
    /// In milliseconds.
    pub latency_ms: Both<Option<Latency>>,
    /// None when nothing was clicked.
    pub ctr: Option<Ctr>,
}

/// Something of what was shown, and of what the change makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Both<T> {
    /// Of what was shown.
    pub then: T,
    /// Of the change.
    pub now: T,
}

/// A value over users.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Its value.
    pub value: f64,
    /// The ends of its interval of 95 %, over users; none with too few of them.
    pub interval: Option<[f64; 2]>,
}

/// How long slates took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Half of them at most.
    pub p50: f64,
    /// All but one of a hundred at most.
    pub p99: f64,
}

/// Clicks of an item that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ctr {
    /// As it was.
    pub then: Measured,
    /// As it would have been, by inverse propensity ([`crate::examination`]).
    pub now: Measured,
    /// Items that were shown.
    pub impressions: u64,
    /// Clicks of them.
    pub clicks: u64,
    /// Of the items that were shown the share that the change shows too: what it is estimated
    /// from.
    pub covered: f64,
    /// Impressions of equal weight that would tell as much.
    pub effective_impressions: f64,
}

impl Measured {
    /// None of what cannot be estimated.
    pub(crate) fn of(estimate: Result<Estimate, Error>) -> Option<Self> {
        let estimate = estimate.ok()?;
        let interval = Alpha::new(ALPHA).and_then(|alpha| estimate.interval(alpha)).ok();
        Some(Self { value: estimate.value(), interval: interval.map(|ends| [ends.low, ends.high]) })
    }
}

impl Latency {
    pub(crate) fn of(elapsed_us: &[u32]) -> Option<Self> {
        let mut sorted = elapsed_us.to_vec();
        sorted.sort_unstable();
        let quantile = |share: f64| {
            let at = ((share * sorted.len() as f64) as usize).min(sorted.len().saturating_sub(1));
            sorted.get(at).map(|elapsed_us| f64::from(*elapsed_us) / 1000.0)
        };
        Some(Self { p50: quantile(0.5)?, p99: quantile(0.99)? })
    }
}
