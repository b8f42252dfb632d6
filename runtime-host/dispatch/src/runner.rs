//! Running the stages of one tenant: one function a role, each a few lines over
//! [`Dispatcher::run`] and the contract.

use std::{collections::hash_map::Entry, sync::Arc, time::Instant};

use funnelweb_bindings::{
    Funnel, Recorded, contract,
    dispatch::{
        Allowance, CheckError, FeatureTable, FeaturesCall, RankCall, RankOutcome, RecallCall, RecallOutcome,
        RerankCall, RerankOutcome, RerankStep, Role, StageReport,
    },
    parts::{allowed, allowed_of_user, empty, narrow, part, take},
    stages::{features, rank, recall, rerank},
    types::{Candidates, ColumnKind, Personal, RequestContext, StageError},
};
use funnelweb_core::{
    handles::{HandleMap, HandleSet},
    limits,
};
use funnelweb_exposure_log::Slate;
use funnelweb_factor_models::in_turn;
use funnelweb_recording::{Journal, Role as RecordedRole, StageTape};
use funnelweb_tenant_store::Tenant;
use futures::future::join_all;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    Dispatcher,
    call::{Failure, Timer},
    checks, taped,
    uploads::Named,
};

/// The ranker that stands in for one that does not answer.
const FALLBACK_RANKER: &str = "linear";

/// Runs stages for one tenant.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) tenant: Option<Tenant>,
    /// The stages that the tenant may have at work at once.
    pub(crate) share: Arc<Semaphore>,
    /// What is noted of the request at work.
    pub(crate) journal: Journal,
}

impl Runner {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, tenant: Option<Tenant>, journal: Journal) -> Self {
        let share = dispatcher.share(tenant.as_ref());
        Self { dispatcher, tenant, share, journal }
    }

    fn tape(&self, role: RecordedRole, stage: &str) -> StageTape {
        StageTape::begin(self.journal.session().as_ref(), role, stage)
    }

    /// Runs all channels at once; one outcome per call, in order.
    ///
    /// In this task, where they wait for stores side by side; a channel that
    /// computes for long has a task of its own.
    pub(crate) async fn recall(
        &self,
        context: Arc<RequestContext>,
        allowance: &Allowance,
        exclude: Vec<u64>,
        calls: Vec<RecallCall>,
    ) -> Vec<RecallOutcome> {
        let mut outcomes: Vec<Option<RecallOutcome>> = calls.iter().map(|_| None).collect();
        let (mut here, mut beside) = (Vec::new(), JoinSet::new());
        let alone = calls.len() == 1;
        for (at, call) in calls.into_iter().take(limits::RECALL_STRATEGIES).enumerate() {
            let (context, exclude) = (Arc::clone(&context), exclude.clone());
            // Begun in the order of the calls.
            let tape = self.tape(RecordedRole::Recall, &call.stage);
            let heavy = self.dispatcher.recall(&call.stage).is_some_and(|stage| stage.effort.is_heavy());
            if heavy && !alone {
                let (runner, allowance) = (self.clone(), allowance.clone());
                beside.spawn(async move { (at, runner.recall_one(&tape, &context, &allowance, exclude, call).await) });
            } else {
                here.push(async move { (at, self.recall_one(&tape, &context, allowance, exclude, call).await) });
            }
        }
        for (at, outcome) in join_all(here).await {
            put(&mut outcomes, at, outcome);
        }
        while let Some(joined) = beside.join_next().await {
            if let Ok((at, outcome)) = joined {
                put(&mut outcomes, at, outcome);
            }
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(not_run)).collect()
    }

    pub(crate) async fn features(
        &self,
        context: RequestContext,
        call: FeaturesCall,
    ) -> (StageReport, Option<features::FeatureTable>) {
        let count = call.candidates.handles.len();
        let tape = self.tape(RecordedRole::Features, "features");
        if let Some(report) = taped::ended(&tape, "features", (count, 0)) {
            return (report, None);
        }
        let (mut report, found) = self.features_now(&tape, context, call).await;
        let answer = || found.as_ref().map(|found| (found.items.clone(), found.user.clone(), found.removed.clone()));
        taped::end(&tape, &mut report, answer);
        (report, found)
    }

    async fn features_now(
        &self,
        tape: &StageTape,
        context: RequestContext,
        call: FeaturesCall,
    ) -> (StageReport, Option<features::FeatureTable>) {
        let count = call.candidates.handles.len();
        let Some(stage) = self.dispatcher.features() else {
            return (Timer::start("features", "", count).failed(Failure::unknown("features"), 0), None);
        };
        let timer = Timer::start_built_in("features", stage, count);
        let request = features::FeaturesRequest {
            context,
            candidates: call.candidates,
            item_features: call.item_features,
            user_features: call.user_features,
            context_features: call.context_features,
            derived_features: call.derived_features,
            evidence: call.evidence,
            columns: call.columns,
        };
        let answer = self
            .run(tape, async |store| {
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
    pub(crate) async fn rank(&self, funnel: &mut Funnel, call: RankCall) -> RankOutcome {
        let count = call.candidates.handles.len();
        let declared = &funnel.declared;
        let Some(table) = funnel.table.as_mut().filter(|table| table.items.rows as usize == count) else {
            let failure = Failure::failed("there is no feature row for every candidate");
            let report = Timer::start(&call.stage, "", count).failed(failure, count);
            return RankOutcome { reports: vec![report], scores: call.candidates.scores };
        };
        // Lent for the call, not copied: the table is the largest thing here.
        let (items, user) = (take(&mut table.items), take(&mut table.user));
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
            let tape = self.tape(RecordedRole::Rank, stage);
            if let Some(report) = taped::ended(&tape, stage, (count, count)) {
                reports.push(report);
                if call.stage == FALLBACK_RANKER {
                    break;
                }
                continue;
            }
            if let Some(named) = Named::parse(stage) {
                let mut timer = Timer::start_uploaded(stage, count);
                let answer = self
                    .rank_uploaded(&mut timer, &tape, &funnel.context, &funnel.allowance, named, &mut request)
                    .await;
                scores = settled(timer, answer, count, &mut reports);
                noted(&tape, &mut reports, scores.as_ref());
                if scores.is_some() {
                    break;
                }
                continue;
            }
            if let Some(params) = params {
                // Those of the config were the other ranker's.
                request.params = params.to_owned();
            }
            let personal = self.personal(Role::Rank, stage, &request.params).await;
            request.context = part(&funnel.context, personal);
            // Those that are built in, and models, read no embeddings.
            let items = &mut request.items;
            let embeddings = (std::mem::take(&mut items.embeddings), std::mem::take(&mut items.embedding_dim));
            scores = self.rank_one(stage, &tape, &call.version, &request, declared, &mut reports).await;
            noted(&tape, &mut reports, scores.as_ref());
            (request.items.embeddings, request.items.embedding_dim) = embeddings;
            if scores.is_some() || call.stage == FALLBACK_RANKER {
                break;
            }
        }
        let rank::RankRequest { candidates, items, user, .. } = request;
        *table = FeatureTable { items, user };
        RankOutcome { reports, scores: scores.unwrap_or(candidates.scores) }
    }

    pub(crate) async fn rerank(
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
            let tape = self.tape(RecordedRole::Rerank, &call.stage);
            let ended = taped::ended(&tape, &call.stage, (count, count));
            let (timer, answer) = match ended {
                Some(report) => {
                    if trace {
                        let Candidates { handles, scores, .. } = request.candidates.clone();
                        steps.push(RerankStep { handles, scores, removed });
                    }
                    reports.push(report);
                    continue;
                }
                None => self.rerank_one(&mut request, &tape, funnel, call).await,
            };
            let mut report = match answer {
                Ok(answer) => {
                    removed = answer.removed;
                    reorder(&mut request, answer.handles, answer.scores);
                    timer.ok(request.candidates.handles.len())
                }
                Err(failure) => timer.failed(failure, count),
            };
            taped::end(&tape, &mut report, || (request.candidates.handles.clone(), request.candidates.scores.clone()));
            if trace {
                let Candidates { handles, scores, .. } = request.candidates.clone();
                steps.push(RerankStep { handles, scores, removed });
            }
            reports.push(report);
        }
        RerankOutcome { reports, steps, candidates: request.candidates }
    }

    /// Begins to record a request, if it is time to.
    pub(crate) fn record(&self, context: &RequestContext) -> Option<Box<Recorded>> {
        let tenant = self.tenant.as_ref().filter(|_| self.journal.session().is_none_or(|of| !of.is_again()))?;
        let recorder = self.dispatcher.components().recorder();
        let wanted = recorder.wants(tenant, &context.scenario_id, Instant::now());
        wanted.then(|| Box::new(Recorded::new(context.clone())))
    }

    /// Keeps what was recorded of a request.
    pub(crate) fn keep(&self, recorded: Recorded) {
        if let Some(tenant) = self.tenant.as_ref().filter(|_| recorded.is_whole()) {
            self.dispatcher.components().recorder().keep(tenant, recorded);
        }
    }

    /// Logs a slate. One that cannot be logged is missed by training and by nobody else.
    pub(crate) async fn log(&self, slate: Slate) {
        let Some(tenant) = &self.tenant else { return };
        if let Err(error) = self.dispatcher.exposures().append(tenant, slate).await {
            tracing::warn!(%tenant, %error, "a slate is not logged");
        }
    }

    /// What of the context a stage asks for; nothing when it cannot say, and the
    /// call that follows reports why.
    async fn personal(&self, role: Role, stage: &str, params: &str) -> Personal {
        if role == Role::Rank && self.dispatcher.rank(stage).is_none() {
            // A model is given the features that the scenario declares.
            return Personal::empty();
        }
        let requirements = self.check(role, stage.to_owned(), params.to_owned()).await;
        requirements.map_or(Personal::empty(), |requirements| requirements.personal)
    }

    async fn recall_one(
        &self,
        tape: &StageTape,
        context: &RequestContext,
        allowance: &Allowance,
        exclude: Vec<u64>,
        call: RecallCall,
    ) -> RecallOutcome {
        if let Some(report) = taped::ended(tape, &call.stage, (0, 0)) {
            return RecallOutcome { report, handles: Vec::new(), scores: Vec::new() };
        }
        let mut outcome = self.recall_now(tape, context, allowance, exclude, call).await;
        let RecallOutcome { report, handles, scores } = &mut outcome;
        taped::end(tape, report, || (handles.clone(), scores.clone()));
        outcome
    }

    async fn recall_now(
        &self,
        tape: &StageTape,
        context: &RequestContext,
        allowance: &Allowance,
        exclude: Vec<u64>,
        call: RecallCall,
    ) -> RecallOutcome {
        let none = |report: StageReport| RecallOutcome { report, handles: Vec::new(), scores: Vec::new() };
        if let Some(named) = Named::parse(&call.stage) {
            let mut timer = Timer::start_uploaded(&call.stage, 0);
            return match self.recall_uploaded(&mut timer, tape, (context, allowance), named, exclude, &call).await {
                Ok(recall::Recalled { handles, scores }) => {
                    RecallOutcome { report: timer.ok(handles.len()), handles, scores }
                }
                Err(failure) => none(timer.failed(failure, 0)),
            };
        }
        let Some(stage) = self.dispatcher.recall(&call.stage) else {
            return none(Timer::start(&call.stage, "", 0).failed(Failure::unknown(&call.stage), 0));
        };
        let timer = Timer::start_built_in(&call.stage, stage, 0);
        let limit = call.limit.min(limits::RECALL_LIMIT);
        let personal = self.personal(Role::Recall, &call.stage, &call.params).await;
        let context = part(context, personal);
        let request = recall::RecallRequest { context, limit, exclude, params: call.params };
        let answer = self.run(tape, async |store| {
            let instance = stage.pre.instantiate_async(&mut *store).await?;
            instance.funnelweb_pipeline_recall().call_recall(&mut *store, &request).await
        });
        let answer = stage.effort.measure(answer).await;
        let contract = |found: &recall::Recalled| contract::recalled(&found.handles, &found.scores, limit);
        match answer.and_then(|answer| checked(answer, contract)) {
            Ok(found) => {
                RecallOutcome { report: timer.ok(found.handles.len()), handles: found.handles, scores: found.scores }
            }
            Err(failure) => none(timer.failed(failure, 0)),
        }
    }

    async fn recall_uploaded(
        &self,
        timer: &mut Timer,
        tape: &StageTape,
        (context, allowance): (&RequestContext, &Allowance),
        named: Named<'_>,
        exclude: Vec<u64>,
        call: &RecallCall,
    ) -> Result<recall::Recalled, Failure> {
        let picked = self.pick(Role::Recall, named, tape, context).await?;
        timer.runs(&picked);
        let needs = self.needs(Role::Recall, &picked, &call.params).await?;
        let request = recall::RecallRequest {
            context: part(context, needs.personal & allowance.personal),
            limit: call.limit.min(limits::RECALL_LIMIT),
            exclude,
            params: call.params.clone(),
        };
        let (columns, _) = picked.columns();
        Ok(picked.recall(request, allowed(&columns, allowance), tape.tape()).await?)
    }

    /// The scores of one ranker; None, and why in a report, when it has none.
    async fn rank_one(
        &self,
        name: &str,
        tape: &StageTape,
        version: &str,
        request: &rank::RankRequest,
        declared: &[(String, ColumnKind)],
        reports: &mut Vec<StageReport>,
    ) -> Option<Vec<f32>> {
        let count = request.candidates.handles.len();
        let (timer, answer) = match self.dispatcher.rank(name) {
            Some(stage) => {
                let timer = Timer::start_built_in(name, stage, count);
                let answer = self
                    .run(tape, async |store| {
                        let instance = stage.pre.instantiate_async(&mut *store).await?;
                        instance.funnelweb_pipeline_rank().call_rank(&mut *store, request).await
                    })
                    .await;
                (timer, answer)
            }
            None => {
                let mut timer = Timer::start(name, self.dispatcher.model_component(), count);
                let pinned = tape.version(name, version);
                let version = pinned.as_deref().unwrap_or(version);
                let answer = self.rank_by_model(&mut timer, name, version, request, declared).await;
                (timer, answer)
            }
        };
        let answer = answer.and_then(|answer| checked(answer, |scores: &Vec<f32>| contract::scores(scores, count)));
        settled(timer, answer, count, reports)
    }

    /// Ranks by a component of the tenant's own, which is given the columns that its manifest
    /// reads.
    async fn rank_uploaded(
        &self,
        timer: &mut Timer,
        tape: &StageTape,
        context: &RequestContext,
        allowance: &Allowance,
        named: Named<'_>,
        request: &mut rank::RankRequest,
    ) -> Result<Vec<f32>, Failure> {
        let picked = self.pick(Role::Rank, named, tape, context).await?;
        timer.runs(&picked);
        let needs = self.needs(Role::Rank, &picked, &request.params).await?;
        let (columns, user_columns) = picked.columns();
        let mut own = rank::RankRequest {
            context: part(context, needs.personal & allowance.personal),
            candidates: request.candidates.clone(),
            items: narrow(&request.items, &allowed(&columns, allowance)),
            user: narrow(&request.user, &allowed_of_user(&user_columns, allowance)),
            item_features: request.item_features.clone(),
            objective: request.objective.clone(),
            params: request.params.clone(),
        };
        Ok(picked.rank(&mut own).await?)
    }

    /// Ranks by a model of the tenant's.
    async fn rank_by_model(
        &self,
        timer: &mut Timer,
        name: &str,
        version: &str,
        request: &rank::RankRequest,
        declared: &[(String, ColumnKind)],
    ) -> Result<Result<Vec<f32>, StageError>, Failure> {
        let Some(tenant) = &self.tenant else { return Err(Failure::unknown(name)) };
        let ranked = self.rank_by_model_of(timer, tenant, name, version, request, declared);
        in_turn(&self.share, ranked).await.unwrap_or_else(|late| Err(late.into()))
    }

    async fn rank_by_model_of(
        &self,
        timer: &mut Timer,
        tenant: &Tenant,
        name: &str,
        version: &str,
        request: &rank::RankRequest,
        declared: &[(String, ColumnKind)],
    ) -> Result<Result<Vec<f32>, StageError>, Failure> {
        let ranker = self.dispatcher.models().ranker(tenant, &request.context.scenario_id, name, version).await;
        let ranker = ranker.map_err(|missing| Failure::no_model(name, version, missing))?;
        timer.ranks(&ranker);
        // The config may have changed since the upload, and what a model misses it would
        // take for missing values.
        if let Some(feature) = ranker.undeclared(declared) {
            return Err(Failure::failed(format!(
                "version `{}` reads `{}` as {}, which the scenario does not declare any more",
                ranker.version(),
                feature.name,
                feature.kind
            )));
        }
        ranker.rank(request).await.map_err(Into::into)
    }

    async fn rerank_uploaded(
        &self,
        timer: &mut Timer,
        tape: &StageTape,
        request: &mut rerank::RerankRequest,
        funnel: &Funnel,
        named: Named<'_>,
        call: &RerankCall,
    ) -> Result<rerank::Reranked, Failure> {
        let picked = self.pick(Role::Rerank, named, tape, &funnel.context).await?;
        timer.runs(&picked);
        let needs = self.needs(Role::Rerank, &picked, &call.params).await?;
        let table = funnel.table.as_ref().ok_or_else(|| Failure::failed("there is no feature table"))?;
        request.context = part(&funnel.context, needs.personal & funnel.allowance.personal);
        request.items = narrow(&table.items, &allowed(&needs.columns, &funnel.allowance));
        request.weight = call.weight;
        request.params.clone_from(&call.params);
        Ok(picked.rerank(request).await?)
    }

    async fn rerank_one(
        &self,
        request: &mut rerank::RerankRequest,
        tape: &StageTape,
        funnel: &Funnel,
        call: RerankCall,
    ) -> (Timer, Result<rerank::Reranked, Failure>) {
        let count = request.candidates.handles.len();
        if let Some(named) = Named::parse(&call.stage) {
            let mut timer = Timer::start_uploaded(&call.stage, count);
            let answer = self.rerank_uploaded(&mut timer, tape, request, funnel, named, &call).await;
            return (timer, answer);
        }
        let Some(stage) = self.dispatcher.rerank(&call.stage) else {
            return (Timer::start(&call.stage, "", count), Err(Failure::unknown(&call.stage)));
        };
        let timer = Timer::start_built_in(&call.stage, stage, count);
        let asked = match self.check(Role::Rerank, call.stage, call.params.clone()).await {
            Ok(requirements) => requirements,
            Err(CheckError::Invalid(error)) => return (timer, Err(Failure::failed(checks::describe(&error)))),
            Err(CheckError::Unknown(_)) => return (timer, Err(Failure::failed("the stage is gone"))),
            Err(CheckError::Unavailable(reason)) => return (timer, Err(Failure::failed(reason))),
        };
        let Some(table) = &funnel.table else {
            return (timer, Err(Failure::failed("there is no feature table")));
        };
        request.context = part(&funnel.context, asked.personal);
        request.items = narrow(&table.items, &asked.columns);
        request.weight = call.weight;
        request.params = call.params;
        let answer = self
            .run(tape, async |store| {
                let instance = stage.pre.instantiate_async(&mut *store).await?;
                instance.funnelweb_pipeline_rerank().call_rerank(&mut *store, request).await
            })
            .await;
        let offered = &request.candidates.handles;
        let contract =
            |found: &rerank::Reranked| contract::reranked(offered, &found.handles, &found.scores, &found.removed);
        (timer, answer.and_then(|answer| checked(answer, contract)))
    }
}

/// Notes what became of a ranker, whose report is the last.
fn noted(tape: &StageTape, reports: &mut [StageReport], scores: Option<&Vec<f32>>) {
    if let Some(report) = reports.last_mut() {
        taped::end(tape, report, || scores.cloned());
    }
}

/// Beyond the limit of channels, or lost with a panic of the host.
fn not_run() -> RecallOutcome {
    let report = Timer::start("", "", 0).failed(Failure::failed("the host could not run it"), 0);
    RecallOutcome { report, handles: Vec::new(), scores: Vec::new() }
}

/// A ranker's scores, and its report.
fn settled(
    timer: Timer,
    answer: Result<Vec<f32>, Failure>,
    count: usize,
    reports: &mut Vec<StageReport>,
) -> Option<Vec<f32>> {
    match answer {
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

fn put(outcomes: &mut [Option<RecallOutcome>], at: usize, outcome: RecallOutcome) {
    if let Some(slot) = outcomes.get_mut(at) {
        *slot = Some(outcome);
    }
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
    let removed: HandleSet = found.removed.iter().copied().collect();
    let kept: Vec<u64> = candidates.handles.iter().copied().filter(|handle| !removed.contains(handle)).collect();
    contract::partition(&candidates.handles, &kept, &found.removed)?;
    if kept.len() == found.items.rows as usize {
        Ok(())
    } else {
        Err(format!("{} rows for {} candidates", found.items.rows, kept.len()))
    }
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
