//! From the answers of the recall channels to one list of candidates: what each
//! channel gives an item ([`crate::fusion`]) sums up.

use std::collections::hash_map::Entry;

use funnelweb_core::{limits, scenario::Merge};
use funnelweb_guest::{
    dispatch::RecallOutcome,
    handles::{HandleMap, HandleSet},
    types::{Candidates, Handle},
};

use crate::fusion;

/// The bit in `sources` of an item that a rule asked for.
pub(crate) const PINNED: u32 = 1 << 31;

/// Merges the channels' answers, each with its weight, without `exclude`; adds
/// the `pinned` ones at the end. Best first, ties by handle, at most
/// [`limits::CANDIDATES`].
pub(crate) fn merge(
    outcomes: &[RecallOutcome],
    weights: &[f32],
    config: &Merge,
    exclude: &HandleSet,
    pinned: &[Handle],
) -> Candidates {
    let offered = outcomes.iter().map(|outcome| outcome.handles.len()).sum::<usize>() + pinned.len();
    let mut at: HandleMap<usize> = HandleMap::with_capacity_and_hasher(offered, Default::default());
    let mut merged: Vec<(Handle, f32, u32)> = Vec::with_capacity(offered);
    for (channel, (outcome, shares)) in outcomes.iter().zip(fusion::shares(outcomes, weights, config)).enumerate() {
        for (handle, share) in outcome.handles.iter().zip(shares) {
            if exclude.contains(handle) {
                continue;
            }
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
    use funnelweb_core::scenario::{MergeMethod, Normalization};
    use proptest::prelude::*;

    use super::*;
    use crate::fusion::tests::{channel, scored};

    const RRF: Merge = Merge { method: MergeMethod::Rrf, k: None, normalization: None };

    #[test]
    fn two_channels_beat_one_and_the_first_of_all_has_1() {
        let merged = merge(&[channel(&[1, 2]), channel(&[1, 3])], &[0.5, 0.5], &RRF, &HandleSet::default(), &[]);
        assert_eq!(merged.handles, [1, 2, 3]);
        assert!((merged.scores[0] - 1.0).abs() < 1e-6);
        assert_eq!(merged.sources, [0b11, 0b01, 0b10]);
    }

    #[test]
    fn weights_decide_and_zero_still_offers() {
        let merged = merge(&[channel(&[1]), channel(&[2])], &[0.1, 0.9], &RRF, &HandleSet::default(), &[]);
        assert_eq!(merged.handles, [2, 1]);
        let merged = merge(&[channel(&[1])], &[0.0], &RRF, &HandleSet::default(), &[]);
        assert_eq!((merged.handles, merged.scores), (vec![1], vec![0.0]));
    }

    #[test]
    fn scores_of_different_scales_meet() {
        let score = Merge { method: MergeMethod::Score, k: None, normalization: Some(Normalization::MinMax) };
        let channels = [scored(&[(1, 1000.0), (2, 900.0), (3, 0.0)]), scored(&[(2, 0.02), (4, 0.01)])];
        let merged = merge(&channels, &[0.5, 0.5], &score, &HandleSet::default(), &[]);
        assert_eq!(merged.handles, [2, 1, 3, 4]);
        assert!((merged.scores[0] - 0.95).abs() < 1e-6 && merged.scores[1] == 0.5, "{:?}", merged.scores);
        assert_eq!(merged.sources, [0b11, 0b01, 0b01, 0b10]);
    }

    #[test]
    fn pins_are_offered_even_when_excluded_or_last() {
        let exclude: HandleSet = [1, 9].into_iter().collect();
        let merged = merge(&[channel(&[1, 2])], &[1.0], &RRF, &exclude, &[9, 2]);
        assert_eq!(merged.handles, [2, 9]);
        assert_eq!(merged.sources, [1 | PINNED, PINNED]);
        let many: Vec<Handle> = (0..limits::CANDIDATES as u64 + 10).collect();
        let merged = merge(&[channel(&many)], &[1.0], &RRF, &HandleSet::default(), &[u64::MAX]);
        assert_eq!(merged.handles.len(), limits::CANDIDATES);
        assert!(merged.handles.contains(&u64::MAX));
    }

    fn configs() -> impl Strategy<Value = Merge> {
        let rrf = (1_u32..=1000).prop_map(|k| Merge { k: Some(k), ..RRF });
        let all = [Normalization::MinMax, Normalization::ZScore, Normalization::Sum];
        let score = prop::sample::select(all.to_vec());
        let score = score.prop_map(|by| Merge { method: MergeMethod::Score, k: None, normalization: Some(by) });
        prop_oneof![rrf, score]
    }

    proptest! {
        #[test]
        fn each_item_once_best_first_whatever_comes(
            lists in prop::collection::vec(prop::collection::hash_map(0u64..50, any::<f32>(), 0..20), 0..5),
            weights in prop::collection::vec(0.0_f32..1000.0, 5),
            exclude in prop::collection::hash_set(0u64..50, 0..10),
            config in configs(),
        ) {
            let channels: Vec<_> = lists.iter().map(|list| scored(&list.clone().into_iter().collect::<Vec<_>>())).collect();
            let weights = &weights[..channels.len()];
            let excluded: HandleSet = exclude.iter().copied().collect();
            let merged = merge(&channels, weights, &config, &excluded, &[]);
            let unique: HandleSet = merged.handles.iter().copied().collect();
            prop_assert_eq!(unique.len(), merged.handles.len());
            prop_assert!(merged.scores.windows(2).all(|pair| pair[0] >= pair[1]));
            prop_assert!(merged.scores.iter().all(|score| (0.0..=1.0 + 1e-5).contains(score)), "{:?}", merged.scores);
            let expected: HandleSet = lists.iter().flat_map(|list| list.keys()).copied().filter(|handle| !exclude.contains(handle)).collect();
            prop_assert_eq!(unique, expected);
            for (handle, sources) in merged.handles.iter().zip(&merged.sources) {
                let offered = (0..).zip(&lists).filter(|(_, list)| list.contains_key(handle));
                prop_assert_eq!(*sources, offered.map(|(channel, _)| 1 << channel).sum::<u32>());
            }
        }

        #[test]
        fn units_do_not_matter_to_scores(
            list in prop::collection::vec(-100.0_f32..100.0, 1..20),
            scale in 0.1_f32..100.0,
            shift in -100.0_f32..100.0,
            config in configs(),
        ) {
            let of = |scale: f32, shift: f32| {
                let list: Vec<_> = (1..).zip(list.iter().map(|score| score * scale + shift)).collect();
                merge(&[scored(&list)], &[1.0], &config, &HandleSet::default(), &[])
            };
            let (one, other) = (of(1.0, 0.0), of(scale, shift));
            let by_handle: HandleMap<f32> = other.handles.iter().copied().zip(other.scores.iter().copied()).collect();
            for (handle, score) in one.handles.iter().zip(&one.scores) {
                // Nearly equal scores may not differ any more after the shift.
                prop_assert!((by_handle[handle] - score).abs() < 0.05, "{one:?} {other:?}");
            }
        }
    }
}
