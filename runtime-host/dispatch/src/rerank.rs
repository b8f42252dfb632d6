//! Reranking: the rules one after the other, each on what the one before left.

use std::collections::hash_map::Entry;

use funnelweb_bindings::{
    Funnel, contract,
    dispatch::{CheckError, RerankCall, RerankOutcome, RerankStep, Role},
    parts::{allowed, empty, narrow, part},
    stages::rerank,
    types::{Candidates, Personal},
};
use funnelweb_core::handles::HandleMap;
use funnelweb_recording::{Role as RecordedRole, StageTape};

use crate::{
    call::{Failure, Timer},
    checks,
    runner::{Runner, checked},
    taped,
    uploads::Named,
};

impl Runner {
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
            taped::end(&tape, &mut report, &(&request.candidates.handles, &request.candidates.scores));
            if trace {
                let Candidates { handles, scores, .. } = request.candidates.clone();
                steps.push(RerankStep { handles, scores, removed });
            }
            reports.push(report);
        }
        RerankOutcome { reports, steps, candidates: request.candidates }
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
