//! Slates ahead of time: the funnel for a user who did not ask, by a config that the
//! caller gives, so that nobody needs the scenario to be as it is then. What the user
//! was shown lately is left out, as ever; nothing is noted as shown.

use funnelweb_core::error::ApiError;
use funnelweb_guest::dispatch::{StageReport, StageStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Map, value::RawValue};

use crate::{
    Request,
    capabilities::Capabilities,
    funnel::{self, Call},
    plan::Plan,
    slate::{Degraded, Item},
};

/// The body of `POST /internal/slate`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfflineRequest {
    scenario_id: String,
    /// How many items, 1 to [`funnelweb_core::limits::COUNT`].
    count: u32,
    /// The funnel, as in a scenario.
    config: Box<RawValue>,
}

/// The response.
#[derive(Debug, Serialize)]
pub struct Slate {
    /// Best first.
    items: Vec<Item>,
    /// Stages that should have done their part and did not. That one is not there at
    /// all is no news: a config may name a ranker that does not exist yet.
    failed: Vec<Degraded>,
}

/// Makes a slate.
///
/// # Errors
/// A field of the request that is wrong, a store that does not answer. Never a stage's
/// failure.
pub fn slate(host: &impl Capabilities, call: &Call<'_>, request: OfflineRequest) -> Result<Slate, ApiError> {
    let OfflineRequest { scenario_id, count, config } = request;
    let request = Request {
        scenario_id,
        count,
        context: Map::new(),
        exclude_items: Vec::new(),
        return_metadata: false,
        cursor: None,
    };
    let (items, trace) = funnel::offline(host, call, &request, Plan::read(&config)?)?;
    let failed = |report: &&StageReport| matches!(report.status, StageStatus::Failed | StageStatus::TimedOut);
    Ok(Slate { items, failed: trace.reports().iter().filter(failed).map(Degraded::of).collect() })
}
