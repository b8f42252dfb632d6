//! A host of documents and of channels and rankers whose answers are written down, for native
//! tests. Features keep all, a ranker that is not written down leaves the merged scores.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use funnelweb_core::{error::ApiError, id};
use funnelweb_guest::{
    dispatch::{
        Allowance, CheckError, Draft, FeatureTable, FeaturesCall, FeaturesOutcome, Named, RankCall, RankOutcome,
        RecallCall, RecallOutcome, Recording, RerankCall, RerankOutcome, Role, StageReport, StageStatus,
    },
    documents::{Collection, Key},
    results::{self, Found, Kept},
    types::{Candidates, Handle, RequestContext, Requirements},
};

use crate::capabilities::{Capabilities, Claim, Stages};

#[derive(Default)]
pub(crate) struct Host {
    pub(crate) documents: Vec<(Collection, String, String)>,
    pub(crate) channels: Vec<(String, Vec<String>)>,
    pub(crate) rankers: Vec<(String, Vec<String>)>,
    /// The stage that fails.
    pub(crate) failing: String,
    /// Who was shown what.
    pub(crate) exposures: RefCell<Vec<(Option<String>, Vec<String>)>>,
    /// Whether what a user was shown is known afterwards.
    pub(crate) remembers: bool,
    /// What is kept of answers, and how.
    pub(crate) kept: Rc<RefCell<HashMap<String, Kept>>>,
    /// What was to be computed anew: the bodies of the requests.
    pub(crate) revalidated: Rc<RefCell<Vec<String>>>,
    /// How often stages were set up.
    pub(crate) runs: Cell<usize>,
    /// Items that a rule asks for.
    pub(crate) pins: Vec<Handle>,
    /// Which models rank, if it matters.
    pub(crate) models: u64,
    /// The version of a stage, if it matters.
    pub(crate) version: (String, u64),
    /// Whether what is kept answers.
    pub(crate) down: bool,
    pub(crate) logged: Rc<RefCell<Vec<Logged>>>,
    /// The stages that were called, in order.
    pub(crate) called: Rc<RefCell<Vec<String>>>,
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

    /// The same documents and channels, and nothing else.
    pub(crate) fn copied(&self) -> Self {
        Self { documents: self.documents.clone(), channels: self.channels.clone(), ..Self::default() }
    }

    /// Without an item.
    pub(crate) fn without_item(mut self, id: &str) -> Self {
        self.documents.retain(|(_, of, _)| of != id);
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

    /// A ranker, and what it puts first, best first.
    pub(crate) fn with_ranker(mut self, name: &str, items: &[&str]) -> Self {
        self.rankers.push((name.to_owned(), items.iter().map(|item| (*item).to_owned()).collect()));
        self
    }

    pub(crate) fn with_failing(mut self, stage: &str) -> Self {
        self.failing = stage.to_owned();
        self
    }
}

impl Capabilities for Host {
    fn document(&self, collection: Collection, key: &Key) -> Result<Option<String>, ApiError> {
        let mut found = self.documents.iter().filter(|(of, id, _)| *of == collection && *id == key.id);
        Ok(found.next().map(|(_, _, body)| body.clone()))
    }

    fn profile(&self, key: &Key) -> Result<Option<(u64, String)>, ApiError> {
        let found = self.document(Collection::UserProfiles, key)?;
        Ok(found.map(|body| (id::handle(&body), body)))
    }

    fn active(&self, scenario_id: &str, handles: &[Handle], _: u64) -> Result<usize, ApiError> {
        Ok(self.item_ids(scenario_id, handles)?.into_iter().flatten().count())
    }

    fn documents(&self, collection: Collection, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError> {
        keys.iter().map(|key| self.document(collection, key)).collect()
    }

    fn item_ids(&self, _: &str, handles: &[Handle]) -> Result<Vec<Option<String>>, ApiError> {
        let items = || self.documents.iter().filter(|(of, _, _)| *of == Collection::Items).map(|(_, id, _)| id);
        Ok(handles.iter().map(|handle| items().find(|item| id::handle(item) == *handle).cloned()).collect())
    }

    fn exposed(&self, _: &str, user_id: &str) -> Result<Vec<Handle>, ApiError> {
        let exposures = self.exposures.borrow();
        let own = exposures.iter().filter(|(of, _)| self.remembers && of.as_deref() == Some(user_id));
        Ok(own.flat_map(|(_, items)| items).map(|item| id::handle(item)).collect())
    }

    fn expose(&self, _: &str, user_id: Option<&str>, item_ids: &[String], _: u32) -> Result<(), ApiError> {
        self.exposures.borrow_mut().push((user_id.map(str::to_owned), item_ids.to_vec()));
        Ok(())
    }

    fn check(&self, _: Role, _: &str, _: &str) -> Result<Requirements, CheckError> {
        Ok(Requirements { items: self.pins.clone(), ..Requirements::none() })
    }

    fn fingerprint(&self, _: &str, _: &str, _: u64, stages: &[Named]) -> u64 {
        let (stage, version) = &self.version;
        self.models + stages.iter().filter(|of| of.stage == *stage).map(|_| version).sum::<u64>()
    }

    type Claim = Claimed;

    fn look(&self, key: &results::Key) -> Result<(Found, Option<Claimed>), ApiError> {
        if self.down {
            return Ok((Found::Unavailable, None));
        }
        let claim = Some(Claimed(Rc::clone(&self.revalidated)));
        Ok(match self.kept.borrow().get(&named(key)) {
            Some(kept) if kept.fresh_s > 0 => (Found::Fresh(kept.clone()), None),
            Some(kept) => (Found::Stale(kept.clone()), claim),
            None => (Found::Absent, claim),
        })
    }

    fn keep(&self, key: &results::Key, value: &str, fresh_s: u32, _: u32) -> Result<bool, ApiError> {
        let kept = Kept { value: value.to_owned(), fresh_s: fresh_s as i32, collapsed: false };
        self.kept.borrow_mut().insert(named(key), kept);
        Ok(!self.down)
    }

    fn forget(&self, key: &results::Key) -> Result<(), ApiError> {
        self.kept.borrow_mut().remove(&named(key));
        Ok(())
    }

    fn record(&self, recording: &Recording) {
        self.recorded.borrow_mut().push(recording.clone());
    }

    type Stages = Written;

    fn stages(&self, context: &RequestContext, _: &Allowance) -> Written {
        *self.context.borrow_mut() = Some(context.clone());
        self.runs.set(self.runs.get() + 1);
        Written {
            channels: self.channels.clone(),
            rankers: self.rankers.clone(),
            failing: self.failing.clone(),
            logged: Rc::clone(&self.logged),
            called: Rc::clone(&self.called),
        }
    }
}

fn named(key: &results::Key) -> String {
    format!("{}:{}:{}", key.scenario_id, key.user_id, key.hash)
}

/// A claim, and where what it has computed anew is written down.
pub(crate) struct Claimed(Rc<RefCell<Vec<String>>>);

impl Claim for Claimed {
    fn revalidate(self, request: &str) {
        self.0.borrow_mut().push(request.to_owned());
    }
}

/// A slate that was logged.
pub(crate) struct Logged {
    pub(crate) items: Vec<String>,
    pub(crate) rows: Vec<u32>,
    /// Of experiments.
    pub(crate) groups: Vec<String>,
    pub(crate) drafted: Option<Draft>,
}

/// The answers of channels and rankers.
pub(crate) struct Written {
    channels: Vec<(String, Vec<String>)>,
    rankers: Vec<(String, Vec<String>)>,
    failing: String,
    logged: Rc<RefCell<Vec<Logged>>>,
    called: Rc<RefCell<Vec<String>>>,
}

impl Written {
    fn report(&self, stage: &str) -> StageReport {
        self.called.borrow_mut().push(stage.to_owned());
        let status = if self.failing == stage { StageStatus::Failed } else { StageStatus::Ok };
        StageReport {
            stage: stage.to_owned(),
            component: stage.to_owned(),
            version: String::new(),
            digest: String::new(),
            status,
            reason: String::new(),
            elapsed_us: 0,
            candidates_in: 0,
            candidates_out: 0,
        }
    }
}

impl Stages for Written {
    fn recall(&self, exclude: &[Handle], calls: &[RecallCall]) -> Vec<RecallOutcome> {
        let outcome = |call: &RecallCall| {
            let items = self.channels.iter().filter(|(name, _)| *name == call.stage).flat_map(|(_, items)| items);
            let handles: Vec<Handle> =
                items.map(|item| id::handle(item)).filter(|handle| !exclude.contains(handle)).collect();
            let scores = (1..).take(handles.len()).map(|rank| 1.0 / rank as f32).collect();
            RecallOutcome { report: self.report(&call.stage), handles, scores }
        };
        calls.iter().map(outcome).collect()
    }

    fn features(&self, _: &FeaturesCall) -> FeaturesOutcome {
        let report = self.report("features");
        let removed = (report.status == StageStatus::Ok).then(Vec::new);
        FeaturesOutcome { report, removed }
    }

    fn rank(&self, call: &RankCall) -> RankOutcome {
        let report = self.report(&call.stage);
        let scores = match self.rankers.iter().find(|(name, _)| *name == call.stage) {
            Some((_, items)) if report.status == StageStatus::Ok => {
                let place = |handle: &Handle| items.iter().position(|item| id::handle(item) == *handle);
                let score = |handle: &Handle| place(handle).map_or(0.0, |place| 1.0 / (1.0 + place as f32));
                call.candidates.handles.iter().map(score).collect()
            }
            _ => call.candidates.scores.clone(),
        };
        RankOutcome { reports: vec![report], scores }
    }

    fn rerank(&self, candidates: &Candidates, _: &[u32], calls: &[RerankCall], _: bool) -> RerankOutcome {
        let reports = calls.iter().map(|call| self.report(&call.stage)).collect();
        RerankOutcome { reports, steps: Vec::new(), candidates: candidates.clone() }
    }

    fn shown(&self, _: &str, item_ids: &[String], rows: &[u32], groups: &[String], drafted: Option<&Draft>) {
        let (items, rows, groups) = (item_ids.to_vec(), rows.to_vec(), groups.to_vec());
        self.logged.borrow_mut().push(Logged { items, rows, groups, drafted: drafted.cloned() });
    }

    fn table(&self) -> Option<FeatureTable> {
        None
    }
}
