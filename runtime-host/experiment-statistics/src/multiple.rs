//! Several comparisons at once: each further group or metric is another chance to be wrong.

use crate::error::{self, Result};

/// P-values of several comparisons, corrected in the order they come in: of those that are at
/// most α, all are right with probability 1 − α, however they depend on each other (Holm, "A
/// Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics
/// 1979). The i-th smallest of n is (n − i + 1) p, and at least the one before it.
///
/// It holds for always-valid p-values as for others. Intervals are not corrected with them:
/// for n intervals that are right together, make each at α / n.
///
/// # Errors
/// [`crate::Error::Setting`] for what is no p-value.
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>> {
    let mut sorted = Vec::with_capacity(p_values.len());
    for (place, p) in p_values.iter().enumerate() {
        sorted.push((error::p_value(*p)?, place));
    }
    sorted.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
    let mut least = 0.0_f64;
    let mut corrected: Vec<(usize, f64)> = Vec::with_capacity(sorted.len());
    for (at, (p, place)) in sorted.iter().enumerate() {
        least = least.max((p * (sorted.len() - at) as f64).min(1.0));
        corrected.push((*place, least));
    }
    corrected.sort_unstable_by_key(|(place, _)| *place);
    Ok(corrected.into_iter().map(|(_, p)| p).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn the_smallest_pays_for_all() {
        assert_eq!(holm(&[0.5, 0.01, 0.03, 0.03]).unwrap(), [0.5, 0.04, 0.09, 0.09]);
        assert_eq!(holm(&[0.9, 0.8]).unwrap(), [1.0, 1.0]);
        assert_eq!(holm(&[]).unwrap(), Vec::<f64>::new());
    }

    #[test]
    fn what_is_no_p_value_is_refused() {
        for p in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
            assert!(matches!(holm(&[0.5, p]), Err(Error::Setting { .. })), "{p}");
        }
    }
}
