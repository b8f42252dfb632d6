//! What tests compare an index with.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;

use funnelweb_vector_index::{Change, Filter, Hit, Metric, Space};

/// Vectors by handle, compared one by one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model(pub BTreeMap<u64, Vec<f32>>);

impl Model {
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Upsert { handle, vector } => self.0.insert(*handle, vector.clone()),
                Change::Delete { handle } => self.0.remove(handle),
            };
        }
    }

    /// What a query has to give: all that are allowed, the best first.
    pub fn ranked(&self, space: Space, vector: &[f32], filter: Option<&Filter>) -> Vec<Hit> {
        let allowed = self.0.iter().filter(|(handle, _)| filter.is_none_or(|filter| filter.allows(**handle)));
        let hit = |(handle, other): (&u64, &Vec<f32>)| Hit { handle: *handle, score: score(space, vector, other) };
        let mut hits: Vec<Hit> = allowed.map(hit).collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.handle.cmp(&b.handle)));
        hits
    }
}

/// The similarity of two vectors, in 64 bits.
pub fn score(space: Space, a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let weight = match space.metric() {
        Metric::InnerProduct => 1.0,
        Metric::Cosine => (dot(a, a) * dot(b, b)).sqrt().recip(),
    };
    (dot(a, b) * weight) as f32
}

/// Checks that `found` is what the model gives, but for the order of what is equal up
/// to rounding.
pub fn assert_best(space: Space, model: &Model, vector: &[f32], filter: Option<&Filter>, k: usize, found: &[Hit]) {
    let ranked = model.ranked(space, vector, filter);
    assert_eq!(found.len(), ranked.len().min(k));
    assert!(found.is_sorted_by(|a, b| a.score > b.score || a.score == b.score && a.handle < b.handle), "{found:?}");
    for (hit, best) in found.iter().zip(&ranked) {
        let own = score(space, vector, model.0.get(&hit.handle).expect("found is there"));
        assert!(filter.is_none_or(|filter| filter.allows(hit.handle)), "{hit:?} is not allowed");
        assert!(close(hit.score, own), "{hit:?} has score {own}");
        assert!(close(hit.score, best.score), "{hit:?} in place of {best:?}");
    }
}

pub fn close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-4 * a.abs().max(b.abs()).max(1.0)
}

/// Numbers that look random, the same for the same seed.
pub fn vector(seed: u64, dimension: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let mut number = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..dimension).map(|_| number()).collect()
}

pub fn upsert(handle: u64, vector: Vec<f32>) -> Change {
    Change::Upsert { handle, vector }
}
