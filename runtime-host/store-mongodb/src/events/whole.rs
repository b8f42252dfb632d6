//! The log whole: completing, restoring and numbering it.

use std::collections::HashMap;

use bson::{Document, doc};
use funnelweb_factor_events::{
    check::taken,
    store::{Error, StoredEvent, Tenant},
};
use mongodb::options::ReturnDocument;

use super::{
    BATCHES, INTERACTIONS, MongoEvents,
    append::{event_object_id, log_key},
    publish::EFFECTS,
    sweep::Swept,
};
use crate::{call::Find, documents::own, state::integer};

/// The number of the batch that restored events are of: no append has it.
const NO_BATCH: u128 = 0;

impl MongoEvents {
    /// Applies the effects that were left behind. Those of appends that may still be
    /// on their way are left to them.
    pub(super) async fn complete_all(&self, tenant: &Tenant) -> Result<(), Error> {
        // What is only to be published yet changes nothing here.
        let filter = doc! { "tenant_id": tenant.as_str(), EFFECTS: { "$exists": true } };
        let find = Find { filter, ..Find::default() };
        let now_ms = self.store.now_ms();
        let (mut on_their_way, mut swept) = (0, Swept::default());
        for batch in self.store.find(BATCHES, &find).await? {
            let at = batch.get_datetime("at").ok();
            let since_ms = at.and_then(|at| u64::try_from(at.timestamp_millis()).ok()).unwrap_or(0);
            if self.is_lost(since_ms, now_ms) {
                self.complete(&[batch], &mut swept).await;
            } else {
                on_their_way += 1;
            }
        }
        if let Some(reason) = swept.error {
            return Err(reason);
        }
        if on_their_way == 0 {
            return Ok(());
        }
        Err(Error::Unavailable(format!("{on_their_way} batches of events of tenant {tenant} are on their way")))
    }

    pub(super) async fn put_back(&self, tenant: &Tenant, events: Vec<StoredEvent>) -> Result<(), Error> {
        let there = self.offsets(tenant, &events).await?;
        let mut documents = Vec::new();
        for StoredEvent { offset, event } in &events {
            let id = event_object_id(tenant, &event.event_id);
            match there.get(&id) {
                Some(stored) if stored == offset => {}
                Some(_) => return Err(taken(*offset, &event.event_id)),
                None => documents.push((*offset, self.document(tenant, event, offset.cast_signed(), NO_BATCH)?)),
            }
        }
        let Some((last, _)) = documents.last() else { return Ok(()) };
        let last = *last;
        if let Some((first, _)) = documents.first() {
            self.check_free(tenant, *first, last).await?;
        }
        // Before: no append may be given one of them meanwhile.
        self.give_none_up_to(tenant, last).await?;
        let documents: Vec<Document> = documents.into_iter().map(|(_, document)| document).collect();
        let collection = self.store.collection(INTERACTIONS);
        let insert = || async { collection.insert_many(&documents).ordered(true).await };
        self.store.once("insert", insert).await?;
        Ok(())
    }

    /// The offsets of those of the events that are there, by `_id`.
    async fn offsets(
        &self,
        tenant: &Tenant,
        events: &[StoredEvent],
    ) -> Result<HashMap<bson::oid::ObjectId, u64>, Error> {
        let ids: Vec<_> = events.iter().map(|stored| event_object_id(tenant, &stored.event.event_id)).collect();
        let filter = doc! { "tenant_id": tenant.as_str(), "_id": { "$in": ids } };
        let fields = Some(doc! { "_fw.offset": 1 });
        let found = self.store.find(INTERACTIONS, &Find { filter, fields, ..Find::default() }).await?;
        let place = |found: &Document| {
            Some((found.get_object_id("_id").ok()?, integer(own(found)?, "offset")?.cast_unsigned()))
        };
        Ok(found.iter().filter_map(place).collect())
    }

    /// Nothing may stand from `first` on: what is restored comes behind the end.
    async fn check_free(&self, tenant: &Tenant, first: u64, last: u64) -> Result<(), Error> {
        let range = doc! { "$gte": first.cast_signed(), "$lte": last.cast_signed() };
        let find = Find {
            filter: doc! { "tenant_id": tenant.as_str(), "_fw.offset": range },
            fields: Some(doc! { "_fw": 1 }),
            limit: Some(1),
            ..Find::default()
        };
        let found = self.store.find(INTERACTIONS, &find).await?;
        let Some(other) = found.first().and_then(own) else { return Ok(()) };
        let offset = integer(other, "offset").map_or(0, i64::cast_unsigned);
        Err(taken(offset, other.get_str("event_id").unwrap_or_default()))
    }

    pub(crate) async fn last_given(&self, tenant: &Tenant) -> Result<u64, Error> {
        let log = self.store.state(&log_key(tenant)).await?;
        Ok(log.and_then(|log| integer(&log, "next")).map_or(0, i64::cast_unsigned))
    }

    pub(super) async fn give_none_up_to(&self, tenant: &Tenant, offset: u64) -> Result<(), Error> {
        let change = doc! {
            "$max": { "next": i64::try_from(offset).unwrap_or(i64::MAX) },
            "$setOnInsert": { "tenant_id": tenant.as_str() },
        };
        let log = self.store.change_state(&log_key(tenant), change, ReturnDocument::After).await?;
        if let Some(next) = log.and_then(|log| integer(&log, "next")) {
            self.taken.insert(tenant.clone(), next);
        }
        Ok(())
    }
}
