//! What the funnel needs of its host, as a trait, so that the same code runs in
//! a component and, for tests and measurements, natively.

use funnelweb_core::error::ApiError;
use funnelweb_guest::{
    dispatch::{
        self, Allowance, CheckError, Draft, FeatureTable, FeaturesCall, FeaturesOutcome, Funnel, Named, RankCall,
        RankOutcome, RecallCall, RecallOutcome, Recording, RerankCall, RerankOutcome, Role,
    },
    documents::{self, Collection, Key},
    live,
    results::{self, Found},
    types::{Candidates, Handle, RequestContext, Requirements},
};

/// The host, for one tenant.
pub trait Capabilities {
    /// A document's body.
    ///
    /// # Errors
    /// Those of the store.
    fn document(&self, collection: Collection, key: &Key) -> Result<Option<String>, ApiError>;

    /// The version of a user's profile, and its body.
    ///
    /// # Errors
    /// Those of the store.
    fn profile(&self, key: &Key) -> Result<Option<(u64, String)>, ApiError>;

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

    /// How many of these items are there and active.
    ///
    /// # Errors
    /// Those of the store.
    fn active(&self, scenario_id: &str, handles: &[Handle], now_ms: u64) -> Result<usize, ApiError>;

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

    /// A number for what would run for these stages; see `dispatch.fingerprint`.
    fn fingerprint(&self, scenario_id: &str, user_id: &str, seed: u64, stages: &[Named]) -> u64;

    /// What an answer that is to be computed is claimed with.
    type Claim: Claim;

    /// Looks for an answer; see `results.look`.
    ///
    /// # Errors
    /// Never for a store that does not answer.
    fn look(&self, key: &results::Key) -> Result<(Found, Option<Self::Claim>), ApiError>;

    /// Keeps an answer, which is JSON; whether it is kept.
    ///
    /// # Errors
    /// Never for a store that does not answer.
    fn keep(&self, key: &results::Key, value: &str, fresh_s: u32, stale_s: u32) -> Result<bool, ApiError>;

    /// Forgets an answer.
    ///
    /// # Errors
    /// Never for a store that does not answer.
    fn forget(&self, key: &results::Key) -> Result<(), ApiError>;

    /// The stages, for one request.
    type Stages: Stages;

    /// Sets the stages up for a request.
    fn stages(&self, context: &RequestContext, allowance: &Allowance) -> Self::Stages;
}

/// The right to compute an answer; others wait for as long as it is there.
pub trait Claim {
    /// Has it computed in the background, for the request with this body.
    fn revalidate(self, request: &str);
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
    /// table, and `drafted` says whose each place is, if two rankings drafted them.
    fn shown(&self, request_id: &str, item_ids: &[String], rows: &[u32], groups: &[String], drafted: Option<&Draft>);

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

    fn profile(&self, key: &Key) -> Result<Option<(u64, String)>, ApiError> {
        let found = documents::get(Collection::UserProfiles, key)?;
        Ok(found.map(|document| (document.version, document.body)))
    }

    fn documents(&self, collection: Collection, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError> {
        let found = documents::get_many(collection, keys)?;
        Ok(found.into_iter().map(|document| document.map(|document| document.body)).collect())
    }

    fn item_ids(&self, scenario_id: &str, handles: &[Handle]) -> Result<Vec<Option<String>>, ApiError> {
        Ok(documents::item_ids(scenario_id, handles)?)
    }

    fn active(&self, scenario_id: &str, handles: &[Handle], now_ms: u64) -> Result<usize, ApiError> {
        Ok(documents::item_columns(scenario_id, handles, &[], now_ms)?.found.len())
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

    fn fingerprint(&self, scenario_id: &str, user_id: &str, seed: u64, stages: &[Named]) -> u64 {
        dispatch::fingerprint(scenario_id, user_id, seed, stages)
    }

    type Claim = results::Claim;

    fn look(&self, key: &results::Key) -> Result<(Found, Option<results::Claim>), ApiError> {
        Ok(results::look(key)?)
    }

    fn keep(&self, key: &results::Key, value: &str, fresh_s: u32, stale_s: u32) -> Result<bool, ApiError> {
        Ok(results::keep(key, value, fresh_s, stale_s)?)
    }

    fn forget(&self, key: &results::Key) -> Result<(), ApiError> {
        Ok(results::forget(key)?)
    }

    type Stages = Funnel;

    fn stages(&self, context: &RequestContext, allowance: &Allowance) -> Funnel {
        Funnel::new(context, allowance)
    }
}

impl Claim for results::Claim {
    fn revalidate(self, request: &str) {
        Self::revalidate(&self, request);
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

    fn shown(&self, request_id: &str, item_ids: &[String], rows: &[u32], groups: &[String], drafted: Option<&Draft>) {
        self.shown(request_id, item_ids, rows, groups, drafted);
    }

    fn table(&self) -> Option<FeatureTable> {
        self.table()
    }
}
