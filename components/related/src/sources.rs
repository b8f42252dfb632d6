//! What the lists need of the host, as a trait, so that their logic is tested
//! natively.

use funnelweb_core::{
    error::{ApiError, Code},
    scenario::{Config, Scenario, Status},
};
use funnelweb_guest::{
    dispatch::{Allowance, Funnel, RecallCall, RecallOutcome, StageReport, StageStatus},
    documents::{self, Collection, ItemTable, Key, Term},
    http::store,
    live::{self, Scored},
    types::{ColumnSpec, Handle, Personal, RequestContext},
};

/// The host, for one tenant.
pub(crate) trait Sources {
    /// Documents' bodies, in the order of the keys.
    fn documents(&self, collection: Collection, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError>;

    /// One recall channel.
    fn recall(&self, context: &RequestContext, exclude: &[Handle], call: RecallCall) -> RecallOutcome;

    /// `live.hot-top`
    fn hot_top(&self, scenario_id: &str, limit: u32, exclude: &[Handle], now_ms: u64) -> Result<Scored, ApiError>;

    /// One list of `documents.newest-items`.
    fn newest(&self, scenario_id: &str, term: Option<Term>, limit: u32) -> Result<Vec<Handle>, ApiError>;

    /// `documents.item-columns`
    fn columns(
        &self,
        scenario_id: &str,
        handles: &[Handle],
        columns: &[ColumnSpec],
        now_ms: u64,
    ) -> Result<ItemTable, ApiError>;

    /// `documents.item-ids`
    fn item_ids(&self, scenario_id: &str, handles: &[Handle]) -> Result<Vec<Option<String>>, ApiError>;
}

/// The config of a scenario, which must be active.
///
/// # Errors
/// `scenario_not_found`, `scenario_inactive`, or that of the store.
pub(crate) fn config(host: &impl Sources, scenario_id: &str) -> Result<Config, ApiError> {
    let stored = document(host, Collection::Scenarios, scenario_id, scenario_id)?;
    let stored = stored.ok_or_else(|| store::no_scenario(scenario_id))?;
    // It was checked when it was written.
    let scenario: Scenario = serde_json::from_str(&stored)
        .map_err(|error| ApiError::new(Code::Internal, format!("the stored scenario does not read: {error}")))?;
    if scenario.status != Status::Active {
        let message = format!("the scenario `{scenario_id}` is inactive");
        return Err(ApiError::field(Code::ScenarioInactive, "scenario_id", message));
    }
    Ok(scenario.config)
}

/// One document's body.
pub(crate) fn document(
    host: &impl Sources,
    collection: Collection,
    scenario_id: &str,
    id: &str,
) -> Result<Option<String>, ApiError> {
    let key = Key { scenario_id: scenario_id.to_owned(), id: id.to_owned() };
    Ok(host.documents(collection, &[key])?.into_iter().flatten().next())
}

/// The component's imports.
pub(crate) struct Imports;

impl Sources for Imports {
    fn documents(&self, collection: Collection, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError> {
        let found = documents::get_many(collection, keys)?;
        Ok(found.into_iter().map(|document| document.map(|document| document.body)).collect())
    }

    fn recall(&self, context: &RequestContext, exclude: &[Handle], call: RecallCall) -> RecallOutcome {
        let stage = call.stage.clone();
        // One call has one outcome.
        // No component of the tenant's own is asked.
        let nothing = Allowance { personal: Personal::empty(), fields: None };
        Funnel::new(context, &nothing).recall(exclude, &[call]).into_iter().next().unwrap_or_else(|| no_outcome(stage))
    }

    fn hot_top(&self, scenario_id: &str, limit: u32, exclude: &[Handle], now_ms: u64) -> Result<Scored, ApiError> {
        Ok(live::hot_top(scenario_id, limit, exclude, now_ms)?)
    }

    fn newest(&self, scenario_id: &str, term: Option<Term>, limit: u32) -> Result<Vec<Handle>, ApiError> {
        Ok(documents::newest_items(scenario_id, &[(term, limit)])?.into_iter().flatten().collect())
    }

    fn columns(
        &self,
        scenario_id: &str,
        handles: &[Handle],
        columns: &[ColumnSpec],
        now_ms: u64,
    ) -> Result<ItemTable, ApiError> {
        Ok(documents::item_columns(scenario_id, handles, columns, now_ms)?)
    }

    fn item_ids(&self, scenario_id: &str, handles: &[Handle]) -> Result<Vec<Option<String>>, ApiError> {
        Ok(documents::item_ids(scenario_id, handles)?)
    }
}

fn no_outcome(stage: String) -> RecallOutcome {
    let report = StageReport {
        stage,
        component: String::new(),
        version: String::new(),
        digest: String::new(),
        status: StageStatus::Failed,
        reason: "no outcome".to_owned(),
        elapsed_us: 0,
        candidates_in: 0,
        candidates_out: 0,
    };
    RecallOutcome { report, handles: Vec::new(), scores: Vec::new() }
}
