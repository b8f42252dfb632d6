//! Making a recall channel's answer.

use crate::{
    handles::{HandleMap, HandleSet},
    order,
    recall::Recalled,
    types::Handle,
};

impl Recalled {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { handles: Vec::new(), scores: Vec::new() }
    }

    /// The `limit` best of the entries that are above 0 and finite, equal ones by
    /// handle; each handle must stand once. Scores are shares of the best one's, so
    /// above 0 and at most 1.
    #[must_use]
    pub fn shares(entries: impl IntoIterator<Item = (Handle, f32)>, limit: u32) -> Self {
        let positive = |(_, score): &(Handle, f32)| *score > 0.0 && score.is_finite();
        let mut entries: Vec<(Handle, f32)> = entries.into_iter().filter(positive).collect();
        let limit = limit as usize;
        if limit < entries.len() {
            // Only what is returned needs sorting.
            entries.select_nth_unstable_by(limit, |one, other| {
                order::descending(one.1, other.1).then(one.0.cmp(&other.0))
            });
            entries.truncate(limit);
        }
        order::best_first(&mut entries);
        let most = entries.first().map_or(1.0, |(_, score)| *score);
        // The share of a very small one may be too small for an f32.
        let share = |score: f32| (score / most).max(f32::MIN_POSITIVE);
        let (handles, scores) = entries.into_iter().map(|(handle, score)| (handle, share(score))).unzip();
        Self { handles, scores }
    }

    /// As [`shares`](Self::shares), of sums by handle, without what is `hidden`.
    #[must_use]
    pub fn sums(scores: HandleMap<f32>, hidden: &HandleSet, limit: u32) -> Self {
        Self::shares(scores.into_iter().filter(|(handle, _)| !hidden.contains(handle)), limit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_best_have_shares_of_the_first() {
        let entries = [(4, 1.0), (3, 4.0), (2, 1.0), (1, -1.0), (5, f32::NAN), (6, f32::INFINITY), (7, 0.0)];
        let recalled = Recalled::shares(entries, 2);
        assert_eq!((recalled.handles, recalled.scores), (vec![3, 2], vec![1.0, 0.25]));
        let sums = Recalled::sums([(1, 2.0), (2, 1.0)].into_iter().collect(), &[1].into_iter().collect(), 9);
        assert_eq!((sums.handles, sums.scores), (vec![2], vec![1.0]));
        assert!(Recalled::shares([], 9).handles.is_empty());
    }

    proptest! {
        #[test]
        fn keeps_the_contract(scores in prop::collection::vec(any::<f32>(), 0..60), limit in 1_u32..70) {
            let recalled = Recalled::shares((1..).zip(scores.iter().copied()), limit);
            let offered = scores.iter().filter(|score| **score > 0.0 && score.is_finite()).count();
            prop_assert_eq!(recalled.handles.len(), offered.min(limit as usize));
            prop_assert_eq!(recalled.handles.len(), recalled.scores.len());
            prop_assert!(recalled.scores.iter().all(|score| *score > 0.0 && *score <= 1.0));
            prop_assert!(recalled.scores.is_sorted_by(|one, other| one >= other));
        }
    }
}
