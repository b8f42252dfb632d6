//! The funnel in one native program: the stages' pure functions, called directly
//! on the stores that the components are given.

use std::{cell::RefCell, rc::Rc};

use funnelweb::stores::Stores;
use funnelweb_core::error::ApiError;
use funnelweb_factor_documents::store::{self, Tenant};
use funnelweb_guest::{
    dispatch::{
        Allowance, CheckError, Draft, FeatureTable, FeaturesCall, FeaturesOutcome, Named, RankCall, RankOutcome,
        RecallCall, RecallOutcome, Recording, RerankCall, RerankOutcome, Role, StageReport, StageStatus,
    },
    documents::{Collection, ItemTable, Key, Term},
    errors::Error,
    features::FeaturesRequest,
    handles::HandleMap,
    live::Scored,
    rank::{self, RankRequest},
    recall::{Guest as _, RecallRequest},
    rerank::{self, RerankRequest, Reranked},
    results::{self, Found},
    types::{Candidates, ColumnKind, ColumnSpec, Handle, RequestContext, Requirements, StageError, Table},
};
use recommend::{
    Request,
    capabilities::{Capabilities, Claim, Stages},
    funnel,
};
use tokio::runtime::Handle as Runtime;

/// The host of the native funnel.
#[derive(Clone)]
pub struct Native {
    stores: Stores,
    tenant: Tenant,
    runtime: Runtime,
    /// What the stages of the last request were asked, when it is wanted.
    asked: Option<Rc<RefCell<Asked>>>,
}

/// What a request asked of each stage.
#[derive(Clone, Default)]
pub struct Asked {
    pub context: Option<RequestContext>,
    pub recall: Vec<RecallCall>,
    pub features: Option<FeaturesCall>,
    pub rank: Option<RankCall>,
    pub rerank: Vec<RerankCall>,
    pub ranked: Option<(Candidates, Vec<u32>)>,
}

impl Native {
    /// Over these stores; `runtime` runs their reads.
    pub fn new(stores: &Stores, tenant: &Tenant, runtime: &Runtime) -> Self {
        Self { stores: stores.clone(), tenant: tenant.clone(), runtime: runtime.clone(), asked: None }
    }

    /// From the body of a request to the body of its answer.
    pub fn recommend(&self, request_id: &str, user_id: &str, body: &[u8], now_ms: u64) -> Vec<u8> {
        let request: Request = funnelweb_guest::http::json::parse(body).unwrap();
        let seed = funnelweb_core::id::handle(request_id);
        let call = funnel::Call { now_ms, seed, body, ..funnel::Call::of(request_id, user_id) };
        funnel::recommend(self, &call, &request).unwrap().into_text().into_bytes()
    }

    /// What a request asks of each stage.
    pub fn asked(&self, user_id: &str, body: &[u8], now_ms: u64) -> Asked {
        let asked = Rc::default();
        Self { asked: Some(Rc::clone(&asked)), ..self.clone() }.recommend("r", user_id, body, now_ms);
        asked.take()
    }

    fn note(&self, note: impl FnOnce(&mut Asked)) {
        if let Some(asked) = &self.asked {
            note(&mut asked.borrow_mut());
        }
    }

    /// The feature table of a call.
    pub fn extract(&self, context: &RequestContext, call: &FeaturesCall) -> funnelweb_guest::features::FeatureTable {
        let request = FeaturesRequest {
            context: context.clone(),
            candidates: call.candidates.clone(),
            item_features: call.item_features.clone(),
            user_features: call.user_features.clone(),
            context_features: call.context_features.clone(),
            derived_features: call.derived_features.clone(),
            evidence: call.evidence.clone(),
            columns: call.columns.clone(),
        };
        features::extract(&request, self).unwrap()
    }

    /// One recall channel.
    pub fn recall_one(&self, context: &RequestContext, exclude: &[Handle], call: &RecallCall) -> RecallOutcome {
        let request = RecallRequest {
            context: context.clone(),
            limit: call.limit,
            exclude: exclude.to_vec(),
            params: call.params.clone(),
        };
        let newest = |scenario_id: &str, lists: &[(Option<Term>, u32)]| {
            let term = |term: &Term| store::Term { field: term.field.clone(), value: term.value.clone() };
            let lists = lists.iter().map(|(of, limit)| (of.as_ref().map(term), *limit)).collect();
            Ok(self.wait(self.stores.documents.newest_items(&self.tenant, scenario_id.to_owned(), lists)))
        };
        let hot = |scenario_id: &str, limit, exclude: &[Handle], now_ms| {
            let scenario_id = scenario_id.to_owned();
            let top = self.stores.live.hot_top(&self.tenant, scenario_id, limit, exclude.to_vec(), now_ms);
            let top = self.wait(top);
            Ok(Scored { handles: top.handles, scores: top.scores })
        };
        let found = match call.stage.as_str() {
            "hot_items" => recall_hot::recall(&request, hot),
            "content_based" => recall_content::recall(&request, newest),
            "latest" => recall_latest::recall(&request, newest),
            other => panic!("no channel {other}"),
        };
        let found = found.unwrap();
        RecallOutcome { report: report(&call.stage), handles: found.handles, scores: found.scores }
    }

    fn wait<T, E: std::fmt::Debug>(&self, store: impl Future<Output = Result<T, E>>) -> T {
        self.runtime.block_on(store).unwrap()
    }
}

/// One rerank rule.
pub fn rerank_one(stage: &str, request: &RerankRequest) -> Result<Reranked, StageError> {
    match stage {
        "diversity" => rerank_diversity::rerank(request),
        "freshness" => rerank_freshness::rerank(request),
        other => panic!("no rule {other}"),
    }
}

impl Capabilities for Native {
    fn document(&self, collection: Collection, key: &Key) -> Result<Option<String>, ApiError> {
        let document = self.stores.documents.get(&self.tenant, of(collection), store_key(key));
        Ok(self.wait(document).map(|document| document.body))
    }

    fn documents(&self, collection: Collection, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError> {
        let keys = keys.iter().map(store_key).collect();
        let found = self.wait(self.stores.documents.get_many(&self.tenant, of(collection), keys));
        Ok(found.into_iter().map(|document| document.map(|document| document.body)).collect())
    }

    fn item_ids(&self, scenario_id: &str, handles: &[Handle]) -> Result<Vec<Option<String>>, ApiError> {
        Ok(self.wait(self.stores.documents.item_ids(&self.tenant, scenario_id.to_owned(), handles.to_vec())))
    }

    fn profile(&self, key: &Key) -> Result<Option<(u64, String)>, ApiError> {
        let document = self.stores.documents.get(&self.tenant, of(Collection::UserProfiles), store_key(key));
        Ok(self.wait(document).map(|document| (document.version, document.body)))
    }

    fn active(&self, _: &str, handles: &[Handle], _: u64) -> Result<usize, ApiError> {
        Ok(handles.len())
    }

    fn exposed(&self, scenario_id: &str, user_id: &str) -> Result<Vec<Handle>, ApiError> {
        Ok(self.wait(self.stores.live.exposed(&self.tenant, scenario_id.to_owned(), user_id.to_owned())))
    }

    fn expose(
        &self,
        scenario_id: &str,
        user_id: Option<&str>,
        item_ids: &[String],
        ttl_s: u32,
    ) -> Result<(), ApiError> {
        let (scenario_id, user_id) = (scenario_id.to_owned(), user_id.map(str::to_owned));
        self.wait(self.stores.live.expose(&self.tenant, scenario_id, user_id, item_ids.to_vec(), ttl_s));
        Ok(())
    }

    fn check(&self, role: Role, stage: &str, params: &str) -> Result<Requirements, CheckError> {
        use rank::Guest as _;
        use rerank::Guest as _;
        let params = params.to_owned();
        let answer = match (role, stage) {
            (Role::Recall, "hot_items") => recall_hot::Stage::check(params),
            (Role::Recall, "content_based") => recall_content::Stage::check(params),
            (Role::Recall, "latest") => recall_latest::Stage::check(params),
            (Role::Rank, "linear") => rank_linear::Stage::check(params),
            (Role::Rerank, "diversity") => rerank_diversity::Stage::check(params),
            (Role::Rerank, "freshness") => rerank_freshness::Stage::check(params),
            _ => return Err(CheckError::Unknown(Vec::new())),
        };
        answer.map_err(CheckError::Invalid)
    }

    /// Nothing is recorded here.
    fn record(&self, _: &Recording) {}

    fn fingerprint(&self, _: &str, _: &str, _: u64, _: &[Named]) -> u64 {
        0
    }

    type Claim = Nothing;

    /// Every request is computed.
    fn look(&self, _: &results::Key) -> Result<(Found, Option<Nothing>), ApiError> {
        Ok((Found::Unavailable, None))
    }

    fn keep(&self, _: &results::Key, _: &str, _: u32, _: u32) -> Result<bool, ApiError> {
        Ok(false)
    }

    fn forget(&self, _: &results::Key) -> Result<(), ApiError> {
        Ok(())
    }

    type Stages = NativeStages;

    fn stages(&self, context: &RequestContext, _: &Allowance) -> NativeStages {
        self.note(|asked| asked.context = Some(context.clone()));
        NativeStages { native: self.clone(), context: context.clone(), table: RefCell::new(None) }
    }
}

/// Nothing is claimed.
pub struct Nothing;

impl Claim for Nothing {
    fn revalidate(self, _: &str) {}
}

impl features::Sources for Native {
    fn item_columns(
        &self,
        scenario_id: &str,
        handles: &[Handle],
        columns: &[ColumnSpec],
        now_ms: u64,
    ) -> Result<ItemTable, Error> {
        let column = |spec: &ColumnSpec| store::ColumnSpec { name: spec.name.clone(), kind: kind(spec.kind) };
        let columns = columns.iter().map(column).collect();
        let scenario_id = scenario_id.to_owned();
        let found = self.stores.documents.item_columns(&self.tenant, scenario_id, handles.to_vec(), columns, now_ms);
        let found = self.wait(found);
        Ok(ItemTable { found: found.found, table: guest_table(found.table) })
    }

    fn hot_scores(&self, scenario_id: &str, handles: &[Handle], now_ms: u64) -> Result<Vec<f32>, Error> {
        Ok(self.wait(self.stores.live.hot_scores(&self.tenant, scenario_id.to_owned(), handles.to_vec(), now_ms)))
    }

    fn item_stats(&self, scenario_id: &str, handles: &[Handle], fields: &[String]) -> Result<Vec<f64>, Error> {
        let (scenario_id, handles) = (scenario_id.to_owned(), handles.to_vec());
        Ok(self.wait(self.stores.live.item_stats(&self.tenant, scenario_id, handles, fields.to_vec())))
    }
}

/// The stages of one request.
pub struct NativeStages {
    native: Native,
    context: RequestContext,
    table: RefCell<Option<FeatureTable>>,
}

impl Stages for NativeStages {
    fn recall(&self, exclude: &[Handle], calls: &[RecallCall]) -> Vec<RecallOutcome> {
        self.native.note(|asked| asked.recall = calls.to_vec());
        calls.iter().map(|call| self.native.recall_one(&self.context, exclude, call)).collect()
    }

    fn features(&self, call: &FeaturesCall) -> FeaturesOutcome {
        self.native.note(|asked| asked.features = Some(call.clone()));
        let found = self.native.extract(&self.context, call);
        self.table.replace(Some(FeatureTable { items: found.items, user: found.user }));
        FeaturesOutcome { report: report("features"), removed: Some(found.removed) }
    }

    fn rank(&self, call: &RankCall) -> RankOutcome {
        self.native.note(|asked| asked.rank = Some(call.clone()));
        let FeatureTable { items, user } = self.table.take().unwrap();
        let request = rank_request(&self.context, call, items, user);
        let scores = rank_linear::rank(&request).unwrap();
        self.table.replace(Some(FeatureTable { items: request.items, user: request.user }));
        RankOutcome { reports: vec![report(&call.stage)], scores }
    }

    fn rerank(&self, candidates: &Candidates, rows: &[u32], calls: &[RerankCall], _trace: bool) -> RerankOutcome {
        self.native.note(|asked| {
            asked.rerank = calls.to_vec();
            asked.ranked = Some((candidates.clone(), rows.to_vec()));
        });
        let FeatureTable { items, user } = self.table.take().unwrap();
        let mut request = rerank_request(&self.context, candidates, rows, items);
        for call in calls {
            (request.weight, request.params) = (call.weight, call.params.clone());
            let answer = rerank_one(&call.stage, &request).unwrap();
            reorder(&mut request, answer);
        }
        self.table.replace(Some(FeatureTable { items: request.items, user }));
        let reports = calls.iter().map(|call| report(&call.stage)).collect();
        RerankOutcome { reports, steps: Vec::new(), candidates: request.candidates }
    }

    /// Logging is the host's, in a component or not: neither side of the comparison does it.
    fn shown(&self, _: &str, _: &[String], _: &[u32], _: &[String], _: Option<&Draft>) {}

    fn table(&self) -> Option<FeatureTable> {
        self.table.borrow().clone()
    }
}

/// What a ranker is asked.
pub fn rank_request(context: &RequestContext, call: &RankCall, items: Table, user: Table) -> RankRequest {
    RankRequest {
        context: context.clone(),
        candidates: call.candidates.clone(),
        items,
        user,
        item_features: call.item_features.clone(),
        objective: call.objective.clone(),
        params: call.params.clone(),
    }
}

/// What a rule is asked, but for its weight and params.
pub fn rerank_request(context: &RequestContext, candidates: &Candidates, rows: &[u32], items: Table) -> RerankRequest {
    RerankRequest {
        context: context.clone(),
        candidates: candidates.clone(),
        rows: rows.to_vec(),
        items,
        weight: 1.0,
        params: String::new(),
    }
}

/// Brings sources and rows into the order that a rule gave the handles.
fn reorder(request: &mut RerankRequest, answer: Reranked) {
    let before = &request.candidates;
    let old = before.handles.iter().zip(before.sources.iter().zip(&request.rows));
    let at: HandleMap<(u32, u32)> = old.map(|(handle, (sources, row))| (*handle, (*sources, *row))).collect();
    let (sources, rows) = answer.handles.iter().map(|handle| at[handle]).unzip();
    request.candidates = Candidates { handles: answer.handles, scores: answer.scores, sources };
    request.rows = rows;
}

fn report(stage: &str) -> StageReport {
    StageReport {
        stage: stage.to_owned(),
        component: String::new(),
        version: String::new(),
        digest: String::new(),
        status: StageStatus::Ok,
        reason: String::new(),
        elapsed_us: 0,
        candidates_in: 0,
        candidates_out: 0,
    }
}

fn of(collection: Collection) -> store::Collection {
    match collection {
        Collection::Scenarios => store::Collection::Scenarios,
        Collection::Items => store::Collection::Items,
        Collection::UserProfiles => store::Collection::UserProfiles,
        Collection::ModelConfigs => store::Collection::ModelConfigs,
        Collection::Experiments => store::Collection::Experiments,
    }
}

fn store_key(key: &Key) -> store::Key {
    store::Key::new(key.scenario_id.as_str(), key.id.as_str())
}

fn kind(kind: ColumnKind) -> store::ColumnKind {
    match kind {
        ColumnKind::Numeric => store::ColumnKind::Numeric,
        ColumnKind::Categorical => store::ColumnKind::Categorical,
        ColumnKind::MultiCategorical => store::ColumnKind::MultiCategorical,
        ColumnKind::Timestamp => store::ColumnKind::Timestamp,
        ColumnKind::Embedding => store::ColumnKind::Embedding,
    }
}

fn guest_table(table: store::Table) -> Table {
    Table {
        rows: table.rows,
        numeric_names: table.numeric_names,
        numeric: table.numeric,
        categorical_names: table.categorical_names,
        categorical: table.categorical,
        multi_names: table.multi_names,
        multi_offsets: table.multi_offsets,
        multi_values: table.multi_values,
        embedding_dim: table.embedding_dim,
        embeddings: table.embeddings,
    }
}
