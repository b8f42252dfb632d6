//! How far operators have come, and the steps that take them there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bson::{Bson, Document, doc, oid::ObjectId};
use funnelweb_factor_events::store::{Error, Position, Tenant};
use funnelweb_stream::{
    key,
    store::{ENDED, MAIN, Place, Progress, Step},
};
use mongodb::options::ReturnDocument;

use super::{DUE, MongoStreams, PANES, PROGRESS, STEPS, Stored, before, signed, written::Written};
use crate::{call::Find, codec::date, documents::binary, state::integer};

/// Age after which parts are of a step that was never made.
const STRAY: Duration = Duration::from_secs(3600);
/// The entry of our bookkeeping that says that old logs were passed over.
const PASSED_OVER: &str = "streams";
/// Begins the `_id`s of logs in our bookkeeping, and what sorts behind them.
const LOGS: [&str; 2] = ["log/", "log0"];

/// A step that is written down and not known to be applied. Its entry has where it began, too.
struct Pending {
    number: i64,
    bytes: Vec<u8>,
    /// Whose parts hold it, if it has some.
    parts: Option<ObjectId>,
}

impl MongoStreams {
    pub(super) async fn progress_of(&self, place: &Place) -> Result<Progress, Error> {
        let found = match self.find_progress(place).await? {
            Some(found) if found.contains_key("pending") => {
                let _held = self.store().locks.streams.hold(place.id()).await;
                self.complete(place).await?
            }
            Some(found) => found,
            None => self.begin(place).await?,
        };
        Ok(progress(&found))
    }

    pub(super) async fn find_progress(&self, place: &Place) -> Result<Option<Document>, Error> {
        let all = self.store().collection(PROGRESS);
        let id = place.id();
        Ok(self.store().again("find the progress", || async { all.find_one(doc! { "_id": &id }).await }).await?)
    }

    /// The progress of an operator that has none: it begins where all do.
    async fn begin(&self, place: &Place) -> Result<Document, Error> {
        let all = match place.shard {
            MAIN => self.find_progress(&Place::main(&place.tenant, "")).await?,
            _ => None,
        };
        let of_all = |name: &str| all.as_ref().and_then(|all| integer(all, name)).unwrap_or(0);
        let mut new = doc! { "_id": place.id() };
        new.extend(place.own());
        new.extend(doc! {
            "number": 0_i64, "next": of_all("next"), "newest_ms": of_all("newest_ms"), "fired_ms": 0_i64,
        });
        let documents = self.store().collection(PROGRESS);
        match self.store().once("insert", || async { documents.insert_one(new).await }).await {
            Ok(_) => {}
            Err(failure) if failure.is_duplicate() => {}
            Err(failure) => return Err(failure.into()),
        }
        self.find_progress(place).await?.ok_or_else(|| gone(place))
    }

    pub(super) async fn commit_of(&self, place: &Place, before: &Progress, step: Step) -> Result<bool, Error> {
        let store = self.store();
        let Progress { next, newest_ms, fired_ms, firing, fence: _ } = step.progress.clone();
        let counts = self.admit(place, &step.counts).await?;
        let written = Written::new(step, counts, store.now_ms());
        let number = signed(before.fence) + 1;
        let _held = store.locks.streams.hold(place.id()).await;
        if !store.abilities.atomic_updates {
            let found = self.find_progress(place).await?;
            if found.and_then(|found| integer(&found, "number")) != Some(signed(before.fence)) {
                return Ok(false);
            }
        }
        let (mut pending, parts) = self.write_down(place, number, &written).await?;
        pending.extend(doc! { "next": signed(before.next), "newest_ms": signed(before.newest_ms) });
        let mut set = doc! {
            "number": number, "next": signed(next), "newest_ms": signed(newest_ms), "fired_ms": signed(fired_ms),
            "pending": pending,
        };
        let firing = firing.map(|(end_ms, key)| doc! { "end_ms": signed(end_ms), "key": key::text(&key) });
        set.insert("firing", firing.map_or(Bson::Null, Bson::from));
        let mut filter = doc! { "_id": place.id() };
        if store.abilities.atomic_updates {
            filter.insert("number", signed(before.fence));
        }
        let all = store.collection(PROGRESS);
        let change = doc! { "$set": set };
        let begun = Instant::now();
        // Should this fail, whoever reads the progress finds out whether it was done.
        let changed = store.once("write a step down", || async { all.update_one(filter, change).await }).await?;
        if changed.matched_count == 0 {
            self.drop_parts(place, parts, None).await;
            return Ok(false);
        }
        self.apply(place, number, &written, begun).await?;
        self.done(place, number, parts).await?;
        Ok(true)
    }

    /// The step as it stands beside the progress, and whose parts hold it, if it has
    /// some; those are written.
    async fn write_down(
        &self,
        place: &Place,
        number: i64,
        written: &Written,
    ) -> Result<(Document, Option<ObjectId>), Error> {
        let store = self.store();
        let bytes = written.encode()?;
        let most = store.environment.step_bytes;
        if bytes.len() <= most {
            return Ok((doc! { "number": number, "step": binary(bytes) }, None));
        }
        let owner = ObjectId::new();
        let steps = store.collection(STEPS);
        let at = date(written.at_ms);
        for (part, bytes) in bytes.chunks(most).enumerate() {
            let part = doc! {
                "_id": format!("{owner}/{part:04}"), "tenant_id": place.tenant.as_str(), "of": place.id(),
                "owner": owner, "at": at.clone(), "bytes": binary(bytes.to_vec()),
            };
            store.once("insert", || async { steps.insert_one(part).await }).await?;
        }
        let parts = bytes.len().div_ceil(most);
        Ok((doc! { "number": number, "owner": owner, "parts": signed(parts as u64) }, Some(owner)))
    }

    /// Applies what is pending. The caller holds the place's lock. The progress as it is
    /// then.
    pub(super) async fn complete(&self, place: &Place) -> Result<Document, Error> {
        let begun = Instant::now();
        let mut found = self.find_progress(place).await?.ok_or_else(|| gone(place))?;
        let Some(entry) = found.remove("pending") else { return Ok(found) };
        let pending = match self.pending(place, &entry).await? {
            Some(pending) => pending,
            // Another process has applied it meanwhile, and dropped its parts.
            None => return self.find_progress(place).await?.ok_or_else(|| gone(place)),
        };
        let written = Written::decode(&pending.bytes).ok_or_else(|| unreadable(place))?;
        self.apply(place, pending.number, &written, begun).await?;
        self.done(place, pending.number, pending.parts).await?;
        tracing::info!(progress = place.id(), number = pending.number, "a step that was left behind is applied");
        Ok(found)
    }

    /// A pending step whole; none when its parts are gone.
    async fn pending(&self, place: &Place, entry: &Bson) -> Result<Option<Pending>, Error> {
        let entry = entry.as_document().ok_or_else(|| unreadable(place))?;
        let number = integer(entry, "number").ok_or_else(|| unreadable(place))?;
        if let Ok(step) = entry.get_binary_generic("step") {
            return Ok(Some(Pending { number, bytes: step.clone(), parts: None }));
        }
        let owner = entry.get_object_id("owner").map_err(|_| unreadable(place))?;
        let parts = integer(entry, "parts").ok_or_else(|| unreadable(place))?;
        let mut bytes = Vec::new();
        for part in 0..parts {
            let (steps, id) = (self.store().collection(STEPS), format!("{owner}/{part:04}"));
            let find = || async { steps.find_one(doc! { "_id": &id }).await };
            let Some(part) = self.store().again("find a part of a step", find).await? else {
                let is_pending = self.is_pending(place, number).await?;
                return if is_pending { Err(unreadable(place)) } else { Ok(None) };
            };
            bytes.extend(part.get_binary_generic("bytes").map_err(|_| unreadable(place))?);
        }
        Ok(Some(Pending { number, bytes, parts: Some(owner) }))
    }

    /// Whether nobody else has applied the step.
    pub(super) async fn is_pending(&self, place: &Place, number: i64) -> Result<bool, Error> {
        let find =
            Find { filter: doc! { "_id": place.id() }, fields: Some(doc! { "pending.number": 1 }), ..Find::default() };
        let found = self.store().find(PROGRESS, &find).await?;
        let pending = found.first().and_then(|found| integer(found.get_document("pending").ok()?, "number"));
        Ok(pending == Some(number))
    }

    /// The step is applied.
    async fn done(&self, place: &Place, number: i64, parts: Option<ObjectId>) -> Result<(), Error> {
        let store = self.store();
        let mut filter = doc! { "_id": place.id() };
        if store.abilities.atomic_updates {
            filter.insert("pending.number", number);
        }
        let all = store.collection(PROGRESS);
        let change = doc! { "$unset": { "pending": "" } };
        let work = || async { all.update_one(filter.clone(), change.clone()).await };
        store.again("end a step", work).await?;
        self.drop_parts(place, parts, Some(before(store.now_ms(), STRAY))).await;
        Ok(())
    }

    /// Deletes the parts of a step, and those of others that were written before then.
    /// What this fails at, a later step of many parts deletes.
    async fn drop_parts(&self, place: &Place, owner: Option<ObjectId>, strays_before_ms: Option<u64>) {
        let (Some(owner), store) = (owner, self.store()) else { return };
        let mut those = vec![doc! { "owner": owner }];
        those.extend(strays_before_ms.map(|before_ms| doc! { "at": { "$lt": date(before_ms) } }));
        let filter = doc! { "tenant_id": place.tenant.as_str(), "of": place.id(), "$or": those };
        let steps = store.collection(STEPS);
        if let Err(failure) = store.again("delete", || async { steps.delete_many(filter.clone()).await }).await {
            tracing::debug!(?failure, "parts of a step are left");
        }
    }

    /// The progresses of a tenant's operators, also of the one without a name.
    pub(super) async fn all_progress(&self, tenant: &Tenant) -> Result<Vec<(Place, Document)>, Error> {
        let find = Find {
            filter: doc! { "tenant_id": tenant.as_str() },
            fields: Some(doc! { "pending.step": 0 }),
            sort: Some(doc! { "operator": 1 }),
            ..Find::default()
        };
        let found = self.store().find(PROGRESS, &find).await?;
        let place = |found: Document| {
            let operator = found.get_str("operator").ok()?.to_owned();
            let shard = integer(&found, "shard").and_then(|shard| u32::try_from(shard).ok())?;
            Some((Place { tenant: tenant.clone(), operator, shard }, found))
        };
        Ok(found.into_iter().filter_map(place).collect())
    }

    pub(super) async fn all_positions(&self, tenant: &Tenant) -> Result<Vec<Position>, Error> {
        // What is written down is taken, and so has to be applied.
        for (place, _) in self.all_progress(tenant).await?.into_iter().filter(|(_, found)| !has_ended(found)) {
            let _held = self.store().locks.streams.hold(place.id()).await;
            self.complete(&place).await?;
        }
        let all = self.all_progress(tenant).await?;
        let mut positions: BTreeMap<String, Position> = BTreeMap::new();
        for (place, found) in all.into_iter().filter(|(_, found)| !has_ended(found)) {
            let Progress { next, newest_ms, .. } = progress(&found);
            let new = || Position { operator: place.operator.clone(), next: 0, newest_ms: 0 };
            let position = positions.entry(place.operator.clone()).or_insert_with(new);
            position.newest_ms = position.newest_ms.max(newest_ms);
            if place.shard == MAIN {
                position.next = next;
            }
        }
        Ok(positions.into_values().collect())
    }

    /// Puts every operator at its position, one that has none at that of the one without
    /// a name. Numbers go on: nothing that was there is newer than a step to come.
    pub(super) async fn put_positions(&self, tenant: &Tenant, mut to: BTreeMap<String, Position>) -> Result<(), Error> {
        let store = self.store();
        let all = store.collection(PROGRESS);
        let others = to.get("").cloned();
        for (place, found) in self.all_progress(tenant).await? {
            if place.shard != MAIN || has_ended(&found) {
                continue;
            }
            let position = to.remove(&place.operator);
            if place.operator.is_empty() && position.is_none() {
                let filter = doc! { "_id": place.id() };
                store.again("delete", || async { all.delete_one(filter.clone()).await }).await?;
                continue;
            }
            let position = position.as_ref().or(others.as_ref());
            let _held = store.locks.streams.hold(place.id()).await;
            self.complete(&place).await?;
            let mut set = at(position);
            set.extend(doc! { "fired_ms": 0_i64, "firing": Bson::Null });
            let change = doc! { "$set": set, "$inc": { "number": 1_i64 } };
            let filter = doc! { "_id": place.id() };
            store.once("set a position", || async { all.update_one(filter, change).await }).await?;
        }
        for position in to.into_values() {
            let place = Place::main(tenant, &position.operator);
            let mut set = place.own();
            set.extend(at(Some(&position)));
            set.extend(doc! { "number": 0_i64, "fired_ms": 0_i64 });
            let filter = doc! { "_id": place.id() };
            let work = || async { all.update_one(filter.clone(), doc! { "$set": &set }).upsert(true).await };
            store.again("set a position", work).await?;
        }
        if self.announcer.is_some() {
            // What is imported is in no shard, and what shards have of before is in it. Last:
            // nothing of it is read from where operators were before.
            self.read_itself(tenant, self.events.last_given(tenant).await?).await?;
        }
        Ok(())
    }

    /// Has an operator take nothing any more, and deletes what it keeps. It has no shards.
    pub(super) async fn end(&self, tenant: &Tenant, operator: &str) -> Result<u64, Error> {
        let (store, place) = (self.store(), Place::main(tenant, operator));
        let _held = store.locks.streams.hold(place.id()).await;
        if self.find_progress(&place).await?.is_none() {
            self.begin(&place).await?;
        }
        let all = store.collection(PROGRESS);
        let next = loop {
            let found = self.complete(&place).await?;
            let Progress { next, newest_ms, .. } = progress(&found);
            if has_ended(&found) {
                break newest_ms;
            }
            let set =
                doc! { "next": signed(ENDED), "newest_ms": signed(next), "fired_ms": 0_i64, "firing": Bson::Null };
            let change = doc! { "$set": set, "$inc": { "number": 1_i64 } };
            // Another process may make a step meanwhile.
            let filter = doc! { "_id": place.id(), "number": integer(&found, "number") };
            let work = || async { all.update_one(filter.clone(), change.clone()).await };
            if store.again("end an operator", work).await?.matched_count > 0 {
                break next;
            }
        };
        for collection in [PANES, DUE] {
            let (kept, filter) = (store.collection(collection), place.all());
            store.again("delete", || async { kept.delete_many(filter.clone()).await }).await?;
        }
        Ok(next)
    }

    /// The next number of a progress, so that no step that has begun is written down.
    /// The caller holds the place's lock.
    pub(super) async fn next_number(&self, place: &Place) -> Result<i64, Error> {
        let (store, id) = (self.store(), place.id());
        let all = store.collection(PROGRESS);
        let change = doc! { "$inc": { "number": 1_i64 } };
        let work = || async {
            all.find_one_and_update(doc! { "_id": &id }, change.clone()).return_document(ReturnDocument::After).await
        };
        // Repeated, it skips a number.
        let found = store.again("take a number", work).await?.ok_or_else(|| gone(place))?;
        integer(&found, "number").ok_or_else(|| unreadable(place))
    }

    /// Tenants with a log.
    pub(super) async fn tenants_with_logs(&self) -> Result<Vec<Tenant>, Error> {
        let logs = self.logs().await?;
        Ok(logs.into_iter().map(|(tenant, _)| tenant).collect())
    }

    /// Tenants with a log, and its last offset.
    pub(super) async fn logs(&self) -> Result<Vec<(Tenant, i64)>, Error> {
        let [from, to] = LOGS;
        let find = Find {
            filter: doc! { "_id": { "$gte": from, "$lt": to } },
            fields: Some(doc! { "next": 1 }),
            sort: Some(doc! { "_id": 1 }),
            ..Find::default()
        };
        let found = self.store().find(crate::server::STATE, &find).await?;
        let log = |found: &Document| {
            let tenant = Tenant::new(found.get_str("_id").ok()?.strip_prefix(from)?).ok()?;
            Some((tenant, integer(found, "next").unwrap_or(0)))
        };
        Ok(found.iter().filter_map(log).collect())
    }

    /// Has operators begin behind the logs of a version that had none, once.
    pub(super) async fn pass_over_old_logs(&self) -> Result<(), Error> {
        let store = self.store();
        if store.state(PASSED_OVER).await?.is_some() {
            return Ok(());
        }
        let logs = self.logs().await?;
        // Whoever is done with it appends events that operators have to take: a log is an
        // old one only if it was read while nobody was.
        if store.state(PASSED_OVER).await?.is_some() {
            return Ok(());
        }
        let all = store.collection(PROGRESS);
        for (tenant, last) in logs {
            let place = Place::main(&tenant, "");
            let mut new = place.own();
            new.extend(doc! { "number": 0_i64, "next": last + 1, "newest_ms": 0_i64, "fired_ms": 0_i64 });
            let (filter, change) = (doc! { "_id": place.id() }, doc! { "$setOnInsert": new });
            let work = || async { all.update_one(filter.clone(), change.clone()).upsert(true).await };
            store.again("pass a log over", work).await?;
        }
        let done = doc! { "$setOnInsert": { "at": date(store.now_ms()) } };
        store.change_state(PASSED_OVER, done, ReturnDocument::After).await?;
        Ok(())
    }
}

/// What a position sets.
fn at(position: Option<&Position>) -> Document {
    let (next, newest_ms) = position.map_or((0, 0), |position| (position.next, position.newest_ms));
    doc! { "next": signed(next), "newest_ms": signed(newest_ms) }
}

pub(super) fn progress(found: &Document) -> Progress {
    let number = |document: &Document, name: &str| integer(document, name).map_or(0, i64::cast_unsigned);
    let firing = found.get_document("firing").ok();
    Progress {
        next: number(found, "next"),
        newest_ms: number(found, "newest_ms"),
        fired_ms: number(found, "fired_ms"),
        firing: firing.and_then(|firing| Some((number(firing, "end_ms"), key::values(firing.get_str("key").ok()?)))),
        fence: number(found, "number"),
    }
}

pub(super) fn has_ended(found: &Document) -> bool {
    integer(found, "next") == Some(signed(ENDED))
}

fn gone(place: &Place) -> Error {
    Error::Unavailable(format!("mongodb: the progress {} was deleted by another program", place.id()))
}

fn unreadable(place: &Place) -> Error {
    Error::Unavailable(format!("mongodb: the step of {} is of another version of this program", place.id()))
}
