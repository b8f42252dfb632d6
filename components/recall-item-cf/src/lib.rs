//! Item-based collaborative filtering: the items most like those that the user
//! acted on, by who acted on both. Configured as `item_cf`.
//!
//! `s(i) = Σ { w(h) · sim(h, i) : h in the user's recent items, i among the neighbours of h }`
//!
//! (Sarwar, Karypis, Konstan, Riedl: *Item-Based Collaborative Filtering
//! Recommendation Algorithms*, WWW 2001, §3.2, without the denominator, which serves
//! to predict ratings and not to rank). The neighbours are those that training
//! found (`learned.related`), `w` is the weight of the action times `decay` for
//! each newer item. `score = s(i) / max s`, so above 0 and at most 1; equal scores
//! by handle. What the user acted on is not offered again.
//!
//! An item named by the context's `item_id` counts as the newest that the user
//! acted on: the same channel then answers what is similar to what they look at. A
//! user without a history gets nothing, as does everybody before the first training.

use funnelweb_core::limits;
use funnelweb_guest::{
    errors::Error,
    handles::HandleMap,
    learned::{self, Lists, Relation},
    params,
    recall::{Guest, RecallRequest, Recalled},
    seeds,
    types::{Handle, ParamError, Personal, Requirements, StageError},
};
use serde::Deserialize;

/// The stage's `params`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// How many items to start from, newest first: 1 to 100, default 50.
    pub recent: usize,
    /// How many neighbours of each: 1 to 1000, default 100.
    pub neighbours: u32,
    /// What each newer item leaves of an item's weight: above 0 and at most 1,
    /// default 0.95, which halves it in 14.
    pub decay: f32,
}

impl Default for Params {
    fn default() -> Self {
        Self { recent: 50, neighbours: 100, decay: 0.95 }
    }
}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// With the JSON pointer of the first one that does not fit.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        let parsed: Self = params::parse(params)?;
        params::check_range("/recent", parsed.recent, 1..=limits::PROFILE_RECENT_ITEMS)?;
        params::check_range("/neighbours", parsed.neighbours, 1..=limits::RECALL_LIMIT)?;
        params::check_range("/decay", parsed.decay, 0.01..=1.0)?;
        Ok(parsed)
    }
}

/// The items most like the user's; `related` is `learned.related`, and is not called
/// when there is nothing to ask.
///
/// # Errors
/// `invalid-input` for params that do not fit, else what `related` answers.
pub fn recall(
    request: &RecallRequest,
    related: impl FnOnce(&str, Relation, &[Handle], u32) -> Result<Lists, Error>,
) -> Result<Recalled, StageError> {
    let params = Params::parse(&request.params)?;
    let seeds = seeds::of_request(&request.context, params.recent, params.decay);
    if seeds.is_empty() {
        return Ok(Recalled::none());
    }
    let handles: Vec<Handle> = seeds.iter().map(|seed| seed.handle).collect();
    let lists = related(&request.context.scenario_id, Relation::SimilarItems, &handles, params.neighbours)?;
    let mut scores: HandleMap<f32> = HandleMap::default();
    scores.reserve(lists.handles.len());
    for (at, seed) in seeds.iter().enumerate() {
        for (item, similarity) in lists.list(at) {
            *scores.entry(item).or_insert(0.0) += seed.weight * similarity;
        }
    }
    Ok(Recalled::sums(scores, &seeds::hidden(&request.context, &request.exclude), request.limit))
}

/// The component.
pub struct Stage;

impl Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        let personal = Personal::RECENT | Personal::SITUATION;
        Params::parse(&params).map(|_| Requirements::none().with_personal(personal))
    }

    fn recall(request: RecallRequest) -> Result<Recalled, StageError> {
        recall(&request, learned::related)
    }
}

funnelweb_guest::export_recall!(Stage);

#[cfg(test)]
mod tests;
