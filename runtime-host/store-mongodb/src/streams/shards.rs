//! What there is beside the log itself where events are followed in shards.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use bson::{Document, doc, oid::ObjectId};
use funnelweb_core::limits;
use funnelweb_factor_events::store::{Error, Tenant};
use funnelweb_stream::{
    key,
    store::{Due, MAIN, Place, Progress, Seen, Subject},
};
use funnelweb_tenant_store::lock;
use mongodb::options::ReturnDocument;

use super::{DELETED, DUE, MongoStreams, PROGRESS, SEEN, Stored, progress::progress, signed};
use crate::{call::Find, codec::date, server::object_id, state::integer};

/// The entry of our bookkeeping that says that new events are followed in shards.
const SHARDS: &str = "shards";
/// How long it is not looked up again how far a log is read itself: imports move it.
const UNTIL: Duration = Duration::from_secs(2);

fn until_key(tenant: &Tenant) -> String {
    format!("until/{tenant}")
}

impl MongoStreams {
    /// Settles how the logs of this database are followed, now or by who was first.
    pub(super) async fn agree_on_shards(&self) -> Result<(), Error> {
        let store = self.store();
        let is_sharded = store.state(SHARDS).await?.is_some();
        if self.announcer.is_none() {
            let rule = "mongodb: the events of this database are followed on Kafka: [kafka] is missing";
            return if is_sharded { Err(Error::Denied(rule.to_owned())) } else { Ok(()) };
        }
        if is_sharded {
            return Ok(());
        }
        let logs = self.logs().await?;
        // Whoever has agreed appends events that shards have: a log is to be read itself up
        // to here only if it was looked at while nobody had.
        if store.state(SHARDS).await?.is_some() {
            return Ok(());
        }
        for (tenant, last) in logs {
            self.read_itself(&tenant, last.cast_unsigned()).await?;
        }
        let done = doc! { "$setOnInsert": { "at": date(store.now_ms()) } };
        store.change_state(SHARDS, done, ReturnDocument::After).await?;
        Ok(())
    }

    /// Has a log be read itself up to an offset, or to where it is already.
    pub(super) async fn read_itself(&self, tenant: &Tenant, until: u64) -> Result<(), Error> {
        let change = doc! { "$max": { "until": signed(until) }, "$setOnInsert": { "tenant_id": tenant.as_str() } };
        self.store().change_state(&until_key(tenant), change, ReturnDocument::After).await?;
        lock(&self.until).remove(tenant);
        Ok(())
    }

    /// How far a log is read itself.
    pub(super) async fn until(&self, tenant: &Tenant) -> Result<u64, Error> {
        if self.announcer.is_none() {
            return Ok(u64::MAX);
        }
        let known = lock(&self.until).get(tenant).copied();
        if let Some((_, until)) = known.filter(|(at, _)| at.elapsed() < UNTIL) {
            return Ok(until);
        }
        let at = Instant::now();
        let found = self.store().state(&until_key(tenant)).await?;
        let until = found.and_then(|found| integer(&found, "until")).map_or(0, i64::cast_unsigned);
        lock(&self.until).insert(tenant.clone(), (at, until));
        Ok(until)
    }

    pub(super) async fn shards_of(&self, main: &Place) -> Result<BTreeMap<u32, Progress>, Error> {
        let mut filter = main.all();
        filter.insert("shard", doc! { "$ne": i64::from(MAIN) });
        let fields = Some(doc! { "pending.step": 0 });
        let found = self.store().find(PROGRESS, &Find { filter, fields, ..Find::default() }).await?;
        let shard = |found: &Document| {
            let mut progress = progress(found);
            // Of a step that may not be applied yet, where it began.
            if let Ok(pending) = found.get_document("pending") {
                progress.next = integer(pending, "next")?.cast_unsigned();
                progress.newest_ms = integer(pending, "newest_ms")?.cast_unsigned();
            }
            Some((u32::try_from(integer(found, "shard")?).ok()?, progress))
        };
        Ok(found.iter().filter_map(shard).collect())
    }

    pub(super) async fn seen_of(&self, place: &Place) -> Result<Vec<Seen>, Error> {
        let fields = Some(doc! { "generation": 1, "bytes": 1 });
        let found = self.store().find(SEEN, &Find { filter: place.own(), fields, ..Find::default() }).await?;
        let seen = |found: &Document| {
            let generation = integer(found, "generation")?.cast_unsigned();
            Some(Seen { generation, bytes: found.get_binary_generic("bytes").ok()?.clone() })
        };
        Ok(found.iter().filter_map(seen).collect())
    }

    pub(super) async fn marks_of(
        &self,
        main: &Place,
        end_ms: u64,
        after: Option<Vec<String>>,
    ) -> Result<Vec<Due>, Error> {
        if self.announcer.is_none() {
            return Ok(Vec::new());
        }
        let mut filter = main.all();
        let after = after.map(|key| key::text(&key)).unwrap_or_default();
        filter.extend(doc! { "spoke": false, "end_ms": signed(end_ms), "key": { "$gt": after } });
        let (fields, sort) = (Some(doc! { "key": 1, "end_ms": 1, "shard": 1, "number": 1 }), Some(doc! { "key": 1 }));
        // Of those that there is no place for, windows speak once more.
        let limit = Some(signed(4 * limits::STREAM_KEYS as u64));
        let found = self.store().find(DUE, &Find { filter, fields, sort, limit, ..Find::default() }).await?;
        Ok(by_window(&found))
    }

    /// Has events of a subject that are on their way not be counted.
    pub(super) async fn mark_deleted(&self, tenant: &Tenant, subject: &Subject) -> Result<(), Error> {
        if self.announcer.is_none() {
            return Ok(());
        }
        let (store, last) = (self.store(), self.events.last_given(tenant).await?);
        let set = doc! { "tenant_id": tenant.as_str(), "offset": signed(last), "at": date(store.now_ms()) };
        let (all, filter) = (store.collection(DELETED), doc! { "_id": deleted_id(tenant, subject) });
        let work = || async { all.update_one(filter.clone(), doc! { "$set": set.clone() }).upsert(true).await };
        store.again("mark what is deleted", work).await?;
        Ok(())
    }

    pub(super) async fn deleted_of(
        &self,
        tenant: &Tenant,
        subjects: Vec<Subject>,
    ) -> Result<BTreeMap<Subject, u64>, Error> {
        let mut by_id: HashMap<ObjectId, Subject> =
            subjects.into_iter().map(|subject| (deleted_id(tenant, &subject), subject)).collect();
        if by_id.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ids: Vec<ObjectId> = by_id.keys().copied().collect();
        let fields = Some(doc! { "offset": 1 });
        let find = Find { filter: doc! { "_id": { "$in": ids } }, fields, ..Find::default() };
        let found = self.store().find(DELETED, &find).await?;
        let mut last = |found: &Document| {
            let subject = by_id.remove(&found.get_object_id("_id").ok()?)?;
            Some((subject, integer(found, "offset")?.cast_unsigned()))
        };
        Ok(found.iter().filter_map(&mut last).collect())
    }
}

/// What of a subject's id can be told once it is deleted: whether it is this one.
fn deleted_id(tenant: &Tenant, subject: &Subject) -> ObjectId {
    match subject {
        Subject::User(id) => object_id(tenant, &[b"user", id.as_bytes()]),
        Subject::Scenario(id) => object_id(tenant, &[b"scenario", id.as_bytes()]),
    }
}

/// Marked windows, each once, with the marks of all shards.
pub(super) fn by_window(found: &[Document]) -> Vec<Due> {
    let mut all: BTreeMap<(&str, u64), Vec<(u32, u64)>> = BTreeMap::new();
    for found in found {
        let mark = || {
            let key = found.get_str("key").ok()?;
            let shard = u32::try_from(integer(found, "shard")?).ok()?;
            let number = integer(found, "number")?.cast_unsigned();
            Some(((key, integer(found, "end_ms")?.cast_unsigned()), (shard, number)))
        };
        if let Some((window, mark)) = mark() {
            all.entry(window).or_default().push(mark);
        }
    }
    all.into_iter().map(|((key, end_ms), marks)| Due { window: (key::values(key), end_ms), marks }).collect()
}
