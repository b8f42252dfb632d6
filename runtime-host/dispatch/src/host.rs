//! `funnelweb:pipeline/dispatch` for one instance: the WIT side of [`Runner`].

use std::{sync::Arc, time::Instant};

use funnelweb_bindings::{
    Funnel,
    dispatch::{
        self as wit, Allowance, CheckError, Draft, FeatureTable, FeaturesCall, FeaturesOutcome, Host, HostFunnel,
        RankCall, RankOutcome, RecallCall, RecallOutcome, Recording, RerankCall, RerankOutcome, Role,
    },
    types::{Candidates, RequestContext, Requirements},
};
use funnelweb_core::limits;
use funnelweb_factor_components::Who;
use funnelweb_recording::{Journal, Keep, Role as RecordedRole, Tape};
use funnelweb_tenant_store::Tenant;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::{
    Dispatcher,
    runner::Runner,
    shown::{self, Told},
    uploads::Named,
};

/// Requests that one instance may have stages at work for: it serves one at a
/// time.
const FUNNELS: usize = 16;

/// What a scenario may say at most, in seconds.
const LONGEST_S: u32 = (limits::RECORDING_TTL_HOURS * 3600.0) as u32;

/// What one instance may do: run the stages for one tenant.
pub struct DispatchCtx {
    runner: Runner,
    funnels: ResourceTable,
    tape: Tape,
}

impl DispatchCtx {
    /// Stages run with this tenant's data; `journal` is that of the instance.
    #[must_use]
    pub fn new(dispatcher: Arc<Dispatcher>, tenant: Option<Tenant>, journal: Journal) -> Self {
        let mut funnels = ResourceTable::new();
        funnels.set_max_capacity(FUNNELS);
        let tape = Tape::of(&journal);
        Self { runner: Runner::new(dispatcher, tenant, journal), funnels, tape }
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

fn recorded(role: Role) -> RecordedRole {
    match role {
        Role::Recall => RecordedRole::Recall,
        Role::Rank => RecordedRole::Rank,
        Role::Rerank => RecordedRole::Rerank,
    }
}

impl HostFunnel for DispatchCtx {
    async fn new(&mut self, context: RequestContext, allowance: Allowance) -> wasmtime::Result<Resource<Funnel>> {
        let recorded = self.runner.record(&context);
        let context = Arc::new(context);
        Ok(self.funnels.push(Funnel {
            context,
            table: None,
            declared: Vec::new(),
            allowance,
            recorded,
            began: Instant::now(),
            cost_us: 0,
        })?)
    }

    async fn recall(
        &mut self,
        resource: Resource<Funnel>,
        exclude: Vec<u64>,
        calls: Vec<RecallCall>,
    ) -> wasmtime::Result<Vec<RecallOutcome>> {
        let funnel = self.funnels.get_mut(&resource)?;
        if let Some(recorded) = &mut funnel.recorded {
            recorded.exclude.clone_from(&exclude);
        }
        let (context, allowance) = (Arc::clone(&funnel.context), funnel.allowance.clone());
        let outcomes = self.runner.recall(context, &allowance, exclude, calls).await;
        let funnel = self.funnels.get_mut(&resource)?;
        outcomes.iter().for_each(|outcome| funnel.spend(&outcome.report));
        Ok(outcomes)
    }

    async fn features(&mut self, funnel: Resource<Funnel>, call: FeaturesCall) -> wasmtime::Result<FeaturesOutcome> {
        let funnel = self.funnels.get_mut(&funnel)?;
        funnel.declared = shown::declared(&call);
        let (report, features) = self.runner.features(RequestContext::clone(&funnel.context), call).await;
        funnel.spend(&report);
        let removed = features.as_ref().map(|features| features.removed.clone());
        funnel.table = features.map(|found| FeatureTable { items: found.items, user: found.user });
        Ok(FeaturesOutcome { report, removed })
    }

    async fn rank(&mut self, funnel: Resource<Funnel>, call: RankCall) -> wasmtime::Result<RankOutcome> {
        let funnel = self.funnels.get_mut(&funnel)?;
        let candidates = funnel.recorded.is_some().then(|| call.candidates.clone());
        let outcome = self.runner.rank(funnel, call).await;
        outcome.reports.iter().for_each(|report| funnel.spend(report));
        if let (Some(recorded), Some(candidates), Some(table)) = (&mut funnel.recorded, candidates, &funnel.table) {
            recorded.ranked(candidates, table.items.clone(), table.user.clone(), &outcome.scores);
        }
        Ok(outcome)
    }

    async fn rerank(
        &mut self,
        funnel: Resource<Funnel>,
        candidates: Candidates,
        rows: Vec<u32>,
        calls: Vec<RerankCall>,
        trace: bool,
    ) -> wasmtime::Result<RerankOutcome> {
        let funnel = self.funnels.get_mut(&funnel)?;
        let given = funnel.recorded.is_some().then(|| (candidates.clone(), rows.clone()));
        let outcome = self.runner.rerank(funnel, candidates, rows, calls, trace).await;
        outcome.reports.iter().for_each(|report| funnel.spend(report));
        if let (Some(recorded), Some((candidates, rows))) = (&mut funnel.recorded, given) {
            recorded.reranked(candidates, rows, &outcome.candidates.handles);
        }
        Ok(outcome)
    }

    async fn shown(
        &mut self,
        funnel: Resource<Funnel>,
        request_id: String,
        item_ids: Vec<String>,
        rows: Vec<u32>,
        groups: Vec<String>,
        drafted: Option<Draft>,
    ) -> wasmtime::Result<()> {
        let told = Told { request_id, item_ids, rows, groups, drafted };
        if let Some(slate) = shown::slate(self.funnels.get(&funnel)?, told)
            && !self.tape.is_again()
        {
            self.runner.log(slate).await;
        }
        Ok(())
    }

    async fn table(&mut self, funnel: Resource<Funnel>) -> wasmtime::Result<Option<FeatureTable>> {
        Ok(self.funnels.get(&funnel)?.table.clone())
    }

    async fn drop(&mut self, funnel: Resource<Funnel>) -> wasmtime::Result<()> {
        if let Some(recorded) = self.funnels.delete(funnel)?.recorded {
            self.runner.keep(*recorded);
        }
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
        let cue = self.tape.cue_unless_changed("dispatch.check", &(role, &stage, &params));
        // Of the version that will run, where it is known.
        let session = self.runner.journal.session();
        let ahead = session.and_then(|session| Named::parse(&stage)?.ahead(&session, recorded(role), &stage));
        Ok(cue.play(self.runner.check(role, ahead.unwrap_or(stage), params)).await)
    }

    async fn record(&mut self, recording: Recording) -> wasmtime::Result<()> {
        if let Some(session) = self.runner.journal.session() {
            let keep = match recording.keep {
                wit::Keep::Never => Keep::Never,
                wit::Keep::IfDegraded => Keep::IfDegraded,
                wit::Keep::Always => Keep::Always,
            };
            let ttl_s = recording.ttl_s.min(LONGEST_S);
            session.keep(&recording.scenario_id, keep, ttl_s, recording.shadow);
        }
        Ok(())
    }

    async fn fingerprint(
        &mut self,
        scenario_id: String,
        user_id: String,
        seed: u64,
        stages: Vec<wit::Named>,
    ) -> wasmtime::Result<u64> {
        let cue = self.tape.cue_unless_changed("dispatch.fingerprint", &(&scenario_id, &user_id, seed, &stages));
        Ok(cue.play(self.runner.fingerprint(&scenario_id, Who { user_id: &user_id, seed }, &stages)).await)
    }

    async fn names(&mut self, role: Role) -> wasmtime::Result<Vec<String>> {
        Ok(self.runner.dispatcher.names(role))
    }
}
