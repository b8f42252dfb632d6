//! The tables within a transaction: every write of a document goes through here,
//! whichever crate's job it is part of.

use std::sync::Arc;

use funnelweb_core::row::ItemRow;
use funnelweb_tenant_store::{Part, Purge, Write};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use serde_json::{Map, Value};

use super::cache::{Caches, DocumentKey};
use crate::{
    body::{self, Body, IndexTerm},
    store::{Collection, Error, Key, WriteError},
};

/// The function from an id to its handle; another is injected in tests only.
pub type HandleOf = fn(&str) -> u64;

/// The tables of documents, for use within a transaction of the tenant's file.
/// Cheap to clone.
#[derive(Clone)]
pub struct Tables {
    pub(super) caches: Arc<Caches>,
    pub(super) handle_of: HandleOf,
}

/// A document as a transaction finds it.
#[derive(Debug, Clone)]
pub struct Stored {
    rowid: i64,
    /// Its version.
    pub version: u64,
    created_ms: u64,
    status: String,
    /// Its body's text.
    pub body: String,
}

impl Collection {
    /// The number under which documents of the collection are stored.
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::Scenarios => 0,
            Self::Items => 1,
            Self::UserProfiles => 2,
            Self::ModelConfigs => 3,
            Self::Experiments => 4,
        }
    }

    const ALL: [Self; 5] = [Self::Scenarios, Self::Items, Self::UserProfiles, Self::ModelConfigs, Self::Experiments];
}

impl Tables {
    /// The document at `key` as this transaction sees it.
    ///
    /// # Errors
    /// `unavailable` when the file cannot be read.
    pub fn find(&self, write: &Write<'_>, collection: Collection, key: &Key) -> Result<Option<Stored>, Error> {
        let mut statement = write.prepare_cached(
            "SELECT rowid, version, created_ms, status, body FROM documents
             WHERE collection = ? AND scenario = ? AND handle = ? AND id = ?",
        )?;
        let handle = (self.handle_of)(&key.id).cast_signed();
        let stored = statement.query_row(params![collection.number(), key.scenario_id, handle, key.id], |row| {
            Ok(Stored {
                rowid: row.get(0)?,
                version: row.get::<_, i64>(1)?.cast_unsigned(),
                created_ms: row.get::<_, i64>(2)?.cast_unsigned(),
                status: row.get(3)?,
                body: row.get(4)?,
            })
        });
        Ok(stored.optional()?)
    }

    /// Writes the user's profile over `found`, which [`Tables::find`] gave for
    /// the same key in the same transaction. Returns the new version.
    ///
    /// # Errors
    /// `invalid` when the profile breaks a limit of documents, `Collision` when
    /// another user has the handle of this one.
    pub fn write_profile(
        &self,
        write: &mut Write<'_>,
        key: &Key,
        profile: Map<String, Value>,
        found: Option<&Stored>,
        now_ms: u64,
    ) -> Result<u64, WriteError> {
        let collection = Collection::UserProfiles;
        let mut body = Body::new("profile", collection, key, Value::Object(profile))?;
        let (version, _) = self.put(write, collection, key, &mut body, found, now_ms)?;
        self.forget_after(write, collection, key.clone());
        Ok(version)
    }

    /// Writes a document over `found`; its new version and its text. The caller
    /// has the caches follow.
    pub(super) fn put(
        &self,
        connection: &Connection,
        collection: Collection,
        key: &Key,
        body: &mut Body,
        found: Option<&Stored>,
        now_ms: u64,
    ) -> Result<(u64, String), WriteError> {
        let created_ms = found.map_or(now_ms, |found| found.created_ms);
        let text = body.finish("body", created_ms, now_ms)?;
        let row = body.row.as_ref().map(ItemRow::encode);
        let handle = (self.handle_of)(&key.id);
        let version = match found {
            None => {
                let mut insert = connection
                    .prepare_cached(
                        "INSERT INTO documents (collection, scenario, handle, id, version, created_ms, status, row, body)
                         VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?)",
                    )
                    .map_err(Error::from)?;
                let inserted = insert.execute(params![
                    collection.number(),
                    key.scenario_id,
                    handle.cast_signed(),
                    key.id,
                    created_ms.cast_signed(),
                    body.status,
                    row,
                    text
                ]);
                match inserted {
                    // No document has this id, so another id has its handle.
                    Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                        return Err(WriteError::Collision);
                    }
                    inserted => inserted.map_err(Error::from)?,
                };
                1
            }
            Some(found) => {
                let version = found.version + 1;
                update(connection, found, version, body, row, &text)?;
                version
            }
        };
        if collection == Collection::Items {
            let old = found.map(Stored::terms).unwrap_or_default();
            let new = (body.status == "active", std::mem::take(&mut body.terms));
            if old != new {
                let place = Place { scenario: &key.scenario_id, created_ms, handle };
                place.unlist(connection, &old)?;
                place.list(connection, &new)?;
            }
        }
        Ok((version, text))
    }

    /// Deletes `found`. The caller has the caches follow.
    pub(super) fn remove(
        &self,
        connection: &Connection,
        collection: Collection,
        key: &Key,
        found: &Stored,
    ) -> Result<(), Error> {
        connection.prepare_cached("DELETE FROM documents WHERE rowid = ?")?.execute([found.rowid])?;
        if collection == Collection::Items {
            let handle = (self.handle_of)(&key.id);
            Place { scenario: &key.scenario_id, created_ms: found.created_ms, handle }
                .unlist(connection, &found.terms())?;
        }
        Ok(())
    }

    /// Has the caches forget a document when the job is committed.
    pub(super) fn forget_after(&self, write: &mut Write<'_>, collection: Collection, key: Key) {
        let tables = self.clone();
        let key = DocumentKey { file: write.number(), collection, key };
        write.after_commit(move || tables.forget(&key));
    }

    pub(super) fn forget(&self, key: &DocumentKey) {
        let item = (key.collection == Collection::Items).then(|| (self.handle_of)(&key.key.id));
        self.caches.forget(key, item);
    }
}

impl Stored {
    /// Under which terms an item is listed, and whether as active.
    fn terms(&self) -> (bool, Vec<IndexTerm>) {
        (self.status == "active", body::terms(&body::parse_stored(&self.body)))
    }
}

/// Where an item stands in each list of the index.
struct Place<'a> {
    scenario: &'a str,
    created_ms: u64,
    handle: u64,
}

impl Place<'_> {
    fn list(&self, connection: &Connection, terms: &(bool, Vec<IndexTerm>)) -> Result<(), Error> {
        self.each(connection, "INSERT OR IGNORE INTO item_terms VALUES (?, ?, ?, ?, ?, ?)", terms)
    }

    fn unlist(&self, connection: &Connection, terms: &(bool, Vec<IndexTerm>)) -> Result<(), Error> {
        let sql = "DELETE FROM item_terms WHERE scenario = ? AND field = ? AND value = ? AND active = ?
                   AND created_ms = ? AND handle = ?";
        self.each(connection, sql, terms)
    }

    fn each(&self, connection: &Connection, sql: &str, (active, terms): &(bool, Vec<IndexTerm>)) -> Result<(), Error> {
        let mut statement = connection.prepare_cached(sql)?;
        for IndexTerm { field, value } in terms {
            let (created_ms, handle) = (self.created_ms.cast_signed(), self.handle.cast_signed());
            statement.execute(params![self.scenario, *field as i64, value, active, created_ms, handle])?;
        }
        Ok(())
    }
}

/// Writes over a document. The status stands in indexes, which SQLite writes
/// again for every column that is named: it is named when it changed.
fn update(
    connection: &Connection,
    found: &Stored,
    version: u64,
    body: &Body,
    row: Option<Vec<u8>>,
    text: &str,
) -> Result<(), Error> {
    let version = version.cast_signed();
    if body.status == found.status {
        let sql = "UPDATE documents SET version = ?, row = ?, body = ? WHERE rowid = ?";
        connection.prepare_cached(sql)?.execute(params![version, row, text, found.rowid])?;
    } else {
        let sql = "UPDATE documents SET version = ?, row = ?, body = ?, status = ? WHERE rowid = ?";
        connection.prepare_cached(sql)?.execute(params![version, row, text, body.status, found.rowid])?;
    }
    Ok(())
}

impl Part for Tables {
    fn name(&self) -> &'static str {
        "documents"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[include_str!("schema.sql")]
    }

    fn purge(&self, write: &mut Write<'_>, what: &Purge) -> Result<u64, Error> {
        let file = write.number();
        let caches = self.caches.clone();
        let count = match what {
            Purge::User(user) => {
                let keys: Vec<Key> = write
                    .prepare_cached("DELETE FROM documents WHERE collection = 2 AND id = ? RETURNING scenario")?
                    .query_map([user], |row| Ok(Key::new(row.get::<_, String>(0)?, user)))?
                    .collect::<Result<_, _>>()?;
                let count = keys.len();
                for key in keys {
                    self.forget_after(write, Collection::UserProfiles, key);
                }
                count
            }
            Purge::Scenario(scenario) => {
                write.prepare_cached("DELETE FROM item_terms WHERE scenario = ?")?.execute([scenario])?;
                let mut count = 0;
                for collection in Collection::ALL {
                    let mut delete =
                        write.prepare_cached("DELETE FROM documents WHERE collection = ? AND scenario = ?")?;
                    count += delete.execute(params![collection.number(), scenario])?;
                }
                let scenario = scenario.clone();
                write.after_commit(move || {
                    caches.documents.forget_where(|key| key.file == file && key.key.scenario_id == scenario);
                    caches.rows.forget_where(|key| key.file == file && *key.scenario == *scenario);
                    caches.lists.advance(file, &scenario);
                });
                count
            }
        };
        Ok(count as u64)
    }
}
