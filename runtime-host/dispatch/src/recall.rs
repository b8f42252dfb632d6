//! Recall: all channels at once.

use std::sync::Arc;

use funnelweb_bindings::{
    contract,
    dispatch::{Allowance, RecallCall, RecallOutcome, Role, StageReport},
    parts::{allowed, part},
    stages::recall,
    types::RequestContext,
};
use funnelweb_core::limits;
use funnelweb_recording::{Role as RecordedRole, StageTape};
use futures::future::join_all;
use tokio::task::JoinSet;

use crate::{
    call::{Failure, Timer},
    runner::{Runner, checked},
    taped,
    uploads::Named,
};

impl Runner {
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
        taped::end(tape, report, &(&*handles, &*scores));
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
