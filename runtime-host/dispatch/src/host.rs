//! `funnelweb:pipeline/dispatch` for one instance: one function a role, each a
//! few lines over [`Dispatcher::run`] and the contract.

use std::{collections::hash_map::Entry, sync::Arc};

use funnelweb_bindings::{
    Funnel,
    dispatch::{
        self as wit, CheckError, FeatureTable, FeaturesCall, FeaturesOutcome, Host, HostFunnel, RankCall, RankOutcome,
        RecallCall, RecallOutcome, RerankCall, RerankOutcome, RerankStep, Role, StageReport,
    },
    stages::{features, rank, recall, rerank},
    types::{Candidates, ParamError, Personal, RequestContext, Requirements, StageError, User},
};
use funnelweb_core::limits;
use funnelweb_tenant_store::Tenant;
use tokio::task::JoinSet;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::{
    Dispatcher,
    call::{Failure, Timer, bounded},
    contract::{self, HandleMap},
    table::{empty, narrow, take},
};

/// The ranker that stands in for one that does not answer.
const FALLBACK_RANKER: &str = "linear";

/// Requests that one instance may have stages at work for: it serves one at a
/// time.
const FUNNELS: usize = 16;

/// What one instance may do: run the stages for one tenant.
pub struct DispatchCtx {
    runner: Runner,
    funnels: ResourceTable,
}

impl DispatchCtx {
    /// Stages run with this tenant's data.
    #[must_use]
    pub fn new(dispatcher: Arc<Dispatcher>, tenant: Option<Tenant>) -> Self {
        let mut funnels = ResourceTable::new();
        funnels.set_max_capacity(FUNNELS);
        Self { runner: Runner { dispatcher, tenant }, funnels }
    }
}

struct HasDispatch;

impl HasData for HasDispatch {
    type Data<'a> = &'a mut DispatchCtx;
}

/// Offers `funnelweb:pipeline/dispatch` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut DispatchCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasDispatch>(linker, ctx)
}

impl HostFunnel for DispatchCtx {
    async fn new(&mut self, context: RequestContext) -> wasmtime::Result<Resource<Funnel>> {
        Ok(self.funnels.push(Funnel { context, table: None })?)
    }

    async fn recall(
        &mut self,
        funnel: Resource<Funnel>,
        exclude: Vec<u64>,
        calls: Vec<RecallCall>,
    ) -> wasmtime::Result<Vec<RecallOutcome>> {
        let context = &self.funnels.get(&funnel)?.context;
        let mut outcomes: Vec<Option<RecallOutcome>> = calls.iter().map(|_| None).collect();
        let mut others = JoinSet::new();
        let mut requests = Vec::with_capacity(calls.len());
        for call in calls.into_iter().take(limits::RECALL_STRATEGIES) {
            let personal = self.runner.personal(Role::Recall, &call.stage, &call.params).await;
            requests.push((call, part(context, personal)));
        }
        let mut requests = requests.into_iter().enumerate();
        // The first channel runs here, which saves a wake-up; the others beside it.
        let first = requests.next();
        for (at, (call, context)) in requests {
            let (runner, exclude) = (self.runner.clone(), exclude.clone());
            others.spawn(async move { (at, runner.recall_one(context, exclude, call).await) });
        }
        if let Some((at, (call, context))) = first {
            let outcome = self.runner.recall_one(context, exclude, call).await;
            put(&mut outcomes, at, outcome);
        }
        while let Some(joined) = others.join_next().await {
            if let Ok((at, outcome)) = joined {
                put(&mut outcomes, at, outcome);
            }
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(not_run)).collect())
    }

    async fn features(&mut self, funnel: Resource<Funnel>, call: FeaturesCall) -> wasmtime::Result<FeaturesOutcome> {
        let funnel = self.funnels.get_mut(&funnel)?;
        let (report, features) = self.runner.features(funnel.context.clone(), call).await;
        let removed = features.as_ref().map(|features| features.removed.clone());
        funnel.table = features.map(|found| FeatureTable { items: found.items, user: found.user });
        Ok(FeaturesOutcome { report, removed })
    }

    async fn rank(&mut self, funnel: Resource<Funnel>, call: RankCall) -> wasmtime::Result<RankOutcome> {
        let funnel = self.funnels.get_mut(&funnel)?;
        Ok(self.runner.rank(funnel, call).await)
    }

    async fn rerank(
        &mut self,
        funnel: Resource<Funnel>,
        candidates: Candidates,
        rows: Vec<u32>,
        calls: Vec<RerankCall>,
        trace: bool,
    ) -> wasmtime::Result<RerankOutcome> {
        let funnel = self.funnels.get(&funnel)?;
        Ok(self.runner.rerank(funnel, candidates, rows, calls, trace).await)
    }

    async fn table(&mut self, funnel: Resource<Funnel>) -> wasmtime::Result<Option<FeatureTable>> {
        Ok(self.funnels.get(&funnel)?.table.clone())
    }

    async fn drop(&mut self, funnel: Resource<Funnel>) -> wasmtime::Result<()> {
        self.funnels.delete(funnel)?;
        Ok(())
    }
}

impl Host for DispatchCtx {
    async fn check(
        &mut self,
        role: Role,
        stage: String,
        params: String,
    ) -> wasmtime::Result<Result<Requirements, CheckError>> {
        Ok(self.runner.check(role, stage, params).await)
    }

    async fn names(&mut self, role: Role) -> wasmtime::Result<Vec<String>> {
        Ok(self.runner.dispatcher.names(role))
    }
}

/// Runs stages for one tenant.
#[derive(Clone)]
struct Runner {
    dispatcher: Arc<Dispatcher>,
    tenant: Option<Tenant>,
}

impl Runner {
    async fn features(
        &self,
        context: RequestContext,
        call: FeaturesCall,
    ) -> (StageReport, Option<features::FeatureTable>) {
        let count = call.candidates.handles.len();
        let Some(stage) = self.dispatcher.features() else {
            return (Timer::start("features", "", count).failed(Failure::unknown("features"), 0), None);
        };
        let timer = Timer::start("features", &stage.id, count);
        let request = features::FeaturesRequest {
            context,
            candidates: call.candidates,
            item_features: call.item_features,
            user_features: call.user_features,
            columns: call.columns,
        };
        let answer = self
            .dispatcher
            .run(self.tenant.as_ref(), async |store| {
                let instance = stage.pre.instantiate_async(&mut *store).await?;
                instance.funnelweb_pipeline_features().call_extract(&mut *store, &request).await
            })
            .await;
        match answer.and_then(|answer| checked(answer, |found| check_features(&request.candidates, found))) {
            Ok(found) => (timer.ok(found.items.rows as usize), Some(found)),
            Err(failure) => (timer.failed(failure, 0), None),
        }
    }

    /// Ranks with the stage asked for, or else with the fallback, or else leaves
    /// the candidates' own scores.
    async fn rank(&self, funnel: &mut Funnel, call: RankCall) -> RankOutcome {
        let count = call.candidates.handles.len();
        let Some(table) = funnel.table.as_mut().filter(|table| table.items.rows as usize == count) else {
            let failure = Failure::failed("there is no feature row for every candidate");
            let report = Timer::start(&call.stage, "", count).failed(failure, count);
            return RankOutcome { reports: vec![report], scores: call.candidates.scores };
        };
        // Lent for the call, not copied: the table is the largest thing here.
        let (mut items, user) = (take(&mut table.items), take(&mut table.user));
        let embeddings = (std::mem::take(&mut items.embeddings), std::mem::take(&mut items.embedding_dim));
        let mut request = rank::RankRequest {
            context: part(&funnel.context, Personal::empty()),
            candidates: call.candidates,
            items,
            user,
            item_features: call.item_features,
            objective: call.objective,
            params: call.params,
        };
        let mut reports = Vec::new();
        let mut scores = None;
        for (stage, params) in [(call.stage.as_str(), None), (FALLBACK_RANKER, Some("{}"))] {
            if let Some(params) = params {
                // Those of the config were the other ranker's.
                request.params = params.to_owned();
            }
            let personal = self.personal(Role::Rank, stage, &request.params).await;
            request.context = part(&funnel.context, personal);
            scores = self.rank_one(stage, &request, &mut reports).await;
            if scores.is_some() || call.stage == FALLBACK_RANKER {
                break;
            }
        }
        let rank::RankRequest { candidates, mut items, user, .. } = request;
        (items.embeddings, items.embedding_dim) = embeddings;
        *table = FeatureTable { items, user };
        RankOutcome { reports, scores: scores.unwrap_or(candidates.scores) }
    }

    async fn rerank(
        &self,
        funnel: &Funnel,
        candidates: Candidates,
        rows: Vec<u32>,
        calls: Vec<RerankCall>,
        trace: bool,
    ) -> RerankOutcome {
        let (mut reports, mut steps) = (Vec::new(), Vec::new());
        let mut request = rerank::RerankRequest {
            context: part(&funnel.context, Personal::empty()),
            candidates,
            rows,
            items: empty(),
            weight: 1.0,
            params: String::new(),
        };
        for call in calls {
            let mut removed = Vec::new();
            let count = request.candidates.handles.len();
            let (timer, answer) = self.rerank_one(&mut request, funnel, call).await;
            let report = match answer {
                Ok(answer) => {
                    removed = answer.removed;
                    reorder(&mut request, answer.handles, answer.scores);
                    timer.ok(request.candidates.handles.len())
                }
                Err(failure) => timer.failed(failure, count),
            };
            if trace {
                let Candidates { handles, scores, .. } = request.candidates.clone();
                steps.push(RerankStep { handles, scores, removed });
            }
            reports.push(report);
        }
        RerankOutcome { reports, steps, candidates: request.candidates }
    }

    async fn check(&self, role: Role, stage: String, params: String) -> Result<Requirements, CheckError> {
        let key = (role as u8, stage, params);
        if let Some(known) = self.dispatcher.checks.get(&key) {
            return known;
        }
        match self.check_now(role, &key.1, &key.2).await {
            // A stage that could not answer may be able to the next time.
            Err((failure, true)) => Err(failure),
            Err((failure, false)) => {
                self.dispatcher.checks.insert(key, Err(failure.clone()));
                Err(failure)
            }
            Ok(requirements) => {
                self.dispatcher.checks.insert(key, Ok(requirements.clone()));
                Ok(requirements)
            }
        }
    }

    /// What of the context a stage asks for; nothing when it cannot say, and the
    /// call that follows reports why.
    async fn personal(&self, role: Role, stage: &str, params: &str) -> Personal {
        let requirements = self.check(role, stage.to_owned(), params.to_owned()).await;
        requirements.map_or(Personal::empty(), |requirements| requirements.personal)
    }

    async fn recall_one(&self, context: RequestContext, exclude: Vec<u64>, call: RecallCall) -> RecallOutcome {
        let none = |report: StageReport| RecallOutcome { report, handles: Vec::new(), scores: Vec::new() };
        let Some(stage) = self.dispatcher.recall(&call.stage) else {
            return none(Timer::start(&call.stage, "", 0).failed(missing(Role::Recall, &call.stage), 0));
        };
        let timer = Timer::start(&call.stage, &stage.id, 0);
        let limit = call.limit.min(limits::RECALL_LIMIT);
        let request = recall::RecallRequest { context, limit, exclude, params: call.params };
        let answer = self
            .dispatcher
            .run(self.tenant.as_ref(), async |store| {
                let instance = stage.pre.instantiate_async(&mut *store).await?;
                instance.funnelweb_pipeline_recall().call_recall(&mut *store, &request).await
            })
            .await;
        let contract = |found: &recall::Recalled| contract::recalled(&found.handles, &found.scores, limit);
        match answer.and_then(|answer| checked(answer, contract)) {
            Ok(found) => {
                RecallOutcome { report: timer.ok(found.handles.len()), handles: found.handles, scores: found.scores }
            }
            Err(failure) => none(timer.failed(failure, 0)),
        }
    }

    /// The scores of one ranker; None, and why in a report, when it has none.
    async fn rank_one(
        &self,
        name: &str,
        request: &rank::RankRequest,
        reports: &mut Vec<StageReport>,
    ) -> Option<Vec<f32>> {
        let count = request.candidates.handles.len();
        let Some(stage) = self.dispatcher.rank(name) else {
            reports.push(Timer::start(name, "", count).failed(missing(Role::Rank, name), count));
            return None;
        };
        let timer = Timer::start(name, &stage.id, count);
        let answer = self
            .dispatcher
            .run(self.tenant.as_ref(), async |store| {
                let instance = stage.pre.instantiate_async(&mut *store).await?;
                instance.funnelweb_pipeline_rank().call_rank(&mut *store, request).await
            })
            .await;
        match answer.and_then(|answer| checked(answer, |scores: &Vec<f32>| contract::scores(scores, count))) {
            Ok(scores) => {
                reports.push(timer.ok(count));
                Some(scores)
            }
            Err(failure) => {
                reports.push(timer.failed(failure, count));
                None
            }
        }
    }

    async fn rerank_one(
        &self,
        request: &mut rerank::RerankRequest,
        funnel: &Funnel,
        call: RerankCall,
    ) -> (Timer, Result<rerank::Reranked, Failure>) {
        let count = request.candidates.handles.len();
        let Some(stage) = self.dispatcher.rerank(&call.stage) else {
            return (Timer::start(&call.stage, "", count), Err(missing(Role::Rerank, &call.stage)));
        };
        let timer = Timer::start(&call.stage, &stage.id, count);
        let asked = match self.check(Role::Rerank, call.stage, call.params.clone()).await {
            Ok(requirements) => requirements,
            Err(CheckError::Invalid(error)) => return (timer, Err(Failure::failed(describe(&error)))),
            Err(CheckError::Unknown(_)) => return (timer, Err(Failure::failed("the stage is gone"))),
        };
        let Some(table) = &funnel.table else {
            return (timer, Err(Failure::failed("there is no feature table")));
        };
        request.context = part(&funnel.context, asked.personal);
        request.items = narrow(&table.items, &asked.columns);
        request.weight = call.weight;
        request.params = call.params;
        let answer = self
            .dispatcher
            .run(self.tenant.as_ref(), async |store| {
                let instance = stage.pre.instantiate_async(&mut *store).await?;
                instance.funnelweb_pipeline_rerank().call_rerank(&mut *store, request).await
            })
            .await;
        let offered = &request.candidates.handles;
        let contract =
            |found: &rerank::Reranked| contract::reranked(offered, &found.handles, &found.scores, &found.removed);
        (timer, answer.and_then(|answer| checked(answer, contract)))
    }

    /// The error says whether it may be another one the next time.
    async fn check_now(&self, role: Role, name: &str, params: &str) -> Result<Requirements, (CheckError, bool)> {
        let dispatcher = &self.dispatcher;
        // The answer is remembered for all tenants, so it cannot be about one.
        let tenant = None;
        let answer = match role {
            Role::Recall => match dispatcher.recall(name) {
                None => None,
                Some(stage) => Some(
                    dispatcher
                        .run(tenant, async |store| {
                            let instance = stage.pre.instantiate_async(&mut *store).await?;
                            instance.funnelweb_pipeline_recall().call_check(&mut *store, params).await
                        })
                        .await,
                ),
            },
            Role::Rank => match dispatcher.rank(name) {
                None => None,
                Some(stage) => Some(
                    dispatcher
                        .run(tenant, async |store| {
                            let instance = stage.pre.instantiate_async(&mut *store).await?;
                            instance.funnelweb_pipeline_rank().call_check(&mut *store, params).await
                        })
                        .await,
                ),
            },
            Role::Rerank => match dispatcher.rerank(name) {
                None => None,
                Some(stage) => Some(
                    dispatcher
                        .run(tenant, async |store| {
                            let instance = stage.pre.instantiate_async(&mut *store).await?;
                            instance.funnelweb_pipeline_rerank().call_check(&mut *store, params).await
                        })
                        .await,
                ),
            },
        };
        match answer {
            None if Dispatcher::is_known_name(role, name) => {
                Ok(Requirements { columns: Vec::new(), items: Vec::new(), personal: Personal::empty() })
            }
            None => Err((CheckError::Unknown(dispatcher.names(role)), false)),
            Some(Ok(Ok(requirements))) => {
                within_limits(requirements).map_err(|error| (CheckError::Invalid(error), false))
            }
            Some(Ok(Err(ParamError { path, message }))) => {
                let error = ParamError { path: bounded(path), message: bounded(message) };
                Err((CheckError::Invalid(error), false))
            }
            Some(Err(failure)) => {
                Err((CheckError::Invalid(ParamError { path: String::new(), message: failure.reason }), true))
            }
        }
    }
}

/// Beyond the limit of channels, or lost with a panic of the host.
fn not_run() -> RecallOutcome {
    let report = Timer::start("", "", 0).failed(Failure::failed("the host could not run it"), 0);
    RecallOutcome { report, handles: Vec::new(), scores: Vec::new() }
}

/// The part of a context that a stage asked for.
fn part(context: &RequestContext, personal: Personal) -> RequestContext {
    fn given<T: Clone>(asked: bool, list: &[T]) -> Vec<T> {
        if asked { list.to_vec() } else { Vec::new() }
    }
    let user = &context.user;
    RequestContext {
        scenario_id: context.scenario_id.clone(),
        user: User {
            id: if personal.contains(Personal::ID) { user.id.clone() } else { String::new() },
            attributes: given(personal.contains(Personal::ATTRIBUTES), &user.attributes),
            preferences: given(personal.contains(Personal::PREFERENCES), &user.preferences),
            recent: given(personal.contains(Personal::RECENT), &user.recent),
        },
        context: given(personal.contains(Personal::SITUATION), &context.context),
        now_ms: context.now_ms,
        count: context.count,
        seed: context.seed,
    }
}

fn put(outcomes: &mut [Option<RecallOutcome>], at: usize, outcome: RecallOutcome) {
    if let Some(slot) = outcomes.get_mut(at) {
        *slot = Some(outcome);
    }
}

fn missing(role: Role, name: &str) -> Failure {
    if Dispatcher::is_known_name(role, name) { Failure::not_built(name) } else { Failure::unknown(name) }
}

/// An answer that is no error and keeps its contract.
fn checked<R>(answer: Result<R, StageError>, contract: impl FnOnce(&R) -> Result<(), String>) -> Result<R, Failure> {
    let answer = answer?;
    contract(&answer).map_err(|broken| Failure::failed(format!("broke its contract: {broken}")))?;
    Ok(answer)
}

fn check_features(candidates: &Candidates, found: &features::FeatureTable) -> Result<(), String> {
    contract::table(&found.items)?;
    contract::table(&found.user)?;
    if found.user.rows != 1 {
        return Err(format!("{} rows of user features", found.user.rows));
    }
    let removed: contract::HandleSet = found.removed.iter().copied().collect();
    let kept: Vec<u64> = candidates.handles.iter().copied().filter(|handle| !removed.contains(handle)).collect();
    contract::partition(&candidates.handles, &kept, &found.removed)?;
    if kept.len() == found.items.rows as usize {
        Ok(())
    } else {
        Err(format!("{} rows for {} candidates", found.items.rows, kept.len()))
    }
}

fn within_limits(requirements: Requirements) -> Result<Requirements, ParamError> {
    let over = |what: &str, count: usize, limit: usize| {
        let message = format!("these params need {count} {what}, {limit} is the most");
        (count > limit).then(|| ParamError { path: String::new(), message })
    };
    over("columns", requirements.columns.len(), limits::STAGE_COLUMNS)
        .or_else(|| over("items", requirements.items.len(), limits::STAGE_ITEMS))
        .or_else(|| {
            let longest = requirements.columns.iter().map(|column| column.name.len()).max().unwrap_or_default();
            over("bytes in a column's name", longest, limits::NAME_BYTES)
        })
        .map_or(Ok(requirements), Err)
}

fn describe(error: &ParamError) -> String {
    format!("params{}: {}", error.path, error.message)
}

/// Brings sources and rows into the order that a rule gave the handles.
fn reorder(request: &mut rerank::RerankRequest, handles: Vec<u64>, scores: Vec<f32>) {
    let before = &request.candidates;
    let mut at = HandleMap::with_capacity_and_hasher(before.handles.len(), Default::default());
    for ((handle, sources), row) in before.handles.iter().zip(&before.sources).zip(&request.rows) {
        if let Entry::Vacant(entry) = at.entry(*handle) {
            entry.insert((*sources, *row));
        }
    }
    // The contract was checked: each handle is there.
    let (sources, rows) = handles.iter().filter_map(|handle| at.get(handle)).copied().unzip();
    request.candidates = Candidates { handles, scores, sources };
    request.rows = rows;
}
