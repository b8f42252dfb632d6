//! From a ranked list to the response.

use funnelweb_core::{error::ApiError, id, scenario::Config};
use funnelweb_guest::{
    dispatch::{StageReport, StageStatus},
    documents::{Collection, Key},
    handles::HandleSet,
    http::store,
    types::{Candidates, Handle},
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    Request,
    capabilities::Capabilities,
    cursor,
    explain::Explain,
    funnel::{Call, Run},
    merge::PINNED,
    plan::Chosen,
};

/// The response, but for what is the request's own.
#[derive(Debug, Serialize)]
pub(crate) struct Rest {
    /// Best first, but for what is explored.
    items: Vec<Item>,
    /// The groups of experiments that the slate was made for; `interleaved` where that is both.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    experiments: Vec<Assigned>,
    /// Whether it was made for a user who is held out of all experiments.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    holdout: bool,
    /// Stages that did not do their part.
    degraded: Vec<Degraded>,
    /// Of the next page; none when nothing is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Explain>,
}

impl Rest {
    /// Whether it is worth no more than a moment: nothing was found, or a stage failed. A page of
    /// a feed stays as it was served, whatever failed, unless it has nothing.
    pub(crate) fn is_poor(&self, page: bool) -> bool {
        self.items.is_empty() || !(page || self.degraded.is_empty())
    }
}

/// A group that the user is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Assigned {
    pub(crate) experiment_id: String,
    pub(crate) group_id: String,
}

/// One item of the slate.
#[derive(Debug, Serialize)]
pub struct Item {
    pub(crate) item_id: String,
    /// From 1.
    rank: usize,
    score: f32,
    /// The recall channels that offered it, and `pin` when a rule asked for it.
    sources: Vec<String>,
    /// Whether it has its place by `config.exploration` and not by its rank.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) explored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
}

/// A stage that gave no answer, and why.
#[derive(Debug, Serialize)]
pub(crate) struct Degraded {
    stage: String,
    reason: String,
}

impl Degraded {
    pub(crate) fn of(report: &StageReport) -> Self {
        Self { stage: report.stage.clone(), reason: report.reason.clone() }
    }
}

/// The first `count` items that still exist; `config_of` tells the config by which an item was
/// recalled.
pub(crate) fn slate<'a>(
    host: &impl Capabilities,
    request: &Request,
    config_of: impl Fn(Handle) -> &'a Config,
    ranked: &Candidates,
    explored: &HandleSet,
) -> Result<Vec<Item>, ApiError> {
    let count = request.count as usize;
    let mut items = Vec::with_capacity(count);
    let mut from = 0;
    while items.len() < count && from < ranked.handles.len() {
        let to = (from + count - items.len()).min(ranked.handles.len());
        let ids = host.item_ids(&request.scenario_id, ranked.handles.get(from..to).unwrap_or_default())?;
        for (id, at) in ids.into_iter().zip(from..to) {
            // Gone since it was ranked.
            let (Some(item_id), Some(handle)) = (id, ranked.handles.get(at)) else { continue };
            items.push(Item {
                item_id,
                rank: items.len() + 1,
                score: ranked.scores.get(at).copied().unwrap_or_default(),
                sources: sources(config_of(*handle), ranked.sources.get(at).copied().unwrap_or_default()),
                explored: explored.contains(handle),
                metadata: None,
            });
        }
        from = to;
    }
    Ok(items)
}

/// Notes what is shown, and to whom if that is known: every place is counted, and the
/// user is not shown it again where the scenario says so.
pub(crate) fn remember(
    host: &impl Capabilities,
    user_id: &str,
    request: &Request,
    config: &Config,
    item_ids: &[String],
) -> Result<(), ApiError> {
    if item_ids.is_empty() {
        return Ok(());
    }
    let user_id = Some(user_id).filter(|user_id| config.exposure.enabled && !user_id.is_empty());
    host.expose(&request.scenario_id, user_id, item_ids, config.exposure.ttl_s())
}

pub(crate) fn ids(items: &[Item]) -> Vec<String> {
    items.iter().map(|item| item.item_id.clone()).collect()
}

/// The response, which tells of every stage that failed. `feed` is what was served before.
pub(crate) fn respond(
    host: &impl Capabilities,
    call: &Call<'_>,
    request: &Request,
    chosen: &Chosen,
    feed: &[Handle],
    run: Run,
) -> Result<Rest, ApiError> {
    let config = &chosen.plan.config;
    let experiments = chosen.experiments(&run);
    let Run { mut items, drafted, trace, .. } = run;
    let draft = drafted.map(|drafted| drafted.of(&items));
    if request.return_metadata {
        add_metadata(host, &request.scenario_id, &mut items)?;
    }
    let failed = |report: &&StageReport| report.status != StageStatus::Ok;
    let degraded = trace.reports().iter().filter(failed).map(Degraded::of).collect();
    let next_cursor = if is_more_left(request, &items, trace.reports()) {
        let page = items.iter().map(|item| id::handle(&item.item_id));
        cursor::next((&request.scenario_id, call.user_id), feed, page)
    } else {
        None
    };
    Ok(Rest {
        items,
        experiments,
        holdout: chosen.held_out,
        degraded,
        next_cursor,
        explain: trace.explain(host, &request.scenario_id, draft.as_ref(), |bits| sources(config, bits))?,
    })
}

/// Whether there may be a page after this one: it is full, or it would be if a stage had not
/// failed.
fn is_more_left(request: &Request, items: &[Item], reports: &[StageReport]) -> bool {
    let failed = |report: &StageReport| matches!(report.status, StageStatus::Failed | StageStatus::TimedOut);
    items.len() == request.count as usize || (!items.is_empty() && reports.iter().any(failed))
}

fn add_metadata(host: &impl Capabilities, scenario_id: &str, items: &mut [Item]) -> Result<(), ApiError> {
    let keys: Vec<_> =
        items.iter().map(|item| Key { scenario_id: scenario_id.to_owned(), id: item.item_id.clone() }).collect();
    for (item, body) in items.iter_mut().zip(host.documents(Collection::Items, &keys)?) {
        item.metadata = body.and_then(|body| store::metadata(&body));
    }
    Ok(())
}

/// The names of the channels behind a set of bits.
fn sources(config: &Config, bits: u32) -> Vec<String> {
    let strategies = config.recall.strategies.iter().enumerate();
    let mut names: Vec<String> = strategies
        .filter(|(channel, _)| bits & (1 << channel) != 0)
        .map(|(_, strategy)| strategy.name.clone())
        .collect();
    if bits & PINNED != 0 {
        names.push("pin".to_owned());
    }
    names
}
