//! The `documents` capability: the collections of the data model (design §3.1)
//! as JSON documents, and the item rows that ranking reads beside them.
//!
//! [`store`] holds the trait and its types, [`sqlite`] the embedded backend,
//! [`backend`] what backends share, `conformance` the suite that all of them must
//! pass.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use std::sync::Arc;
//! use funnelweb_factor_documents::{SqliteDocuments, store::*};
//! use funnelweb_tenant_store::TenantStores;
//!
//! let folder = tempfile::tempdir().unwrap();
//! let documents = SqliteDocuments::new(Arc::new(TenantStores::new(folder.path())?))?;
//! let (acme, key) = (Tenant::new("acme").unwrap(), Key::new("feed", "item_1"));
//! let body = r#"{"item_id":"item_1","metadata":{"category":"news"}}"#.to_owned();
//! documents.insert_many(&acme, Collection::Items, vec![NewDocument { key: key.clone(), body }], false).await?;
//! assert_eq!(documents.get(&acme, Collection::Items, key).await?.unwrap().version, 1);
//! # Ok::<_, Error>(()) }).unwrap();
//! ```

pub mod backend;
mod body;
mod columns;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(feature = "host")]
pub mod host;
mod merge_patch;
pub mod profile;
pub mod sqlite;
pub mod store;

pub use merge_patch::merge_patch;
pub use sqlite::SqliteDocuments;
