//! Logs that come in parts: where a tenant's events are read from several places, each in
//! an order of its own.
//!
//! Each part, a shard, has its panes, and adds to counters, hot lists and profiles what its
//! panes do. Windows are of all shards together: the tenant's main place lets them speak
//! when every shard has passed their end, or has nothing more.

use async_trait::async_trait;
use funnelweb_factor_events::store::StoredEvent;

use crate::store::{DeadLetter, Error, Seen, Tenant};

/// A shard of a tenant's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Its number, above [`MAIN`](crate::store::MAIN).
    pub shard: u32,
    /// The offset behind the last record that can be read; 0 when none can.
    pub end: u64,
}

/// Who knows how far shards go.
#[async_trait]
pub trait Shards: Send + Sync + 'static {
    /// The shards of a tenant's log; none before it has an event.
    async fn ends(&self, tenant: &Tenant) -> Result<Vec<Shard>, Error>;
}

/// What a shard has next for an operator.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    /// Where the operator must be for it.
    pub from: u64,
    /// Where it is afterwards.
    pub next: u64,
    /// Events, each with its offset in the shard, and in the tenant's log.
    pub events: Vec<(StoredEvent, u64)>,
    /// What is not an event.
    pub dead: Vec<DeadLetter>,
    /// What is to be remembered of it.
    pub seen: Vec<Seen>,
    /// And what is not any more, by generation.
    pub forget_below: u64,
}
