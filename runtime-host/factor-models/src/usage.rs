//! What a version did since this process has it: calls, failures, and how long they
//! took.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use funnelweb_engine::Histogram;

/// Counters of one version.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    failures: AtomicU64,
    rows: AtomicU64,
    /// In microseconds.
    times: Histogram,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Calls, those that failed among them.
    pub calls: u64,
    /// Calls without an answer.
    pub failures: u64,
    /// Rows that were given a score.
    pub rows: u64,
    /// The median of the calls that were answered, in microseconds, to a sixth part; 0
    /// without any.
    pub p50_us: u32,
    /// So much or less of 99 in a hundred.
    pub p99_us: u32,
}

impl Counters {
    pub(crate) fn answered(&self, rows: usize, took: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.times.add(took.as_secs_f64() * 1e6);
    }

    pub(crate) fn failed(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn usage(&self) -> Usage {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage {
            calls: of(&self.calls),
            failures: of(&self.failures),
            rows: of(&self.rows),
            p50_us: self.times.quantile(0.5) as u32,
            p99_us: self.times.quantile(0.99) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_sixth() {
        let counters = Counters::default();
        assert_eq!(counters.usage(), Usage::default());
        for micros in 1..=1000_u64 {
            counters.answered(2, Duration::from_micros(micros));
        }
        counters.failed();
        let usage = counters.usage();
        assert_eq!((usage.calls, usage.failures, usage.rows), (1001, 1, 2000));
        assert!((420..=595).contains(&usage.p50_us), "{usage:?}");
        assert!((825..=1180).contains(&usage.p99_us), "{usage:?}");
        counters.answered(1, Duration::from_secs(3600));
        assert!(counters.usage().p99_us < 1200);
    }
}
