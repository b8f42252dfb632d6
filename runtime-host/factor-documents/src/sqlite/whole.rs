//! All documents: walking and restoring them, and finding an item in any scenario.

use std::sync::Arc;

use funnelweb_tenant_store::{Durability, TenantFile, pages};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    SqliteDocuments,
    cache::DocumentKey,
    profiles, read,
    tables::{self, New},
};
use crate::{
    backend::{HandleOf, Restored, prepare_restored},
    store::{Collection, Document, Error, Tenant, Walk, WriteError},
};

/// Documents of one page, and bytes of their bodies after which it ends.
const PAGE: usize = 1000;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Scenario and handle of the last document that was walked: the order of the
/// index that finds documents by their key.
type Place = (String, i64);

impl SqliteDocuments {
    /// [`crate::store::Documents::walk`].
    pub(super) fn pages<'a>(&'a self, tenant: &'a Tenant, collection: Collection) -> Walk<'a, Document> {
        pages((String::new(), i64::MIN), move |after| async move {
            let file = self.stores.open(tenant).await?;
            self.settle_profiles(&file, collection).await?;
            let handle_of = self.tables.handle_of;
            file.read(move |tx| page(tx, collection, after, handle_of)).await
        })
    }

    /// What events made of profiles is in the tables then: a user who was seen for
    /// the first time just now has no row yet.
    pub(super) async fn settle_profiles(&self, file: &Arc<TenantFile>, collection: Collection) -> Result<(), Error> {
        if collection == Collection::UserProfiles && !self.tables.caches.moves.is_empty(file.number()) {
            file.write(Durability::Relaxed, |write| write.settle()).await?;
        }
        Ok(())
    }

    /// [`crate::store::Documents::restore`].
    pub(super) async fn write_back(
        &self,
        tenant: &Tenant,
        collection: Collection,
        documents: Vec<Document>,
    ) -> Result<(), Error> {
        let bytes = documents.iter().map(|document| document.body.len()).sum();
        let documents = prepare_restored(collection, documents).await?;
        let file = self.stores.open(tenant).await?;
        let tables = self.tables.clone();
        file.write_sized(Durability::Durable, bytes, move |write| {
            if collection == Collection::UserProfiles {
                write.settle()?;
            }
            let mut entries = Vec::new();
            let mut keys = Vec::with_capacity(documents.len());
            for Restored { key, mut body, text, version, created_ms } in documents {
                let found = tables.find(write, collection, &key)?;
                let new = New { version, created_ms, text: &text, body: &mut body };
                match tables.put_as(write, collection, &key, found.as_ref(), new, &mut entries) {
                    Ok(()) => keys.push(key),
                    Err(WriteError::Store(error)) => return Err(error),
                    Err(error) => return Err(Error::invalid(format_args!("`{}`", key.id), error)),
                }
            }
            tables::list(write, &mut entries)?;
            let number = write.number();
            write.after_commit(move || {
                for key in keys {
                    tables.forget(&DocumentKey { file: number, collection, key });
                }
            });
            Ok(())
        })
        .await
    }
}

/// The documents behind a place, and the place of the last of them.
fn page(
    connection: &Connection,
    collection: Collection,
    (scenario, handle): Place,
    handle_of: HandleOf,
) -> Result<(Vec<Document>, Option<Place>), Error> {
    let mut select = connection.prepare_cached(
        "SELECT scenario, id, version, body, handle FROM documents
         WHERE collection = ? AND (scenario, handle) > (?, ?) ORDER BY scenario, handle",
    )?;
    let mut rows = select.query(params![collection.number(), scenario, handle])?;
    let (mut documents, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let place = (row.get(0)?, row.get(4)?);
        let mut document = read::to_document(row)?;
        if collection == Collection::UserProfiles {
            let merged = profiles::document(connection, &document.key, handle_of(&document.key.id), &[])?;
            document = merged.unwrap_or(document);
        }
        bytes += document.body.len();
        documents.push(document);
        if documents.len() == PAGE || bytes > PAGE_BYTES {
            return Ok((documents, Some(place)));
        }
    }
    Ok((documents, None))
}

/// The id of an item that has the handle, in whichever scenario: the scenarios are
/// found by leaping along the index.
pub(super) fn item_id(connection: &Connection, handle: u64) -> Result<Option<String>, Error> {
    let mut select = connection.prepare_cached(
        "WITH RECURSIVE every (scenario) AS (
           SELECT min(scenario) FROM documents WHERE collection = 1
           UNION ALL
           SELECT (SELECT min(scenario) FROM documents WHERE collection = 1 AND scenario > every.scenario)
           FROM every WHERE every.scenario IS NOT NULL)
         SELECT item.id FROM every CROSS JOIN documents item
         WHERE item.collection = 1 AND item.scenario = every.scenario AND item.handle = ? LIMIT 1",
    )?;
    Ok(select.query_row([handle.cast_signed()], |row| row.get(0)).optional()?)
}
