//! Exponential decay.

/// What a weight given at `from_ms` is worth at `to_ms`: it halves every
/// `half_life_s`. A time before `from_ms` gives more than 1.
#[must_use]
pub fn factor(from_ms: u64, to_ms: u64, half_life_s: u32) -> f64 {
    let age_ms = to_ms as f64 - from_ms as f64;
    // Finite, so that nothing times a long time ago is nothing.
    (-age_ms / (1000.0 * f64::from(half_life_s.max(1)))).exp2().min(f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_once_per_half_life() {
        assert_eq!(factor(0, 3_600_000, 3600), 0.5);
        assert_eq!(factor(3_600_000, 0, 3600), 2.0);
        assert!(factor(u64::MAX, 0, 1).is_finite());
    }
}
