//! Stream operators over Apache Kafka: the partitions of the tenants' behaviours are shared
//! by all processes of a deployment, and each is a shard of its tenant's log.
//!
//! Each operator is a consumer group of its own, so that one that is broken holds up no
//! other. [`Readers`] takes the partitions that the group gives this process, one task each:
//! records are read as behaviours, those that came before are dropped, and the engine takes
//! the rest in a step whose commit has how far it came. Where to begin is asked of the state,
//! not of Kafka: so a partition may change hands at any moment, and two processes that
//! believe to have it lose nothing but work. What is committed to the group is for those who
//! look at its lag.
//!
//! [`KafkaShards`] says how far partitions go, so that windows wait for all of them.

mod partition;
mod readers;
mod shards;

pub use readers::Readers;
pub use shards::KafkaShards;
