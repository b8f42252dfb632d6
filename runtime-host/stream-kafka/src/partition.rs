//! One operator on one partition.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use funnelweb_core::limits;
use funnelweb_factor_events::store::{Error, StoredEvent, Tenant};
use funnelweb_log_kafka::{Added, Behavior, Duplicates, Partition, StoredRecord};
use funnelweb_stream::{
    Streams,
    operator::Operator,
    shards::Arrivals,
    store::{DeadLetter, Place, Seen},
};
use funnelweb_tenant_store::lock;
use tokio::sync::{Semaphore, watch};

/// Time after which a step that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long it is waited for more records after few: each step is several writes.
const LINGER: Duration = Duration::from_millis(200);
/// Few.
const FEW: usize = limits::STREAM_EVENTS as usize / 4;

/// What all partitions of a process share.
pub(crate) struct Shared {
    pub(crate) streams: Arc<Streams>,
    /// Tenants of whom windows may have come to their end.
    pub(crate) moved: Mutex<HashSet<Tenant>>,
}

/// An operator on a partition.
pub(crate) struct Work {
    pub(crate) shared: Arc<Shared>,
    /// How many steps the operator makes at once.
    pub(crate) steps: Arc<Semaphore>,
    pub(crate) operator: Arc<dyn Operator>,
    pub(crate) place: Place,
    /// How far it is, for the group.
    pub(crate) done: Arc<AtomicU64>,
    /// When it is to stop.
    pub(crate) stop: watch::Receiver<bool>,
}

/// How far an operator is with a partition, and what it knows of it.
pub(crate) struct Known {
    pub(crate) next: u64,
    /// Whether the partition begins anew, so that what comes is to be taken though its
    /// offsets are lower.
    is_anew: bool,
    duplicates: Duplicates,
    /// What is no longer kept, by generation.
    forgotten: u64,
}

impl Known {
    /// As the last step left it.
    pub(crate) async fn load(streams: &Streams, place: &Place) -> Result<Self, Error> {
        // What is remembered is what was by then, or more: of that records are dropped that
        // another process takes now, and its step is in the way of ours.
        let next = streams.store().progress(place).await?.next;
        let seen = streams.store().seen(place).await?;
        let added: Vec<Added> =
            seen.into_iter().map(|Seen { generation, bytes }| Added { generation, bytes }).collect();
        let duplicates = Duplicates::restore(&added).map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self { next, is_anew: false, forgotten: duplicates.oldest(), duplicates })
    }
}

impl Work {
    /// Takes what the partition has, which begins at `position`, until it is another's; or
    /// until it has to be begun elsewhere. `known` is what is known of it, if that could be
    /// found out.
    pub(crate) async fn go_on(mut self, mut partition: Partition, mut position: u64, known: Option<Known>) {
        let mut known = match known {
            Some(known) => known,
            None => match self.know_again().await {
                Some(known) => known,
                None => return,
            },
        };
        // Whoever had it before may have died before windows were looked at.
        self.moved();
        loop {
            let records = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return,
                records = partition.next(limits::STREAM_EVENTS as usize) => records,
            };
            let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
            self.notice(first.offset, position, &mut known);
            loop {
                match self.take(&mut known, &records, position).await {
                    Ok(true) => break,
                    // Whoever begins it again begins where the state is.
                    Ok(false) => return,
                    Err(error) => {
                        let Place { tenant, operator, shard } = &self.place;
                        tracing::warn!(%tenant, operator, shard, %error, "an operator waits");
                        // What it knows may be of records that were not taken.
                        match self.know_again().await {
                            Some(again) => known = again,
                            None => return,
                        }
                    }
                }
            }
            position = last.offset.saturating_add(1);
            self.done.store(known.next, Ordering::Relaxed);
            self.moved();
            if records.len() < FEW {
                tokio::select! {
                    biased;
                    () = stopped(&mut self.stop) => return,
                    () = tokio::time::sleep(LINGER) => {}
                }
            }
        }
    }

    /// Notices records that do not come where the last ones ended.
    fn notice(&self, first: u64, position: u64, known: &mut Known) {
        let Place { tenant, operator, shard } = &self.place;
        if first < position {
            tracing::warn!(%tenant, operator, shard, position, "a topic has lost its end, or was made anew");
            known.is_anew = true;
        } else if first > position && position == known.next {
            let missed = first - position;
            tracing::error!(%tenant, operator, shard, position, missed, "records were deleted before they were taken");
        }
    }

    fn moved(&self) {
        lock(&self.shared.moved).insert(self.place.tenant.clone());
    }

    /// How far it is, some time after an error; none when it is to stop before.
    async fn know_again(&mut self) -> Option<Known> {
        let (tenant, shard) = (self.place.tenant.clone(), self.place.shard);
        loop {
            tokio::select! {
                () = stopped(&mut self.stop) => return None,
                () = tokio::time::sleep(RETRY) => {}
            }
            match Known::load(&self.shared.streams, &self.place).await {
                Ok(again) => return Some(again),
                Err(error) => tracing::warn!(%tenant, shard, %error, "it cannot be told how far an operator is"),
            }
        }
    }

    /// Takes those of the records, which come from `position` on, that were not taken yet;
    /// false when others that came before would have to be.
    async fn take(&self, known: &mut Known, records: &[StoredRecord], position: u64) -> Result<bool, Error> {
        let streams = &self.shared.streams;
        // It is never closed.
        let _turn = self.steps.acquire().await.map_err(|error| Error::Unavailable(error.to_string()))?;
        let end = records.last().map_or(position, |last| last.offset.saturating_add(1));
        loop {
            let (next, is_anew, since_ms) = (known.next, known.is_anew, known.duplicates.known_since_ms());
            if next < position && !is_anew {
                return Ok(false);
            }
            if next >= end && !is_anew {
                return Ok(true);
            }
            // Of a log that has lost its end, what is older than all that is known was taken.
            let is_new = |stored: &&StoredRecord| match is_anew {
                true => stored.timestamp_ms >= since_ms,
                false => stored.offset >= next,
            };
            let arrivals = arrivals(&self.place, known, records.iter().filter(is_new), end);
            let took = streams.engine().take(&self.place, self.operator.as_ref(), arrivals, now_ms()).await;
            if took.map_err(|error| Error::Unavailable(error.to_string()))? {
                (known.next, known.is_anew) = (end, false);
                return Ok(true);
            }
            // Another process was here, or something was deleted.
            *known = Known::load(streams, &self.place).await?;
            known.is_anew = is_anew && end < known.next;
        }
    }
}

/// Records as the next step of an operator, which ends at `next`.
fn arrivals<'a>(
    place: &Place,
    known: &mut Known,
    records: impl Iterator<Item = &'a StoredRecord>,
    next: u64,
) -> Arrivals {
    let now_ms = now_ms();
    let mut arrivals = Arrivals { from: known.next, next, ..Arrivals::default() };
    for stored in records {
        // By the clock of who accepted it, if that is ahead.
        match Behavior::decode(&place.tenant, &stored.record.payload, now_ms.max(stored.timestamp_ms)) {
            Ok(Behavior { batch, accepted }) => {
                if known.duplicates.is_new(batch, accepted.index, now_ms) {
                    let event = StoredEvent { offset: stored.offset, event: accepted.event };
                    arrivals.events.push((event, accepted.offset));
                }
            }
            Err(unreadable) => arrivals.dead.push(DeadLetter {
                offset: stored.offset,
                scenario_id: String::new(),
                user_id: String::new(),
                reason: unreadable.to_string(),
                about: format!("record {} of shard {}", stored.offset, place.shard),
            }),
        }
    }
    let added = known.duplicates.take_added();
    arrivals.seen = added.into_iter().map(|Added { generation, bytes }| Seen { generation, bytes }).collect();
    let oldest = known.duplicates.oldest();
    if oldest > known.forgotten {
        (known.forgotten, arrivals.forget_below) = (oldest, oldest);
    }
    arrivals
}

/// Waits until somebody says stop, or is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Who is gone wants nothing any more.
    let _ = stop.wait_for(|stop| *stop).await;
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
