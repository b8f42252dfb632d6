//! Reading as a member of a consumer group: the members share the partitions, and each
//! partition is one member's at a time.
//!
//! Where to begin is not asked of Kafka: who reads keeps offsets with what it made of the
//! records. So a [`Change::Assigned`] waits for them, and a [`Change::Revoked`] for the
//! word that nobody works on the partitions any more; only then the group may give them
//! to another member.

mod buffer;
mod member;
mod slots;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use tokio::{
    sync::{mpsc, oneshot},
    task,
};

use self::{buffer::Taken, member::Member, slots::Slots};
use crate::{
    client::{self, Reports},
    error::Error,
    producer::Record,
    settings::KafkaSettings,
    topics::{Names, Topic, TopicPartition},
};

/// What a group reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// These topics. One that is not there yet is read when it is.
    Topics(Vec<Topic>),
    /// The behaviours of every tenant, those to come as well.
    AllBehaviors,
}

/// Where to begin with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record that is there.
    Oldest,
    /// With this one. What is there of it on, if it is gone: then the first record has
    /// another offset. It is lower when the topic was deleted and made anew.
    At(u64),
    /// With the first that is appended from now on.
    Newest,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Grows along the partition, not always by one.
    pub offset: u64,
    /// When it was appended, by the clock of who did, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// The record.
    pub record: Record,
}

/// What happened to a member.
#[derive(Debug)]
pub enum Change {
    /// It gets partitions.
    Assigned(Assigned),
    /// It loses partitions.
    Revoked(Revoked),
}

/// Partitions that are this member's now. Dropped, the member leaves.
#[derive(Debug)]
pub struct Assigned {
    /// In the order in which [`Assigned::begin`] wants to know of them.
    pub partitions: Vec<TopicPartition>,
    reply: oneshot::Sender<Vec<Start>>,
    slots: Arc<Slots>,
}

impl Assigned {
    /// Begins to read, each partition from its start.
    ///
    /// # Errors
    /// `invalid` unless there is one start for each.
    pub fn begin(self, starts: Vec<Start>) -> Result<Vec<Partition>, Error> {
        if starts.len() != self.partitions.len() {
            let rule =
                format_args!("must be one for each of {} partitions, got {}", self.partitions.len(), starts.len());
            return Err(Error::invalid("starts", rule));
        }
        let begin = |(at, start): (TopicPartition, &Start)| {
            let (sender, records) = mpsc::unbounded_channel();
            self.slots.begin(&at, *start, sender);
            Partition { at, records }
        };
        let partitions = self.partitions.into_iter().zip(&starts).map(begin).collect();
        // Nobody waits for it when the member has left meanwhile: then they end at once.
        let _ = self.reply.send(starts);
        Ok(partitions)
    }
}

/// Partitions that are to be another's. They are this member's until it is released, or
/// dropped.
#[derive(Debug)]
pub struct Revoked {
    /// Which.
    pub partitions: Vec<TopicPartition>,
    /// Whether they are gone already, because the group took this member for dead:
    /// another may work on them by now, and nothing must be written for them.
    pub lost: bool,
    _reply: oneshot::Sender<()>,
}

impl Revoked {
    /// Lets them go: nobody here works on them any more.
    pub fn release(self) {}
}

/// The records of one partition, from its start on.
#[derive(Debug)]
pub struct Partition {
    /// Which.
    pub at: TopicPartition,
    records: mpsc::UnboundedReceiver<Taken>,
}

impl Partition {
    /// Waits for records and takes those that are there, at most `limit`; none when the
    /// partition was revoked. May be dropped while it waits.
    pub async fn next(&mut self, limit: usize) -> Vec<StoredRecord> {
        let mut taken = Vec::new();
        self.records.recv_many(&mut taken, limit.max(1)).await;
        taken.into_iter().map(|taken| taken.record).collect()
    }
}

/// How far behind a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// Which.
    pub at: TopicPartition,
    /// The offset of the next record to be done: what was [committed](Group::commit)
    /// last, else what the log was begun with.
    pub next: u64,
    /// The offset that the next record will get.
    pub end: u64,
}

impl Lag {
    /// Records to be done, at most.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }
}

/// A member of a group. Dropped, it leaves in the background.
pub struct Group {
    names: Names,
    settings: Arc<KafkaSettings>,
    /// Belongs to the thread that polls it, and ends there.
    consumer: Weak<BaseConsumer<Member>>,
    changes: mpsc::UnboundedReceiver<Result<Change, Error>>,
    leaving: Arc<AtomicBool>,
    left: oneshot::Receiver<()>,
}

impl Group {
    pub(crate) fn join(
        settings: Arc<KafkaSettings>,
        names: Names,
        group_id: &str,
        subscription: &Subscription,
    ) -> Result<Self, Error> {
        if group_id.is_empty() {
            return Err(Error::invalid("group_id", "must not be empty"));
        }
        let mut config = client::config(&settings);
        let topics = match subscription {
            Subscription::Topics(topics) if topics.is_empty() => {
                return Err(Error::invalid("subscription", "must have a topic"));
            }
            Subscription::Topics(topics) => topics.iter().map(|topic| names.of(topic)).collect::<Result<_, _>>()?,
            Subscription::AllBehaviors => {
                let (all, but) = names.all_behaviors();
                config.set("topic.blacklist", but);
                vec![all]
            }
        };
        // Half of the memory is the library's, half is ours.
        let half_kbytes = settings.read_buffer_bytes / 2 / 1024;
        config
            .set("group.id", format!("{}{group_id}", names.prefix()))
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Nothing is passed over when what was asked for is gone.
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", settings.session_timeout_ms.to_string())
            .set("heartbeat.interval.ms", (settings.session_timeout_ms / 5).to_string())
            .set("max.poll.interval.ms", settings.rebalance_timeout_ms.to_string())
            .set("topic.metadata.refresh.interval.ms", settings.discover_interval_ms.to_string())
            .set("queued.max.messages.kbytes", half_kbytes.to_string())
            .set("fetch.max.bytes", (settings.read_buffer_bytes / 4).to_string())
            // A second without fetching, once it was full, is long.
            .set("fetch.queue.backoff.ms", "10")
            .set("check.crcs", "true");
        let (changes, receiver) = mpsc::unbounded_channel();
        let leaving = Arc::new(AtomicBool::new(false));
        let memory = usize::try_from(settings.read_buffer_bytes / 2).unwrap_or(usize::MAX);
        let slots = Arc::new(Slots::new(names.clone(), memory));
        let member = Member { slots, reports: Reports::of("group"), changes, leaving: Arc::clone(&leaving) };
        let consumer: Arc<BaseConsumer<Member>> = Arc::new(client::create(&config, member)?);
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|error| Error::invalid("subscription", error))?;
        let weak = Arc::downgrade(&consumer);
        let (ended, left) = oneshot::channel();
        let body = move || {
            member::run(&consumer);
            drop(consumer);
            // Nobody may wait for it.
            let _ = ended.send(());
        };
        thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn(body)
            .map_err(|error| Error::Unavailable(format!("no thread for a group: {error}")))?;
        Ok(Self { names, settings, consumer: weak, changes: receiver, leaving, left })
    }

    /// Waits for the next change. While one waits to be answered, partitions that this
    /// member has go on to be filled, up to the memory that they may take, and no other
    /// change is made. May be dropped while it waits.
    ///
    /// # Errors
    /// `denied` when the cluster does not let us read; whoever goes on waiting is let in
    /// when it does. `unavailable` when this member has ended, by an error that the log
    /// says.
    pub async fn next(&mut self) -> Result<Change, Error> {
        let ended = || Err(Error::Unavailable("this member of the group has ended".to_owned()));
        self.changes.recv().await.unwrap_or_else(ended)
    }

    /// Tells the group how far partitions are done, for those who look at its lag: each
    /// with the offset of the next record to be done. It does not wait, and what comes of
    /// it is only logged.
    ///
    /// # Errors
    /// `unavailable` when this member has ended.
    pub fn commit(&self, done: &[(TopicPartition, u64)]) -> Result<(), Error> {
        let consumer = self.consumer()?;
        let mut list = TopicPartitionList::with_capacity(done.len());
        for (at, next) in done {
            let name = self.names.of(&at.topic)?;
            let partition = i32::try_from(at.partition).unwrap_or(i32::MAX);
            // One that was revoked is the next owner's to speak for.
            if consumer.context().slots.done(&name, partition, *next) {
                let offset = Offset::Offset(i64::try_from(*next).unwrap_or(i64::MAX));
                let add = list.add_partition_offset(&name, partition, offset);
                add.map_err(|error| Error::invalid("done", error))?;
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        consumer.commit(&list, CommitMode::Async).map_err(|error| Error::of("committing offsets", &error))
    }

    /// How far behind the partitions of this member are.
    ///
    /// # Errors
    /// `unavailable` when the cluster does not say in time.
    pub async fn lag(&self) -> Result<Vec<Lag>, Error> {
        let (consumer, patience) = (self.consumer()?, self.settings.operation_timeout());
        let ask = move || member::lag(&consumer, patience);
        task::spawn_blocking(ask).await.map_err(|error| Error::Unavailable(error.to_string()))?
    }

    /// Leaves the group, so that others have the partitions at once. Nobody here may work
    /// on them any more.
    pub async fn leave(self) {
        let Self { leaving, changes, left, .. } = self;
        leaving.store(true, Ordering::Release);
        // What waits for an answer gets none.
        drop(changes);
        // It has ended either way.
        let _ = left.await;
    }

    fn consumer(&self) -> Result<Arc<BaseConsumer<Member>>, Error> {
        let ended = || Error::Unavailable("this member of the group has ended".to_owned());
        self.consumer.upgrade().ok_or_else(ended)
    }
}
