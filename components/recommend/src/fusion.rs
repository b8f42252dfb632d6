//! What a recall channel gives an item in the merge, by `config.recall.merge`.
//!
//! `rrf`: channels score on scales of their own, so places are merged: weighted
//! reciprocal rank fusion (Cormack, Clarke, Büttcher: *Reciprocal Rank Fusion
//! Outperforms Condorcet and Individual Rank Learning Methods*, SIGIR 2009),
//! `Σ_c w_c / (k + rank_c(i))`, divided by that of an item that every channel has
//! first.
//!
//! `score`: the weighted sum of scores (CombSUM; Fox, Shaw: *Combination of Multiple
//! Searches*, TREC-2, 1994), each channel's brought to a scale of 0 to 1 before
//! (Montague, Aslam: *Relevance Score Normalization for Metasearch*, CIKM 2001), and
//! divided by the sum of the weights. An item gets 0 from a channel that does not
//! offer it.
//!
//! Either way the merged score lies in 0 to 1.

use funnelweb_core::scenario::{Merge, MergeMethod, Normalization};
use funnelweb_guest::dispatch::RecallOutcome;

/// For each channel, what it gives each of its items, in their order.
pub(crate) fn shares(outcomes: &[RecallOutcome], weights: &[f32], config: &Merge) -> Vec<Vec<f32>> {
    match config.method {
        MergeMethod::Rrf => by_places(outcomes, weights, config.k.unwrap_or(Merge::DEFAULT_K) as f32),
        MergeMethod::Score => by_scores(outcomes, weights, config.normalization.unwrap_or_default()),
    }
}

fn by_places(outcomes: &[RecallOutcome], weights: &[f32], k: f32) -> Vec<Vec<f32>> {
    let best: f32 = weights.iter().map(|weight| weight / (k + 1.0)).sum();
    let share = |weight: f32, rank: usize| if best > 0.0 { weight / (k + 1.0 + rank as f32) / best } else { 0.0 };
    let channel = |(outcome, weight): (&RecallOutcome, &f32)| {
        (0..outcome.handles.len()).map(|rank| share(*weight, rank)).collect()
    };
    outcomes.iter().zip(weights).map(channel).collect()
}

fn by_scores(outcomes: &[RecallOutcome], weights: &[f32], by: Normalization) -> Vec<Vec<f32>> {
    let all: f32 = weights.iter().sum();
    let channel = |(outcome, weight): (&RecallOutcome, &f32)| {
        let weight = if all > 0.0 { weight / all } else { 0.0 };
        normalised(&outcome.scores, by).into_iter().map(|score| weight * score).collect()
    };
    outcomes.iter().zip(weights).map(channel).collect()
}

/// Scores in 0 to 1. Those of a channel whose items are all alike are all 1, or with
/// [`Normalization::Sum`] equal shares of 1, or with [`Normalization::ZScore`] 0.5.
fn normalised(scores: &[f32], by: Normalization) -> Vec<f32> {
    // In f64, sums and squares of finite f32s do not overflow. (Dispatch lets
    // nothing else through; NaN would be the lowest.)
    let finite = |score: &f32| f64::from(if score.is_nan() { f32::MIN } else { score.clamp(f32::MIN, f32::MAX) });
    let scores: Vec<f64> = scores.iter().map(finite).collect();
    let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let count = scores.len() as f64;
    let scaled = |scale: &dyn Fn(f64) -> f64| scores.iter().map(|score| scale(*score) as f32).collect();
    match by {
        Normalization::MinMax if most > least => scaled(&|score| (score - least) / (most - least)),
        Normalization::MinMax => scaled(&|_| 1.0),
        Normalization::Sum => {
            let sum: f64 = scores.iter().map(|score| score - least).sum();
            scaled(&|score| if sum > 0.0 { (score - least) / sum } else { 1.0 / count })
        }
        Normalization::ZScore => {
            let mean = scores.iter().sum::<f64>() / count;
            let deviation = (scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / count).sqrt();
            scaled(&|score| {
                let z = if deviation > 0.0 { (score - mean) / deviation } else { 0.0 };
                1.0 / (1.0 + (-z).exp())
            })
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use funnelweb_guest::{
        dispatch::{StageReport, StageStatus},
        types::Handle,
    };

    use super::*;

    /// What a channel answered.
    pub(crate) fn scored(items: &[(Handle, f32)]) -> RecallOutcome {
        let report = StageReport {
            stage: "x".into(),
            component: "x".into(),
            version: String::new(),
            digest: String::new(),
            status: StageStatus::Ok,
            reason: String::new(),
            elapsed_us: 0,
            candidates_in: 0,
            candidates_out: 0,
        };
        let (handles, scores) = items.iter().copied().unzip();
        RecallOutcome { report, handles, scores }
    }

    /// A channel to which all items are alike.
    pub(crate) fn channel(handles: &[Handle]) -> RecallOutcome {
        scored(&handles.iter().map(|handle| (*handle, 0.0)).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_places_stand_out_the_more_the_smaller_k_is() {
        let of = |k: u32| {
            let config = Merge { k: Some(k), ..Merge::default() };
            shares(&[channel(&[1, 2])], &[2.0], &config).remove(0)
        };
        assert_eq!(of(1), [1.0, 2.0 / 3.0]);
        assert!((of(60)[1] - 61.0 / 62.0).abs() < 1e-6);
        assert_eq!(shares(&[channel(&[1])], &[0.0], &Merge::default()), [[0.0]]);
    }

    #[test]
    fn every_normalisation_has_its_scale() {
        let of = |scores: &[f32], by| normalised(scores, by);
        assert_eq!(of(&[3.0, 2.0, 1.0], Normalization::MinMax), [1.0, 0.5, 0.0]);
        assert_eq!(of(&[4.0, 2.0, 1.0], Normalization::Sum), [0.75, 0.25, 0.0]);
        // Mean 0, deviation 1.
        assert_eq!(of(&[1.0, -1.0], Normalization::ZScore), [0.731_058_6, 0.268_941_43]);
        // However far above the others some are, their order stays.
        let far: Vec<f32> = [101.0, 100.0].into_iter().chain([0.0; 98]).collect();
        let far = of(&far, Normalization::ZScore);
        assert!(far[0] > far[1] && far[1] > 0.99 && far[2] < 0.5, "{far:?}");
    }

    #[test]
    fn what_is_all_alike_or_odd_has_a_number_too() {
        let of = |scores: &[f32], by| normalised(scores, by);
        assert_eq!(of(&[7.0, 7.0], Normalization::MinMax), [1.0, 1.0]);
        assert_eq!(of(&[7.0, 7.0], Normalization::Sum), [0.5, 0.5]);
        assert_eq!(of(&[7.0, 7.0], Normalization::ZScore), [0.5, 0.5]);
        for by in [Normalization::MinMax, Normalization::Sum, Normalization::ZScore] {
            assert!(of(&[], by).is_empty());
            let odd = of(&[f32::MAX, f32::MIN, f32::NAN, f32::INFINITY, 0.0], by);
            assert!(odd.iter().all(|score| (0.0..=1.0).contains(score)), "{by:?}: {odd:?}");
        }
    }
}
