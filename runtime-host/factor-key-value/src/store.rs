//! The trait behind `spin:key-value` and `wasi:keyvalue`: values by key in named
//! stores, per tenant.

use async_trait::async_trait;
pub use funnelweb_tenant_store::{Error, Tenant, Walk};

/// Keys that are listed at once; a store may hold more, which are asked for by name
/// or page by page.
pub const LISTED_KEYS: usize = 10_000;

/// Some of a store's keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPage {
    /// About [`LISTED_KEYS`] of them at most, perhaps none.
    pub keys: Vec<String>,
    /// Where the next page begins; none after the last.
    pub cursor: Option<String>,
}

/// A value of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Names the store.
    pub label: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
}

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

    /// A page of the store's keys, the first without a `cursor`. Keys that are there
    /// all the while are in one of the pages, or in several; a store of
    /// [`LISTED_KEYS`] is one page. `invalid` for a larger one when the server can
    /// list keys no other way than all at once.
    async fn list_keys(&self, tenant: &Tenant, label: &str, cursor: Option<String>) -> Result<KeyPage, Error>;

    /// The values of several keys, in their order, all of one moment. Together they
    /// are [`limits::KEY_VALUE_BATCH_BYTES`](funnelweb_core::limits::KEY_VALUE_BATCH_BYTES)
    /// at most, else `invalid`.
    async fn get_many(&self, tenant: &Tenant, label: &str, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Error>;

    /// Sets several keys at once, durable when it returns. Of a key that is there
    /// twice the last value stays.
    async fn set_many(&self, tenant: &Tenant, label: &str, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Error>;

    /// Removes several keys at once.
    async fn delete_many(&self, tenant: &Tenant, label: &str, keys: Vec<String>) -> Result<(), Error>;

    /// Adds to the number at `key`, which is 0 when the key is not there, and returns
    /// what it is then. A number is text, as `-12`: `invalid` for a value that is
    /// none, and for a sum beyond 64 bits.
    async fn increment(&self, tenant: &Tenant, label: &str, key: &str, delta: i64) -> Result<i64, Error>;

    /// Sets `key` if its value is `expected` (none: if it is not there); whether it
    /// was.
    async fn compare_and_set(
        &self,
        tenant: &Tenant,
        label: &str,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> Result<bool, Error>;

    /// All values of all stores of the tenant; [`KeyValues::set`] puts them back.
    fn walk<'a>(&'a self, tenant: &'a Tenant) -> Walk<'a, KeyValue>;
}
