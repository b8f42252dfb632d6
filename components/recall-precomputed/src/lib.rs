//! The slate that the job `precompute` made for the user, in its order and with its
//! scores. Configured as `precomputed`.
//!
//! So a heavy funnel can run ahead of time and a light one, with this channel and one
//! or two others, in the request. With a weight of 0 beside others, it is what remains
//! when those others fail.
//!
//! Items that are excluded are passed over. A user who was not there when the job ran
//! gets nothing, as does everybody before its first run, and who is found in no profile
//! that is older than their slate: users who were deleted are nobody's heirs, also when
//! they come back.

use funnelweb_core::id;
use funnelweb_guest::{
    documents::{self, Collection, Key},
    errors::Error,
    handles::HandleSet,
    learned::{self, Slate},
    params, profile,
    recall::{Guest, RecallRequest, Recalled},
    types::{Handle, ParamError, Personal, Requirements, StageError},
};
use serde::Deserialize;

/// The stage's `params`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// How old a slate may be: 0.1 to 8760, default 48, which outlives one nightly run
    /// that fails.
    pub max_age_hours: f32,
}

impl Default for Params {
    fn default() -> Self {
        Self { max_age_hours: 48.0 }
    }
}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// With the JSON pointer of the first one that does not fit.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        let parsed: Self = params::parse(params)?;
        params::check_range("/max_age_hours", parsed.max_age_hours, 0.1..=8760.0)?;
        Ok(parsed)
    }

    fn allows(&self, made_ms: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(made_ms) as f64 <= f64::from(self.max_age_hours) * 3_600_000.0
    }
}

/// What the channel reads; see the interfaces `learned` and `documents`.
pub trait Sources {
    /// `learned.precomputed`
    ///
    /// # Errors
    /// Those of the capability.
    fn slate(&self, scenario_id: &str, user: Handle) -> Result<Option<Slate>, Error>;

    /// `documents.get`, of a profile: its body.
    ///
    /// # Errors
    /// Those of the capability.
    fn profile(&self, key: &Key) -> Result<Option<String>, Error>;
}

/// The user's slate without what is excluded.
///
/// # Errors
/// `invalid-input` for params that do not fit, else what the sources answer.
pub fn recall(request: &RecallRequest, sources: &impl Sources) -> Result<Recalled, StageError> {
    let params = Params::parse(&request.params)?;
    let context = &request.context;
    if context.user.id.is_empty() {
        return Ok(Recalled::none());
    }
    let found = sources.slate(&context.scenario_id, id::handle(&context.user.id))?;
    let Some(slate) = found.filter(|slate| params.allows(slate.made_ms, context.now_ms)) else {
        return Ok(Recalled::none());
    };
    let key = Key { scenario_id: context.scenario_id.clone(), id: context.user.id.clone() };
    let since_ms = sources.profile(&key)?.and_then(|body| profile::created_ms(&body));
    if since_ms.is_none_or(|since_ms| since_ms > slate.made_ms) {
        return Ok(Recalled::none());
    }
    let exclude: HandleSet = request.exclude.iter().copied().collect();
    let open = slate.handles.into_iter().zip(slate.scores).filter(|(handle, _)| !exclude.contains(handle));
    let (handles, scores) = open.take(request.limit as usize).unzip();
    Ok(Recalled { handles, scores })
}

/// The component's imports.
struct Imports;

impl Sources for Imports {
    fn slate(&self, scenario_id: &str, user: Handle) -> Result<Option<Slate>, Error> {
        learned::precomputed(scenario_id, user)
    }

    fn profile(&self, key: &Key) -> Result<Option<String>, Error> {
        Ok(documents::get(Collection::UserProfiles, key)?.map(|document| document.body))
    }
}

/// The component.
pub struct Stage;

impl Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        Params::parse(&params).map(|_| Requirements::none().with_personal(Personal::ID))
    }

    fn recall(request: RecallRequest) -> Result<Recalled, StageError> {
        recall(&request, &Imports)
    }
}

funnelweb_guest::export_recall!(Stage);

#[cfg(test)]
mod tests;
