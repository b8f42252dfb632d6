//! The best of many, in an order that does not depend on how they came.

use std::cmp::Ordering;

/// Ids and their scores, best first and equal scores by id; all scores are finite.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ranked {
    /// The ids.
    pub ids: Vec<u32>,
    /// A score for each.
    pub scores: Vec<f32>,
}

/// Best first, equal scores by id.
fn order(a: &(f32, u32), b: &(f32, u32)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Takes scores one by one and keeps the best; reused from row to row.
#[derive(Debug)]
pub(crate) struct Top {
    limit: usize,
    /// What may be among the best, at most twice as many as are kept and a few.
    kept: Vec<(f32, u32)>,
    /// What a score must reach to matter.
    bar: f32,
}

impl Top {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, kept: Vec::new(), bar: f32::NEG_INFINITY }
    }

    /// Offers one; NaN and infinity are not taken.
    #[inline]
    pub(crate) fn push(&mut self, id: u32, score: f32) {
        if score >= self.bar && score.is_finite() {
            // −0 and 0 are one score.
            self.kept.push((score + 0.0, id));
            if self.kept.len() >= self.limit * 2 + 32 {
                self.prune();
            }
        }
    }

    fn prune(&mut self) {
        if let Some(last) = self.limit.checked_sub(1)
            && self.kept.len() > self.limit
        {
            let (_, &mut (bar, _), _) = self.kept.select_nth_unstable_by(last, order);
            self.bar = bar;
        }
        self.kept.truncate(self.limit);
    }

    /// The best, which are forgotten by it.
    pub(crate) fn take(&mut self) -> Ranked {
        self.prune();
        self.kept.sort_unstable_by(order);
        self.bar = f32::NEG_INFINITY;
        let (scores, ids) = self.kept.drain(..).unzip();
        Ranked { ids, scores }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_best_are_those_of_a_full_sort(scores in prop::collection::vec(-3_i8..3, 0..300), limit in 0_usize..40) {
            let mut top = Top::new(limit);
            let mut all: Vec<(f32, u32)> = scores.iter().zip(0..).map(|(&score, id)| (f32::from(score), id)).collect();
            for &(score, id) in all.iter().rev() {
                top.push(id, score);
            }
            all.sort_by(order);
            all.truncate(limit);
            let ranked = top.take();
            prop_assert_eq!(ranked.ids, all.iter().map(|entry| entry.1).collect::<Vec<_>>());
            prop_assert_eq!(ranked.scores, all.iter().map(|entry| entry.0).collect::<Vec<_>>());
            prop_assert_eq!(top.take(), Ranked::default());
        }
    }

    #[test]
    fn what_is_not_finite_is_not_ranked() {
        let mut top = Top::new(5);
        for (id, score) in [(0, f32::NAN), (1, f32::INFINITY), (2, f32::NEG_INFINITY), (3, -1.0)] {
            top.push(id, score);
        }
        assert_eq!(top.take().ids, [3]);
    }
}
