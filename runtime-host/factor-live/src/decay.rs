//! Exponential decay.

pub use funnelweb_core::decay::factor;

/// A sum of decaying weights, as of a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Score {
    pub(crate) value: f64,
    pub(crate) at_ms: u64,
}

impl Score {
    /// Adds a weight given at `at_ms`, which may lie before the score's own time:
    /// the sum is the same in whichever order weights come.
    pub(crate) fn add(self, weight: f64, at_ms: u64, half_life_s: u32) -> Self {
        let latest_ms = self.at_ms.max(at_ms);
        let value =
            self.value * factor(self.at_ms, latest_ms, half_life_s) + weight * factor(at_ms, latest_ms, half_life_s);
        Self { value: value.clamp(-f64::MAX, f64::MAX), at_ms: latest_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_once_per_half_life() {
        let score = Score { value: 4.0, at_ms: 0 }.add(1.0, 10_000, 10);
        assert_eq!(score, Score { value: 3.0, at_ms: 10_000 });
        assert_eq!(score.add(1.0, 0, 10), Score { value: 3.5, at_ms: 10_000 });
    }

    proptest! {
        #[test]
        fn order_of_arrival_does_not_matter(
            weights in prop::collection::vec((-10.0..10.0_f64, 0..100_000_u64), 1..20),
        ) {
            let zero = Score { value: 0.0, at_ms: 0 };
            let sum = |weights: &[(f64, u64)]| weights.iter().fold(zero, |sum, (w, at)| sum.add(*w, *at, 60));
            let mut sorted = weights.clone();
            sorted.sort_by_key(|(_, at)| *at);
            let (one, other) = (sum(&weights), sum(&sorted));
            prop_assert_eq!(one.at_ms, other.at_ms);
            prop_assert!((one.value - other.value).abs() < 1e-9 * weights.len() as f64 * 10.0);
        }
    }
}
