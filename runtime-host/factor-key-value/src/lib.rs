//! Storage for `spin:key-value` and `wasi:keyvalue`: values by key in named stores,
//! per tenant. Both interfaces are views of the same stores.
//!
//! [`store`] holds the trait, [`mod@check`] what its arguments must be, [`sqlite`] the
//! embedded backend, `conformance` the suite that every backend must pass.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use std::sync::Arc;
//! use funnelweb_factor_key_value::{SqliteKeyValues, store::*};
//! use funnelweb_tenant_store::TenantStores;
//!
//! let folder = tempfile::tempdir().unwrap();
//! let stores = SqliteKeyValues::new(Arc::new(TenantStores::new(folder.path())?))?;
//! let acme = Tenant::new("acme").unwrap();
//! stores.set(&acme, "default", "greeting", b"hello".to_vec()).await?;
//! assert_eq!(stores.get_keys(&acme, "default").await?, ["greeting"]);
//! assert_eq!(stores.increment(&acme, "default", "visits", 2).await?, 2);
//! # Ok::<_, Error>(()) }).unwrap();
//! ```

pub mod check;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(feature = "host")]
pub mod host;
pub mod sqlite;
pub mod store;

pub use sqlite::SqliteKeyValues;
