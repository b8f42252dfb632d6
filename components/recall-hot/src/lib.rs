//! Recall of what is popular now: the top of the scenario's hot list
//! (`hot:items:{tenant}:{scenario}`), whose heat is a sum of behaviour weights
//! under exponential decay. Configured as `hot_items` or `hot_news`.
//!
//! `score = heat / heat of the hottest offered`, so above 0 and at most 1: the
//! share an item has of the leader's heat, whatever the scenario's traffic. Items
//! without heat, or with a negative one, are not hot and are not offered.

use funnelweb_guest::{
    errors::Error,
    live::{self, Scored},
    order, params,
    recall::{Guest, RecallRequest, Recalled},
    types::{Handle, ParamError, Requirements, StageError},
};
use serde::Deserialize;

/// The stage's `params`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// The least score (share of the leader's heat, 0 to 1) to be offered with.
    /// Default 0: all that have heat.
    pub min_score: f32,
}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// With the JSON pointer of the first one that does not fit.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        let parsed: Self = params::parse(params)?;
        params::check_range("/min_score", parsed.min_score, 0.0..=1.0)?;
        Ok(parsed)
    }
}

/// The hottest items; `hot_top` is `live.hot-top`.
///
/// # Errors
/// `invalid-input` for params that do not fit, else what `hot_top` answers.
pub fn recall(
    request: &RecallRequest,
    hot_top: impl FnOnce(&str, u32, &[Handle], u64) -> Result<Scored, Error>,
) -> Result<Recalled, StageError> {
    let params = Params::parse(&request.params)?;
    let context = &request.context;
    let hot = hot_top(&context.scenario_id, request.limit, &request.exclude, context.now_ms)?;
    let mut entries: Vec<(Handle, f32)> =
        hot.handles.into_iter().zip(hot.scores).filter(|(_, heat)| *heat > 0.0 && heat.is_finite()).collect();
    let most = entries.iter().map(|(_, heat)| *heat).fold(0.0, f32::max);
    for (_, score) in &mut entries {
        // The share of a very cold item may be too small for an f32.
        *score = (*score / most).max(f32::MIN_POSITIVE);
    }
    entries.retain(|(_, score)| *score >= params.min_score);
    order::best_first(&mut entries);
    entries.truncate(request.limit as usize);
    let (handles, scores) = entries.into_iter().unzip();
    Ok(Recalled { handles, scores })
}

/// The component.
pub struct Stage;

impl Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        Params::parse(&params).map(|_| Requirements::none())
    }

    fn recall(request: RecallRequest) -> Result<Recalled, StageError> {
        recall(&request, live::hot_top)
    }
}

funnelweb_guest::export_recall!(Stage);

#[cfg(test)]
mod tests;
