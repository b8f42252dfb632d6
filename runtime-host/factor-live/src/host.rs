//! The WIT interface `live` over the trait: conversions, and the tenant, which
//! no call names.

use std::sync::Arc;

use funnelweb_bindings::capabilities::{
    errors,
    live::{self as wit, Host},
};
use funnelweb_recording::Tape;
use funnelweb_tenant_store::host::bound;
use wasmtime::component::{HasData, Linker};

use crate::store::{Live, Tenant};

/// What one instance may do: the live structures of one tenant, or of none.
#[derive(Clone)]
pub struct LiveCtx {
    store: Arc<dyn Live>,
    tenant: Option<Tenant>,
    tape: Tape,
}

impl LiveCtx {
    /// Without a tenant every call is denied.
    #[must_use]
    pub fn new(store: Arc<dyn Live>, tenant: Option<Tenant>) -> Self {
        Self { store, tenant, tape: Tape::default() }
    }

    /// Has its answers pass through `tape`.
    #[must_use]
    pub fn taped(self, tape: Tape) -> Self {
        Self { tape, ..self }
    }

    fn tenant(&self) -> Result<&Tenant, errors::Error> {
        bound(self.tenant.as_ref())
    }
}

struct HasLive;

impl HasData for HasLive {
    type Data<'a> = &'a mut LiveCtx;
}

/// Offers `funnelweb:capabilities/live` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut LiveCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasLive>(linker, ctx)
}

impl Host for LiveCtx {
    async fn hot_top(
        &mut self,
        scenario_id: String,
        limit: u32,
        exclude: Vec<u64>,
        now_ms: u64,
    ) -> Result<wit::Scored, errors::Error> {
        let cue = self.tape.cue("live.hot-top", &(&scenario_id, limit, &exclude, now_ms));
        cue.play(async {
            let top = self.store.hot_top(self.tenant()?, scenario_id, limit, exclude, now_ms).await?;
            Ok(wit::Scored { handles: top.handles, scores: top.scores })
        })
        .await
    }

    async fn hot_scores(
        &mut self,
        scenario_id: String,
        handles: Vec<u64>,
        now_ms: u64,
    ) -> Result<Vec<f32>, errors::Error> {
        let cue = self.tape.cue("live.hot-scores", &(&scenario_id, &handles, now_ms));
        cue.play(async {
            self.store.hot_scores(self.tenant()?, scenario_id, handles, now_ms).await.map_err(Into::into)
        })
        .await
    }

    async fn expose(
        &mut self,
        scenario_id: String,
        user_id: Option<String>,
        item_ids: Vec<String>,
        ttl_s: u32,
    ) -> Result<(), errors::Error> {
        let cue = self.tape.cue("live.expose", &(&scenario_id, &user_id, &item_ids, ttl_s));
        let expose = async {
            self.store.expose(self.tenant()?, scenario_id, user_id, item_ids, ttl_s).await.map_err(Into::into)
        };
        cue.act(Ok(()), expose).await
    }

    async fn exposed(&mut self, scenario_id: String, user_id: String) -> Result<Vec<u64>, errors::Error> {
        let cue = self.tape.cue("live.exposed", &(&scenario_id, &user_id));
        cue.play(async { self.store.exposed(self.tenant()?, scenario_id, user_id).await.map_err(Into::into) }).await
    }

    async fn item_stats(
        &mut self,
        scenario_id: String,
        handles: Vec<u64>,
        fields: Vec<String>,
    ) -> Result<Vec<f64>, errors::Error> {
        let cue = self.tape.cue("live.item-stats", &(&scenario_id, &handles, &fields));
        cue.play(async {
            self.store.item_stats(self.tenant()?, scenario_id, handles, fields).await.map_err(Into::into)
        })
        .await
    }
}
