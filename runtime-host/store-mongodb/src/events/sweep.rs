//! Completing what a process that died left behind.

use std::{collections::HashSet, time::Duration};

use bson::{Document, doc};
use funnelweb_factor_events::store::{Error, Tenant};
use mongodb::options::ReturnDocument;

use super::{
    BATCHES, INTERACTIONS, MongoEvents,
    append::{ids_of, is_of, number},
    effects::Batch,
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

    /// Applies the batches that were left behind and returns how many; does
    /// nothing while another process is at it.
    ///
    /// # Errors
    /// `unavailable` when the server or a store of effects does not answer; what
    /// is left is swept the next time.
    pub async fn sweep(&self) -> Result<usize, Error> {
        if !self.hold_lease().await? {
            return Ok(0);
        }
        let store = &self.store;
        let age = self.append_time();
        let before_ms = store.now_ms().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let find = Find {
            filter: doc! { "at": { "$lt": date(before_ms) } },
            // The oldest first: one that fails each time keeps no others waiting.
            sort: Some(doc! { "_id": 1 }),
            limit: Some(PAGE),
            ..Find::default()
        };
        let mut count = 0;
        let mut failed: HashSet<String> = HashSet::new();
        let mut error = None;
        loop {
            let mut find = find.clone();
            if !failed.is_empty() {
                find.filter.insert("_id", doc! { "$nin": failed.iter().cloned().collect::<Vec<_>>() });
            }
            let page = store.find(BATCHES, &find).await?;
            if page.is_empty() {
                break;
            }
            for batch in page {
                match self.complete(&batch).await {
                    Ok(()) => count += 1,
                    Err(reason) => {
                        let name = batch.get_str("_id").unwrap_or_default();
                        tracing::warn!(batch = name, %reason, "a batch of effects could not be applied");
                        failed.insert(name.to_owned());
                        error = Some(reason);
                    }
                }
            }
            // What failed is asked about again next time, not the rest of the day.
            if failed.len() as i64 >= PAGE {
                break;
            }
        }
        if count > 0 {
            tracing::info!(count, "batches of effects that were left behind are applied");
        }
        error.map_or(Ok(count), Err)
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

    /// Applies the effects of those events of the batch that are in the log as its
    /// own, and deletes it.
    pub(super) async fn complete(&self, stored: &Document) -> Result<(), Error> {
        let unreadable = || Error::Unavailable("the batch is of another version of this program".to_owned());
        let name = stored.get_str("_id").map_err(|_| unreadable())?;
        let number = number(name).ok_or_else(unreadable)?;
        let tenant = stored.get_str("tenant_id").ok().and_then(|id| Tenant::new(id).ok()).ok_or_else(unreadable)?;
        let effects = stored.get_binary_generic("effects").map_err(|_| unreadable())?;
        let mut batch = Batch::decode(effects).ok_or_else(unreadable)?;
        let written = self.written(&tenant, number, &batch).await?;
        batch.events.retain(|event| written.contains(&event.event_id));
        self.apply(&tenant, number, &batch).await?;
        self.store.close_batches(&tenant, std::iter::once(name.to_owned())).await?;
        Ok(self.delete_batch(name).await?)
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
