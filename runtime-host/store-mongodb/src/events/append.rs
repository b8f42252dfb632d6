//! Appending: the steps of the module's description, in its order.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use bson::{Bson, Document, doc};
use funnelweb_factor_events::{
    publish::Accepted,
    store::{AppendOutcome, Effect, Error, Event, Tenant},
};
use mongodb::options::ReturnDocument;
use serde_json::{Map, Value};

use super::{
    BATCHES, INTERACTIONS, MongoEvents,
    effects::Batch,
    publish::{EFFECTS, PUBLISH},
};
use crate::{
    call::{Failure, Find},
    codec::{Frame, OWN, date},
    documents::{binary, own},
    server::{MongoStore, object_id},
    state::integer,
};

/// Bytes of events and effects that are one batch: it has to fit into a document.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How often a transaction is begun anew.
const ATTEMPTS: u32 = 8;

/// One event, and where it stands in the call.
struct New {
    at: usize,
    event: Event,
    effects: Vec<Effect>,
}

/// A batch that is being written.
pub(super) struct Opened {
    /// Time-ordered and unique.
    pub(super) number: u128,
    pub(super) at_ms: u64,
    /// The first of its offsets.
    first: i64,
    /// Batches whose time is up long ago.
    lost: Vec<String>,
}

/// A batch as a name, of the counter's entries and of its document.
pub(super) fn name(number: u128) -> String {
    format!("{number:032x}")
}

pub(super) fn log_key(tenant: &Tenant) -> String {
    format!("log/{tenant}")
}

fn new_number(now_ms: u64) -> u128 {
    let random = || u128::from(RandomState::new().build_hasher().finish());
    u128::from(now_ms) << 80 | (random() << 16 ^ random()) & ((1 << 80) - 1)
}

impl MongoEvents {
    pub(super) async fn append_checked(
        &self,
        tenant: &Tenant,
        events: Vec<Event>,
        effects: Vec<Vec<Effect>>,
    ) -> Result<Vec<AppendOutcome>, Error> {
        let mut outcomes = vec![AppendOutcome::Duplicate; events.len()];
        let mut seen = HashSet::with_capacity(events.len());
        let mut part = Vec::new();
        let mut bytes = 0;
        for (at, (event, effects)) in events.into_iter().zip(effects).enumerate() {
            if !seen.insert(event.event_id.clone()) {
                continue;
            }
            let size = event_bytes(&event, &effects);
            if bytes + size > BATCH_BYTES && !part.is_empty() {
                self.append_part(tenant, std::mem::take(&mut part), &mut outcomes).await?;
                bytes = 0;
            }
            bytes += size;
            part.push(New { at, event, effects });
        }
        if !part.is_empty() {
            self.append_part(tenant, part, &mut outcomes).await?;
        }
        Ok(outcomes)
    }

    async fn append_part(&self, tenant: &Tenant, part: Vec<New>, outcomes: &mut [AppendOutcome]) -> Result<(), Error> {
        let opened = self.open(tenant, part.len()).await?;
        let all = part.iter().map(|new| (&new.event, &new.effects));
        let mut batch = Batch::new(opened.at_ms, all);
        let note = self.note(tenant, &opened, &part, &batch);
        let is_noted = matches!(note, Ok(Some(_)));
        let written = match note {
            Ok(note) => self.write(tenant, &opened, &part, note).await,
            Err(error) => Err(error),
        };
        if let Err(Error::Invalid(_) | Error::Denied(_)) = &written {
            self.close(tenant, &opened).await?;
        }
        let known = written?;
        for new in part.iter().filter(|new| !known.contains(new.event.event_id.as_str())) {
            if let Some(outcome) = outcomes.get_mut(new.at) {
                *outcome = AppendOutcome::Accepted;
            }
        }
        batch.events.retain(|event| !known.contains(event.event_id.as_str()));
        let accepted = accepted(part, &opened, &known);
        let (applied, published, closed) = futures::join!(
            self.apply(tenant, opened.number, &batch),
            self.publish(tenant, opened.number, accepted),
            self.close(tenant, &opened)
        );
        applied.and(closed)?;
        // If this fails it is found to be done when it is swept.
        let _ = match published {
            _ if !is_noted => Ok(()),
            true => self.delete_batches(&[name(opened.number)]).await,
            false => self.keep_to_publish(&[name(opened.number)]).await,
        };
        Ok(())
    }

    /// What is to be done when this process does not: none when there is nothing.
    fn note(&self, tenant: &Tenant, opened: &Opened, part: &[New], batch: &Batch) -> Result<Option<Document>, Error> {
        if batch.events.is_empty() && self.outbox.is_none() {
            return Ok(None);
        }
        let mut note = doc! {
            "_id": name(opened.number), "tenant_id": tenant.as_str(), "at": date(opened.at_ms),
            EFFECTS: binary(batch.encode()?),
        };
        if self.outbox.is_some() {
            let ids: Vec<&str> = part.iter().map(|new| new.event.event_id.as_str()).collect();
            note.insert(PUBLISH, ids);
        }
        Ok(Some(note))
    }

    /// Takes offsets. Until [`MongoEvents::close`] nobody reads past them.
    async fn open(&self, tenant: &Tenant, count: usize) -> Result<Opened, Error> {
        let key = log_key(tenant);
        let after = match self.taken.get(tenant) {
            Some(after) => after,
            None => {
                let log = self.store.state(&key).await?;
                log.and_then(|log| integer(&log, "next")).unwrap_or(0)
            }
        };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let at_ms = self.store.now_ms();
        let number = new_number(at_ms);
        // At this moment only a bound is known: the offsets are above those that
        // were taken before.
        let open = doc! { "after": after, "at": date(at_ms) };
        let change = doc! {
            "$inc": { "next": count },
            "$set": { format!("open.{}", name(number)): open },
            "$setOnInsert": { "tenant_id": tenant.as_str() },
        };
        let log = self.store.change_state(&key, change, ReturnDocument::After).await?.unwrap_or_default();
        let next = integer(&log, "next").unwrap_or(count);
        self.taken.insert(tenant.clone(), next);
        let lost = open_batches(&log).filter(|(_, _, since_ms)| self.is_lost(*since_ms, at_ms)).map(|(name, ..)| name);
        Ok(Opened { number, at_ms, first: next - count + 1, lost: lost.collect() })
    }

    async fn close(&self, tenant: &Tenant, opened: &Opened) -> Result<(), Error> {
        let names = opened.lost.iter().cloned().chain([name(opened.number)]);
        Ok(self.store.close_batches(tenant, names).await?)
    }

    /// The last offset below all that are on their way; none in an empty log.
    pub(super) async fn last_readable(&self, tenant: &Tenant) -> Result<Option<i64>, Error> {
        let Some(log) = self.store.state(&log_key(tenant)).await? else { return Ok(None) };
        let now_ms = self.store.now_ms();
        let open = open_batches(&log).filter(|(_, _, since_ms)| !self.is_lost(*since_ms, now_ms));
        Ok(open.map(|(_, after, _)| after).chain(integer(&log, "next")).min())
    }

    /// Whether offsets up to `until` were given that nobody reads past yet.
    pub(super) async fn has_open(&self, tenant: &Tenant, until: u64) -> Result<bool, Error> {
        let Some(log) = self.store.state(&log_key(tenant)).await? else { return Ok(false) };
        let now_ms = self.store.now_ms();
        let is_open =
            |(_, after, since_ms): (_, i64, u64)| after.cast_unsigned() < until && !self.is_lost(since_ms, now_ms);
        Ok(open_batches(&log).any(is_open))
    }

    /// Writes the note of the batch and its events; the ids of events that were there before.
    async fn write(
        &self,
        tenant: &Tenant,
        opened: &Opened,
        part: &[New],
        note: Option<Document>,
    ) -> Result<HashSet<String>, Error> {
        let mut documents = Vec::with_capacity(part.len());
        for (New { event, .. }, offset) in part.iter().zip(opened.first..) {
            documents.push(self.document(tenant, event, offset, opened.number)?);
        }
        if self.store.abilities.transactions {
            return self.write_in_transaction(tenant, opened.number, part, note, documents).await;
        }
        if let Some(note) = note {
            let batches = self.store.collection(BATCHES);
            self.store.once("insert", || async { batches.insert_one(note).await }).await?;
        }
        let events = self.store.collection(INTERACTIONS);
        let insert = || async { events.insert_many(&documents).ordered(false).await };
        match self.store.once("insert", insert).await {
            Ok(_) => Ok(HashSet::new()),
            Err(failure) => {
                let places = failure.duplicates()?;
                Ok(places.into_iter().filter_map(|at| Some(part.get(at)?.event.event_id.clone())).collect())
            }
        }
    }

    /// The batch and those of its events that are new, all of it or nothing.
    async fn write_in_transaction(
        &self,
        tenant: &Tenant,
        number: u128,
        part: &[New],
        note: Option<Document>,
        documents: Vec<Document>,
    ) -> Result<HashSet<String>, Error> {
        let store = &self.store;
        let (events, batches) = (store.collection(INTERACTIONS), store.collection(BATCHES));
        let mut known: HashSet<String> = HashSet::new();
        let mut wait = Duration::from_millis(1);
        for _ in 0..ATTEMPTS {
            let new: Vec<&Document> = part
                .iter()
                .zip(&documents)
                .filter(|(new, _)| !known.contains(&new.event.event_id))
                .map(|(_, document)| document)
                .collect();
            if new.is_empty() {
                return Ok(known);
            }
            let mut session = store.begin().await?;
            let written = async {
                if let Some(note) = &note {
                    store.once("insert", || async { batches.insert_one(note).session(&mut session).await }).await?;
                }
                store
                    .once("insert", || async { events.insert_many(new.iter().copied()).session(&mut session).await })
                    .await?;
                Ok::<_, Failure>(())
            };
            match written.await {
                Ok(()) => match store.commit(&mut session).await {
                    Ok(()) => return Ok(known),
                    Err(failure) if failure.is_transient() => {}
                    Err(failure) => return Err(failure.into()),
                },
                Err(failure) => {
                    store.abort(&mut session).await;
                    if failure.is_duplicate() {
                        let own;
                        (known, own) = self.known(tenant, part, number).await?;
                        if own {
                            // A commit that was thought to have failed was done.
                            return Ok(known);
                        }
                    } else if !failure.is_transient() {
                        return Err(failure.into());
                    }
                }
            }
            tokio::time::sleep(funnelweb_tenant_store::jitter(wait)).await;
            wait *= 2;
        }
        Err(Error::Unavailable("mongodb: other writers came between each time".to_owned()))
    }

    /// Which of the events are there as those of other batches, and whether any is
    /// there as one of this batch.
    async fn known(&self, tenant: &Tenant, part: &[New], number: u128) -> Result<(HashSet<String>, bool), Error> {
        let ids: Vec<_> = part.iter().map(|new| event_object_id(tenant, &new.event.event_id)).collect();
        let filter = doc! { "tenant_id": tenant.as_str(), "_id": { "$in": ids } };
        let fields = Some(doc! { "_id": 0, "_fw.event_id": 1, "_fw.batch": 1 });
        let found = self.store.find(INTERACTIONS, &Find { filter, fields, ..Find::default() }).await?;
        let (own, others): (Vec<_>, Vec<_>) = found.iter().filter_map(own).partition(|own| is_of(own, number));
        let id = |own: &Document| Some(own.get_str("event_id").ok()?.to_owned());
        Ok((others.into_iter().filter_map(id).collect(), !own.is_empty()))
    }

    /// An event as it is stored.
    pub(super) fn document(
        &self,
        tenant: &Tenant,
        event: &Event,
        offset: i64,
        number: u128,
    ) -> Result<Document, Error> {
        let Event { event_id, scenario_id, user_id, item_id, action_type, timestamp_ms, body, signal } = event;
        let body: Map<String, Value> =
            serde_json::from_str(body).map_err(|error| Error::invalid("events.body", error))?;
        let mut own = doc! { "event_id": event_id, "offset": offset, "batch": binary(number.to_be_bytes().to_vec()) };
        if let Some(signal) = signal {
            own.insert("signal", binary(signal.encode()?));
        }
        let mut document = doc! { "_id": event_object_id(tenant, event_id), "tenant_id": tenant.as_str() };
        let key = [
            ("scenario_id", scenario_id.as_str()),
            ("user_id", user_id),
            ("item_id", item_id),
            ("action_type", action_type),
        ];
        let at = Some(("timestamp", *timestamp_ms));
        let frame = Frame { key: &key, at, dates: &[], nested_arrays: self.store.abilities.nested_arrays };
        frame.encode(&body, &mut document, &mut own);
        document.insert(OWN, own);
        Ok(document)
    }

    pub(super) async fn delete_batches(&self, names: &[String]) -> Result<(), Failure> {
        if names.is_empty() {
            return Ok(());
        }
        let batches = self.store.collection(BATCHES);
        let delete = || async { batches.delete_many(doc! { "_id": { "$in": names } }).await };
        self.store.again("delete", delete).await?;
        Ok(())
    }
}

impl MongoStore {
    /// The offsets of these batches are no longer on their way.
    pub(super) async fn close_batches(
        &self,
        tenant: &Tenant,
        names: impl Iterator<Item = String>,
    ) -> Result<(), Failure> {
        let fields: Document = names.map(|name| (format!("open.{name}"), Bson::from(""))).collect();
        self.change_state(&log_key(tenant), doc! { "$unset": fields }, ReturnDocument::Before).await?;
        Ok(())
    }
}

/// Those of a batch's events that were not known.
fn accepted(part: Vec<New>, opened: &Opened, known: &HashSet<String>) -> Vec<Accepted> {
    let numbered = (0..).zip(opened.first..).zip(part);
    let accepted = numbered.map(|((index, offset), New { event, .. })| {
        let offset = offset.cast_unsigned();
        Accepted { index, offset, event }
    });
    accepted.filter(|accepted| !known.contains(&accepted.event.event_id)).collect()
}

/// Whether an event, by our field in it, was written as one of this batch.
pub(super) fn is_of(own: &Document, number: u128) -> bool {
    own.get_binary_generic("batch").is_ok_and(|batch| *batch == number.to_be_bytes())
}

/// The `_id` of an event: writing it a second time is a duplicate.
pub(super) fn event_object_id(tenant: &Tenant, event_id: &str) -> bson::oid::ObjectId {
    object_id(tenant, &[event_id.as_bytes()])
}

/// Names, bounds and times of the batches whose offsets are on their way.
fn open_batches(log: &Document) -> impl Iterator<Item = (String, i64, u64)> {
    let open = log.get_document("open").ok().into_iter().flatten();
    open.filter_map(|(name, entry)| {
        let entry = entry.as_document()?;
        let since_ms = u64::try_from(entry.get_datetime("at").ok()?.timestamp_millis()).ok()?;
        Some((name.clone(), integer(entry, "after")?, since_ms))
    })
}

/// Bytes that an event takes in its batch or as a document, roughly.
fn event_bytes(event: &Event, effects: &[Effect]) -> usize {
    let effect_bytes = |effect: &Effect| match effect {
        Effect::Profile(effect) => {
            let preferences = effect.preferences.iter().map(|(field, value, _)| 16 + field.len() + value.len());
            preferences.sum::<usize>() + effect.counters.iter().map(|(name, _)| 16 + name.len()).sum::<usize>()
        }
        Effect::Count(effect) => 16 + effect.field.len(),
        Effect::Hot(_) => 16,
    };
    1024 + event.body.len() + effects.iter().map(effect_bytes).sum::<usize>()
}

/// Batches by name, to be told apart in logs.
pub(super) fn number(name: &str) -> Option<u128> {
    u128::from_str_radix(name, 16).ok()
}

/// Event ids by `_id`.
pub(super) fn ids_of<'a>(
    tenant: &Tenant,
    events: impl Iterator<Item = &'a str>,
) -> HashMap<bson::oid::ObjectId, String> {
    events.map(|id| (event_object_id(tenant, id), id.to_owned())).collect()
}
