//! The thread of a member: it polls the library, hands records to their partitions, and
//! lets rebalances wait for whoever works on them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol},
    error::{KafkaError, KafkaResult},
    message::Message,
    types::{RDKafkaErrorCode as Code, RDKafkaRespErr},
};
use tokio::sync::{mpsc, oneshot};

use super::{Assigned, Change, Lag, Revoked, Start, slots::Slots};
use crate::{
    client::Reports,
    error::{Error, is_denial},
};

/// How long a poll waits for something to happen; as soon a member sees that it is to
/// leave.
const POLL: Duration = Duration::from_millis(100);
/// How long one waits while partitions are paused, or memory is full.
const PAUSED_POLL: Duration = Duration::from_millis(5);
/// After so long without room nothing more is fetched, so that rebalances are seen.
const FULL: Duration = Duration::from_millis(500);

/// What the library's calls back need.
pub(super) struct Member {
    pub(super) slots: Arc<Slots>,
    pub(super) reports: Arc<Reports>,
    pub(super) changes: mpsc::UnboundedSender<Result<Change, Error>>,
    pub(super) leaving: Arc<AtomicBool>,
}

impl Member {
    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire) || self.changes.is_closed()
    }

    /// Asks where to begin, and sets that in the list. What gets no answer is not begun.
    fn begin(&self, list: &mut TopicPartitionList) {
        let partitions = self.slots.of(list);
        if partitions.is_empty() || self.is_leaving() {
            return;
        }
        tracing::info!(partitions = partitions.len(), "a group member gets partitions");
        let (reply, answer) = oneshot::channel();
        let assigned = Assigned { partitions: partitions.clone(), reply, slots: Arc::clone(&self.slots) };
        let sent = self.changes.send(Ok(Change::Assigned(assigned))).ok();
        // Without an answer, or anybody who could give one, the member leaves.
        let Some(starts) = sent.and_then(|()| answer.blocking_recv().ok()) else {
            self.leaving.store(true, Ordering::Release);
            return;
        };
        for (at, start) in partitions.iter().zip(starts) {
            let offset = match start {
                Start::Oldest => Offset::Beginning,
                Start::Newest => Offset::End,
                Start::At(offset) => Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX)),
            };
            let Some((name, partition)) = self.slots.name(at) else { continue };
            if let Err(error) = list.set_partition_offset(&name, partition, offset) {
                tracing::error!(topic = name, partition, %error, "a partition is not begun where it should be");
            }
        }
    }

    /// Waits until nobody works on the partitions, and ends them.
    fn end(&self, list: &TopicPartitionList, lost: bool) {
        let partitions = self.slots.of(list);
        if partitions.is_empty() {
            return;
        }
        tracing::info!(partitions = partitions.len(), lost, "a group member loses partitions");
        if !self.is_leaving() {
            let (reply, answer) = oneshot::channel();
            let revoked = Revoked { partitions: partitions.clone(), lost, _reply: reply };
            if self.changes.send(Ok(Change::Revoked(revoked))).is_ok() {
                // It is answered by being dropped.
                let _ = answer.blocking_recv();
            }
        }
        self.slots.end(&partitions);
    }

    /// Whether an error is one that passes; passes on what somebody has to do about.
    fn goes_on_after(&self, error: &KafkaError) -> bool {
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let code = error.rdkafka_error_code();
        if fatal || code.is_some_and(is_denial) {
            // Nobody may want to know.
            let _ = self.changes.send(Err(self.reports.error("reading as a group", error)));
        }
        match code {
            _ if fatal => tracing::error!(%error, "a group member ends"),
            // Brokers that are down are reported elsewhere, topics may still come.
            Some(Code::AllBrokersDown | Code::BrokerTransportFailure | Code::UnknownTopicOrPartition) => {}
            _ => tracing::warn!(%error, "reading as a group"),
        }
        !fatal
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.reports.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reports.heard(&error, reason);
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let result = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.begin(list);
            if cooperative { consumer.incremental_assign(list) } else { consumer.assign(list) }
        } else {
            self.end(list, consumer.assignment_lost());
            if cooperative { consumer.incremental_unassign(list) } else { consumer.unassign() }
        };
        if let Err(error) = result {
            tracing::error!(%error, "a group member could not follow a rebalance");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "offsets were not committed; only the group's lag is shown wrong");
        }
    }
}

/// Polls until the member leaves, or cannot go on.
pub(super) fn run(consumer: &BaseConsumer<Member>) {
    let member = consumer.context();
    // Since when there is no room for more; and whether any partition is paused.
    let (mut full, mut paused): (Option<Instant>, bool) = (None, false);
    let mut looked = Instant::now();
    while !member.is_leaving() {
        if member.slots.has_room() {
            full = None;
            // Not with every record: there may be many partitions.
            if paused && looked.elapsed() >= PAUSED_POLL {
                looked = Instant::now();
                warned("resumed", consumer.resume(&member.slots.resume()));
                paused = member.slots.any_paused();
            }
        } else if full.get_or_insert_with(Instant::now).elapsed() < FULL {
            // Whoever takes records makes room: in most cases, now.
            thread::sleep(PAUSED_POLL);
            continue;
        } else {
            warned("paused", consumer.pause(&member.slots.pause_all()));
            paused = true;
        }
        match consumer.poll(if paused { PAUSED_POLL } else { POLL }) {
            Some(Ok(message)) if member.slots.hand_on(&message) => {
                let mut one = TopicPartitionList::new();
                one.add_partition(message.topic(), message.partition());
                warned("paused", consumer.pause(&one));
                paused = true;
            }
            Some(Err(error)) if !member.goes_on_after(&error) => break,
            _ => {}
        }
    }
    // What is revoked by leaving waits for nobody.
    member.leaving.store(true, Ordering::Release);
}

fn warned(what: &str, result: KafkaResult<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "partitions could not be {what}");
    }
}

/// How far behind the partitions are. Blocks.
pub(super) fn lag(consumer: &BaseConsumer<Member>, patience: Duration) -> Result<Vec<Lag>, Error> {
    let Member { slots, reports, .. } = &**consumer.context();
    let fails = |error: KafkaError| reports.error("asking for the ends", &error);
    // In the place of a time: the latest.
    let (list, next) = slots.all(Offset::End).map_err(fails)?;
    if list.count() == 0 {
        return Ok(Vec::new());
    }
    let ends = consumer.offsets_for_times(list, patience).map_err(fails)?;
    let mut lags = Vec::with_capacity(next.len());
    for (at, next) in next {
        let element = slots.name(&at).and_then(|(name, partition)| ends.find_partition(&name, partition));
        let Some(element) = element else { continue };
        element.error().map_err(fails)?;
        if let Some(end) = element.offset().to_raw().and_then(|end| u64::try_from(end).ok()) {
            lags.push(Lag { at, next, end });
        }
    }
    lags.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(lags)
}
