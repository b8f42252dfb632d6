//! `funnelweb:pipeline/dispatch` for one instance: the WIT side of [`Runner`].

use std::sync::Arc;

use funnelweb_bindings::{
    Funnel,
    dispatch::{
        self as wit, CheckError, FeatureTable, FeaturesCall, FeaturesOutcome, Host, HostFunnel, RankCall, RankOutcome,
        RecallCall, RecallOutcome, RerankCall, RerankOutcome, Role,
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
    async fn new(&mut self, context: RequestContext) -> wasmtime::Result<Resource<Funnel>> {
        Ok(self.funnels.push(Funnel { context: Arc::new(context), table: None, declared: Vec::new() })?)
    }

    async fn recall(
        &mut self,
        funnel: Resource<Funnel>,
        exclude: Vec<u64>,
        calls: Vec<RecallCall>,
    ) -> wasmtime::Result<Vec<RecallOutcome>> {
        let context = Arc::clone(&self.funnels.get(&funnel)?.context);
        Ok(self.runner.recall(context, exclude, calls).await)
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

    async fn shown(
        &mut self,
        funnel: Resource<Funnel>,
        request_id: String,
        item_ids: Vec<String>,
        rows: Vec<u32>,
    ) -> wasmtime::Result<()> {
        if let Some(slate) = shown::slate(self.funnels.get(&funnel)?, request_id, item_ids, &rows) {
            self.runner.log(slate).await;
        }
        Ok(())
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
