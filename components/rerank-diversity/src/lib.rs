//! A rerank rule against monotony: maximal marginal relevance. Configured as
//! `diversity`.
//!
//! Carbonell & Goldstein, *The Use of MMR, Diversity-Based Reranking for
//! Reordering Documents and Producing Summaries*, SIGIR 1998: the next item is
//!
//! `argmax λ · relevance(i) − (1 − λ) · max { similarity(i, s) : s selected }`
//!
//! with `λ = 1 − weight`, so that a weight of 0 leaves the list as it is.
//! `relevance` is the score, min-max over the pool; [`similarity`] is 0 to 1.
//!
//! **Bounds.** The first `window` positions are filled (default the larger of
//! twice the request's count and 50) from a **pool** of the first `4 · window` of
//! the list; what is not selected follows in its old order. Selection compares
//! each pool item with each selected one at most once: O(pool · window)
//! similarities, and far fewer in practice ([`mmr`]).
//!
//! **Scores.** The order is the result; the scores are those of the list, handed
//! out again along it, so that they fall from first to last.

use funnelweb_guest::{
    order, places,
    rerank::{Guest, RerankRequest, Reranked},
    types::{ParamError, Requirements, StageError},
};

pub mod mmr;
mod params;
pub mod similarity;

pub use params::Params;

/// Pool items per position to fill.
const POOL_PER_POSITION: usize = 4;

/// The list with its first positions diversified.
///
/// # Errors
/// `invalid-input` for params that do not fit, or lists of different lengths.
pub fn rerank(request: &RerankRequest) -> Result<Reranked, StageError> {
    let params = Params::parse(&request.params)?;
    let mut places = places::read(request)?;
    let window = params.window(request.context.count);
    let rest = places.split_off(places.len().min(window * POOL_PER_POSITION));
    let scores: Vec<f32> = places.iter().map(|place| place.score).collect();
    let relevance = order::min_max(&scores);
    let features = similarity::Features::of(&places, &request.items, &params);
    let weight = if request.weight.is_nan() { 0.0 } else { request.weight.clamp(0.0, 1.0) };
    let order = mmr::select(&relevance, 1.0 - weight, window, |one, other| features.similarity(one, other));
    let places: Vec<_> = order.into_iter().filter_map(|at| places.get(at).copied()).chain(rest).collect();
    Ok(places::redeal(&places, Vec::new()))
}

/// The component.
pub struct Stage;

impl Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        Params::parse(&params).map(|params| params.requirements())
    }

    fn rerank(request: RerankRequest) -> Result<Reranked, StageError> {
        rerank(&request)
    }
}

funnelweb_guest::export_rerank!(Stage);

#[cfg(test)]
mod tests;
