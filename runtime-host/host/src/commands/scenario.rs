//! Scenarios that commands work on.

use anyhow::{Context as _, bail};
use funnelweb_core::scenario::Scenario;
use funnelweb_factor_documents::store::{Collection, Key};
use funnelweb_tenant_store::Tenant;
use futures::TryStreamExt as _;

use crate::stores::Stores;

/// Reads a scenario and checks it.
pub(super) fn parse(text: &[u8]) -> anyhow::Result<Scenario> {
    Scenario::parse(text).map_err(|error| match error.field {
        Some(field) => anyhow::anyhow!("{field}: {}", error.message),
        None => anyhow::anyhow!(error.message),
    })
}

/// A scenario of a tenant; which there are is said when it is none of them.
pub(super) async fn stored(stores: &Stores, tenant: &Tenant, scenario_id: &str) -> anyhow::Result<Scenario> {
    let key = Key::new(scenario_id, scenario_id);
    if let Some(found) = stores.documents.get(tenant, Collection::Scenarios, key).await? {
        return parse(found.body.as_bytes()).with_context(|| format!("scenario `{scenario_id}`"));
    }
    let pages: Vec<Vec<_>> = stores.documents.walk(tenant, Collection::Scenarios).try_collect().await?;
    let names: Vec<String> = pages.into_iter().flatten().map(|document| document.key.id).collect();
    match names.is_empty() {
        true => bail!("the tenant `{}` has no scenario", tenant.as_str()),
        false => bail!("the tenant `{}` has no scenario `{scenario_id}`; it has {}", tenant.as_str(), names.join(", ")),
    }
}
