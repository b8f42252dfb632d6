//! The tables within a transaction: every write of a document goes through here,
//! whichever crate's job it is part of.

use std::sync::Arc;

use funnelweb_core::row::ItemRow;
use funnelweb_tenant_store::{Part, Purge, Write};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::{
    cache::{Caches, DocumentKey},
    whole,
};
use crate::{
    backend::HandleOf,
    body::{self, Body, IndexTerm},
    store::{Collection, Error, Key, WriteError},
};

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
    pub(super) rowid: i64,
    /// Its version.
    pub version: u64,
    pub(super) created_ms: u64,
    pub(super) status: String,
    /// Its body's text.
    pub body: String,
}

impl Stored {
    /// Of a row that begins with rowid, version, created_ms, status, body.
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            rowid: row.get(0)?,
            version: row.get::<_, i64>(1)?.cast_unsigned(),
            created_ms: row.get::<_, i64>(2)?.cast_unsigned(),
            status: row.get(3)?,
            body: row.get(4)?,
        })
    }
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
            Self::Components => 5,
        }
    }

    /// Every collection.
    pub const ALL: [Self; 6] =
        [Self::Scenarios, Self::Items, Self::UserProfiles, Self::ModelConfigs, Self::Experiments, Self::Components];
}

impl Tables {
    /// The document at `key` as this transaction sees it. Of profiles the job
    /// settles the file before ([`Write::settle`]).
    ///
    /// # Errors
    /// `unavailable` when the file cannot be read.
    pub fn find(&self, write: &Write<'_>, collection: Collection, key: &Key) -> Result<Option<Stored>, Error> {
        if collection == Collection::UserProfiles {
            return self.find_profile(write, key);
        }
        let mut statement = write.prepare_cached(
            "SELECT rowid, version, created_ms, status, body FROM documents
             WHERE collection = ? AND scenario = ? AND handle = ? AND id = ?",
        )?;
        let handle = (self.handle_of)(&key.id).cast_signed();
        let stored =
            statement.query_row(params![collection.number(), key.scenario_id, handle, key.id], Stored::from_row);
        Ok(stored.optional()?)
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
        let mut entries = Vec::new();
        let written = self.put_unlisted(connection, collection, key, body, found, now_ms, &mut entries)?;
        list(connection, &mut entries)?;
        Ok(written)
    }

    /// [`Tables::put`] without the new entries in the index of terms, which are
    /// added to `entries`.
    #[expect(clippy::too_many_arguments, reason = "those of `put`, and where entries go")]
    pub(super) fn put_unlisted(
        &self,
        connection: &Connection,
        collection: Collection,
        key: &Key,
        body: &mut Body,
        found: Option<&Stored>,
        now_ms: u64,
        entries: &mut Vec<Entry>,
    ) -> Result<(u64, String), WriteError> {
        let created_ms = body.created_ms.or(found.map(|found| found.created_ms)).unwrap_or(now_ms);
        let text = body.finish("body", created_ms, now_ms)?;
        let version = 1 + match found {
            Some(found) => found.version,
            None => version_floor(connection)?,
        };
        self.put_as(connection, collection, key, found, New { version, created_ms, text: &text, body }, entries)?;
        Ok((version, text))
    }

    /// Writes a document over `found` just as it is. The caller has the caches
    /// follow, and adds `entries` to the index of terms.
    pub(super) fn put_as(
        &self,
        connection: &Connection,
        collection: Collection,
        key: &Key,
        found: Option<&Stored>,
        New { version, created_ms, text, body }: New<'_>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), WriteError> {
        let row = body.row.as_ref().map(ItemRow::encode);
        let handle = (self.handle_of)(&key.id);
        match found {
            None => {
                let mut insert = connection
                    .prepare_cached(
                        "INSERT INTO documents (collection, scenario, handle, id, version, created_ms, status, row, body)
                         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    )
                    .map_err(Error::from)?;
                let inserted = insert.execute(params![
                    collection.number(),
                    key.scenario_id,
                    handle.cast_signed(),
                    key.id,
                    version.cast_signed(),
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
            }
            Some(found) => {
                Update { version, created_ms, row, body, text }.write_over(connection, found)?;
                if collection == Collection::UserProfiles {
                    remove_state(connection, &key.scenario_id, handle)?;
                }
            }
        }
        if collection == Collection::Items {
            let old = found.map(Stored::terms).unwrap_or_default();
            let new = (body.status == "active", std::mem::take(&mut body.terms));
            let old_ms = found.map_or(created_ms, |found| found.created_ms);
            if old != new || old_ms != created_ms {
                Place { scenario: &key.scenario_id, created_ms: old_ms, handle }.unlist(connection, &old)?;
                let scenario: Arc<str> = key.scenario_id.as_str().into();
                let (active, terms) = new;
                let entry = |term| Entry { scenario: scenario.clone(), term, active, created_ms, handle };
                entries.extend(terms.into_iter().map(entry));
            }
        }
        Ok(())
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
        raise_floor(connection, found.version)?;
        let handle = (self.handle_of)(&key.id);
        if collection == Collection::UserProfiles {
            remove_state(connection, &key.scenario_id, handle)?;
        }
        if collection == Collection::Items {
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

/// A document as it is to be stored, its terms to be taken.
pub(super) struct New<'a> {
    pub(super) version: u64,
    pub(super) created_ms: u64,
    pub(super) text: &'a str,
    pub(super) body: &'a mut Body,
}

/// Where an item stands in each list of the index.
struct Place<'a> {
    scenario: &'a str,
    created_ms: u64,
    handle: u64,
}

impl Place<'_> {
    fn unlist(&self, connection: &Connection, (active, terms): &(bool, Vec<IndexTerm>)) -> Result<(), Error> {
        let mut delete = connection.prepare_cached(
            "DELETE FROM item_terms WHERE scenario = ? AND field = ? AND value = ? AND active = ?
             AND created_ms = ? AND handle = ?",
        )?;
        for IndexTerm { field, value } in terms {
            let (created_ms, handle) = (self.created_ms.cast_signed(), self.handle.cast_signed());
            delete.execute(params![self.scenario, *field as i64, value, active, created_ms, handle])?;
        }
        Ok(())
    }
}

/// An entry of the index of terms, in the index's order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    scenario: Arc<str>,
    term: IndexTerm,
    active: bool,
    created_ms: u64,
    handle: u64,
}

/// Adds entries to the index of terms. Sorted, since those of many documents
/// stand beside each other there: each page is found and changed once.
pub(super) fn list(connection: &Connection, entries: &mut [Entry]) -> Result<(), Error> {
    entries.sort_unstable();
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO item_terms VALUES (?, ?, ?, ?, ?, ?)")?;
    for Entry { scenario, term, active, created_ms, handle } in &*entries {
        let (created_ms, handle) = (created_ms.cast_signed(), handle.cast_signed());
        insert.execute(params![scenario, term.field as i64, term.value, active, created_ms, handle])?;
    }
    Ok(())
}

/// What is written over a document.
struct Update<'a> {
    version: u64,
    created_ms: u64,
    row: Option<Vec<u8>>,
    body: &'a Body,
    text: &'a str,
}

impl Update<'_> {
    /// Status and time stand in indexes, which SQLite writes again for every
    /// column that is named: they are named when they changed.
    fn write_over(self, connection: &Connection, found: &Stored) -> Result<(), Error> {
        let Self { version, created_ms, row, body, text } = self;
        let version = version.cast_signed();
        if body.status == found.status && created_ms == found.created_ms {
            let sql = "UPDATE documents SET version = ?, row = ?, body = ? WHERE rowid = ?";
            connection.prepare_cached(sql)?.execute(params![version, row, text, found.rowid])?;
        } else {
            let sql = "UPDATE documents SET version = ?, row = ?, body = ?, status = ?, created_ms = ? WHERE rowid = ?";
            let created_ms = created_ms.cast_signed();
            connection.prepare_cached(sql)?.execute(params![
                version,
                row,
                text,
                body.status,
                created_ms,
                found.rowid
            ])?;
        }
        Ok(())
    }
}

/// The version above which a new document starts.
pub(super) fn version_floor(connection: &Connection) -> Result<u64, Error> {
    let mut select = connection.prepare_cached("SELECT version FROM version_floor")?;
    Ok(select.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
}

/// A document of this version is gone.
pub(super) fn raise_floor(connection: &Connection, version: u64) -> Result<(), Error> {
    let mut raise = connection.prepare_cached("UPDATE version_floor SET version = ?1 WHERE version < ?1")?;
    raise.execute([version.cast_signed()])?;
    Ok(())
}

/// The document alone says what the profile is.
fn remove_state(connection: &Connection, scenario: &str, handle: u64) -> Result<(), Error> {
    let mut delete = connection.prepare_cached("DELETE FROM profile_states WHERE scenario = ? AND handle = ?")?;
    delete.execute(params![scenario, handle.cast_signed()])?;
    Ok(())
}

impl Part for Tables {
    fn name(&self) -> &'static str {
        "documents"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[include_str!("schema.sql"), include_str!("schema-2.sql")]
    }

    fn closed(&self, file: u64) {
        self.caches.moves.close(file);
    }

    fn item_id(&self, connection: &Connection, handle: u64) -> Result<Option<String>, Error> {
        whole::item_id(connection, handle)
    }

    fn purge(&self, write: &mut Write<'_>, what: &Purge) -> Result<u64, Error> {
        match what {
            Purge::User(user) => self.purge_user(write, user),
            Purge::Scenario(scenario) => self.purge_scenario(write, scenario),
        }
    }
}

impl Tables {
    /// The handles of the items that only this scenario has.
    ///
    /// # Errors
    /// `unavailable` when the file cannot be read.
    pub fn items_of_none_other(&self, write: &Write<'_>, scenario: &str) -> Result<Vec<u64>, Error> {
        let mut select = write.prepare_cached(
            "SELECT handle FROM documents item WHERE collection = 1 AND scenario = ?1 AND NOT EXISTS (
               SELECT 1 FROM documents other CROSS JOIN documents same
               WHERE other.collection = 0 AND other.scenario <> ?1
                 AND same.collection = 1 AND same.scenario = other.scenario AND same.handle = item.handle)",
        )?;
        let handles = select.query_map([scenario], |row| row.get::<_, i64>(0))?;
        Ok(handles.map(|handle| handle.map(i64::cast_unsigned)).collect::<Result<_, _>>()?)
    }

    fn purge_user(&self, write: &mut Write<'_>, user: &str) -> Result<u64, Error> {
        let keys: Vec<(Key, u64)> = write
            .prepare_cached("DELETE FROM documents WHERE collection = 2 AND id = ? RETURNING scenario, version")?
            .query_map([user], |row| {
                Ok((Key::new(row.get::<_, String>(0)?, user), row.get::<_, i64>(1)?.cast_unsigned()))
            })?
            .collect::<Result<_, _>>()?;
        let count = keys.len();
        let handle = (self.handle_of)(user);
        for (key, version) in keys {
            let moved: Option<i64> = write
                .prepare_cached("DELETE FROM profile_states WHERE scenario = ? AND handle = ? RETURNING version")?
                .query_row(params![key.scenario_id, handle.cast_signed()], |row| row.get(0))
                .optional()?;
            raise_floor(write, version.max(moved.map_or(0, i64::cast_unsigned)))?;
            self.forget_after(write, Collection::UserProfiles, key);
        }
        Ok(count as u64)
    }

    fn purge_scenario(&self, write: &mut Write<'_>, scenario: &str) -> Result<u64, Error> {
        let versions = write
            .prepare_cached(
                "SELECT coalesce(max(version), 0) FROM (SELECT version FROM documents WHERE scenario = ?1
                 UNION ALL SELECT version FROM profile_states WHERE scenario = ?1)",
            )?
            .query_row([scenario], |row| row.get::<_, i64>(0))?;
        raise_floor(write, versions.cast_unsigned())?;
        for sql in ["DELETE FROM item_terms WHERE scenario = ?", "DELETE FROM profile_states WHERE scenario = ?"] {
            write.prepare_cached(sql)?.execute([scenario])?;
        }
        let mut count = 0;
        for collection in Collection::ALL.into_iter().filter(|collection| *collection != Collection::Components) {
            let mut delete = write.prepare_cached("DELETE FROM documents WHERE collection = ? AND scenario = ?")?;
            count += delete.execute(params![collection.number(), scenario])?;
        }
        let (file, caches, scenario) = (write.number(), self.caches.clone(), scenario.to_owned());
        write.after_commit(move || {
            caches.documents.forget_where(|key| key.file == file && key.key.scenario_id == scenario);
            caches.rows.forget_where(|key| key.file == file && *key.scenario == *scenario);
            caches.lists.advance(file, &scenario);
        });
        Ok(count as u64)
    }
}
