//! The outbox: events that were accepted go to those who follow them elsewhere, now or
//! when they are swept.
//!
//! A batch's document in `fw_batches` says what is left to be done of it: [`EFFECTS`] are
//! there until they are applied, [`PUBLISH`] until the events are published.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bson::{Bson, Document, doc};
use funnelweb_factor_events::{
    publish::{Accepted, Publisher},
    store::{Error, Tenant},
};
use funnelweb_tenant_store::{Breaker, Refused};

use super::{
    BATCHES, INTERACTIONS, MongoEvents,
    append::{event_object_id, is_of},
    sweep::Left,
};
use crate::{
    call::{Failure, Find},
    documents::own,
    metrics,
};

/// The field with the effects of a batch, encoded; without it they are applied.
pub(super) const EFFECTS: &str = "effects";
/// The field with the ids of a batch's events, in their order; without it nothing is to
/// be published.
pub(super) const PUBLISH: &str = "publish";
/// How long a sweep waits for events to be published.
const SWEEP_PATIENCE: Duration = Duration::from_secs(20);
/// Between two warnings that events wait.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Where events are published.
pub(super) struct Outbox {
    publisher: Arc<dyn Publisher>,
    /// How long an append waits for it.
    patience: Duration,
    /// So that not every append waits while it is down.
    breaker: Breaker,
    deferred: Deferred,
}

/// Appends whose events wait to be swept, as they are told to the log.
#[derive(Default)]
struct Deferred {
    last: Mutex<Option<Instant>>,
    since: AtomicU64,
}

impl Outbox {
    pub(super) fn new(publisher: Arc<dyn Publisher>, patience: Duration) -> Self {
        Self { publisher, patience, breaker: Breaker::of("the publisher of events"), deferred: Deferred::default() }
    }

    /// Publishes events of one batch, within a time.
    ///
    /// # Errors
    /// Some of them may not be published.
    async fn publish(
        &self,
        tenant: &Tenant,
        batch: u128,
        events: Vec<Accepted>,
        patience: Duration,
    ) -> Result<(), Error> {
        let count = events.len();
        if count == 0 {
            return Ok(());
        }
        let publish = async || match tokio::time::timeout(patience, self.publisher.publish(tenant, batch, events)).await
        {
            Ok(answer) => answer,
            Err(_) => Err(Error::Unavailable(format!("not published in {} ms", patience.as_millis()))),
        };
        match self.breaker.call(|error| matches!(error, Error::Unavailable(_)), publish).await {
            Ok(refused) => {
                metrics::published(count - refused.min(count), refused);
                Ok(())
            }
            Err(Refused::Failed(error)) => Err(error),
            Err(Refused::Open) => Err(Error::Unavailable("not tried, the calls before failed".to_owned())),
        }
    }
}

impl Deferred {
    /// One more; how many there were since it was told last, if it is to be told now.
    fn count(&self) -> Option<u64> {
        let count = self.since.fetch_add(1, Ordering::Relaxed) + 1;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < WARN_EVERY) {
            return None;
        }
        *last = Some(Instant::now());
        self.since.fetch_sub(count, Ordering::Relaxed);
        Some(count)
    }
}

impl MongoEvents {
    /// Publishes what an append has written, if it is to be published. Whether it is:
    /// what is not waits for the sweep.
    pub(super) async fn publish(&self, tenant: &Tenant, batch: u128, events: Vec<Accepted>) -> bool {
        let Some(outbox) = &self.outbox else { return true };
        let count = events.len();
        let Err(error) = outbox.publish(tenant, batch, events, outbox.patience).await else { return true };
        metrics::deferred(count);
        if let Some(appends) = outbox.deferred.count() {
            tracing::warn!(%tenant, %error, appends, "events are not published yet, they will be when they are swept");
        }
        false
    }

    /// Publishes the events that a batch has left.
    ///
    /// # Errors
    /// They are still left.
    pub(super) async fn publish_left(&self, left: &mut Left) -> Result<(), Error> {
        let Some(events) = left.events.take() else { return Ok(()) };
        let Some(outbox) = &self.outbox else {
            return Err(Error::Unavailable("there is nowhere to publish to".to_owned()));
        };
        outbox.publish(&left.tenant, left.number, events, SWEEP_PATIENCE).await
    }

    /// Those of a batch's events that are in the log as its own, in its order; `ids` are
    /// those of all.
    pub(super) async fn accepted(
        &self,
        tenant: &Tenant,
        number: u128,
        ids: &[String],
    ) -> Result<Vec<Accepted>, Failure> {
        let indexes: HashMap<_, u32> = ids.iter().map(|id| event_object_id(tenant, id)).zip(0..).collect();
        let all: Vec<_> = indexes.keys().copied().collect();
        let filter = doc! { "tenant_id": tenant.as_str(), "_id": { "$in": all } };
        let found = self.store.find(INTERACTIONS, &Find { filter, ..Find::default() }).await?;
        let accepted = found.into_iter().filter_map(|stored| {
            let index = *indexes.get(&stored.get_object_id("_id").ok()?)?;
            is_of(own(&stored)?, number).then_some(())?;
            let stored = super::event(stored)?;
            Some(Accepted { index, offset: stored.offset, event: stored.event })
        });
        let mut accepted: Vec<_> = accepted.collect();
        accepted.sort_unstable_by_key(|accepted| accepted.index);
        Ok(accepted)
    }

    /// Of these batches the effects are applied.
    pub(super) async fn keep_to_publish(&self, names: &[String]) -> Result<(), Failure> {
        if names.is_empty() {
            return Ok(());
        }
        let (batches, change) = (self.store.collection(BATCHES), doc! { "$unset": { EFFECTS: "" } });
        let update = || async { batches.update_many(doc! { "_id": { "$in": names } }, change.clone()).await };
        self.store.again("update", update).await?;
        Ok(())
    }
}

/// The ids of the events that a batch has to publish, if it has.
pub(super) fn to_publish(stored: &Document) -> Option<Vec<String>> {
    let ids = stored.get_array(PUBLISH).ok()?;
    Some(ids.iter().filter_map(Bson::as_str).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_in_a_while_how_many_wait() {
        let deferred = Deferred::default();
        assert_eq!(deferred.count(), Some(1));
        assert_eq!((deferred.count(), deferred.count()), (None, None));
        *deferred.last.lock().unwrap() = Instant::now().checked_sub(WARN_EVERY);
        assert_eq!(deferred.count(), Some(3));
    }
}
