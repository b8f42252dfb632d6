//! The partitions of a member, and the records that wait in them.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rdkafka::{
    Offset, TopicPartitionList,
    error::KafkaResult,
    message::{BorrowedMessage, Header, Headers, Message},
};
use tokio::sync::mpsc;

use super::{
    Start, StoredRecord,
    buffer::{Held, Taken},
};
use crate::{
    producer::Record,
    topics::{Names, TopicPartition},
};

/// The part of a member's memory that one partition may take when there are few: those that
/// nobody takes records of must not hold up the others, so all of them have half of it.
const SHARE: usize = 4;

/// A partition of this member.
#[derive(Debug)]
struct Slot {
    sender: mpsc::UnboundedSender<Taken>,
    held: Held,
    paused: bool,
    /// See [`super::Lag::next`]; not known before the first record of one that began with
    /// the oldest or newest.
    next: Option<u64>,
    /// What it was begun with, until the first record is there.
    asked: Option<u64>,
}

/// By name and number, as records come.
type ByName = HashMap<String, HashMap<i32, Slot>>;

/// All partitions of a member.
#[derive(Debug)]
pub(super) struct Slots {
    names: Names,
    by_name: Mutex<ByName>,
    held: Held,
    /// The memory that records may take here, and what of it one partition may.
    memory: usize,
    share: AtomicUsize,
}

impl Slots {
    pub(super) fn new(names: Names, memory: usize) -> Self {
        Self {
            names,
            by_name: Mutex::default(),
            held: Held::default(),
            memory,
            share: AtomicUsize::new(memory / SHARE),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ByName> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions of a list that are of our topics.
    pub(super) fn of(&self, list: &TopicPartitionList) -> Vec<TopicPartition> {
        let known = list.elements().into_iter().filter_map(|element| {
            let topic = self.names.topic(element.topic())?;
            Some(TopicPartition { topic, partition: u32::try_from(element.partition()).ok()? })
        });
        known.collect()
    }

    /// As the library calls it; nothing for what it never called so.
    pub(super) fn name(&self, at: &TopicPartition) -> Option<(String, i32)> {
        Some((self.names.of(&at.topic).ok()?, i32::try_from(at.partition).ok()?))
    }

    pub(super) fn begin(&self, at: &TopicPartition, start: Start, sender: mpsc::UnboundedSender<Taken>) {
        let Some((name, partition)) = self.name(at) else { return };
        let next = match start {
            Start::At(offset) => Some(offset),
            Start::Oldest | Start::Newest => None,
        };
        let slot = Slot { sender, held: Held::default(), paused: false, next, asked: next };
        let mut slots = self.lock();
        slots.entry(name).or_default().insert(partition, slot);
        self.divide(&slots);
    }

    fn divide(&self, slots: &ByName) {
        let partitions: usize = slots.values().map(HashMap::len).sum();
        self.share.store(self.memory / SHARE.max(2 * partitions), Ordering::Relaxed);
    }

    fn share(&self) -> usize {
        self.share.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self, partitions: &[TopicPartition]) {
        let mut slots = self.lock();
        for (name, partition) in partitions.iter().filter_map(|at| self.name(at)) {
            if let Some(of_topic) = slots.get_mut(&name) {
                of_topic.remove(&partition);
                if of_topic.is_empty() {
                    slots.remove(&name);
                }
            }
        }
        self.divide(&slots);
    }

    /// Notes how far a partition is done; whether it is this member's.
    pub(super) fn done(&self, topic: &str, partition: i32, next: u64) -> bool {
        let mut slots = self.lock();
        let slot = slots.get_mut(topic).and_then(|partitions| partitions.get_mut(&partition));
        slot.is_some_and(|slot| {
            slot.next = Some(next);
            true
        })
    }

    /// Whether there is room for a record more.
    pub(super) fn has_room(&self) -> bool {
        self.held.bytes() < self.memory
    }

    /// Hands a record to its partition; whether that has more than its share now.
    pub(super) fn hand_on(&self, message: &BorrowedMessage<'_>) -> bool {
        let mut slots = self.lock();
        let (topic, partition) = (message.topic(), message.partition());
        let slot = slots.get_mut(topic).and_then(|partitions| partitions.get_mut(&partition));
        let (Some(slot), Ok(offset)) = (slot, u64::try_from(message.offset())) else { return false };
        if let Some(asked) = slot.asked.take().filter(|asked| *asked != offset) {
            tracing::warn!(topic, partition, asked, offset, "the log does not begin where it was left");
        }
        slot.next.get_or_insert(offset);
        let record = StoredRecord { offset, timestamp_ms: timestamp_ms(message), record: record(message) };
        // A stream that was dropped does not want it.
        let _ = slot.sender.send(Taken::new(record, [&self.held, &slot.held]));
        let much = !slot.paused && slot.held.bytes() > self.share();
        slot.paused |= much;
        much
    }

    /// All that are not paused, which are now.
    pub(super) fn pause_all(&self) -> TopicPartitionList {
        self.turn(|slot| !slot.paused)
    }

    /// Those that are paused and have room, which are so no more.
    pub(super) fn resume(&self) -> TopicPartitionList {
        let half = self.share() / 2;
        self.turn(|slot| slot.paused && slot.held.bytes() <= half)
    }

    fn turn(&self, which: impl Fn(&Slot) -> bool) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (topic, partitions) in &mut *self.lock() {
            for (partition, slot) in partitions.iter_mut().filter(|(_, slot)| which(slot)) {
                slot.paused = !slot.paused;
                list.add_partition(topic, *partition);
            }
        }
        list
    }

    pub(super) fn any_paused(&self) -> bool {
        self.lock().values().flat_map(HashMap::values).any(|slot| slot.paused)
    }

    /// All partitions, with `offset` as the library wants it; and what of each is next.
    pub(super) fn all(&self, offset: Offset) -> KafkaResult<(TopicPartitionList, HashMap<TopicPartition, u64>)> {
        let (mut list, mut next) = (TopicPartitionList::new(), HashMap::new());
        for (name, partitions) in &*self.lock() {
            for (partition, slot) in partitions {
                list.add_partition_offset(name, *partition, offset)?;
                if let (Some(topic), Ok(partition)) = (self.names.topic(name), u32::try_from(*partition)) {
                    next.insert(TopicPartition { topic, partition }, slot.next.unwrap_or_default());
                }
            }
        }
        Ok((list, next))
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let header = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.unwrap_or_default().to_owned());
    Record {
        key: message.key().unwrap_or_default().to_owned(),
        headers: message.headers().map_or_else(Vec::new, |headers| headers.iter().map(header).collect()),
        payload: message.payload().unwrap_or_default().to_owned(),
    }
}

fn timestamp_ms(message: &BorrowedMessage<'_>) -> u64 {
    message.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default()
}
