//! Completing what a process that died left behind.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bson::{Document, doc};
use funnelweb_factor_events::{
    publish::Accepted,
    store::{Error, Tenant},
};
use futures::future::join_all;
use mongodb::options::ReturnDocument;

use super::{
    BATCHES, INTERACTIONS, MongoEvents,
    append::{ids_of, is_of, number},
    effects::Batch,
    publish::{EFFECTS, to_publish},
};
use crate::{
    call::{Failure, Find},
    codec::date,
    documents::own,
    server::STATE,
};

/// How long a sweeper is the only one.
const LEASE: Duration = Duration::from_secs(30);
/// Between two sweeps; within the lease, so that the holder keeps it.
const EVERY: Duration = Duration::from_secs(10);
const LEASE_KEY: &str = "lease/sweep";
/// Batches read at once.
const PAGE: i64 = 64;
/// Batches that are completed at once; their events are in memory.
const AT_ONCE: usize = 16;

/// What has become of the batches that were left behind.
#[derive(Default)]
pub(super) struct Swept {
    /// How many are done with.
    count: usize,
    /// Those that failed.
    failed: HashSet<String>,
    /// Whose events could not be published, and are not tried again now.
    held: HashSet<Tenant>,
    /// The last reasons for the one and the other.
    pub(super) error: Option<Error>,
    unpublished: Option<Error>,
}

impl Swept {
    fn fail(&mut self, batch: &Document, reason: Error) {
        let name = batch.get_str("_id").unwrap_or_default();
        tracing::warn!(batch = name, %reason, "a batch of effects could not be applied");
        self.failed.insert(name.to_owned());
        self.error = Some(reason);
    }

    fn hold(&mut self, tenant: Tenant, reason: Error) {
        if self.held.insert(tenant.clone()) {
            tracing::warn!(%tenant, %reason, "events that wait to be published wait on");
            self.unpublished = Some(reason);
        }
    }
}

/// What is left of a batch when its effects are applied.
pub(super) struct Left {
    name: String,
    pub(super) number: u128,
    pub(super) tenant: Tenant,
    /// To be published.
    pub(super) events: Option<Vec<Accepted>>,
}

impl MongoEvents {
    /// Sweeps now and every few seconds, for as long as it is polled.
    pub async fn keep_sweeping(&self) {
        loop {
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "what was left behind could not be swept");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Applies and publishes the batches that were left behind and returns how many;
    /// does nothing while another process is at it.
    ///
    /// # Errors
    /// `unavailable` when the server or a store of effects does not answer, or events
    /// cannot be published; what is left is swept the next time.
    pub async fn sweep(&self) -> Result<usize, Error> {
        if !self.hold_lease().await? {
            return Ok(0);
        }
        let age_ms = u64::try_from(self.append_time().as_millis()).unwrap_or(u64::MAX);
        let before_ms = self.store.now_ms().saturating_sub(age_ms);
        let mut swept = Swept::default();
        loop {
            let find = Find {
                filter: self.left_behind(before_ms, &swept),
                // The oldest first: one that fails each time keeps no others waiting.
                sort: Some(doc! { "_id": 1 }),
                limit: Some(PAGE),
                ..Find::default()
            };
            let page = self.store.find(BATCHES, &find).await?;
            if page.is_empty() {
                break;
            }
            for batches in page.chunks(AT_ONCE) {
                self.complete(batches, &mut swept).await;
            }
            // What failed is asked about again next time, not the rest of the day.
            if swept.failed.len() as i64 >= PAGE {
                break;
            }
        }
        if swept.count > 0 {
            tracing::info!(count = swept.count, "batches that were left behind are applied and published");
        }
        swept.error.or(swept.unpublished).map_or(Ok(swept.count), Err)
    }

    /// The batches of which something is to be done yet.
    fn left_behind(&self, before_ms: u64, swept: &Swept) -> Document {
        let mut filter = doc! { "at": { "$lt": date(before_ms) } };
        if !swept.failed.is_empty() {
            filter.insert("_id", doc! { "$nin": swept.failed.iter().cloned().collect::<Vec<_>>() });
        }
        let with_effects = doc! { EFFECTS: { "$exists": true } };
        if self.outbox.is_none() || swept.held.len() as i64 >= PAGE {
            filter.extend(with_effects);
        } else if !swept.held.is_empty() {
            let held: Vec<&str> = swept.held.iter().map(Tenant::as_str).collect();
            filter.insert("$or", vec![with_effects, doc! { "tenant_id": { "$nin": held } }]);
        }
        filter
    }

    /// Whether this process is the one that sweeps now.
    async fn hold_lease(&self) -> Result<bool, Error> {
        let now_ms = self.store.now_ms();
        let until = date(now_ms + u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX));
        let states = self.store.collection(STATE);
        let _held = self.store.locks.state.hold(LEASE_KEY).await;
        // When another one holds it the filter fits nothing, and what would be
        // inserted is there already.
        let filter = doc! {
            "_id": LEASE_KEY, "$or": [{ "holder": self.holder }, { "until": { "$lt": date(now_ms) } }]
        };
        let change = doc! { "$set": { "holder": self.holder, "until": until } };
        let work = || async {
            states.find_one_and_update(filter, change).upsert(true).return_document(ReturnDocument::After).await
        };
        match self.store.once("take the lease", work).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_duplicate() => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Applies the effects of those events of some batches that are in the log as
    /// theirs, publishes the events, and deletes the batches. What cannot be published
    /// is left, without its effects.
    pub(super) async fn complete(&self, batches: &[Document], swept: &mut Swept) {
        let apply: Vec<_> = batches.iter().map(|batch| self.apply_left(batch)).collect();
        let mut left = Vec::with_capacity(batches.len());
        for (applied, batch) in join_all(apply).await.into_iter().zip(batches) {
            match applied {
                Ok(one) => left.push(one),
                Err(reason) => swept.fail(batch, reason),
            }
        }
        // In the order of the batches, since each is begun before the next one is; those of
        // a tenant whose earlier ones wait, wait too.
        let held = &swept.held;
        let publish = left.iter_mut().map(|left| async {
            if left.events.is_some() && held.contains(&left.tenant) {
                return Err(Error::Unavailable("earlier events of the tenant wait to be published".to_owned()));
            }
            self.publish_left(left).await
        });
        let publish: Vec<_> = publish.collect();
        let published = join_all(publish).await;
        let (mut done, mut kept, mut names) = (Vec::new(), Vec::new(), HashMap::<Tenant, Vec<String>>::new());
        for (published, Left { name, tenant, .. }) in published.into_iter().zip(left) {
            names.entry(tenant.clone()).or_default().push(name.clone());
            match published {
                Ok(()) => done.push(name),
                Err(reason) => {
                    kept.push(name);
                    // Without an outbox another process may have one: it is no failure.
                    if self.outbox.is_some() {
                        swept.hold(tenant, reason);
                    }
                }
            }
        }
        let cleared = async {
            // The offsets first: without its document a batch is not asked about again.
            for (tenant, names) in names {
                self.store.close_batches(&tenant, names.into_iter()).await?;
            }
            self.keep_to_publish(&kept).await?;
            self.delete_batches(&done).await
        };
        match cleared.await {
            Ok(()) => swept.count += done.len(),
            Err(failure) => {
                let reason = Error::from(failure);
                batches.iter().for_each(|batch| swept.fail(batch, reason.clone()));
            }
        }
    }

    /// Applies what is left of one batch's effects; what is left then.
    async fn apply_left(&self, stored: &Document) -> Result<Left, Error> {
        let unreadable = || Error::Unavailable("the batch is of another version of this program".to_owned());
        let name = stored.get_str("_id").map_err(|_| unreadable())?;
        let number = number(name).ok_or_else(unreadable)?;
        let tenant = stored.get_str("tenant_id").ok().and_then(|id| Tenant::new(id).ok()).ok_or_else(unreadable)?;
        let events = match to_publish(stored) {
            Some(ids) => Some(self.accepted(&tenant, number, &ids).await?),
            None => None,
        };
        match stored.get_binary_generic(EFFECTS) {
            Ok(effects) => {
                let mut batch = Batch::decode(effects).ok_or_else(unreadable)?;
                let written = match &events {
                    Some(events) => events.iter().map(|accepted| accepted.event.event_id.clone()).collect(),
                    None => self.written(&tenant, number, &batch).await?,
                };
                batch.events.retain(|event| written.contains(&event.event_id));
                self.apply(&tenant, number, &batch).await?;
            }
            Err(_) if events.is_some() => {}
            Err(_) => return Err(unreadable()),
        }
        Ok(Left { name: name.to_owned(), number, tenant, events })
    }

    /// The ids of those events of the batch that are in the log as its own.
    async fn written(&self, tenant: &Tenant, number: u128, batch: &Batch) -> Result<HashSet<String>, Failure> {
        let ids = ids_of(tenant, batch.events.iter().map(|event| event.event_id.as_str()));
        let all: Vec<_> = ids.keys().copied().collect();
        let filter = doc! { "tenant_id": tenant.as_str(), "_id": { "$in": all } };
        let fields = Some(doc! { "_fw.batch": 1 });
        let found = self.store.find(INTERACTIONS, &Find { filter, fields, ..Find::default() }).await?;
        let is_own = |found: &&Document| own(found).is_some_and(|own| is_of(own, number));
        let id = |found: &Document| ids.get(&found.get_object_id("_id").ok()?).cloned();
        Ok(found.iter().filter(is_own).filter_map(id).collect())
    }
}
