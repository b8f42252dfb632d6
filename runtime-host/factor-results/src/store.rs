//! The trait of the backends, over the keys of `wit/capabilities/results.wit`.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
pub use funnelweb_tenant_store::{Clock, Error, Tenant};

/// The clock of this machine, in milliseconds since 1970.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// What a result is of, within a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The scenario.
    pub scenario_id: String,
    /// The user; empty for what is nobody's.
    pub user_id: String,
    /// Of everything else that it depends on, in hexadecimal.
    pub hash: String,
}

/// A result as it is kept. Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// JSON.
    pub value: Arc<str>,
    /// From when on it is stale.
    pub fresh_until_ms: u64,
    /// From when on it is none.
    pub stale_until_ms: u64,
}

/// The results of one deployment, for every tenant. It may forget one at any time. Keys
/// obey [`crate::check`].
#[async_trait]
pub trait ResultStore: Send + Sync + 'static {
    /// None where there is none, or it was kept for long enough.
    async fn get(&self, tenant: &Tenant, key: &Key) -> Result<Option<Entry>, Error>;

    /// In the place of what is there.
    async fn put(&self, tenant: &Tenant, key: &Key, entry: Entry) -> Result<(), Error>;

    /// Forgets one.
    async fn remove(&self, tenant: &Tenant, key: &Key) -> Result<(), Error>;

    /// Forgets those of a user, in every scenario.
    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error>;

    /// Forgets those of a scenario.
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error>;
}
