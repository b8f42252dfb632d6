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

/// What all partitions of a process share.
pub(crate) struct Shared {
    pub(crate) streams: Arc<Streams>,
    /// How many steps are made at once.
    pub(crate) steps: Semaphore,
    /// Tenants of whom windows may have come to their end.
    pub(crate) moved: Mutex<HashSet<Tenant>>,
}

/// An operator on a partition.
pub(crate) struct Work {
    pub(crate) shared: Arc<Shared>,
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
    /// Takes what the partition has until it is another's.
    pub(crate) async fn go_on(mut self, mut partition: Partition, mut known: Known) {
        // Whoever had it before may have died before windows were looked at.
        self.moved();
        // Of the next record that was not seen.
        let mut position = known.next;
        loop {
            let records = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return,
                records = partition.next(limits::STREAM_EVENTS as usize) => records,
            };
            if records.is_empty() {
                return;
            }
            if records.first().is_some_and(|first| first.offset < position) {
                let Place { tenant, shard, .. } = &self.place;
                tracing::warn!(%tenant, shard, "the topic was made anew: it is read from its begin");
                known.is_anew = true;
            }
            position = records.last().map_or(position, |last| last.offset.saturating_add(1));
            while let Err(error) = self.take(&mut known, &records).await {
                // What it knows may be of records that were not taken.
                match self.know_again(&error).await {
                    Some(again) => known = again,
                    None => return,
                }
            }
            self.done.store(known.next, Ordering::Relaxed);
            self.moved();
        }
    }

    fn moved(&self) {
        lock(&self.shared.moved).insert(self.place.tenant.clone());
    }

    /// How far it is, some time after an error; none when it is to stop before.
    async fn know_again(&mut self, error: &Error) -> Option<Known> {
        let (tenant, shard) = (self.place.tenant.clone(), self.place.shard);
        tracing::warn!(%tenant, shard, operator = self.place.operator, %error, "an operator waits");
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

    /// Takes those of the records that were not taken yet.
    async fn take(&self, known: &mut Known, records: &[StoredRecord]) -> Result<(), Error> {
        let Shared { streams, steps, .. } = self.shared.as_ref();
        // It is never closed.
        let _turn = steps.acquire().await.map_err(|error| Error::Unavailable(error.to_string()))?;
        loop {
            let (next, is_anew) = (known.next, known.is_anew);
            let new = records.iter().skip_while(|stored| stored.offset < next && !is_anew);
            let Some(arrivals) = arrivals(&self.place, known, new) else { return Ok(()) };
            let next = arrivals.next;
            let took = streams.engine().take(&self.place, self.operator.as_ref(), arrivals, now_ms()).await;
            if took.map_err(|error| Error::Unavailable(error.to_string()))? {
                (known.next, known.is_anew) = (next, false);
                return Ok(());
            }
            // Another process was here, or something was deleted.
            *known = Known::load(streams, &self.place).await?;
            known.is_anew = is_anew && records.last().is_some_and(|last| last.offset < known.next);
            if records.first().is_some_and(|first| known.next < first.offset) {
                let next = known.next;
                return Err(Error::Unavailable(format!("the state is of before: it wants what begins at {next}")));
            }
        }
    }
}

/// Records as the next step of an operator; none when there are none.
fn arrivals<'a>(place: &Place, known: &mut Known, records: impl Iterator<Item = &'a StoredRecord>) -> Option<Arrivals> {
    let now_ms = now_ms();
    let mut arrivals = Arrivals { from: known.next, next: known.next, ..Arrivals::default() };
    let mut some = false;
    for stored in records {
        some = true;
        arrivals.next = stored.offset.saturating_add(1);
        match Behavior::decode(&place.tenant, &stored.record.payload, now_ms) {
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
    some.then_some(arrivals)
}

/// Waits until somebody says stop, or is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Who is gone wants nothing any more.
    let _ = stop.wait_for(|stop| *stop).await;
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
