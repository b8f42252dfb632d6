//! From the answers of the recall channels to one list of candidates.
//!
//! Channels score on scales of their own, so ranks are merged, not scores:
//! weighted reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009),
//! `score(i) = Σ_c w_c / (K + rank_c(i))` with `K = 60`, divided by the score of
//! an item that every channel has first, so that scores lie in (0, 1].

use std::collections::hash_map::Entry;

use funnelweb_core::limits;
use funnelweb_guest::{
    dispatch::RecallOutcome,
    handles::{HandleMap, HandleSet},
    types::{Candidates, Handle},
};

/// The constant of reciprocal rank fusion.
const K: f32 = 60.0;

/// The bit in `sources` of an item that a rule asked for.
pub(crate) const PINNED: u32 = 1 << 31;

/// Merges the channels' answers, each with its weight, without `exclude`; adds
/// the `pinned` ones at the end. Best first, ties by handle, at most
/// [`limits::CANDIDATES`].
pub(crate) fn merge(outcomes: &[RecallOutcome], weights: &[f32], exclude: &HandleSet, pinned: &[Handle]) -> Candidates {
    let offered = outcomes.iter().map(|outcome| outcome.handles.len()).sum::<usize>() + pinned.len();
    let mut at: HandleMap<usize> = HandleMap::with_capacity_and_hasher(offered, Default::default());
    let mut merged: Vec<(Handle, f32, u32)> = Vec::with_capacity(offered);
    let best: f32 = weights.iter().map(|weight| weight / (K + 1.0)).sum();
    for (channel, (outcome, weight)) in outcomes.iter().zip(weights).enumerate() {
        for (rank, handle) in outcome.handles.iter().enumerate() {
            if exclude.contains(handle) {
                continue;
            }
            let share = if best > 0.0 { weight / (K + 1.0 + rank as f32) / best } else { 0.0 };
            match at.entry(*handle) {
                Entry::Vacant(entry) => {
                    entry.insert(merged.len());
                    merged.push((*handle, share, 1 << channel));
                }
                Entry::Occupied(entry) => {
                    if let Some((_, score, sources)) = merged.get_mut(*entry.get()) {
                        *score += share;
                        *sources |= 1 << channel;
                    }
                }
            }
        }
    }
    for handle in pinned {
        match at.entry(*handle) {
            Entry::Vacant(entry) => {
                entry.insert(merged.len());
                merged.push((*handle, 0.0, PINNED));
            }
            Entry::Occupied(entry) => {
                if let Some((_, _, sources)) = merged.get_mut(*entry.get()) {
                    *sources |= PINNED;
                }
            }
        }
    }
    // Pinned ones first of all here, so that the cut never takes them.
    let pinned = |sources: u32| sources & PINNED != 0;
    merged.sort_unstable_by(|(one, one_score, one_sources), (other, other_score, other_sources)| {
        other_score
            .total_cmp(one_score)
            .then_with(|| pinned(*other_sources).cmp(&pinned(*one_sources)))
            .then(one.cmp(other))
    });
    if merged.len() > limits::CANDIDATES {
        let (kept, rest) = merged.split_at(limits::CANDIDATES);
        let late: Vec<_> = rest.iter().filter(|(_, _, sources)| pinned(*sources)).copied().collect();
        merged = kept.iter().take(limits::CANDIDATES - late.len()).copied().chain(late).collect();
    }
    let mut candidates = Candidates {
        handles: Vec::with_capacity(merged.len()),
        scores: Vec::with_capacity(merged.len()),
        sources: Vec::with_capacity(merged.len()),
    };
    for (handle, score, sources) in merged {
        candidates.handles.push(handle);
        candidates.scores.push(score);
        candidates.sources.push(sources);
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use funnelweb_guest::dispatch::{StageReport, StageStatus};
    use proptest::prelude::*;

    fn channel(handles: &[Handle]) -> RecallOutcome {
        let report = StageReport {
            stage: "x".into(),
            component: "x".into(),
            status: StageStatus::Ok,
            reason: String::new(),
            elapsed_us: 0,
            candidates_in: 0,
            candidates_out: 0,
        };
        RecallOutcome { report, handles: handles.to_vec(), scores: vec![0.0; handles.len()] }
    }

    #[test]
    fn two_channels_beat_one_and_the_first_of_all_has_1() {
        let merged = merge(&[channel(&[1, 2]), channel(&[1, 3])], &[0.5, 0.5], &HandleSet::default(), &[]);
        assert_eq!(merged.handles, [1, 2, 3]);
        assert!((merged.scores[0] - 1.0).abs() < 1e-6);
        assert_eq!(merged.sources, [0b11, 0b01, 0b10]);
    }

    #[test]
    fn weights_decide_and_zero_still_offers() {
        let merged = merge(&[channel(&[1]), channel(&[2])], &[0.1, 0.9], &HandleSet::default(), &[]);
        assert_eq!(merged.handles, [2, 1]);
        let merged = merge(&[channel(&[1])], &[0.0], &HandleSet::default(), &[]);
        assert_eq!((merged.handles, merged.scores), (vec![1], vec![0.0]));
    }

    #[test]
    fn pins_are_offered_even_when_excluded_or_last() {
        let exclude: HandleSet = [1, 9].into_iter().collect();
        let merged = merge(&[channel(&[1, 2])], &[1.0], &exclude, &[9, 2]);
        assert_eq!(merged.handles, [2, 9]);
        assert_eq!(merged.sources, [1 | PINNED, PINNED]);
        let many: Vec<Handle> = (0..limits::CANDIDATES as u64 + 10).collect();
        let merged = merge(&[channel(&many)], &[1.0], &HandleSet::default(), &[u64::MAX]);
        assert_eq!(merged.handles.len(), limits::CANDIDATES);
        assert!(merged.handles.contains(&u64::MAX));
    }

    proptest! {
        #[test]
        fn each_item_once_best_first_whatever_comes(
            lists in prop::collection::vec(prop::collection::hash_set(0u64..50, 0..20), 0..5),
            exclude in prop::collection::hash_set(0u64..50, 0..10),
        ) {
            let channels: Vec<_> = lists.iter().map(|list| channel(&list.iter().copied().collect::<Vec<_>>())).collect();
            let weights = vec![0.3; channels.len()];
            let excluded: HandleSet = exclude.iter().copied().collect();
            let merged = merge(&channels, &weights, &excluded, &[]);
            let unique: HandleSet = merged.handles.iter().copied().collect();
            prop_assert_eq!(unique.len(), merged.handles.len());
            prop_assert!(merged.scores.windows(2).all(|pair| pair[0] >= pair[1]));
            prop_assert!(merged.scores.iter().all(|score| *score > 0.0 && *score <= 1.0 + 1e-6));
            let expected: HandleSet = lists.iter().flatten().copied().filter(|handle| !exclude.contains(handle)).collect();
            prop_assert_eq!(unique, expected);
        }
    }
}
