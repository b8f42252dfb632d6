//! What the funnel needs of its host, as a trait, so that the same code runs in
//! a component and, for tests and measurements, natively.

use funnelweb_core::error::ApiError;
use funnelweb_guest::{
    dispatch::{
        self, Allowance, CheckError, FeatureTable, FeaturesCall, FeaturesOutcome, Funnel, RankCall, RankOutcome,
        RecallCall, RecallOutcome, Recording, RerankCall, RerankOutcome, Role,
    },
    documents::{self, Collection, Key},
    live,
    types::{Candidates, Handle, RequestContext, Requirements},
};

/// The host, for one tenant.
pub trait Capabilities {
    /// A document's body.
    ///
    /// # Errors
    /// Those of the store.
    fn document(&self, collection: Collection, key: &Key) -> Result<Option<String>, ApiError>;

    /// Documents' bodies, in the order of the keys.
    ///
    /// # Errors
    /// Those of the store.
    fn documents(&self, collection: Collection, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError>;

    /// Items' ids, in the order of the handles.
    ///
    /// # Errors
    /// Those of the store.
    fn item_ids(&self, scenario_id: &str, handles: &[Handle]) -> Result<Vec<Option<String>>, ApiError>;

    /// What the user was shown lately.
    ///
    /// # Errors
    /// Those of the store.
    fn exposed(&self, scenario_id: &str, user_id: &str) -> Result<Vec<Handle>, ApiError>;

    /// Counts the places of a slate, and remembers for `ttl_s` seconds what the user is
    /// shown, if there is one.
    ///
    /// # Errors
    /// Those of the store.
    fn expose(&self, scenario_id: &str, user_id: Option<&str>, item_ids: &[String], ttl_s: u32)
    -> Result<(), ApiError>;

    /// What a stage needs for these params.
    ///
    /// # Errors
    /// When there is no such stage or it refuses the params.
    fn check(&self, role: Role, stage: &str, params: &str) -> Result<Requirements, CheckError>;

    /// Says whether the request is kept, and what is tried on it.
    fn record(&self, recording: &Recording);

    /// The stages, for one request.
    type Stages: Stages;

    /// Sets the stages up for a request.
    fn stages(&self, context: &RequestContext, allowance: &Allowance) -> Self::Stages;
}

/// The stages at work for one request; see `dispatch.funnel`.
pub trait Stages {
    /// Runs all recall channels.
    fn recall(&self, exclude: &[Handle], calls: &[RecallCall]) -> Vec<RecallOutcome>;

    /// Runs the feature stage and keeps its table.
    fn features(&self, call: &FeaturesCall) -> FeaturesOutcome;

    /// Runs a ranker on the table.
    fn rank(&self, call: &RankCall) -> RankOutcome;

    /// Runs rerank rules on the table, one after the other.
    fn rerank(&self, candidates: &Candidates, rows: &[u32], calls: &[RerankCall], trace: bool) -> RerankOutcome;

    /// Logs what is shown with its features, for groups of experiments; `rows` are those of the
    /// table.
    fn shown(&self, request_id: &str, item_ids: &[String], rows: &[u32], groups: &[String]);

    /// The table.
    fn table(&self) -> Option<FeatureTable>;
}

/// The component's imports.
#[derive(Debug, Clone, Copy)]
pub struct Imports;

impl Capabilities for Imports {
    fn document(&self, collection: Collection, key: &Key) -> Result<Option<String>, ApiError> {
        Ok(documents::get(collection, key)?.map(|document| document.body))
    }

    fn documents(&self, collection: Collection, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError> {
        let found = documents::get_many(collection, keys)?;
        Ok(found.into_iter().map(|document| document.map(|document| document.body)).collect())
    }

    fn item_ids(&self, scenario_id: &str, handles: &[Handle]) -> Result<Vec<Option<String>>, ApiError> {
        Ok(documents::item_ids(scenario_id, handles)?)
    }

    fn exposed(&self, scenario_id: &str, user_id: &str) -> Result<Vec<Handle>, ApiError> {
        Ok(live::exposed(scenario_id, user_id)?)
    }

    fn expose(
        &self,
        scenario_id: &str,
        user_id: Option<&str>,
        item_ids: &[String],
        ttl_s: u32,
    ) -> Result<(), ApiError> {
        Ok(live::expose(scenario_id, user_id, item_ids, ttl_s)?)
    }

    fn check(&self, role: Role, stage: &str, params: &str) -> Result<Requirements, CheckError> {
        dispatch::check(role, stage, params)
    }

    fn record(&self, recording: &Recording) {
        dispatch::record(recording);
    }

    type Stages = Funnel;

    fn stages(&self, context: &RequestContext, allowance: &Allowance) -> Funnel {
        Funnel::new(context, allowance)
    }
}

impl Stages for Funnel {
    fn recall(&self, exclude: &[Handle], calls: &[RecallCall]) -> Vec<RecallOutcome> {
        self.recall(exclude, calls)
    }

    fn features(&self, call: &FeaturesCall) -> FeaturesOutcome {
        self.features(call)
    }

    fn rank(&self, call: &RankCall) -> RankOutcome {
        self.rank(call)
    }

    fn rerank(&self, candidates: &Candidates, rows: &[u32], calls: &[RerankCall], trace: bool) -> RerankOutcome {
        self.rerank(candidates, rows, calls, trace)
    }

    fn shown(&self, request_id: &str, item_ids: &[String], rows: &[u32], groups: &[String]) {
        self.shown(request_id, item_ids, rows, groups);
    }

    fn table(&self) -> Option<FeatureTable> {
        self.table()
    }
}
