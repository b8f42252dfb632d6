//! What calls cost, counted in steps that grow: small, and exact enough to tell a median.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets of a factor √2, from one on: the last begins at three thousand millions.
const BUCKETS: usize = 64;

/// Counts of amounts, whatever their unit is; one below 1 counts as 1.
#[derive(Debug)]
pub struct Histogram([AtomicU64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Histogram {
    /// Counts one.
    pub fn add(&self, amount: f64) {
        let bucket = (amount.max(1.0).log2() * 2.0) as usize;
        if let Some(bucket) = self.0.get(bucket.min(BUCKETS - 1)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// So much or less has this part of all, to a sixth; 0 of none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> f64 {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let all: u64 = counts.iter().sum();
        let mut reached = 0;
        for (bucket, count) in counts.iter().enumerate() {
            reached += count;
            if all > 0 && reached as f64 >= part * all as f64 {
                // The middle of the bucket.
                return 2_f64.powf((bucket as f64 + 0.5) / 2.0);
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_sixth() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0.0);
        (0..=1000).for_each(|amount| histogram.add(f64::from(amount)));
        assert!((420.0..=595.0).contains(&histogram.quantile(0.5)), "{histogram:?}");
        assert!((825.0..=1180.0).contains(&histogram.quantile(0.99)), "{histogram:?}");
        histogram.add(f64::MAX);
        assert!(histogram.quantile(1.0) > 3e9);
    }
}
