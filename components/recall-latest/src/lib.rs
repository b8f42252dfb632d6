//! Recall of what is new: the scenario's newest active items, newest first.
//! Configured as `latest_items`.
//!
//! `score = (n − rank) / n` for `n` items and ranks from 0: 1 for the newest,
//! falling linearly, above 0 for the oldest offered.

use funnelweb_core::limits;
use funnelweb_guest::{
    documents::{self, Term},
    errors::Error,
    handles::HandleSet,
    params,
    recall::{Guest, RecallRequest, Recalled},
    types::{Handle, ParamError, Requirements, StageError},
};
use serde::Deserialize;

/// The stage's `params`: it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// For any field, since there are none.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        params::parse(params)
    }
}

/// The newest items; `newest_items` is `documents.newest-items`.
///
/// # Errors
/// `invalid-input` for params that do not fit, else what `newest_items` answers.
pub fn recall(
    request: &RecallRequest,
    newest_items: impl FnOnce(&str, &[(Option<Term>, u32)]) -> Result<Vec<Vec<Handle>>, Error>,
) -> Result<Recalled, StageError> {
    Params::parse(&request.params)?;
    // As many more as may have to be dropped again, as far as a list goes.
    let wanted = (request.limit as usize).saturating_add(request.exclude.len()).min(limits::CANDIDATES);
    let lists = newest_items(&request.context.scenario_id, &[(None, u32::try_from(wanted).unwrap_or(u32::MAX))])?;
    let exclude: HandleSet = request.exclude.iter().copied().collect();
    let handles: Vec<Handle> =
        lists.into_iter().flatten().filter(|handle| !exclude.contains(handle)).take(request.limit as usize).collect();
    let count = handles.len();
    let scores = (0..count).map(|rank| (count - rank) as f32 / count as f32).collect();
    Ok(Recalled { handles, scores })
}

/// The component.
pub struct Stage;

impl Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        Params::parse(&params).map(|_| Requirements::none())
    }

    fn recall(request: RecallRequest) -> Result<Recalled, StageError> {
        recall(&request, documents::newest_items)
    }
}

funnelweb_guest::export_recall!(Stage);

#[cfg(test)]
mod tests;
