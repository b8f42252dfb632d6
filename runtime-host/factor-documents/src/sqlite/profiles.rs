//! Profiles: the document of the API and the state that events made, as one.

use std::sync::Arc;

use funnelweb_core::{limits, time};
use funnelweb_tenant_store::{Write, settled};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};

use super::{
    cache::DocumentKey,
    tables::{Stored, Tables, version_floor},
};
use crate::{
    body::{self, Body, OWN_FIELDS_BYTES},
    profile::{Move, State},
    store::{Collection, Document, Error, Key, WriteError},
};

/// A profile's rows.
pub(super) struct Found {
    stored: Stored,
    state: Option<StateRow>,
}

struct StateRow {
    id: i64,
    version: u64,
    /// The encoded state. One of another version of this program begins anew.
    bytes: Vec<u8>,
}

impl Found {
    fn version(&self) -> u64 {
        self.stored.version.max(self.state.as_ref().map_or(0, |row| row.version))
    }
}

/// The rows of the profile at `key`.
fn find(connection: &Connection, key: &Key, handle: u64) -> Result<Option<Found>, Error> {
    let mut select = connection.prepare_cached(
        "SELECT d.rowid, d.version, d.created_ms, d.status, d.body, s.id, s.version, s.state
         FROM documents d LEFT JOIN profile_states s ON s.scenario = d.scenario AND s.handle = d.handle
         WHERE d.collection = 2 AND d.scenario = ? AND d.handle = ? AND d.id = ?",
    )?;
    let found = select.query_row(params![key.scenario_id, handle.cast_signed(), key.id], |row| {
        let state = match row.get::<_, Option<i64>>(5)? {
            Some(id) => Some(StateRow { id, version: row.get::<_, i64>(6)?.cast_unsigned(), bytes: row.get(7)? }),
            None => None,
        };
        Ok(Found { stored: Stored::from_row(row)?, state })
    });
    Ok(found.optional()?)
}

/// How many transactions the moves stand for: each is a version of the profile.
fn transactions(moves: &[(u64, Arc<Move>)]) -> u64 {
    moves.chunk_by(|(a, _), (b, _)| a == b).count() as u64
}

fn parse(text: &str) -> Map<String, Value> {
    match body::parse_stored(text) {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The profile with what events made of it, `moves` among them as far as the
/// tables lack them.
pub(super) fn document(
    connection: &Connection,
    key: &Key,
    handle: u64,
    moves: &[(u64, Arc<Move>)],
) -> Result<Option<Document>, Error> {
    let found = find(connection, key, handle)?;
    let have = if moves.is_empty() { u64::MAX } else { settled(connection)? };
    let moves = moves.get(moves.partition_point(|(seq, _)| *seq <= have)..).unwrap_or_default();
    let base = match &found {
        Some(found) => found.version(),
        None if moves.is_empty() => return Ok(None),
        None => version_floor(connection)?,
    };
    let version = base + transactions(moves);
    let body = merged(key, found, moves);
    Ok(Some(Document { key: key.clone(), body, version }))
}

fn merged(key: &Key, found: Option<Found>, moves: &[(u64, Arc<Move>)]) -> String {
    let (text, state) = match found {
        Some(Found { stored, state }) => (stored.body, state.map(|row| row.bytes)),
        None => (new_document(key, moves).to_string(), None),
    };
    if state.is_none() && moves.is_empty() {
        return text;
    }
    let mut object = parse(&text);
    // Only until there is a state: it borrows what it is made of.
    let written;
    let mut state = match state.as_deref().and_then(State::decode) {
        Some(state) => state,
        None => {
            written = object.clone();
            State::from_document(&written)
        }
    };
    state.apply(moves.iter().map(|(_, one)| &**one));
    state.merge_into(&mut object, &key.scenario_id, &key.id);
    object.insert("updated_at".to_owned(), time::format_ms(state.updated_ms).into());
    let merged = Value::Object(object).to_string();
    // Without room for more it stays as it is.
    if merged.len() > limits::DOCUMENT_BYTES + OWN_FIELDS_BYTES { text } else { merged }
}

/// The document of a user of whom nothing was known.
fn new_document(key: &Key, moves: &[(u64, Arc<Move>)]) -> Value {
    let at = time::format_ms(first_ms(moves));
    serde_json::json!({
        "user_id": key.id, "scenario_id": key.scenario_id, "created_at": at, "updated_at": at
    })
}

fn first_ms(moves: &[(u64, Arc<Move>)]) -> u64 {
    moves.first().map_or(0, |(_, one)| one.accepted_ms)
}

impl Tables {
    /// Writes to the tables how a user's profile moved: each move with the
    /// number of its transaction, ascending. A profile that has no room for more
    /// stays as it is.
    ///
    /// # Errors
    /// `unavailable` when the file cannot be written.
    pub fn move_profile(&self, write: &Write<'_>, key: &Key, moves: &[(u64, Arc<Move>)]) -> Result<(), Error> {
        let handle = (self.handle_of)(&key.id);
        let found = find(write, key, handle)?;
        let base = match &found {
            Some(found) => found.version(),
            None => version_floor(write)?,
        };
        if found.is_none() {
            let collection = Collection::UserProfiles;
            let mut body = Body::new("profile", collection, key, new_document(key, moves))?;
            match self.put(write, collection, key, &mut body, None, first_ms(moves)) {
                Err(WriteError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(scenario = key.scenario_id, %error, "a profile cannot be kept");
                    return Ok(());
                }
                Ok(_) => {}
            }
        }
        let row = found.as_ref().and_then(|found| found.state.as_ref());
        let written;
        let mut state = match (row.and_then(|row| State::decode(&row.bytes)), &found) {
            (Some(state), _) => state,
            (None, Some(found)) => {
                written = parse(&found.stored.body);
                State::from_document(&written)
            }
            (None, None) => State::default(),
        };
        state.apply(moves.iter().map(|(_, one)| &**one));
        let Some(bytes) = state.encode() else {
            tracing::warn!(scenario = key.scenario_id, "a profile has no room for more and was left as it is");
            return Ok(());
        };
        let version = (base + transactions(moves)).cast_signed();
        match row.map(|row| row.id) {
            Some(id) => write
                .prepare_cached("UPDATE profile_states SET version = ?, state = ? WHERE id = ?")?
                .execute(params![version, bytes, id])?,
            None => write
                .prepare_cached("INSERT INTO profile_states (scenario, handle, version, state) VALUES (?, ?, ?, ?)")?
                .execute(params![key.scenario_id, handle.cast_signed(), version, bytes])?,
        };
        Ok(())
    }

    /// Makes moves visible that are committed under the number `seq` and not in
    /// the tables yet.
    pub fn show_moves(&self, file: u64, seq: u64, moves: Vec<(Key, Arc<Move>)>) {
        let keys: std::collections::HashSet<Key> = moves.iter().map(|(key, _)| key.clone()).collect();
        // First: who reads after the cache forgot must find them.
        self.caches.moves.add(file, seq, moves);
        for key in keys {
            self.caches.documents.forget(&DocumentKey { file, collection: Collection::UserProfiles, key });
        }
    }

    /// Has memory drop the moves up to `seq` when the job is committed.
    pub fn settled_after(&self, write: &mut Write<'_>, seq: u64) {
        let (caches, file) = (self.caches.clone(), write.number());
        write.after_commit(move || caches.moves.settle(file, seq));
    }

    /// The profile at `key` as this transaction finds it, settled before.
    pub(super) fn find_profile(&self, connection: &Connection, key: &Key) -> Result<Option<Stored>, Error> {
        let Some(found) = find(connection, key, (self.handle_of)(&key.id))? else { return Ok(None) };
        let (version, mut stored) = (found.version(), found.stored.clone());
        stored.body = merged(key, Some(found), &[]);
        Ok(Some(Stored { version, ..stored }))
    }
}
