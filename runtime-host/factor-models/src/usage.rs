//! What a version did since this process has it: calls, failures, and how long they
//! took.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Buckets of a factor √2, from one microsecond on: the last begins at two seconds.
const BUCKETS: usize = 42;

/// Counters of one version.
#[derive(Debug)]
pub(crate) struct Counters {
    calls: AtomicU64,
    failures: AtomicU64,
    rows: AtomicU64,
    times: [AtomicU64; BUCKETS],
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

impl Default for Counters {
    fn default() -> Self {
        Self {
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            times: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

impl Counters {
    pub(crate) fn answered(&self, rows: usize, took: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        let micros = took.as_secs_f64() * 1e6;
        let bucket = (micros.max(1.0).log2() * 2.0) as usize;
        if let Some(bucket) = self.times.get(bucket.min(BUCKETS - 1)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn usage(&self) -> Usage {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let times: Vec<u64> = self.times.iter().map(of).collect();
        Usage {
            calls: of(&self.calls),
            failures: of(&self.failures),
            rows: of(&self.rows),
            p50_us: quantile(&times, 0.5),
            p99_us: quantile(&times, 0.99),
        }
    }
}

/// The middle of the bucket in which so large a part of all is reached.
fn quantile(times: &[u64], part: f64) -> u32 {
    let all: u64 = times.iter().sum();
    let mut reached = 0;
    for (bucket, count) in times.iter().enumerate() {
        reached += count;
        if all > 0 && reached as f64 >= part * all as f64 {
            return 2_f64.powf((bucket as f64 + 0.5) / 2.0) as u32;
        }
    }
    0
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
