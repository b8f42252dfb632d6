//! The trait behind `spin:key-value`: values by key in named stores, per tenant.

use async_trait::async_trait;
pub use funnelweb_tenant_store::{Error, Tenant};

/// Keys that are listed; a store may hold more, which are asked for by name.
pub const LISTED_KEYS: usize = 10_000;

/// The key-value stores of one deployment. A store is named by its label
/// (`default`, …); it exists as soon as something is written to it. Which
/// labels a component may open is the host's to decide.
#[async_trait]
pub trait KeyValues: Send + Sync + 'static {
    /// The value of `key`.
    async fn get(&self, tenant: &Tenant, label: &str, key: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Sets `key`, durable when it returns.
    async fn set(&self, tenant: &Tenant, label: &str, key: &str, value: Vec<u8>) -> Result<(), Error>;

    /// Removes `key`; nothing happens when it is not there.
    async fn delete(&self, tenant: &Tenant, label: &str, key: &str) -> Result<(), Error>;

    /// Whether `key` is there.
    async fn exists(&self, tenant: &Tenant, label: &str, key: &str) -> Result<bool, Error>;

    /// All keys of the store, in byte order; `invalid` when there are more than
    /// [`LISTED_KEYS`].
    async fn get_keys(&self, tenant: &Tenant, label: &str) -> Result<Vec<String>, Error>;
}
