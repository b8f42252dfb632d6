//! How times are spread, counted in steps that grow: small, and two of them can be added.

use bincode::{Decode, Encode};
use serde::Serialize;

/// Steps to a doubling: a time is told to a twentieth.
const STEPS: f64 = 8.0;
/// As many as a u32 has.
const DOUBLINGS: usize = 32;

/// Times in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct Times {
    /// By step; none behind the last one that has any.
    counts: Vec<u64>,
    count: u64,
    sum_us: u64,
}

/// How times are spread, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Half of them are at most this, to a twentieth.
    pub p50: f64,
    /// And 95 % are at most this.
    pub p95: f64,
}

impl Times {
    pub(crate) fn add(&mut self, us: u32) {
        let step = (f64::from(us.max(1)).log2() * STEPS) as usize;
        let step = step.min(DOUBLINGS * STEPS as usize - 1);
        if self.counts.len() <= step {
            self.counts.resize(step + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(step) {
            *count += 1;
        }
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us.into());
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// None of no times.
    pub(crate) fn spread(&self) -> Option<Spread> {
        let mean = self.sum_us as f64 / self.count as f64 / 1000.0;
        Some(Spread { mean, p50: self.quantile(0.5)?, p95: self.quantile(0.95)? })
    }

    /// In milliseconds, the middle of the step.
    fn quantile(&self, part: f64) -> Option<f64> {
        let mut reached = 0;
        let step = self.counts.iter().position(|count| {
            reached += count;
            reached > 0 && reached as f64 >= part * self.count as f64
        })?;
        Some(((step as f64 + 0.5) / STEPS).exp2() / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_to_a_twentieth() {
        let mut times = Times::default();
        assert_eq!((times.spread(), times.count()), (None, 0));
        (1..=1000).for_each(|ms| times.add(ms * 1000));
        let spread = times.spread().unwrap();
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.05;
        assert!(near(spread.p50, 500.0) && near(spread.p95, 950.0), "{spread:?}");
        assert!((spread.mean - 500.5).abs() < 1e-9 && times.count() == 1000);
        times.add(0);
        times.add(u32::MAX);
        assert_eq!(times.count(), 1002);
        let bytes = bincode::encode_to_vec(&times, bincode::config::standard()).unwrap();
        let read: (Times, usize) = bincode::decode_from_slice(&bytes, bincode::config::standard()).unwrap();
        assert!(read.0 == times && bytes.len() < 1000, "{} bytes", bytes.len());
    }
}
