//! Writing many documents at once: read together, and written in as few commands
//! as they fit into.

use std::collections::{BTreeSet, HashMap};

use bson::{Bson, Document as BsonDocument, doc, oid::ObjectId};
use funnelweb_core::limits;
use funnelweb_factor_documents::{
    backend::Body,
    store::{Collection, Error, InsertOutcome, Key, Precondition, Tenant, WriteError},
};
use mongodb::ClientSession;

use super::{
    Shape, Stored, shape, version,
    write::{ATTEMPTS, Change, FIRST_WAIT, LONGEST_WAIT, carry_over, too_many_writers},
};
use crate::{call::Failure, server::MongoStore};

/// Documents written with one command, and bytes of their text.
pub(super) const TOGETHER: usize = 1000;
pub(super) const TOGETHER_BYTES: usize = 2 * 1024 * 1024;

/// One document of a bulk write.
struct Prepared {
    at: usize,
    key: Key,
    text_bytes: usize,
    /// Of the document that is replaced; none for a new one.
    over: Option<u64>,
    document: BsonDocument,
}

impl MongoStore {
    /// See [`funnelweb_factor_documents::store::Documents::insert_many`].
    pub(super) async fn insert_documents(
        &self,
        tenant: &Tenant,
        collection: Collection,
        documents: Vec<(Key, Body)>,
        replace: bool,
    ) -> Result<Vec<InsertOutcome>, Error> {
        let scenarios: BTreeSet<String> = documents.iter().map(|(key, _)| key.scenario_id.clone()).collect();
        let mut keys = Vec::with_capacity(documents.len());
        let result = self.insert_all(tenant, collection, documents, replace, &mut keys).await;
        for key in &keys {
            self.wrote(tenant, collection, key, None);
        }
        if collection == Collection::Items {
            for scenario in scenarios {
                match &result {
                    Ok(_) => self.items_changed(tenant, &scenario).await,
                    Err(_) => self.items_unknown(tenant, &scenario),
                }
            }
        }
        result
    }

    /// Writes all documents; `keys` are those that were or may have been written.
    async fn insert_all(
        &self,
        tenant: &Tenant,
        collection: Collection,
        documents: Vec<(Key, Body)>,
        replace: bool,
        keys: &mut Vec<Key>,
    ) -> Result<Vec<InsertOutcome>, Error> {
        let bulk = Bulk { tenant, collection, replace };
        let mut wait = FIRST_WAIT;
        for _ in 0..ATTEMPTS {
            // Where the server tests and writes in one step, this would only have
            // others wait.
            let ids = documents.iter().map(|(key, _)| self.id_of(tenant, &key.scenario_id, self.handle(&key.id)));
            let held = match self.abilities.atomic_updates {
                true => Vec::new(),
                false => self.locks.documents.hold_all(ids.map(|id| (collection, id))).await,
            };
            let (mut outcomes, prepared) = self.prepare(bulk, &documents).await?;
            keys.extend(prepared.iter().map(|prepared| prepared.key.clone()));
            if self.abilities.transactions {
                match self.write_in_transaction(bulk, prepared).await {
                    Ok(true) => return Ok(outcomes),
                    Ok(false) => {}
                    Err(failure) if failure.is_transient() => {}
                    Err(failure) => return Err(failure.into()),
                }
                tokio::time::sleep(funnelweb_tenant_store::jitter(wait)).await;
                wait = (2 * wait).min(LONGEST_WAIT);
                continue;
            }
            let again = self.write_one_by_one(bulk, prepared).await?;
            drop(held);
            for at in again {
                let Some((key, body)) = documents.get(at) else { continue };
                let outcome = self.insert_one(bulk, key, body).await?;
                if let Some(place) = outcomes.get_mut(at) {
                    *place = outcome;
                }
            }
            return Ok(outcomes);
        }
        Err(too_many_writers())
    }

    /// Tells by what is there now what becomes of each document, and makes those
    /// that are to be written.
    async fn prepare(
        &self,
        bulk: Bulk<'_>,
        documents: &[(Key, Body)],
    ) -> Result<(Vec<InsertOutcome>, Vec<Prepared>), Error> {
        let Bulk { tenant, collection, replace } = bulk;
        let Shape { id, .. } = shape(collection);
        let fields = doc! {
            "scenario_id": 1, id: 1, "created_at": 1, "_fw.version": 1, "_fw.batches": 1
        };
        let mut there: HashMap<ObjectId, Stored> = HashMap::new();
        let mut by_scenario: HashMap<&str, BTreeSet<u64>> = HashMap::new();
        for (key, _) in documents {
            by_scenario.entry(&key.scenario_id).or_default().insert(self.handle(&key.id));
        }
        for (scenario, handles) in by_scenario {
            let found = self.by_handle(tenant, collection, scenario, handles.into_iter(), Some(&fields)).await?;
            there.extend(found.into_iter().filter_map(|found| {
                let id = found.get_object_id("_id").ok()?;
                Some((id, Stored::new(found)))
            }));
        }
        let (floor, now_ms) = (self.floor(tenant).await?, self.now_ms());
        let mut outcomes = Vec::with_capacity(documents.len());
        let mut prepared = Vec::new();
        // Of this call: ids by handle.
        let mut seen: HashMap<ObjectId, &str> = HashMap::new();
        for (at, (key, body)) in documents.iter().enumerate() {
            let object = self.id_of(tenant, &key.scenario_id, self.handle(&key.id));
            let found = there.get(&object);
            let holder = found.and_then(|found| found.document.get_str(id).ok()).or(seen.get(&object).copied());
            outcomes.push(match holder {
                Some(holder) if holder != key.id => InsertOutcome::Collision,
                Some(_) if !replace || seen.contains_key(&object) => InsertOutcome::Duplicate,
                Some(_) => InsertOutcome::Replaced,
                None => InsertOutcome::Created,
            });
            if !matches!(outcomes.last(), Some(InsertOutcome::Replaced | InsertOutcome::Created)) {
                continue;
            }
            seen.insert(object, &key.id);
            let mut body = body.clone();
            let created_ms = body.created_ms.or(found.map(|found| found.created_ms)).unwrap_or(now_ms);
            let text_bytes = body.finish("body", created_ms, now_ms)?.len();
            let over = found.map(|found| found.version);
            let mut document = self.document(tenant, collection, key, &body, over.unwrap_or(floor) + 1);
            if let Some(found) = found {
                carry_over(&found.document, &mut document);
            }
            prepared.push(Prepared { at, key: key.clone(), text_bytes, over, document });
        }
        Ok((outcomes, prepared))
    }

    /// Writes everything or nothing; false when something else was written first.
    async fn write_in_transaction(&self, bulk: Bulk<'_>, prepared: Vec<Prepared>) -> Result<bool, Failure> {
        let mut session = self.begin().await?;
        let (new, over): (Vec<_>, Vec<_>) = prepared.into_iter().partition(|prepared| prepared.over.is_none());
        let versions = ids_and_version(&new);
        let written = async {
            for chunk in chunks(new) {
                match self.insert_chunk(bulk, chunk, Some(&mut session)).await {
                    Err(failure) if failure.is_duplicate() => return Ok(false),
                    other => other?,
                };
            }
            for chunk in chunks(over) {
                let count = chunk.len();
                if self.replace_chunk(bulk, chunk, Some(&mut session)).await? != count {
                    return Ok(false);
                }
            }
            Ok::<_, Failure>(true)
        }
        .await;
        if !matches!(written, Ok(true)) {
            self.abort(&mut session).await;
            return written;
        }
        self.commit(&mut session).await?;
        if let Some((ids, version)) = versions {
            let raised = self.above_floor(bulk.tenant, bulk.collection, &ids, version).await;
            raised.map_err(|error| Failure::Down(error.to_string()))?;
        }
        Ok(true)
    }

    /// Writes what can be; the places of those that something else was written to
    /// first.
    async fn write_one_by_one(&self, bulk: Bulk<'_>, prepared: Vec<Prepared>) -> Result<Vec<usize>, Error> {
        let (new, over): (Vec<_>, Vec<_>) = prepared.into_iter().partition(|prepared| prepared.over.is_none());
        let versions = ids_and_version(&new);
        let mut again = Vec::new();
        for chunk in chunks(new) {
            let places: Vec<usize> = chunk.iter().map(|prepared| prepared.at).collect();
            if let Err(failure) = self.insert_chunk(bulk, chunk, None).await {
                let duplicates = failure.duplicates()?;
                again.extend(duplicates.into_iter().filter_map(|at| places.get(at).copied()));
            }
        }
        if let Some((ids, version)) = versions {
            self.above_floor(bulk.tenant, bulk.collection, &ids, version).await?;
        }
        for chunk in chunks(over) {
            let places: Vec<usize> = chunk.iter().map(|prepared| prepared.at).collect();
            if self.replace_chunk(bulk, chunk, None).await? != places.len() {
                // Which ones is not told: writing all of them again does no harm.
                again.extend(places);
            }
        }
        Ok(again)
    }

    async fn insert_chunk(
        &self,
        bulk: Bulk<'_>,
        chunk: Vec<Prepared>,
        session: Option<&mut ClientSession>,
    ) -> Result<(), Failure> {
        let documents = self.collection(shape(bulk.collection).name);
        let all: Vec<BsonDocument> = chunk.into_iter().map(|prepared| prepared.document).collect();
        let work = || async {
            let insert = documents.insert_many(&all).ordered(session.is_some());
            match session {
                Some(session) => insert.session(session).await,
                None => insert.await,
            }
        };
        self.once("insert", work).await.map(|_| ())
    }

    /// Replaces documents of given versions; how many were at theirs.
    async fn replace_chunk(
        &self,
        bulk: Bulk<'_>,
        chunk: Vec<Prepared>,
        session: Option<&mut ClientSession>,
    ) -> Result<usize, Failure> {
        let Bulk { tenant, collection, .. } = bulk;
        let updates = chunk.into_iter().map(|Prepared { key, over, document, .. }| {
            let filter = self.at_version(tenant, collection, &key, over.unwrap_or(0));
            Bson::from(doc! { "q": filter, "u": document, "multi": false })
        });
        self.update_many_of(shape(collection).name, updates.collect(), session).await
    }

    /// Runs updates with one command; how many documents they matched. The driver
    /// has no such call for servers before 8.0.
    pub(crate) async fn update_many_of(
        &self,
        collection: &str,
        updates: Vec<Bson>,
        session: Option<&mut ClientSession>,
    ) -> Result<usize, Failure> {
        let mut command = doc! { "update": collection, "updates": updates, "ordered": false };
        let work = || async {
            match session {
                Some(session) => self.database().run_command(command).session(session).await,
                None => {
                    command.insert("writeConcern", doc! { "w": "majority", "j": true });
                    self.database().run_command(command).await
                }
            }
        };
        let answer = self.once("update", work).await?;
        Ok(crate::state::integer(&answer, "n").and_then(|count| usize::try_from(count).ok()).unwrap_or(0))
    }

    async fn insert_one(&self, bulk: Bulk<'_>, key: &Key, body: &Body) -> Result<InsertOutcome, Error> {
        let change = |found: Option<&Stored>| {
            Ok(match found {
                Some(_) if !bulk.replace => Change::Nothing(InsertOutcome::Duplicate),
                Some(_) => Change::Put(body.clone(), |_| InsertOutcome::Replaced),
                None => Change::Put(body.clone(), |_| InsertOutcome::Created),
            })
        };
        match self.write_document(bulk.tenant, bulk.collection, key, Precondition::None, change).await {
            Ok(outcome) => Ok(outcome),
            Err(WriteError::Collision) => Ok(InsertOutcome::Collision),
            Err(WriteError::Store(error)) => Err(error),
            Err(conflict) => Err(Error::Unavailable(conflict.to_string())),
        }
    }
}

/// A call of `insert-many`.
#[derive(Clone, Copy)]
struct Bulk<'a> {
    tenant: &'a Tenant,
    collection: Collection,
    replace: bool,
}

/// The `_id`s of new documents, and the version that all of them have.
fn ids_and_version(new: &[Prepared]) -> Option<(Vec<ObjectId>, u64)> {
    let version = version(&new.first()?.document);
    Some((new.iter().filter_map(|prepared| prepared.document.get_object_id("_id").ok()).collect(), version))
}

/// Parts that are written with one command each.
fn chunks(prepared: Vec<Prepared>) -> Vec<Vec<Prepared>> {
    let mut chunks: Vec<Vec<Prepared>> = Vec::new();
    let mut bytes = 0;
    for one in prepared {
        let full = bytes + one.text_bytes > TOGETHER_BYTES.max(limits::DOCUMENT_BYTES);
        match chunks.last_mut() {
            Some(chunk) if !full && chunk.len() < TOGETHER => {
                bytes += one.text_bytes;
                chunk.push(one);
            }
            _ => {
                bytes = one.text_bytes;
                chunks.push(vec![one]);
            }
        }
    }
    chunks
}
