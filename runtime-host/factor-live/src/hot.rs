//! A hot list in memory: forward decay (Cormode, Shkapenyuk, Srivastava, Xu,
//! "Forward Decay: A Practical Time Decay Model for Streaming Systems", ICDE
//! 2009, exponential case).
//!
//! Every score is kept relative to one landmark `L`: a weight `w` given at `t`
//! counts `w · 2^((t − L) / h)`, whatever the time of asking, so members keep
//! their order while time passes and only those change that get a weight. Asked
//! at `now`, all of them are multiplied by `2^((L − now) / h)`. The landmark
//! moves before the exponent leaves what an `f64` holds.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
};

use crate::{
    decay::{Score, factor},
    store::Scored,
};

/// Half-lives past the landmark at which it moves; an `f64` holds 2^1023.
const REBASE_HALF_LIVES: f64 = 256.0;

/// Half-lives after its newest weight at which a list stops to fade: behaviours
/// of years ago, imported today, still say what was popular.
const FADED_HALF_LIVES: f64 = 64.0;

/// A member's place: by score, then handle.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    score: f64,
    handle: u64,
}

impl Eq for Place {}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(self.handle.cmp(&other.handle))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The members of one hot list.
#[derive(Debug, Clone)]
pub struct HotList {
    half_life_s: u32,
    landmark_ms: u64,
    /// Of the newest weight.
    newest_ms: u64,
    scores: HashMap<u64, f64>,
    order: BTreeSet<Place>,
}

impl HotList {
    /// An empty one.
    #[must_use]
    pub fn new(half_life_s: u32) -> Self {
        Self { half_life_s, landmark_ms: 0, newest_ms: 0, scores: HashMap::new(), order: BTreeSet::new() }
    }

    /// The list of these members, all under one half-life.
    pub(crate) fn with_members(half_life_s: u32, members: impl IntoIterator<Item = (u64, Score)>) -> Self {
        let mut list = Self::new(half_life_s);
        for (handle, score) in members {
            list.set(handle, score);
        }
        list
    }

    /// The list of these members as another process keeps it: scores are relative
    /// to the landmark, the newest weight was given at `newest_ms`.
    #[must_use]
    pub fn kept(
        half_life_s: u32,
        landmark_ms: u64,
        newest_ms: u64,
        members: impl IntoIterator<Item = (u64, f64)>,
    ) -> Self {
        let scores: HashMap<u64, f64> = members.into_iter().collect();
        let order = scores.iter().map(|(&handle, &score)| Place { score, handle }).collect();
        Self { half_life_s, landmark_ms, newest_ms, scores, order }
    }

    /// A member has this score now, relative to the landmark; the newest weight of
    /// all was given at `newest_ms` or later.
    pub fn keep(&mut self, handle: u64, score: f64, newest_ms: u64) {
        self.newest_ms = self.newest_ms.max(newest_ms);
        self.place(handle, score);
    }

    /// Gives a member its score.
    pub(crate) fn set(&mut self, handle: u64, score: Score) {
        self.make_room(score.at_ms);
        // A score far older than the landmark becomes 0, which it is by then.
        let value = score.value * factor(score.at_ms, self.landmark_ms, self.half_life_s);
        self.place(handle, value);
    }

    /// Adds a weight given at `at_ms` to a member's score.
    pub(crate) fn add(&mut self, handle: u64, weight: f64, at_ms: u64) {
        self.make_room(at_ms);
        let old = self.scores.get(&handle).copied().unwrap_or(0.0);
        let value = old + weight * factor(at_ms, self.landmark_ms, self.half_life_s);
        self.place(handle, value.clamp(-f64::MAX, f64::MAX));
    }

    /// Has the landmark be one from which `at_ms` can be told.
    fn make_room(&mut self, at_ms: u64) {
        self.newest_ms = self.newest_ms.max(at_ms);
        if self.scores.is_empty() {
            self.landmark_ms = at_ms;
        } else if (at_ms as f64 - self.landmark_ms as f64) / self.half_life_ms() > REBASE_HALF_LIVES {
            self.rebase(at_ms);
        }
    }

    fn place(&mut self, handle: u64, score: f64) {
        self.remove(handle);
        self.scores.insert(handle, score);
        self.order.insert(Place { score, handle });
    }

    pub(crate) fn half_life_s(&self) -> u32 {
        self.half_life_s
    }

    /// It is no member any more.
    pub fn remove(&mut self, handle: u64) {
        if let Some(score) = self.scores.remove(&handle) {
            self.order.remove(&Place { score, handle });
        }
    }

    fn half_life_ms(&self) -> f64 {
        1000.0 * f64::from(self.half_life_s)
    }

    fn rebase(&mut self, landmark_ms: u64) {
        let shrink = factor(self.landmark_ms, landmark_ms, self.half_life_s);
        self.landmark_ms = landmark_ms;
        for score in self.scores.values_mut() {
            *score *= shrink;
        }
        self.order = self.scores.iter().map(|(&handle, &score)| Place { score, handle }).collect();
    }

    /// From the landmark to `now_ms`, or to when the list has faded.
    fn decay(&self, now_ms: u64) -> f64 {
        let faded_ms = self.newest_ms.saturating_add((FADED_HALF_LIVES * self.half_life_ms()) as u64);
        factor(self.landmark_ms, now_ms.min(faded_ms), self.half_life_s)
    }

    /// The best members as of `now_ms` but for those of the ascending `exclude`,
    /// best first. None whose score is nothing or less.
    #[must_use]
    pub fn top(&self, limit: usize, exclude: &[u64], now_ms: u64) -> Scored {
        let decay = self.decay(now_ms);
        let best = self.order.iter().rev().filter(|place| exclude.binary_search(&place.handle).is_err());
        let scored = best.map(|place| (place.handle, narrow(place.score * decay)));
        let (handles, scores) = scored.take_while(|(_, score)| *score > 0.0).take(limit).unzip();
        Scored { handles, scores }
    }

    /// Scores as of `now_ms`, 0 for who is not a member.
    #[must_use]
    pub fn scores(&self, handles: &[u64], now_ms: u64) -> Vec<f32> {
        let decay = self.decay(now_ms);
        handles.iter().map(|handle| self.scores.get(handle).map_or(0.0, |score| narrow(score * decay))).collect()
    }

    /// The members beyond the best `keep`.
    pub(crate) fn coldest_beyond(&self, keep: usize) -> Vec<u64> {
        let beyond = self.order.len().saturating_sub(keep);
        self.order.iter().take(beyond).map(|place| place.handle).collect()
    }

    /// Bytes in memory, roughly: an entry of the map and one of the tree.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.scores.capacity() * 18 + self.order.len() * 24
    }
}

/// As an `f32` that is finite.
fn narrow(score: f64) -> f32 {
    score.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(value: f64, at_ms: u64) -> Score {
        Score { value, at_ms }
    }

    #[test]
    fn order_is_by_score_as_of_now_and_exclusion_passes_over() {
        let list = HotList::with_members(10, [(1, score(8.0, 0)), (2, score(5.0, 10_000)), (3, score(-1.0, 0))]);
        let top = list.top(2, &[], 20_000);
        assert_eq!(top, Scored { handles: vec![2, 1], scores: vec![2.5, 2.0] });
        assert_eq!(list.top(5, &[2], 0).handles, [1]);
        // However long ago, it is still known what was hot.
        assert_eq!(list.top(5, &[], 10_000_000_000).handles, [2, 1]);
        assert_eq!(list.scores(&[3, 4], 0), [-1.0, 0.0]);
    }

    #[test]
    fn adding_is_the_same_as_setting_the_sum() {
        let mut list = HotList::new(10);
        let mut sum = score(0.0, 0);
        for (weight, at_ms) in [(8.0, 0), (1.0, 20_000), (-0.5, 10_000), (2.0, 9_000_000), (1.0, 8_999_000)] {
            list.add(1, weight, at_ms);
            sum = sum.add(weight, at_ms, 10);
            let set = HotList::with_members(10, [(1, sum)]);
            let (one, other) = (list.scores(&[1], sum.at_ms), set.scores(&[1], sum.at_ms));
            assert!((one[0] - other[0]).abs() < 1e-6, "{one:?} {other:?}");
            assert_eq!(list.top(1, &[], sum.at_ms).handles, [1]);
        }
    }

    #[test]
    fn a_list_that_is_kept_elsewhere_decays_alike() {
        let mut list = HotList::kept(10, 10_000, 20_000, [(1, 4.0), (2, 1.0)]);
        assert_eq!(list.top(5, &[], 20_000), Scored { handles: vec![1, 2], scores: vec![2.0, 0.5] });
        list.keep(2, 16.0, 30_000);
        assert_eq!(list.top(5, &[], 30_000), Scored { handles: vec![2, 1], scores: vec![4.0, 1.0] });
        list.remove(2);
        assert_eq!(list.scores(&[1, 2], 30_000), [1.0, 0.0]);
    }

    #[test]
    fn the_landmark_moves_before_anything_overflows() {
        let mut list = HotList::new(1);
        // 10,000 half-lives: 2^10000 is no f64.
        for step in 0..100_u64 {
            list.set(step, score(1.0, step * 100_000));
        }
        let top = list.top(100, &[], 9_900_000);
        assert_eq!(top.handles.first(), Some(&99));
        assert_eq!(top.scores.first(), Some(&1.0));
        assert!(top.scores.iter().all(|score| score.is_finite()));
        // A member of long ago is nothing now.
        list.set(200, score(1e300, 0));
        assert_eq!(list.scores(&[200], 9_900_000), [0.0]);
        // A time before everything: more, but finite.
        assert!(list.scores(&[99], 0).iter().all(|score| score.is_finite()));
    }
}
