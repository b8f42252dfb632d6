//! Ranking: by what is built in, by a model, or by a component of the tenant's own.

use funnelweb_bindings::{
    Funnel, contract,
    dispatch::{Allowance, FeatureTable, RankCall, RankOutcome, Role, StageReport},
    parts::{allowed, allowed_of_user, narrow, part, take},
    stages::rank,
    types::{ColumnKind, Personal, RequestContext, StageError},
};
use funnelweb_factor_models::in_turn;
use funnelweb_recording::{Role as RecordedRole, StageTape};
use funnelweb_tenant_store::Tenant;

use crate::{
    call::{Failure, Timer},
    runner::{Runner, checked},
    taped,
    uploads::Named,
};

/// The ranker that stands in for one that does not answer.
const FALLBACK_RANKER: &str = "linear";

impl Runner {
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
}

/// Notes what became of a ranker, whose report is the last.
fn noted(tape: &StageTape, reports: &mut [StageReport], scores: Option<&Vec<f32>>) {
    if let Some(report) = reports.last_mut() {
        taped::end(tape, report, &scores);
    }
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
