//! The `events` capability: the collection `interactions` of the design (§3.1),
//! and the effects of events on live structures and profiles.
//!
//! # What is one transaction
//! Events, live structures and profiles are in different places, so an append is
//! several steps, in an order that loses nothing and counts nothing twice:
//!
//! 1. Offsets are taken from the tenant's counter; the counter remembers that they
//!    are on their way, and nobody reads past them.
//! 2. The effects are written down as a *batch*, in `fw_batches`, and with a
//!    [publisher](MongoEvents::published_by) which events are to be published.
//! 3. The events are inserted, each with the number of the batch. A unique index
//!    tells those that were there before. Where the server has transactions, 2 and
//!    3 are one.
//! 4. The effects of those that were new are applied, each at most once per batch:
//!    live structures and profiles remember the batches that changed them. And those
//!    events are published.
//! 5. The batch is deleted, and the offsets are no longer on their way.
//!
//! An append that returned has done all of it, unless the publisher did not answer in
//! time: then the batch is left, to publish the events, which are in the log. What a
//! process that died left behind, [`MongoEvents::sweep`] completes: for each batch that
//! is old enough it looks which of its events are there as events of that batch, applies
//! their effects and publishes them. A client that was told of a failure sends the same
//! events again: those that were written are duplicates, and their effects come with the
//! batch.
//!
//! So an accepted event is published at least once, and those that a user caused one
//! after the other in this order; but what is swept comes later than events that are
//! newer: after what an append may take, or when the publisher is back.
//!
//! `read` gives events in the order of their offsets and stops in front of offsets
//! that are on their way; when their append must long have ended those are taken for
//! lost.
//!
//! Where the server has no transactions, a call may be written in part when the
//! server fails, and an insert that the server held back for longer than a batch
//! must be old to be swept is in the log without its effects, and not published.

mod append;
mod effects;
mod publish;
mod sweep;
mod whole;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bson::{Document, doc};
use funnelweb_factor_documents::store::Watcher;
use funnelweb_factor_events::{
    check::{check, check_history, check_read, check_restored},
    publish::Publisher,
    store::{AppendOutcome, Effect, Error, Event, Events, HistoryQuery, Signal, StoredEvent, Tenant},
};
use funnelweb_factor_live::store::LiveEffects;
use quick_cache::sync::Cache;
use serde_json::Value;

use self::publish::Outbox;
use crate::{call::Find, codec, documents::own, server::MongoStore, state::integer};

/// The collection of the design that holds the log.
pub(crate) const INTERACTIONS: &str = "interactions";
/// What may have to be done for events yet: effects to be applied, and publishing.
pub(crate) const BATCHES: &str = "fw_batches";
/// How long offsets may be on their way, at least.
const ON_THE_WAY: Duration = Duration::from_secs(30);
/// Operations that an append takes at most until its events are written; each has
/// its deadline.
const APPEND_OPERATIONS: u32 = 4;
/// Tenants whose last offset is remembered.
const TENANTS: usize = 10_000;

/// Behaviour logs in a MongoDB.
#[derive(Clone)]
pub struct MongoEvents {
    pub(crate) store: Arc<MongoStore>,
    live: Arc<dyn LiveEffects>,
    /// Who keeps profiles elsewhere.
    watcher: Option<Arc<dyn Watcher>>,
    /// Where events are published.
    outbox: Option<Arc<Outbox>>,
    /// An offset that was taken: further ones lie above it.
    taken: Arc<Cache<Tenant, i64>>,
    /// Of this process, for the lease of the sweep.
    holder: bson::oid::ObjectId,
}

impl MongoEvents {
    /// Logs in `store`, the store of the documents whose profiles the events
    /// move; `live` is where their other effects go.
    #[must_use]
    pub fn new(store: Arc<MongoStore>, live: Arc<dyn LiveEffects>) -> Self {
        let (taken, holder) = (Arc::new(Cache::new(TENANTS)), bson::oid::ObjectId::new());
        Self { store, live, watcher: None, outbox: None, taken, holder }
    }

    /// Tells `watcher` of every profile that events move.
    #[must_use]
    pub fn watched_by(self, watcher: Arc<dyn Watcher>) -> Self {
        Self { watcher: Some(watcher), ..self }
    }

    /// Publishes every event that is accepted. An append waits for it for as long as
    /// `patience`, and not at all while it is down; what is not published by then is when
    /// it is [swept](MongoEvents::keep_sweeping).
    #[must_use]
    pub fn published_by(self, publisher: Arc<dyn Publisher>, patience: Duration) -> Self {
        Self { outbox: Some(Arc::new(Outbox::new(publisher, patience))), ..self }
    }

    /// How long an append takes at most until its events are written.
    fn append_time(&self) -> Duration {
        self.store.settings.operation_timeout() * APPEND_OPERATIONS
    }

    /// Whether offsets that were taken at `since_ms` will never be used.
    fn is_lost(&self, since_ms: u64, now_ms: u64) -> bool {
        u128::from(now_ms.saturating_sub(since_ms)) > self.append_time().max(ON_THE_WAY).as_millis()
    }

    /// The events that fit, in the order of their offsets.
    async fn select(&self, filter: Document, direction: i32, limit: u32) -> Result<Vec<StoredEvent>, Error> {
        let sort = Some(doc! { "_fw.offset": direction });
        let find = Find { filter, sort, limit: Some(i64::from(limit)), ..Find::default() };
        let found = self.store.find(INTERACTIONS, &find).await?;
        Ok(found.into_iter().filter_map(event).collect())
    }
}

/// A stored event as the capability gives it; none for what another program put
/// into the collection.
fn event(stored: Document) -> Option<StoredEvent> {
    let own = own(&stored)?;
    let offset = integer(own, "offset")?.cast_unsigned();
    let text = |document: &Document, name: &str| Some(document.get_str(name).ok()?.to_owned());
    let (event_id, scenario_id) = (text(own, "event_id")?, text(&stored, "scenario_id")?);
    let (user_id, item_id) = (text(&stored, "user_id")?, text(&stored, "item_id")?);
    let action_type = text(&stored, "action_type")?;
    let timestamp_ms = u64::try_from(stored.get_datetime("timestamp").ok()?.timestamp_millis()).ok()?;
    let signal = own.get_binary_generic("signal").ok().and_then(|bytes| Signal::decode(bytes));
    let body = Value::Object(codec::decode(stored)).to_string();
    let event = Event { event_id, scenario_id, user_id, item_id, action_type, timestamp_ms, body, signal };
    Some(StoredEvent { offset, event })
}

#[async_trait]
impl Events for MongoEvents {
    async fn append(
        &self,
        tenant: &Tenant,
        events: Vec<Event>,
        effects: Vec<Vec<Effect>>,
    ) -> Result<Vec<AppendOutcome>, Error> {
        check(&events, &effects, self.store.now_ms())?;
        self.append_checked(tenant, events, effects).await
    }

    async fn history(&self, tenant: &Tenant, query: HistoryQuery) -> Result<Vec<StoredEvent>, Error> {
        check_history(&query)?;
        let mut filter = doc! { "tenant_id": tenant.as_str() };
        let parts = [("user_id", query.user_id), ("item_id", query.item_id), ("scenario_id", query.scenario_id)];
        filter.extend(parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))));
        if let Some(before) = query.before {
            filter.insert("_fw.offset", doc! { "$lt": i64::try_from(before).unwrap_or(i64::MAX) });
        }
        self.select(filter, -1, query.limit).await
    }

    async fn read(&self, tenant: &Tenant, offset: u64, limit: u32) -> Result<Vec<StoredEvent>, Error> {
        check_read(limit)?;
        let from = i64::try_from(offset).unwrap_or(i64::MAX);
        // Before the events are read: what is below it is there by now.
        let Some(last) = self.last_readable(tenant).await?.filter(|last| from <= *last) else {
            return Ok(Vec::new());
        };
        let filter = doc! { "tenant_id": tenant.as_str(), "_fw.offset": { "$gte": from, "$lte": last } };
        self.select(filter, 1, limit).await
    }

    async fn is_on_its_way(&self, tenant: &Tenant, until: u64) -> Result<bool, Error> {
        self.has_open(tenant, until).await
    }

    async fn is_unpublished(&self, tenant: &Tenant, since: Duration) -> Result<bool, Error> {
        let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let at = codec::date(self.store.now_ms().saturating_sub(since_ms));
        let filter = doc! {
            "tenant_id": tenant.as_str(), publish::PUBLISH: { "$exists": true }, "at": { "$lte": at },
        };
        let find = Find { filter, fields: Some(doc! { "_id": 1 }), limit: Some(1), ..Find::default() };
        Ok(!self.store.find(BATCHES, &find).await?.is_empty())
    }

    async fn settle(&self, tenant: &Tenant) -> Result<(), Error> {
        self.complete_all(tenant).await
    }

    async fn restore(&self, tenant: &Tenant, events: Vec<StoredEvent>) -> Result<(), Error> {
        check_restored(&events)?;
        self.put_back(tenant, events).await
    }

    async fn last_offset(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.last_given(tenant).await
    }

    async fn raise_last_offset(&self, tenant: &Tenant, offset: u64) -> Result<(), Error> {
        self.give_none_up_to(tenant, offset).await
    }
}
