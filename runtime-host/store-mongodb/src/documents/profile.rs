//! Profiles as events move them: read, moved and written back, each batch of
//! events once.
//!
//! The profile itself says which batches moved it last, so that a batch that is
//! applied again after a crash changes nothing. [`BATCHES`] are remembered: a
//! batch must have been overtaken by more, for the same user, before it is
//! applied again to be counted twice.

use std::collections::HashMap;

use bson::{Bson, Document as BsonDocument, doc};
use funnelweb_factor_documents::{
    backend::Body,
    profile::{Move, move_document},
    store::{Collection, Document, Error, Key, Tenant, WriteError},
};
use serde_json::{Map, Value, json};

use super::{
    Stored, binary, own, shape,
    write::{ATTEMPTS, FIRST_WAIT, LONGEST_WAIT, carry_over, too_many_writers},
};
use crate::{codec::OWN, server::MongoStore};
use funnelweb_core::time;

/// Profiles that are read with one question, and bytes of those that are written
/// with one command; what is more is written one by one.
const TOGETHER: usize = 100;
const TOGETHER_BYTES: usize = 2 * 1024 * 1024;
/// Batches that a profile remembers.
const BATCHES: usize = 256;
/// Bytes of the number of one.
const BATCH_BYTES: usize = 16;

const PROFILES: Collection = Collection::UserProfiles;

impl MongoStore {
    /// Moves a profile by the events of a batch, unless it was moved by them
    /// before. One that has no room for more stays as it is. Returns the profile
    /// as it is then.
    pub(crate) async fn move_profile(
        &self,
        tenant: &Tenant,
        key: &Key,
        batch: u128,
        moves: &[Move],
    ) -> Result<Option<Document>, Error> {
        let id = self.id_of(tenant, &key.scenario_id, self.handle(&key.id));
        let mut wait = FIRST_WAIT;
        for _ in 0..ATTEMPTS {
            let held = self.locks.documents.hold((PROFILES, id)).await;
            let found = self.stored(tenant, PROFILES, key).await?;
            if found.as_ref().is_some_and(|found| was_moved(found, batch)) {
                return Ok(found.map(|found| found.as_document(key)));
            }
            let version = self.next_version(tenant, found.as_ref()).await?;
            let Some((document, text)) = self.moved(tenant, key, found.as_ref(), version, (batch, moves)) else {
                return Ok(None);
            };
            let written = match self.write_over(tenant, PROFILES, key, document, found.as_ref()).await {
                Ok(written) => written,
                Err(WriteError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(%tenant, scenario = key.scenario_id, %error, "a profile cannot be kept");
                    return Ok(None);
                }
            };
            if let Some(version) = written {
                let written = Document { key: key.clone(), body: text, version };
                self.wrote(tenant, PROFILES, key, Some(&written));
                return Ok(Some(written));
            }
            drop(held);
            tokio::time::sleep(funnelweb_tenant_store::jitter(wait)).await;
            wait = (2 * wait).min(LONGEST_WAIT);
        }
        Err(too_many_writers())
    }

    /// [`MongoStore::move_profile`] of many, with a command for all that exist and
    /// one for all that do not. `known` gets those of which it is known that they
    /// were moved, also when it fails further on; what came between is for the
    /// other, to which a profile that was moved all the same is one that was moved
    /// before.
    pub(crate) async fn move_profiles(
        &self,
        tenant: &Tenant,
        batch: u128,
        moves: &[(Key, Vec<Move>)],
        known: &mut HashMap<Key, Option<Document>>,
    ) -> Result<(), Error> {
        for moves in moves.chunks(TOGETHER) {
            let keys: Vec<(&Key, u64)> = moves.iter().map(|(key, _)| (key, self.handle(&key.id))).collect();
            let ids: Vec<_> = keys.iter().map(|(key, handle)| self.id_of(tenant, &key.scenario_id, *handle)).collect();
            let _held = self.locks.documents.hold_all(ids.into_iter().map(|id| (PROFILES, id))).await;
            let stored = self.look_up(tenant, PROFILES, keys.into_iter(), None).await?;
            let stored = stored.into_iter().map(|stored| (key_of(&stored), Stored::new(stored)));
            let stored: HashMap<Key, Stored> = stored.collect();
            let floor = self.floor(tenant).await?;
            let (mut new, mut over, mut bytes) = (Together::default(), Together::default(), 0);
            for (key, moves) in moves {
                let found = stored.get(key);
                if let Some(found) = found.filter(|found| was_moved(found, batch)) {
                    known.insert(key.clone(), Some(found.as_document(key)));
                    continue;
                }
                let version = 1 + found.map_or(floor, |found| found.version);
                let Some((document, text)) = self.moved(tenant, key, found, version, (batch, moves)) else {
                    known.insert(key.clone(), None);
                    continue;
                };
                bytes += text.len();
                if bytes > TOGETHER_BYTES {
                    break;
                }
                let profile = Document { key: key.clone(), body: text, version };
                match found {
                    Some(found) => {
                        let filter = self.at_version(tenant, PROFILES, key, found.version);
                        over.add(doc! { "q": filter, "u": document, "multi": false }, profile);
                    }
                    None => new.add(document, profile),
                }
            }
            let (over_written, new_written) =
                futures::join!(self.replace_together(&mut over), self.insert_together(tenant, &mut new, floor + 1));
            // Both to their end: memory follows what was written, or may have been.
            for (written, together) in [(&over_written, over), (&new_written, new)] {
                for profile in together.profiles {
                    let is_known = matches!(written, Ok(true));
                    self.wrote(tenant, PROFILES, &profile.key, is_known.then_some(&profile));
                    if is_known {
                        known.insert(profile.key.clone(), Some(profile));
                    }
                }
            }
            over_written?;
            new_written?;
        }
        Ok(())
    }

    /// Whether all were replaced.
    async fn replace_together(&self, together: &mut Together) -> Result<bool, Error> {
        if together.profiles.is_empty() {
            return Ok(true);
        }
        let updates = together.commands.drain(..).map(Bson::from).collect();
        Ok(self.update_many_of(shape(PROFILES).name, updates, None).await? == together.profiles.len())
    }

    /// Whether all were inserted; they have the versions then that they got.
    async fn insert_together(&self, tenant: &Tenant, together: &mut Together, version: u64) -> Result<bool, Error> {
        if together.profiles.is_empty() {
            return Ok(true);
        }
        let profiles = self.collection(shape(PROFILES).name);
        let documents = std::mem::take(&mut together.commands);
        let insert = || async { profiles.insert_many(&documents).ordered(false).await };
        let all = match self.once("insert", insert).await {
            Ok(_) => true,
            // The others were written.
            Err(failure) if failure.is_duplicate() => false,
            Err(failure) => return Err(failure.into()),
        };
        let ids: Vec<_> = documents.iter().filter_map(|new| new.get_object_id("_id").ok()).collect();
        let version = self.above_floor(tenant, PROFILES, &ids, version).await?;
        together.profiles.iter_mut().for_each(|profile| profile.version = version);
        Ok(all)
    }

    /// The profile as it is stored after the moves of a batch, and its text; none
    /// when it has no room for them.
    fn moved(
        &self,
        tenant: &Tenant,
        key: &Key,
        found: Option<&Stored>,
        version: u64,
        (batch, moves): (u128, &[Move]),
    ) -> Option<(BsonDocument, String)> {
        let Some((body, text)) = moved(key, found, moves) else {
            tracing::warn!(%tenant, scenario = key.scenario_id, "a profile has no room for more and was left as it is");
            return None;
        };
        let mut document = self.document(tenant, PROFILES, key, &body, version);
        if let Some(found) = found {
            carry_over(&found.document, &mut document);
        }
        let mut batches = found.map_or_else(Vec::new, |found| batches(&found.document));
        batches.extend(batch.to_be_bytes());
        batches.drain(..batches.len().saturating_sub(BATCHES * BATCH_BYTES));
        if let Ok(own) = document.get_document_mut(OWN) {
            own.insert("batches", binary(batches));
        }
        Some((document, text))
    }
}

/// Profiles that are written with one command, and what it takes.
#[derive(Default)]
struct Together {
    commands: Vec<BsonDocument>,
    profiles: Vec<Document>,
}

impl Together {
    fn add(&mut self, command: BsonDocument, profile: Document) {
        self.commands.push(command);
        self.profiles.push(profile);
    }
}

impl Stored {
    fn as_document(&self, key: &Key) -> Document {
        Document { key: key.clone(), body: self.body().to_string(), version: self.version }
    }
}

/// Whether the batch is one of those that moved the profile.
fn was_moved(found: &Stored, batch: u128) -> bool {
    batches(&found.document).chunks(BATCH_BYTES).any(|other| *other == batch.to_be_bytes())
}

fn key_of(stored: &BsonDocument) -> Key {
    Key::new(stored.get_str("scenario_id").unwrap_or_default(), stored.get_str("user_id").unwrap_or_default())
}

/// The profile after the moves, and its text; none when it has no room for them.
fn moved(key: &Key, found: Option<&Stored>, moves: &[Move]) -> Option<(Body, String)> {
    let first_ms = moves.iter().map(|one| one.accepted_ms).min().unwrap_or(0);
    let mut object = match found.map(Stored::body) {
        Some(Value::Object(object)) => object,
        _ => new_profile(key, first_ms),
    };
    if !move_document(&mut object, key, moves) {
        return None;
    }
    let mut body = Body::new("profile", PROFILES, key, Value::Object(object)).ok()?;
    let updated_ms = moves.iter().map(|one| one.accepted_ms).max().unwrap_or(first_ms);
    let text = body.finish("profile", found.map_or(first_ms, |found| found.created_ms), updated_ms).ok()?;
    Some((body, text))
}

/// The profile of a user of whom nothing was known.
fn new_profile(key: &Key, at_ms: u64) -> Map<String, Value> {
    let at = time::format_ms(at_ms);
    let new = json!({ "user_id": key.id, "scenario_id": key.scenario_id, "created_at": at, "updated_at": at });
    if let Value::Object(new) = new { new } else { Map::new() }
}

fn batches(document: &BsonDocument) -> Vec<u8> {
    own(document).and_then(|own| own.get_binary_generic("batches").ok()).cloned().unwrap_or_default()
}
