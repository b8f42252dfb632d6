//! The WIT interface `recordings`: conversions, and the tenant, which no call names.

use std::sync::Arc;

use async_trait::async_trait;
use funnelweb_bindings::capabilities::{
    errors,
    recordings::{self as wit, Host},
};
use funnelweb_core::{limits, time};
use funnelweb_tenant_store::{Tenant, host::bound};
use serde_json::json;
use wasmtime::component::{HasData, Linker};

use crate::{
    Head,
    store::{Error, Recordings},
};

pub use wit::Refusal;

/// What runs requests again.
#[async_trait]
pub trait Replay: Send + Sync + 'static {
    /// What was asked and answered, and what explains it; a JSON object.
    ///
    /// # Errors
    /// See [`Refusal`].
    async fn explain(&self, tenant: &Tenant, request_id: &str) -> Result<String, Refusal>;

    /// What comes of running it again with these changes, a JSON object; the same.
    ///
    /// # Errors
    /// See [`Refusal`].
    async fn replay(&self, tenant: &Tenant, request_id: &str, changes: &str) -> Result<String, Refusal>;

    /// What came of trying a config on the scenario's requests, a JSON object.
    fn shadow(&self, tenant: &Tenant, scenario_id: &str) -> Option<String>;
}

/// What one instance may do: see and run again the recordings of one tenant, or of none.
#[derive(Clone)]
pub struct RecordingsCtx {
    store: Arc<dyn Recordings>,
    replay: Arc<dyn Replay>,
    tenant: Option<Tenant>,
}

impl RecordingsCtx {
    /// Without a tenant every call is denied.
    #[must_use]
    pub fn new(store: Arc<dyn Recordings>, replay: Arc<dyn Replay>, tenant: Option<Tenant>) -> Self {
        Self { store, replay, tenant }
    }

    fn tenant(&self) -> Result<&Tenant, errors::Error> {
        bound(self.tenant.as_ref())
    }
}

struct HasRecordings;

impl HasData for HasRecordings {
    type Data<'a> = &'a mut RecordingsCtx;
}

/// Offers `funnelweb:capabilities/recordings` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut RecordingsCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasRecordings>(linker, ctx)
}

impl Host for RecordingsCtx {
    async fn list(&mut self, query: wit::Query) -> Result<wit::Page, errors::Error> {
        let before = query.cursor.as_deref().map(read_cursor).transpose()?;
        let limit = query.limit.min(limits::PAGE_DOCUMENTS);
        let page = self.store.list(self.tenant()?, query.scenario_id.as_deref(), before, limit).await?;
        Ok(wit::Page {
            recordings: page.heads.iter().map(text).collect(),
            next: page.next.map(|next| next.to_string()),
        })
    }

    async fn get(&mut self, request_id: String) -> Result<String, Refusal> {
        let tenant = self.tenant().map_err(Refusal::Store)?;
        self.replay.explain(tenant, &request_id).await
    }

    async fn replay(&mut self, request_id: String, changes: String) -> Result<String, Refusal> {
        let tenant = self.tenant().map_err(Refusal::Store)?;
        self.replay.replay(tenant, &request_id, &changes).await
    }

    async fn shadow(&mut self, scenario_id: String) -> Result<Option<String>, errors::Error> {
        Ok(self.replay.shadow(self.tenant()?, &scenario_id))
    }
}

fn read_cursor(cursor: &str) -> Result<u64, Error> {
    cursor.parse().map_err(|_| Error::Invalid("is not a cursor of this list".to_owned()))
}

/// A recording in a list.
fn text(head: &Head) -> String {
    json!({
        "request_id": head.request_id,
        "scenario_id": head.scenario_id,
        "user_id": head.user_id,
        "at": time::format_ms(head.at_ms),
        "expires_at": time::format_ms(head.expires_ms),
        "reason": head.reason,
        "status": head.status,
        "elapsed_us": head.elapsed_us,
    })
    .to_string()
}
