//! Profiles as events move them: read, moved and written back, each batch of
//! events once.
//!
//! The profile itself says which batches moved it last, so that a batch that is
//! applied again after a crash changes nothing. [`BATCHES`] are remembered: a
//! batch must have been overtaken by more, for the same user, before it is
//! applied again to be counted twice.

use bson::Document as BsonDocument;
use funnelweb_factor_documents::{
    backend::Body,
    profile::{Move, move_document},
    store::{Collection, Document, Error, Key, Tenant, WriteError},
};
use serde_json::{Map, Value, json};

use super::{
    Stored, binary, own,
    write::{ATTEMPTS, FIRST_WAIT, LONGEST_WAIT, too_many_writers},
};
use crate::{codec::OWN, server::MongoStore};
use funnelweb_core::time;

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
            let mut batches = found.as_ref().map_or_else(Vec::new, |found| batches(&found.document));
            if batches.chunks(BATCH_BYTES).any(|other| *other == batch.to_be_bytes()) {
                return Ok(found.map(|found| Document {
                    key: key.clone(),
                    body: found.body().to_string(),
                    version: found.version,
                }));
            }
            let Some((body, text)) = moved(key, found.as_ref(), moves) else {
                tracing::warn!(%tenant, scenario = key.scenario_id, "a profile has no room for more and was left as it is");
                return Ok(None);
            };
            let version = self.next_version(tenant, found.as_ref()).await?;
            let mut document = self.document(tenant, PROFILES, key, &body, version);
            batches.extend(batch.to_be_bytes());
            batches.drain(..batches.len().saturating_sub(BATCHES * BATCH_BYTES));
            if let Ok(own) = document.get_document_mut(OWN) {
                own.insert("batches", binary(batches));
            }
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
