//! A host of documents and of channels whose answers are written down, for native
//! tests. Features keep all, the ranker leaves the merged scores.

use std::{cell::RefCell, rc::Rc};

use funnelweb_core::{error::ApiError, id};
use funnelweb_guest::{
    dispatch::{
        Allowance, CheckError, FeatureTable, FeaturesCall, FeaturesOutcome, RankCall, RankOutcome, RecallCall,
        RecallOutcome, Recording, RerankCall, RerankOutcome, Role, StageReport, StageStatus,
    },
    documents::{Collection, Key},
    types::{Candidates, Handle, RequestContext, Requirements},
};

use crate::capabilities::{Capabilities, Stages};

#[derive(Default)]
pub(crate) struct Host {
    documents: Vec<(Collection, String, String)>,
    channels: Vec<(String, Vec<String>)>,
    /// Who was shown what.
    pub(crate) exposures: RefCell<Vec<(Option<String>, Vec<String>)>>,
    pub(crate) logged: Logged,
    /// What was said of recording.
    pub(crate) recorded: RefCell<Vec<Recording>>,
    /// The context of the last request.
    pub(crate) context: Rc<RefCell<Option<RequestContext>>>,
}

impl Host {
    pub(crate) fn with_item(mut self, id: &str, body: &str) -> Self {
        self.documents.push((Collection::Items, id.to_owned(), body.to_owned()));
        self
    }

    pub(crate) fn with_profile(mut self, id: &str, body: &str) -> Self {
        self.documents.push((Collection::UserProfiles, id.to_owned(), body.to_owned()));
        self
    }

    /// The scenario `s`.
    pub(crate) fn with_scenario(self, config: &serde_json::Value) -> Self {
        let body = serde_json::json!({"scenario_id": "s", "scenario_type": "t", "config": config});
        self.with_document(&body)
    }

    /// The same, as it is stored.
    pub(crate) fn with_document(mut self, scenario: &serde_json::Value) -> Self {
        self.documents.push((Collection::Scenarios, "s".to_owned(), scenario.to_string()));
        self
    }

    /// A recall channel and its items, which are made too.
    pub(crate) fn with_channel(mut self, name: &str, items: &[&str]) -> Self {
        self.channels.push((name.to_owned(), items.iter().map(|item| (*item).to_owned()).collect()));
        items.iter().fold(self, |host, item| host.with_item(item, "{}"))
    }
}

impl Capabilities for Host {
    fn document(&self, collection: Collection, key: &Key) -> Result<Option<String>, ApiError> {
        let mut found = self.documents.iter().filter(|(of, id, _)| *of == collection && *id == key.id);
        Ok(found.next().map(|(_, _, body)| body.clone()))
    }

    fn documents(&self, collection: Collection, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError> {
        keys.iter().map(|key| self.document(collection, key)).collect()
    }

    fn item_ids(&self, _: &str, handles: &[Handle]) -> Result<Vec<Option<String>>, ApiError> {
        let items = || self.documents.iter().filter(|(of, _, _)| *of == Collection::Items).map(|(_, id, _)| id);
        Ok(handles.iter().map(|handle| items().find(|item| id::handle(item) == *handle).cloned()).collect())
    }

    fn exposed(&self, _: &str, _: &str) -> Result<Vec<Handle>, ApiError> {
        Ok(Vec::new())
    }

    fn expose(&self, _: &str, user_id: Option<&str>, item_ids: &[String], _: u32) -> Result<(), ApiError> {
        self.exposures.borrow_mut().push((user_id.map(str::to_owned), item_ids.to_vec()));
        Ok(())
    }

    fn check(&self, _: Role, _: &str, _: &str) -> Result<Requirements, CheckError> {
        Ok(Requirements::none())
    }

    fn record(&self, recording: &Recording) {
        self.recorded.borrow_mut().push(recording.clone());
    }

    type Stages = Written;

    fn stages(&self, context: &RequestContext, _: &Allowance) -> Written {
        *self.context.borrow_mut() = Some(context.clone());
        Written { channels: self.channels.clone(), logged: Rc::clone(&self.logged) }
    }
}

/// Slates that were logged: items, their rows, and groups of experiments.
type Logged = Rc<RefCell<Vec<(Vec<String>, Vec<u32>, Vec<String>)>>>;

/// The channels' answers.
pub(crate) struct Written {
    channels: Vec<(String, Vec<String>)>,
    logged: Logged,
}

impl Stages for Written {
    fn recall(&self, exclude: &[Handle], calls: &[RecallCall]) -> Vec<RecallOutcome> {
        let outcome = |call: &RecallCall| {
            let items = self.channels.iter().filter(|(name, _)| *name == call.stage).flat_map(|(_, items)| items);
            let handles: Vec<Handle> =
                items.map(|item| id::handle(item)).filter(|handle| !exclude.contains(handle)).collect();
            let scores = (1..).take(handles.len()).map(|rank| 1.0 / rank as f32).collect();
            RecallOutcome { report: report(&call.stage), handles, scores }
        };
        calls.iter().map(outcome).collect()
    }

    fn features(&self, _: &FeaturesCall) -> FeaturesOutcome {
        FeaturesOutcome { report: report("features"), removed: Some(Vec::new()) }
    }

    fn rank(&self, call: &RankCall) -> RankOutcome {
        RankOutcome { reports: vec![report(&call.stage)], scores: call.candidates.scores.clone() }
    }

    fn rerank(&self, candidates: &Candidates, _: &[u32], _: &[RerankCall], _: bool) -> RerankOutcome {
        RerankOutcome { reports: Vec::new(), steps: Vec::new(), candidates: candidates.clone() }
    }

    fn shown(&self, _: &str, item_ids: &[String], rows: &[u32], groups: &[String]) {
        self.logged.borrow_mut().push((item_ids.to_vec(), rows.to_vec(), groups.to_vec()));
    }

    fn table(&self) -> Option<FeatureTable> {
        None
    }
}

fn report(stage: &str) -> StageReport {
    StageReport {
        stage: stage.to_owned(),
        component: stage.to_owned(),
        version: String::new(),
        digest: String::new(),
        status: StageStatus::Ok,
        reason: String::new(),
        elapsed_us: 0,
        candidates_in: 0,
        candidates_out: 0,
    }
}
