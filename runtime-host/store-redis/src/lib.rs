//! Redis, Valkey and Redis Cluster behind the capabilities.
//!
//! | is | stands behind | keys |
//! |---|---|---|
//! | [`RedisLive`] | `live`, and the effects of events on it | `hot:items:…`, `exposed:…`, `item:stats:…` |
//! | [`RedisKeyValues`] | `spin:key-value`, `wasi:keyvalue` | `kv:…` |
//! | [`RedisResults`] | `results` | `recommend:…` |
//! | [`RedisJobs`] | runs of jobs | `jobs:…` |
//! | [`CachedDocuments`] | `documents` of another store | `scenario:config:…`, `user:profile:…` |
//! | [`outbound`] | `spin:redis` | whatever a component likes, on a server of its choice |
//!
//! Keys, types and times to live are those of design §3.2; what is ours beside
//! them is named `{<key>}:<what>` and so on the same node. All share one
//! [`RedisStore`]: its connections are made again when they break, a call has a
//! deadline, is tried again when that is harmless, and is not made at all while a
//! [`Breaker`](funnelweb_tenant_store::Breaker) is open. Every call of ours may be made twice with the effect of
//! one, so that is always.
//!
//! ```no_run
//! # async fn example(documents: std::sync::Arc<dyn funnelweb_factor_documents::store::Documents>)
//! # -> Result<(), funnelweb_tenant_store::Error> {
//! use funnelweb_factor_live::store::{Live, Tenant};
//! use funnelweb_store_redis::{CachedDocuments, RedisLive, RedisSettings, RedisStore};
//!
//! let store = RedisStore::connect(&RedisSettings::of("redis://localhost:6379")).await?;
//! let live = RedisLive::new(store.clone(), documents.clone());
//! let documents = CachedDocuments::with_live(documents, store, live.clone());
//! let acme = Tenant::new("acme").unwrap();
//! live.expose(&acme, "feed".to_owned(), Some("ann".to_owned()), vec!["item_1".to_owned()], 86_400).await?;
//! # drop(documents); Ok(()) }
//! ```

mod cache;
mod command;
mod jobs;
mod key_values;
mod keys;
mod link;
mod live;
pub mod outbound;
mod results;
mod settings;
mod store;

pub use cache::CachedDocuments;
pub use jobs::RedisJobs;
pub use key_values::RedisKeyValues;
pub use live::RedisLive;
pub use results::RedisResults;
pub use settings::RedisSettings;
pub use store::RedisStore;
