//! Partitions as shards.

use async_trait::async_trait;
use funnelweb_factor_events::store::{Error, Tenant};
use funnelweb_log_kafka::{Ends, KafkaLog, Topic, TopicPartition};
use funnelweb_stream::{
    shards::{Shard, Shards},
    store::Place,
};

/// How far the partitions of tenants' behaviours go.
pub struct KafkaShards {
    ends: Ends,
}

impl KafkaShards {
    /// Asks this log.
    ///
    /// # Errors
    /// See [`KafkaLog::ends`].
    pub fn new(log: &KafkaLog) -> Result<Self, Error> {
        Ok(Self { ends: log.ends()? })
    }
}

#[async_trait]
impl Shards for KafkaShards {
    async fn ends(&self, tenant: &Tenant) -> Result<Vec<Shard>, Error> {
        let partitions = self.ends.of(&Topic::Behaviors(tenant.to_string())).await?;
        let shard = |(partition, there): (u32, std::ops::Range<u64>)| Shard {
            shard: number(partition),
            end: if there.is_empty() { 0 } else { there.end },
        };
        Ok((0..).zip(partitions).map(shard).collect())
    }
}

/// The shard that a partition is.
fn number(partition: u32) -> u32 {
    // The log itself is the one before.
    partition.saturating_add(1)
}

/// An operator's place in a partition; none in one that has no behaviours.
pub(crate) fn place(at: &TopicPartition, operator: &str) -> Option<Place> {
    let Topic::Behaviors(tenant) = &at.topic else { return None };
    Some(Place::main(&Tenant::new(tenant).ok()?, operator).at(number(at.partition)))
}
