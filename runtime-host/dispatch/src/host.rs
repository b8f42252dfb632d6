//! `funnelweb:pipeline/dispatch` for one instance: the WIT side of [`Runner`].

use std::sync::Arc;

use funnelweb_bindings::{
    Funnel,
    dispatch::{
        self as wit, Allowance, CheckError, FeatureTable, FeaturesCall, FeaturesOutcome, Host, HostFunnel, RankCall,
        RankOutcome, RecallCall, RecallOutcome, RerankCall, RerankOutcome, Role,
    },
    types::{Candidates, RequestContext, Requirements},
};
use funnelweb_tenant_store::Tenant;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::{Dispatcher, runner::Runner, shown};

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
        Self { runner: Runner::new(dispatcher, tenant), funnels }
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
    async fn new(&mut self, context: RequestContext, allowance: Allowance) -> wasmtime::Result<Resource<Funnel>> {
        let recorded = self.runner.record(&context);
        let context = Arc::new(context);
        Ok(self.funnels.push(Funnel { context, table: None, declared: Vec::new(), allowance, recorded })?)
    }

    async fn recall(
        &mut self,
        funnel: Resource<Funnel>,
        exclude: Vec<u64>,
        calls: Vec<RecallCall>,
    ) -> wasmtime::Result<Vec<RecallOutcome>> {
        let funnel = self.funnels.get_mut(&funnel)?;
        if let Some(recorded) = &mut funnel.recorded {
            recorded.exclude.clone_from(&exclude);
        }
        let (context, allowance) = (Arc::clone(&funnel.context), funnel.allowance.clone());
        Ok(self.runner.recall(context, &allowance, exclude, calls).await)
    }

    async fn features(&mut self, funnel: Resource<Funnel>, call: FeaturesCall) -> wasmtime::Result<FeaturesOutcome> {
        let funnel = self.funnels.get_mut(&funnel)?;
        funnel.declared = shown::declared(&call);
        let (report, features) = self.runner.features(RequestContext::clone(&funnel.context), call).await;
        let removed = features.as_ref().map(|features| features.removed.clone());
        funnel.table = features.map(|found| FeatureTable { items: found.items, user: found.user });
        Ok(FeaturesOutcome { report, removed })
    }

    async fn rank(&mut self, funnel: Resource<Funnel>, call: RankCall) -> wasmtime::Result<RankOutcome> {
        let funnel = self.funnels.get_mut(&funnel)?;
        let candidates = funnel.recorded.is_some().then(|| call.candidates.clone());
        let outcome = self.runner.rank(funnel, call).await;
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
    ) -> wasmtime::Result<()> {
        if let Some(slate) = shown::slate(self.funnels.get(&funnel)?, request_id, item_ids, &rows, groups) {
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
        Ok(self.runner.check(role, stage, params).await)
    }

    async fn names(&mut self, role: Role) -> wasmtime::Result<Vec<String>> {
        Ok(self.runner.dispatcher.names(role))
    }
}
