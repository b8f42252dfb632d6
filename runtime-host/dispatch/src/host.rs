//! `funnelweb:pipeline/dispatch` for one instance: one function a role, each a
//! few lines over [`Dispatcher::run`] and the contract.

use std::{collections::hash_map::Entry, sync::Arc};

use funnelweb_bindings::{
    dispatch::{
        self as wit, CheckError, FeaturesCall, FeaturesOutcome, Host, RankCall, RankOutcome, RecallCall, RecallOutcome,
        RerankCall, RerankOutcome, RerankStep, Role, StageReport,
    },
    stages::{features, rank, recall, rerank},
    types::{Candidates, ParamError, RequestContext, Requirements, StageError, Table},
};
use funnelweb_core::limits;
use funnelweb_tenant_store::Tenant;
use tokio::task::JoinSet;
use wasmtime::component::{HasData, Linker};

use crate::{
    Dispatcher,
    call::{Failure, Timer},
    contract::{self, HandleMap},
    table::narrow,
};

/// The ranker that stands in for one that does not answer.
const FALLBACK_RANKER: &str = "linear";

/// What one instance may do: run the stages for one tenant.
#[derive(Clone)]
pub struct DispatchCtx {
    dispatcher: Arc<Dispatcher>,
    tenant: Option<Tenant>,
}

impl DispatchCtx {
    /// Stages run with this tenant's data.
    #[must_use]
    pub fn new(dispatcher: Arc<Dispatcher>, tenant: Option<Tenant>) -> Self {
        Self { dispatcher, tenant }
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

impl Host for DispatchCtx {
    async fn recall(
        &mut self,
        context: RequestContext,
        exclude: Vec<u64>,
        calls: Vec<RecallCall>,
    ) -> Vec<RecallOutcome> {
        let mut outcomes: Vec<Option<RecallOutcome>> = calls.iter().map(|_| None).collect();
        let mut others = JoinSet::new();
        let mut calls = calls.into_iter().take(limits::RECALL_STRATEGIES).enumerate();
        // The first channel runs here, which saves a wake-up; the others beside it.
        let first = calls.next();
        for (at, call) in calls {
            let (ctx, context, exclude) = (self.clone(), context.clone(), exclude.clone());
            others.spawn(async move { (at, ctx.recall_one(context, exclude, call).await) });
        }
        if let Some((at, call)) = first {
            let outcome = self.recall_one(context, exclude, call).await;
            put(&mut outcomes, at, outcome);
        }
        while let Some(joined) = others.join_next().await {
            if let Ok((at, outcome)) = joined {
                put(&mut outcomes, at, outcome);
            }
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(not_run)).collect()
    }

    async fn features(&mut self, context: RequestContext, call: FeaturesCall) -> FeaturesOutcome {
        let Some(stage) = self.dispatcher.features() else {
            let report =
                Timer::start("features", "", call.candidates.handles.len()).failed(Failure::unknown("features"), 0);
            return FeaturesOutcome { report, features: None };
        };
        let timer = Timer::start("features", &stage.id, call.candidates.handles.len());
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
            Ok(found) => FeaturesOutcome {
                report: timer.ok(found.items.rows as usize),
                features: Some(wit::FeatureTable { items: found.items, user: found.user, removed: found.removed }),
            },
            Err(failure) => FeaturesOutcome { report: timer.failed(failure, 0), features: None },
        }
    }

    async fn rank(&mut self, context: RequestContext, call: RankCall) -> RankOutcome {
        let request = rank::RankRequest {
            context,
            candidates: call.candidates,
            items: call.features.items,
            user: call.features.user,
            item_features: call.item_features,
            objective: call.objective,
            params: call.params,
        };
        let mut reports = Vec::new();
        match self.rank_one(&call.stage, &request, &mut reports).await {
            Some(scores) => RankOutcome { reports, scores },
            None if call.stage == FALLBACK_RANKER => RankOutcome { reports, scores: request.candidates.scores },
            None => {
                // The params were the other ranker's.
                let request = rank::RankRequest { params: "{}".to_owned(), ..request };
                let scores = self.rank_one(FALLBACK_RANKER, &request, &mut reports).await;
                RankOutcome { reports, scores: scores.unwrap_or(request.candidates.scores) }
            }
        }
    }

    async fn rerank(
        &mut self,
        context: RequestContext,
        candidates: Candidates,
        rows: Vec<u32>,
        items: Table,
        calls: Vec<RerankCall>,
        trace: bool,
    ) -> RerankOutcome {
        let (mut reports, mut steps) = (Vec::new(), Vec::new());
        let mut request = rerank::RerankRequest {
            context,
            candidates,
            rows,
            items: narrow(&items, &[]),
            weight: 1.0,
            params: String::new(),
        };
        for call in calls {
            let mut removed = Vec::new();
            let count = request.candidates.handles.len();
            let (timer, answer) = self.rerank_one(&mut request, &items, call).await;
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

    async fn check(&mut self, role: Role, stage: String, params: String) -> Result<Requirements, CheckError> {
        let key = (role as u8, stage, params);
        if let Some(known) = self.dispatcher.checks.get(&key) {
            return known;
        }
        let answer = self.check_now(role, &key.1, &key.2).await;
        match answer {
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

    async fn names(&mut self, role: Role) -> Vec<String> {
        self.dispatcher.names(role)
    }
}

impl DispatchCtx {
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
        &mut self,
        request: &mut rerank::RerankRequest,
        items: &Table,
        call: RerankCall,
    ) -> (Timer, Result<rerank::Reranked, Failure>) {
        let count = request.candidates.handles.len();
        let dispatcher = Arc::clone(&self.dispatcher);
        let Some(stage) = dispatcher.rerank(&call.stage) else {
            return (Timer::start(&call.stage, "", count), Err(missing(Role::Rerank, &call.stage)));
        };
        let timer = Timer::start(&call.stage, &stage.id, count);
        let asked = match self.check(Role::Rerank, call.stage, call.params.clone()).await {
            Ok(requirements) => requirements.columns,
            Err(CheckError::Invalid(error)) => return (timer, Err(Failure::failed(describe(&error)))),
            Err(CheckError::Unknown(_)) => return (timer, Err(Failure::failed("the stage is gone"))),
        };
        request.items = narrow(items, &asked);
        request.weight = call.weight;
        request.params = call.params;
        let answer = dispatcher
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
        let tenant = self.tenant.as_ref();
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
                Ok(Requirements { columns: Vec::new(), items: Vec::new() })
            }
            None => Err((CheckError::Unknown(dispatcher.names(role)), false)),
            Some(Ok(Ok(requirements))) => {
                within_limits(requirements).map_err(|error| (CheckError::Invalid(error), false))
            }
            Some(Ok(Err(error))) => Err((CheckError::Invalid(error), false)),
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
