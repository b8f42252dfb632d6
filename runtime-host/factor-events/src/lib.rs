//! The `events` capability: the behaviour log, and the effects of an event on
//! hot lists, counters and profiles, which are one transaction with it.
//!
//! [`store`] holds the trait, [`check`] what every backend checks, [`effects`] what an
//! event changes, [`publish`] how events reach others, [`sqlite`] the embedded backend,
//! `conformance` the suite that every backend must pass.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use std::sync::Arc;
//! use funnelweb_factor_documents::SqliteDocuments;
//! use funnelweb_factor_events::{SqliteEvents, store::*};
//! use funnelweb_factor_live::SqliteLive;
//! use funnelweb_tenant_store::TenantStores;
//!
//! let folder = tempfile::tempdir().unwrap();
//! let stores = Arc::new(TenantStores::new(folder.path())?);
//! let documents = SqliteDocuments::new(stores.clone())?;
//! let live = SqliteLive::new(stores.clone())?;
//! let events = SqliteEvents::new(stores, &documents, &live)?;
//! let event = Event {
//!     event_id: "e1".into(), scenario_id: "feed".into(), user_id: "ann".into(), item_id: "item_1".into(),
//!     action_type: "click".into(), timestamp_ms: 1_700_000_000_000, body: "{}".into(), signal: None,
//! };
//! let hot = Effect::Hot(HotEffect { weight: 1.0, half_life_s: 3600 });
//! let acme = Tenant::new("acme").unwrap();
//! let outcomes = events.append(&acme, vec![event.clone(), event], vec![vec![hot.clone()], vec![hot]]).await?;
//! assert_eq!(outcomes, [AppendOutcome::Accepted, AppendOutcome::Duplicate]);
//! # Ok::<_, Error>(()) }).unwrap();
//! ```

pub mod check;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod effects;
#[cfg(feature = "host")]
pub mod host;
pub mod publish;
pub mod sqlite;
pub mod store;

pub use sqlite::{Applying, SqliteEvents};
