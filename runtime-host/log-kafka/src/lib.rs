//! Apache Kafka as the event log: topics, appending, and reading in groups.
//!
//! [`KafkaLog::connect`] takes [`KafkaSettings`]; [`KafkaLog::ensure`] creates
//! [topics](Topic); a [`Producer`] appends [records](Record), a [`KafkaPublisher`] a log's
//! [behaviours](Behavior); a [`Group`] shares the partitions of topics with other
//! processes, and [`Duplicates`] tells what a partition has twice.
//!
//! What is guaranteed:
//!
//! - What [`Producer::append`] has acknowledged is on every in-sync copy of its partition.
//!   With one copy, a broker's process may die and nothing is lost; its machine may not,
//!   until the system has written it out: durable against that is a `replication_factor`
//!   of 3 with the brokers' `min.insync.replicas` of 2.
//! - Records of one key, appended one after the other by one producer, are in that order,
//!   and none of them is there twice by the client's own retries.
//! - A partition is begun where its reader says, and read in order without gaps, but for
//!   what retention has deleted.
//! - A partition is not another member's before its reader has let it go; unless it did
//!   not in `rebalance_timeout_ms`, or was not heard of for `session_timeout_ms`.
//!
//! What is not: a record of which an append said [`Error::Unavailable`] may be in the log,
//! and is there twice when it is appended again, by the same process or by the next one.
//! A member that was taken for dead may work beside the partition's next owner. So readers
//! do away with records that they know, by [`Duplicates`], and write the offset together
//! with what they made of the records.
//!
//! ```no_run
//! # async fn example() -> Result<(), funnelweb_log_kafka::Error> {
//! use funnelweb_log_kafka::{Change, KafkaLog, KafkaSettings, Record, Start, Subscription, Topic};
//!
//! let log = KafkaLog::connect(KafkaSettings::of("localhost:9092")).await?;
//! let topic = Topic::Behaviors("acme".to_owned());
//! log.ensure(&[topic.clone()]).await?;
//! log.producer()?.append(&topic, vec![Record::new("ann", "{}")]).await?;
//!
//! let mut group = log.join("aggregation", &Subscription::AllBehaviors)?;
//! loop {
//!     match group.next().await? {
//!         Change::Assigned(assigned) => {
//!             // From where its state in our own store ends.
//!             let starts = assigned.partitions.iter().map(|_| Start::Oldest).collect();
//!             for mut partition in assigned.begin(starts)? {
//!                 tokio::spawn(async move {
//!                     while let [first, ..] = partition.next(1000).await.as_slice() {
//!                         println!("{:?} from {}", partition.at, first.offset);
//!                     }
//!                 });
//!             }
//!         }
//!         // After those who work on them have stopped.
//!         Change::Revoked(revoked) => revoked.release(),
//!     }
//! }
//! # }
//! ```

mod admin;
mod behavior;
mod client;
mod duplicates;
mod ends;
mod error;
mod group;
mod log;
mod producer;
mod publisher;
mod settings;
mod topics;

pub use admin::Ensured;
pub use behavior::{Behavior, Unreadable};
pub use duplicates::{Added, Duplicates};
pub use ends::Ends;
pub use error::Error;
pub use group::{Assigned, Change, Group, Lag, Partition, Revoked, Start, StoredRecord, Subscription};
pub use log::KafkaLog;
pub use producer::{AppendError, Position, Producer, Record};
pub use publisher::KafkaPublisher;
pub use settings::{KafkaSettings, SaslMechanism, SaslSettings, TlsSettings};
pub use topics::{Topic, TopicPartition};
