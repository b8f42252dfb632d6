//! Redis and Valkey behind the capabilities: `live` and `spin:key-value`, the
//! caches of scenario configs and profiles, and the plain side of `spin:redis`.

pub mod breaker;
mod cache;
mod command;
mod key_values;
mod keys;
mod link;
mod live;
pub mod outbound;
mod settings;
mod store;

pub use cache::CachedDocuments;
pub use key_values::RedisKeyValues;
pub use live::RedisLive;
pub use settings::RedisSettings;
pub use store::RedisStore;
