//! What a component does to a slate, in numbers.

use std::collections::HashMap;

/// Kendall's τ of two orders over what is in both: 1 for the same order, −1 for the
/// opposite; 1 when there are fewer than two.
pub(crate) fn rank_correlation(before: &[u64], after: &[u64]) -> f64 {
    let places: HashMap<u64, usize> = before.iter().enumerate().map(|(place, handle)| (*handle, place)).collect();
    let places: Vec<usize> = after.iter().filter_map(|handle| places.get(handle).copied()).collect();
    let pairs = places.len() * places.len().saturating_sub(1) / 2;
    if pairs == 0 {
        return 1.0;
    }
    let later = |at: usize| places.iter().skip(at + 1);
    let swapped: usize =
        places.iter().enumerate().map(|(at, place)| later(at).filter(|other| *other < place).count()).sum();
    1.0 - 2.0 * swapped as f64 / pairs as f64
}

/// The part of the first `count` of one list that is among those of another.
pub(crate) fn overlap(one: &[u64], other: &[u64], count: usize) -> f64 {
    let first: Vec<u64> = other.iter().copied().take(count).collect();
    let of = one.iter().take(count);
    let all = one.len().min(count).max(first.len());
    if all == 0 { 1.0 } else { of.filter(|handle| first.contains(handle)).count() as f64 / all as f64 }
}

/// Gini–Simpson index of values: how likely two of them are different; 0 of none.
pub(crate) fn diversity(values: &[u32]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mut counts: HashMap<u32, usize> = HashMap::new();
    values.iter().for_each(|value| *counts.entry(*value).or_default() += 1);
    let all = values.len();
    let same: usize = counts.values().map(|count| count * (count - 1)).sum();
    1.0 - same as f64 / (all * (all - 1)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_compared_over_what_both_have() {
        assert_eq!(rank_correlation(&[1, 2, 3], &[1, 2, 3]), 1.0);
        assert_eq!(rank_correlation(&[1, 2, 3], &[3, 2, 1]), -1.0);
        assert_eq!(rank_correlation(&[1, 2, 3, 4], &[2, 9, 1, 4]), 1.0 - 2.0 / 3.0);
        assert_eq!(rank_correlation(&[1], &[2]), 1.0);
    }

    #[test]
    fn overlap_is_of_the_first_places() {
        assert_eq!(overlap(&[1, 2, 3], &[2, 1, 4], 2), 1.0);
        assert_eq!(overlap(&[1, 2, 3], &[3, 4, 5], 2), 0.0);
        assert_eq!(overlap(&[1], &[1, 2], 2), 0.5);
        assert_eq!(overlap(&[], &[], 2), 1.0);
    }

    #[test]
    fn diversity_is_the_chance_that_two_differ() {
        assert_eq!(diversity(&[1, 1, 1]), 0.0);
        assert_eq!(diversity(&[1, 2, 3]), 1.0);
        assert!((diversity(&[1, 1, 2]) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(diversity(&[7]), 0.0);
    }
}
