//! A tenant's side of a move.

use funnelweb_factor_documents::store::{Collection, Documents};
use funnelweb_factor_events::store::Events;
use funnelweb_factor_key_value::store::KeyValues;
use funnelweb_factor_live::store::Live;
use funnelweb_tenant_store::Tenant;
use futures::TryStreamExt as _;

use crate::{
    error::{Error, Result},
    format::Kind,
};

/// Everything that holds something of a tenant.
#[derive(Clone, Copy)]
pub struct TenantStores<'a> {
    /// Whose.
    pub tenant: &'a Tenant,
    /// Collections.
    pub documents: &'a dyn Documents,
    /// Behaviours.
    pub events: &'a dyn Events,
    /// Hot lists, exposures, counters.
    pub live: &'a dyn Live,
    /// `spin:key-value`.
    pub key_values: &'a dyn KeyValues,
}

impl TenantStores<'_> {
    /// A kind of which the tenant has something; none when it has nothing.
    pub(crate) async fn any(&self) -> Result<Option<Kind>> {
        let failed = || Error::store("looking what the tenant has");
        for collection in Collection::ALL {
            if self.documents.walk(self.tenant, collection).try_next().await.map_err(failed())?.is_some() {
                return Ok(Some(Kind::of(collection)));
            }
        }
        if !self.events.read(self.tenant, 0, 1).await.map_err(failed())?.is_empty() {
            return Ok(Some(Kind::Interactions));
        }
        if let Some(page) = self.live.walk(self.tenant).try_next().await.map_err(failed())? {
            return Ok(page.first().map(Kind::of_whole));
        }
        let values = self.key_values.walk(self.tenant).try_next().await.map_err(failed())?;
        Ok(values.map(|_| Kind::KeyValues))
    }
}
