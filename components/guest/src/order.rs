//! Scores: one order and one scale for all stages, so that they break ties and
//! treat what is not a number alike.

use std::cmp::Ordering;

use crate::types::Handle;

/// Higher first; NaN after everything.
#[must_use]
pub fn descending(one: f32, other: f32) -> Ordering {
    other.partial_cmp(&one).unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
}

/// Sorts best first; equal scores by handle, so that the order is a function of
/// the contents.
pub fn best_first(entries: &mut [(Handle, f32)]) {
    entries.sort_unstable_by(|(handle, score), (other_handle, other)| {
        descending(*score, *other).then(handle.cmp(other_handle))
    });
}

/// Scores scaled to 0 (the lowest) to 1 (the highest); 0.5 each when all are
/// equal. NaN becomes 0; infinities count as the largest finite numbers.
#[must_use]
pub fn min_max(scores: &[f32]) -> Vec<f32> {
    let finite = |score: f32| f64::from(score.clamp(f32::MIN, f32::MAX));
    let (least, most) = scores
        .iter()
        .filter(|score| !score.is_nan())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), score| {
            (least.min(finite(*score)), most.max(finite(*score)))
        });
    // In f64, the range of finite f32s does not overflow.
    let range = most - least;
    let scale = |score: &f32| {
        if score.is_nan() {
            0.0
        } else if range > 0.0 {
            ((finite(*score) - least) / range) as f32
        } else {
            0.5
        }
    };
    scores.iter().map(scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_sinks_and_ties_go_by_handle() {
        let mut entries =
            [(1, f32::NAN), (5, 2.0), (4, 2.0), (2, f32::NEG_INFINITY), (3, f32::INFINITY), (7, 0.0), (6, -0.0)];
        best_first(&mut entries);
        assert_eq!(entries.map(|(handle, _)| handle), [3, 4, 5, 6, 7, 2, 1]);
    }

    #[test]
    fn scaled_to_zero_and_one() {
        assert_eq!(min_max(&[3.0, 1.0, 2.0, f32::NAN]), [1.0, 0.0, 0.5, 0.0]);
        assert_eq!(min_max(&[4.0, 4.0]), [0.5, 0.5]);
        assert_eq!(min_max(&[f32::MAX, f32::MIN, 0.0]), [1.0, 0.0, 0.5]);
        assert_eq!(min_max(&[f32::INFINITY, f32::NEG_INFINITY]), [1.0, 0.0]);
        assert_eq!(min_max(&[f32::NAN]), [0.0]);
        assert!(min_max(&[]).is_empty());
    }
}
