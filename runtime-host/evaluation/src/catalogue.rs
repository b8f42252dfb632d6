//! What slates are made of: how popular items are, and what they are like.

use std::collections::HashSet;

use crate::{
    data::Data,
    metrics::{Spread, by_metric},
};

/// The items and what is known of them from the part that was learned from.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// By item, the users who like it.
    likers: Vec<u32>,
    /// By item, −log₂ of the share of users who like it.
    information: Vec<f64>,
    /// By item, where it stands by popularity, 0 to 1.
    percentiles: Vec<f64>,
    features: Features,
}

/// What items are like, each by its number. An item without features is not
/// compared.
#[derive(Debug, Clone, Default)]
pub struct Features {
    /// By item, the entries of its vector, which has length 1.
    vectors: Vec<Vec<(u32, f32)>>,
    dimensions: usize,
}

impl Features {
    /// By item, what it has of some set (categories, tags), by number: its vector
    /// has the same value for each, so that the cosine of two items is
    /// |A ∩ B| / √(|A| |B|).
    #[must_use]
    pub fn sets(sets: &[Vec<u32>]) -> Self {
        let vector = |set: &Vec<u32>| {
            let set: HashSet<u32> = set.iter().copied().collect();
            set.into_iter().map(|feature| (feature, 1.0)).collect()
        };
        Self::of(sets.iter().map(vector).collect())
    }

    /// By item, its vector; one that is empty, zero or not finite is none.
    #[must_use]
    pub fn vectors(vectors: &[Vec<f32>]) -> Self {
        Self::of(vectors.iter().map(|vector| (0..).zip(vector.iter().copied()).collect()).collect())
    }

    fn of(mut vectors: Vec<Vec<(u32, f32)>>) -> Self {
        for vector in &mut vectors {
            let length = vector.iter().map(|(_, value)| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            if length > 0.0 && length.is_finite() {
                vector.iter_mut().for_each(|(_, value)| *value = (f64::from(*value) / length) as f32);
                vector.sort_unstable_by_key(|(at, _)| *at);
            } else {
                vector.clear();
            }
        }
        let dimensions = vectors.iter().flatten().map(|(at, _)| *at as usize + 1).max().unwrap_or(0);
        Self { vectors, dimensions }
    }
}

/// Memory for one slate, used again for the next.
pub(crate) struct Scratch {
    sum: Vec<f64>,
    touched: Vec<u32>,
}

impl Catalogue {
    /// The catalogue of `data`, its popularity by the events at the places `train`.
    #[must_use]
    pub fn new(data: &Data, train: &[usize], features: Features) -> Self {
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        let mut users = HashSet::new();
        for event in train.iter().filter_map(|&at| data.events.get(at)).filter(|event| event.is_liking()) {
            pairs.push((event.item, event.user));
            users.insert(event.user);
        }
        pairs.sort_unstable();
        pairs.dedup();
        let mut likers = vec![0_u32; data.items.len() as usize];
        for (item, _) in pairs {
            if let Some(count) = likers.get_mut(item as usize) {
                *count += 1;
            }
        }
        let users = users.len().max(1) as f64;
        let information = likers.iter().map(|count| (users / f64::from((*count).max(1))).log2()).collect();
        let percentiles = percentiles(&likers);
        Self { likers, information, percentiles, features }
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.likers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.likers.is_empty()
    }

    /// By item, the users who like it.
    #[must_use]
    pub fn likers(&self) -> &[u32] {
        &self.likers
    }

    pub(crate) fn scratch(&self) -> Scratch {
        Scratch { sum: vec![0.0; self.features.dimensions], touched: Vec::new() }
    }

    /// Novelty, diversity, percentile and average popularity, each at every cut.
    pub(crate) fn of_slate(&self, slate: &[u32], cuts: &[u32], scratch: &mut Scratch) -> Vec<f64> {
        let diversity = self.diversity(slate, cuts, scratch);
        let mean = |k: u32, values: &dyn Fn(usize) -> Option<f64>| {
            let values: Vec<f64> = slate.iter().take(k as usize).filter_map(|item| values(*item as usize)).collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        let rows: Vec<[f64; 4]> = cuts
            .iter()
            .zip(diversity)
            .map(|(k, diversity)| {
                [
                    mean(*k, &|item| self.information.get(item).copied()),
                    diversity,
                    mean(*k, &|item| self.percentiles.get(item).copied()),
                    mean(*k, &|item| self.likers.get(item).map(|count| f64::from(*count))),
                ]
            })
            .collect();
        by_metric(&rows)
    }

    /// The mean over pairs of 1 − cosine. With vectors of length 1 the cosines of n
    /// items sum up to (|Σ v|² − n) / 2, so pairs need not be looked at.
    fn diversity(&self, slate: &[u32], cuts: &[u32], scratch: &mut Scratch) -> Vec<f64> {
        let Scratch { sum, touched } = scratch;
        let (mut squares, mut count) = (0.0_f64, 0_u32);
        let mut at_length = Vec::with_capacity(slate.len() + 1);
        at_length.push(f64::NAN);
        for item in slate {
            let vector = self.features.vectors.get(*item as usize).map_or(&[][..], Vec::as_slice);
            for (at, value) in vector {
                let Some(sum) = sum.get_mut(*at as usize) else { continue };
                let value = f64::from(*value);
                squares += 2.0 * *sum * value + value * value;
                *sum += value;
                touched.push(*at);
            }
            count += u32::from(!vector.is_empty());
            let n = f64::from(count);
            at_length.push(if count < 2 { f64::NAN } else { 1.0 - (squares - n) / (n * (n - 1.0)) });
        }
        for at in touched.drain(..) {
            if let Some(sum) = sum.get_mut(at as usize) {
                *sum = 0.0;
            }
        }
        let at = |k: &u32| at_length.get((*k as usize).min(slate.len())).copied().unwrap_or(f64::NAN);
        // Of equal items rounding may leave a little less than nothing.
        cuts.iter().map(at).map(|value| if value < 0.0 { 0.0 } else { value }).collect()
    }

    /// Coverage and Gini index of all slates at a cut.
    pub(crate) fn spread(&self, slates: &[Vec<u32>], k: u32) -> Spread {
        let mut shown = vec![0_u64; self.len()];
        for item in slates.iter().flat_map(|slate| slate.iter().take(k as usize)) {
            if let Some(shown) = shown.get_mut(*item as usize) {
                *shown += 1;
            }
        }
        let items = self.len().max(1) as f64;
        let covered = shown.iter().filter(|count| **count > 0).count();
        shown.sort_unstable();
        let total: u64 = shown.iter().sum();
        let weighted: f64 = (1_u64..).zip(&shown).map(|(rank, count)| (rank * count) as f64).sum();
        // Σ (2 rank − n − 1) x / (n Σ x), over items in ascending order.
        let gini = if total == 0 { 0.0 } else { (2.0 * weighted / total as f64 - items - 1.0) / items };
        Spread { k, coverage: covered as f64 / items, gini }
    }
}

/// By item, the share of all that have less, and half of the share of those that
/// have as much.
fn percentiles(counts: &[u32]) -> Vec<f64> {
    let mut order: Vec<u32> = counts.to_vec();
    order.sort_unstable();
    let total = counts.len() as f64;
    let place = |count: &u32| {
        let below = order.partition_point(|other| other < count);
        let up_to = order.partition_point(|other| other <= count);
        (below + up_to) as f64 / 2.0 / total
    };
    counts.iter().map(place).collect()
}

#[cfg(test)]
mod tests;
