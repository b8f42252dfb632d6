//! MongoDB as the store of documents, events and blobs: the collections of the design
//! (§3.1), so that `mongosh` and other programs see what it shows.
//!
//! ```no_run
//! # async fn example() -> Result<(), funnelweb_tenant_store::Error> {
//! use funnelweb_factor_documents::store::{Collection, Documents, Key, Tenant};
//! use funnelweb_store_mongodb::{MongoDocuments, MongoSettings, MongoStore};
//!
//! let store = MongoStore::connect(MongoSettings::new("mongodb://127.0.0.1:27017", "funnelweb")).await?;
//! let documents = MongoDocuments::new(store, None);
//! let acme = Tenant::new("acme").unwrap();
//! let feed = documents.get(&acme, Collection::Scenarios, Key::new("feed", "feed")).await?;
//! # Ok(()) }
//! ```

mod blobs;
mod cache;
mod call;
mod codec;
mod documents;
mod events;
mod exposures;
mod indexes;
mod locks;
pub mod metrics;
mod recordings;
mod server;
mod settings;
mod state;
mod streams;
mod transaction;

pub use blobs::MongoBlobs;
pub use documents::MongoDocuments;
pub use events::MongoEvents;
pub use exposures::MongoExposureLog;
pub use recordings::MongoRecordings;
pub use server::{Abilities, Environment, MongoStore};
pub use settings::{MongoSettings, TlsSettings};
pub use streams::MongoStreams;
