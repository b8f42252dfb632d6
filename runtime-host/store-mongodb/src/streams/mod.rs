//! What stream operators keep, in a MongoDB.
//!
//! # What is one step
//! A step changes many documents, live structures and profiles. It is written down
//! first, as one change of one document, and then applied by its number:
//!
//! 1. *Written down.* The operator's progress, in `fw_streams`, has the number of its
//!    last step. On condition that this is still the one that the step began with, it
//!    becomes the next one, with the whole step beside it (`pending`). A step that is
//!    too large for a document is in `fw_stream_steps` by then, in parts.
//! 2. *Applied.* Everything that it changes remembers the number of the step that
//!    changed it last, and a step changes only what none as late has: so a step that is
//!    applied twice, or late, changes nothing. Messages get their offsets once, by the
//!    number. Live structures and profiles remember batches, one of which a step is.
//! 3. *Done.* `pending` goes.
//!
//! Who reads a progress and finds a pending step applies it before anything else. So a
//! process may die anywhere, and another one may take over from one that is slow.
//!
//! # What is deleted
//! A user's or a scenario's deletion takes a number of each operator of the tenant, so
//! that no step that has read before is written down after; has what is pending applied;
//! and leaves of what it deletes a document with nothing in it but the number, so that a
//! process that is slow puts nothing back. Those go after an hour.
//!
//! # Shards
//! A step is of a shard of the log: the log itself is one, and where events are followed
//! elsewhere, in parts, each part is another. Progress, numbers, panes and counters are a
//! shard's own; windows speak, and panes are dropped, with steps of the log's. A window that
//! a shard wants to speak again is marked with the number of the shard's step, and what has
//! spoken takes the mark off if it is still that one. Which events are the log's own to
//! give, and which come with shards, is settled once: those that were there at first, or
//! were imported, up to an offset.
//!
//! # Locks
//! A place's lock makes its changes whole where a server reads and writes in separate steps.
//! The entry of a topic and the marks of windows are changed by several places: they have
//! locks of their own.
//!
//! # Bounds
//! Live structures remember a batch for
//! an hour, profiles their last 256: a step that was left half applied and is found
//! later than that counts twice there what was applied of it.

mod apply;
mod lease;
mod newer;
mod progress;
mod purge;
mod read;
mod shards;
mod topics;
mod written;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bson::{Document, doc, oid::ObjectId};
use funnelweb_factor_events::{
    publish::Announcer,
    store::{Error, Position, Tenant},
};
use funnelweb_stream::store::{
    Counters, DeadLetter, Due, MAIN, Pane, Panes, Place, Progress, Published, Seen, Step, StreamStore, Subject,
};
use quick_cache::sync::Cache;
use xxhash_rust::xxh3::xxh3_128;

pub(crate) use self::purge::Deleted;
use crate::{
    events::MongoEvents,
    server::{MongoStore, object_id},
};

/// How far operators have come, each with the step that it is at.
pub(crate) const PROGRESS: &str = "fw_streams";
/// Parts of steps that have no room beside their progress.
pub(crate) const STEPS: &str = "fw_stream_steps";
/// Accumulators.
pub(crate) const PANES: &str = "fw_stream_panes";
/// Windows that have to speak again, or did.
pub(crate) const DUE: &str = "fw_stream_due";
/// What is remembered of shards.
pub(crate) const SEEN: &str = "fw_stream_seen";
/// Users and scenarios that were deleted while events of theirs were on their way.
pub(crate) const DELETED: &str = "fw_deleted";
/// Counters of tenants, as each operator counts.
pub(crate) const COUNTERS: &str = "fw_counters";
/// Messages of topics.
pub(crate) const TOPICS: &str = "fw_topics";
/// What was passed over.
pub(crate) const DEAD: &str = "fw_dead_letters";
/// Who follows which log.
pub(crate) const LEASES: &str = "fw_leases";
/// When something was deleted: what is left of it goes [`GONE_S`] later.
pub(crate) const GONE: &str = "gone_at";
/// Seconds.
pub(crate) const GONE_S: u64 = 3600;
/// Counters that are known to be there.
const KNOWN: usize = 100_000;

/// Operators' state in a MongoDB.
pub struct MongoStreams {
    events: MongoEvents,
    /// Counters that are there, which there may be only so many of.
    known: Cache<ObjectId, ()>,
    /// What is known of leases.
    leases: Mutex<HashMap<Tenant, lease::Known>>,
    /// Of this process.
    holder: ObjectId,
    /// What is told those who follow topics elsewhere; none where events are not followed in
    /// shards.
    announcer: Option<Arc<dyn Announcer>>,
    /// How far logs are read themselves, and when that was looked up.
    until: Mutex<HashMap<Tenant, (Instant, u64)>>,
}

/// A place as our documents have it.
trait Stored {
    /// The `_id` of its progress.
    fn id(&self) -> String;
    /// The filter of what is the operator's in all shards, to be extended.
    fn all(&self) -> Document;
    /// The filter of what is its own, to be extended.
    fn own(&self) -> Document;
    /// The `_id` of something of its own.
    fn object_id(&self, parts: &[&[u8]]) -> ObjectId;
    /// A step as a batch of effects.
    fn batch(&self, number: i64) -> u128;
}

impl Stored for Place {
    /// Neither a tenant nor a shard has a `/`.
    fn id(&self) -> String {
        format!("{}/{}/{}", self.tenant, self.operator, self.shard)
    }

    fn all(&self) -> Document {
        doc! { "tenant_id": self.tenant.as_str(), "operator": &self.operator }
    }

    fn own(&self) -> Document {
        let mut own = self.all();
        own.insert("shard", i64::from(self.shard));
        own
    }

    fn object_id(&self, parts: &[&[u8]]) -> ObjectId {
        let shard = self.shard.to_be_bytes();
        let all: Vec<&[u8]> = [self.operator.as_bytes(), &shard].into_iter().chain(parts.iter().copied()).collect();
        object_id(&self.tenant, &all)
    }

    fn batch(&self, number: i64) -> u128 {
        xxh3_128(format!("{}/{number}", self.id()).as_bytes())
    }
}

impl MongoStreams {
    /// State beside `events`, whose live structures and profiles operators change. Logs
    /// from before there were operators have changed those already: operators begin
    /// behind them.
    ///
    /// # Errors
    /// `unavailable`;
    /// `denied` where events are followed in shards.
    pub async fn open(events: &MongoEvents) -> Result<Arc<Self>, Error> {
        Self::with(events, None).await
    }

    /// State beside `events`, of which those that are new are followed in shards. What
    /// operators say is told `announcer`, too. Once that is so it stays.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn sharded(events: &MongoEvents, announcer: Arc<dyn Announcer>) -> Result<Arc<Self>, Error> {
        Self::with(events, Some(announcer)).await
    }

    async fn with(events: &MongoEvents, announcer: Option<Arc<dyn Announcer>>) -> Result<Arc<Self>, Error> {
        let this = Arc::new(Self {
            events: events.clone(),
            known: Cache::new(KNOWN),
            leases: Mutex::default(),
            holder: ObjectId::new(),
            announcer,
            until: Mutex::default(),
        });
        this.pass_over_old_logs().await?;
        this.agree_on_shards().await?;
        // Only the first of a store is told of deletions; the others' state is the same.
        let _ = this.store().streams.set(Arc::downgrade(&this));
        Ok(this)
    }

    fn store(&self) -> &Arc<MongoStore> {
        &self.events.store
    }
}

#[async_trait]
impl StreamStore for MongoStreams {
    async fn progress(&self, place: &Place) -> Result<Progress, Error> {
        self.progress_of(place).await
    }

    async fn accumulators(&self, place: &Place, panes: Vec<Pane>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.accumulators_of(place, &panes).await
    }

    async fn first_pane(&self, main: &Place, from_ms: u64) -> Result<Option<u64>, Error> {
        self.first_pane_of(main, from_ms).await
    }

    async fn panes(
        &self,
        main: &Place,
        range: Range<u64>,
        after: Option<Vec<String>>,
    ) -> Result<(Vec<Panes>, bool), Error> {
        self.panes_of(main, range, after).await
    }

    async fn due(&self, main: &Place, size_ms: u64, fired_ms: u64) -> Result<Vec<(Due, Panes)>, Error> {
        self.due_of(main, size_ms, fired_ms).await
    }

    async fn commit(&self, place: &Place, before: Progress, step: Step) -> Result<bool, Error> {
        self.commit_of(place, &before, step).await
    }

    async fn positions(&self, tenant: &Tenant) -> Result<Vec<Position>, Error> {
        self.all_positions(tenant).await
    }

    async fn set_positions(&self, tenant: &Tenant, to: Result<Vec<Position>, u64>) -> Result<(), Error> {
        let all = |next| vec![Position { operator: String::new(), next, newest_ms: 0 }];
        let to: BTreeMap<String, Position> =
            to.unwrap_or_else(all).into_iter().map(|position| (position.operator.clone(), position)).collect();
        self.put_positions(tenant, to).await
    }

    async fn end_operator(&self, tenant: &Tenant, operator: &str) -> Result<u64, Error> {
        self.end(tenant, operator).await
    }

    async fn published(&self, tenant: &Tenant, topic: &str, offset: u64, limit: u32) -> Result<Vec<Published>, Error> {
        self.messages(tenant, topic, offset, limit).await
    }

    async fn dead_letters(&self, tenant: &Tenant, limit: u32) -> Result<Vec<(String, DeadLetter)>, Error> {
        self.letters(tenant, limit).await
    }

    async fn counters(&self) -> Result<Vec<(Tenant, Arc<Counters>)>, Error> {
        self.all_counters().await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.tenants_with_logs().await
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn lead(&self, tenant: &Tenant) -> Result<bool, Error> {
        self.take_lease(tenant).await
    }

    async fn leave(&self, tenant: &Tenant, wake_ms: Option<u64>) -> Result<(), Error> {
        self.end_lease(tenant, wake_ms).await
    }

    async fn abandoned(&self) -> Result<Vec<Tenant>, Error> {
        self.overdue_leases().await
    }

    async fn log_until(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.until(tenant).await
    }

    async fn shards(&self, main: &Place) -> Result<BTreeMap<u32, Progress>, Error> {
        self.shards_of(main).await
    }

    async fn fired(&self, main: &Place) -> Result<Progress, Error> {
        // Applying it is for whoever follows windows.
        Ok(self.find_progress(main).await?.map(|found| progress::progress(&found)).unwrap_or_default())
    }

    async fn seen(&self, place: &Place) -> Result<Vec<Seen>, Error> {
        self.seen_of(place).await
    }

    async fn marks(&self, main: &Place, end_ms: u64, after: Option<Vec<String>>) -> Result<Vec<Due>, Error> {
        self.marks_of(main, end_ms, after).await
    }

    async fn deleted(&self, tenant: &Tenant, of: Vec<Subject>) -> Result<BTreeMap<Subject, u64>, Error> {
        self.deleted_of(tenant, of).await
    }
}

/// As BSON has numbers; every time and offset fits.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// How old something may be at this time, in milliseconds since 1970.
fn before(now_ms: u64, age: Duration) -> u64 {
    now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}
