//! The `live` capability: hot lists under exponential decay, exposure sets and
//! item counters (the Redis structures of design §3.2).
//!
//! [`store`] holds the trait, [`sqlite`] the embedded backend, `conformance` the
//! suite that every backend must pass, [`hot`] a hot list in memory. Hot lists and
//! counters change with the events that cause them: in the embedded backend
//! through [`sqlite::Tables`] in the events' own transaction, in others through
//! [`store::LiveEffects`]. One counter is the server's own, that of places given in
//! slates ([`served`]).
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use std::sync::Arc;
//! use funnelweb_factor_live::{SqliteLive, store::*};
//! use funnelweb_tenant_store::TenantStores;
//!
//! let folder = tempfile::tempdir().unwrap();
//! let live = SqliteLive::new(Arc::new(TenantStores::new(folder.path())?))?;
//! let (acme, feed, ann) = (Tenant::new("acme").unwrap(), "feed".to_owned(), "ann".to_owned());
//! live.expose(&acme, feed.clone(), Some(ann.clone()), vec!["item_1".to_owned()], 3600).await?;
//! assert_eq!(live.exposed(&acme, feed, ann).await?.len(), 1);
//! # Ok::<_, Error>(()) }).unwrap();
//! ```

pub mod check;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod decay;
mod exposures;
#[cfg(feature = "host")]
pub mod host;
pub mod hot;
pub mod served;
pub mod sqlite;
pub mod store;
mod whole;

pub use sqlite::SqliteLive;
