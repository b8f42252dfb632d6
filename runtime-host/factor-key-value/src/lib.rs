//! Storage for `spin:key-value`: values by key in named stores, per tenant.
//!
//! [`store`] holds the trait, [`sqlite`] the embedded backend, `conformance` the
//! suite that every backend must pass.
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
//! # Ok::<_, Error>(()) }).unwrap();
//! ```

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(feature = "host")]
pub mod host;
pub mod sqlite;
pub mod store;

pub use sqlite::SqliteKeyValues;
