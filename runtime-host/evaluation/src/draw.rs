//! Random numbers, from a seed.

use rand_core::Rng;

/// A number below `bound`, which is at least 1: multiply-shift (Lemire, "Fast
/// Random Integer Generation in an Interval", 2019) without its rejection, which
/// for a bound of a million leaves a bias of 2⁻⁴⁴.
pub(crate) fn below(random: &mut impl Rng, bound: usize) -> usize {
    ((u128::from(random.next_u64()) * bound as u128) >> 64) as usize
}

/// Puts `count` elements that chance picks in front, in random order (Fisher and
/// Yates).
pub(crate) fn shuffle_front<T>(list: &mut [T], count: usize, random: &mut impl Rng) {
    for at in 0..count.min(list.len()) {
        let other = at + below(random, list.len() - at);
        list.swap(at, other);
    }
}
