//! The embedded backend: tables of the tenant's SQLite file, with what is read
//! often in memory.

mod cache;
mod profiles;
mod read;
mod tables;
mod whole;

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use funnelweb_core::{id, limits, row::ItemRow};
use funnelweb_tenant_store::{Durability, Purge, TenantStores, Write};

use self::cache::{Caches, DocumentKey, ListKey, RowKey, RowRef};
pub use self::tables::{Stored, Tables};
use crate::{
    backend::{HandleOf, KeptList, check_keys, check_lists, check_precondition, check_query, parse_patch},
    body::{self, Body, check_key},
    columns::Plan,
    merge_patch,
    store::{
        Collection, ColumnSpec, Document, Documents, Error, InsertOutcome, ItemColumns, Key, Page, Precondition,
        Prepared, Query, Tenant, Term, Walk, WriteError,
    },
};

/// Documents in tenants' SQLite files.
#[derive(Clone)]
pub struct SqliteDocuments {
    stores: Arc<TenantStores>,
    tables: Tables,
}

impl SqliteDocuments {
    /// Adds the tables of documents to `stores`.
    ///
    /// # Errors
    /// See [`TenantStores::register`].
    pub fn new(stores: Arc<TenantStores>) -> Result<Self, Error> {
        Self::with_handles(stores, id::handle)
    }

    /// [`SqliteDocuments::new`] with another function from ids to handles, one
    /// for which a collision can be found.
    ///
    /// # Errors
    /// See [`TenantStores::register`].
    pub fn with_handles(stores: Arc<TenantStores>, handle_of: HandleOf) -> Result<Self, Error> {
        let tables = Tables { caches: Arc::new(Caches::new()), handle_of };
        stores.register(Arc::new(tables.clone()))?;
        Ok(Self { stores, tables })
    }

    /// The tables, for jobs that write documents along with their own.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Runs `change` over the document at `key` as a transaction finds it.
    async fn write<T: Send + 'static>(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        when: Precondition,
        change: impl FnOnce(&Tables, &mut Write<'_>, &Key, Option<&Stored>) -> Result<T, WriteError> + Send + 'static,
    ) -> Result<T, WriteError> {
        let tables = self.tables.clone();
        let file = self.stores.open(tenant).await?;
        file.write(Durability::Durable, move |write| {
            if collection == Collection::UserProfiles {
                write.settle()?;
            }
            let found = tables.find(write, collection, &key)?;
            check_precondition(when, found.as_ref().map_or(0, |found| found.version))?;
            let answer = change(&tables, write, &key, found.as_ref())?;
            tables.forget_after(write, collection, key);
            Ok(answer)
        })
        .await
    }

    /// The rows of the handles asked for, in order: from memory, or one visit to
    /// the store for all that are missing there.
    async fn rows(&self, tenant: &Tenant, scenario: &str, handles: &[u64]) -> Result<Vec<Option<Arc<ItemRow>>>, Error> {
        Error::check_id("scenario-id", scenario)?;
        Error::check_count("handles", handles.len(), 0, limits::CANDIDATES)?;
        let file = self.stores.open(tenant).await?;
        let cache = &self.tables.caches.rows;
        let number = file.number();
        let mut missing = Vec::new();
        let mut rows = Vec::with_capacity(handles.len());
        for (at, &handle) in handles.iter().enumerate() {
            let key = RowRef { scenario, file: number, handle };
            rows.push(cache.get(&key).unwrap_or_else(|| {
                missing.push((at, handle, cache.stamp(&key)));
                None
            }));
        }
        if missing.is_empty() {
            return Ok(rows);
        }
        let scenario: Arc<str> = scenario.into();
        let caches = self.tables.caches.clone();
        let read = file.read(move |tx| {
            let read = |(at, handle, stamp)| {
                let row = read::row(tx, &scenario, handle)?;
                caches.rows.offer(RowKey { scenario: scenario.clone(), file: number, handle }, row.clone(), stamp);
                Ok((at, row))
            };
            missing.into_iter().map(read).collect::<Result<Vec<_>, Error>>()
        });
        for (at, row) in read.await? {
            if let Some(place) = rows.get_mut(at) {
                *place = row;
            }
        }
        Ok(rows)
    }
}

#[async_trait]
impl Documents for SqliteDocuments {
    async fn get(&self, tenant: &Tenant, collection: Collection, key: Key) -> Result<Option<Document>, Error> {
        Ok(self.get_many(tenant, collection, vec![key]).await?.pop().flatten())
    }

    async fn get_many(
        &self,
        tenant: &Tenant,
        collection: Collection,
        keys: Vec<Key>,
    ) -> Result<Vec<Option<Document>>, Error> {
        check_keys(collection, &keys)?;
        let file = self.stores.open(tenant).await?;
        let cache = &self.tables.caches.documents;
        let number = file.number();
        let mut missing = Vec::new();
        let mut found = Vec::with_capacity(keys.len());
        for (at, key) in keys.into_iter().enumerate() {
            let key = DocumentKey { file: number, collection, key };
            found.push(cache.get(&key).map_or_else(
                || {
                    let stamp = cache.stamp(&key);
                    // Before the snapshot is taken.
                    let moves = match collection {
                        Collection::UserProfiles => self.tables.caches.moves.get(number, [&key.key]).1.pop(),
                        _ => None,
                    };
                    missing.push((at, key, stamp, moves.unwrap_or_default()));
                    None
                },
                |document| document.as_deref().cloned(),
            ));
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let tables = self.tables.clone();
        let read = file.read(move |tx| {
            let read = |(at, key, stamp, moves): (usize, DocumentKey, _, Vec<_>)| {
                let handle = (tables.handle_of)(&key.key.id);
                let document = match collection {
                    Collection::UserProfiles => profiles::document(tx, &key.key, handle, &moves)?,
                    _ => read::document(tx, collection, &key.key, handle)?,
                };
                tables.caches.documents.offer(key, document.clone().map(Arc::new), stamp);
                Ok((at, document))
            };
            missing.into_iter().map(read).collect::<Result<Vec<_>, Error>>()
        });
        for (at, document) in read.await? {
            if let Some(place) = found.get_mut(at) {
                *place = document;
            }
        }
        Ok(found)
    }

    async fn insert_prepared(
        &self,
        tenant: &Tenant,
        Prepared { collection, documents, bytes }: Prepared,
        replace: bool,
    ) -> Result<Vec<InsertOutcome>, Error> {
        let now_ms = self.stores.now_ms();
        let tables = self.tables.clone();
        let file = self.stores.open(tenant).await?;
        file.write_sized(Durability::Durable, bytes, move |write| {
            if collection == Collection::UserProfiles {
                write.settle()?;
            }
            let mut outcomes = Vec::with_capacity(documents.len());
            let mut seen = HashSet::with_capacity(documents.len());
            let mut entries = Vec::new();
            for (key, mut body) in documents {
                let found = tables.find(write, collection, &key)?;
                if found.is_some() && (!replace || seen.contains(&key)) {
                    outcomes.push(InsertOutcome::Duplicate);
                    continue;
                }
                let found = found.as_ref();
                let put = tables.put_unlisted(write, collection, &key, &mut body, found, now_ms, &mut entries);
                outcomes.push(match put {
                    Ok(_) if found.is_some() => InsertOutcome::Replaced,
                    Ok(_) => InsertOutcome::Created,
                    Err(WriteError::Store(error)) => return Err(error),
                    Err(_) => InsertOutcome::Collision,
                });
                seen.insert(key);
            }
            tables::list(write, &mut entries)?;
            let number = write.number();
            write.after_commit(move || {
                for key in seen {
                    tables.forget(&DocumentKey { file: number, collection, key });
                }
            });
            Ok(outcomes)
        })
        .await
    }

    async fn replace(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        body: String,
        when: Precondition,
    ) -> Result<u64, WriteError> {
        check_key("key", collection, &key)?;
        let mut body = Body::new("body", collection, &key, body::parse("body", &body)?)?;
        let now_ms = self.stores.now_ms();
        self.write(tenant, collection, key, when, move |tables, write, key, found| {
            Ok(tables.put(write, collection, key, &mut body, found, now_ms)?.0)
        })
        .await
    }

    async fn patch(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        merge_patch: String,
        when: Precondition,
    ) -> Result<Document, WriteError> {
        check_key("key", collection, &key)?;
        let patch = parse_patch(&merge_patch)?;
        let now_ms = self.stores.now_ms();
        self.write(tenant, collection, key, when, move |tables, write, key, found| {
            let Some(found) = found else { return Err(WriteError::Conflict(0)) };
            let mut value = body::parse_stored(&found.body);
            merge_patch::merge_patch(&mut value, patch);
            let mut body = Body::new("merge-patch", collection, key, value)?;
            let (version, body) = tables.put(write, collection, key, &mut body, Some(found), now_ms)?;
            Ok(Document { key: key.clone(), body, version })
        })
        .await
    }

    async fn delete(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        when: Precondition,
    ) -> Result<bool, WriteError> {
        check_key("key", collection, &key)?;
        self.write(tenant, collection, key, when, move |tables, write, key, found| {
            let Some(found) = found else { return Ok(false) };
            tables.remove(write, collection, key, found)?;
            Ok(true)
        })
        .await
    }

    async fn delete_user(&self, tenant: &Tenant, user_id: String) -> Result<u64, Error> {
        Error::check_id("user-id", &user_id)?;
        self.stores.purge(tenant, Purge::User(user_id)).await
    }

    async fn delete_scenario(&self, tenant: &Tenant, scenario_id: String) -> Result<u64, Error> {
        Error::check_id("scenario-id", &scenario_id)?;
        self.stores.purge(tenant, Purge::Scenario(scenario_id)).await
    }

    async fn query(&self, tenant: &Tenant, collection: Collection, query: Query) -> Result<Page, Error> {
        check_query(collection, &query)?;
        let file = self.stores.open(tenant).await?;
        if collection != Collection::UserProfiles {
            return file.read(move |tx| read::query(tx, collection, &query)).await;
        }
        self.settle_profiles(&file, collection).await?;
        let handle_of = self.tables.handle_of;
        file.read(move |tx| {
            let mut page = read::query(tx, collection, &query)?;
            for found in &mut page.documents {
                let handle = handle_of(&found.key.id);
                if let Some(merged) = profiles::document(tx, &found.key, handle, &[])? {
                    *found = merged;
                }
            }
            Ok(page)
        })
        .await
    }

    async fn newest_items(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        lists: Vec<(Option<Term>, u32)>,
    ) -> Result<Vec<Vec<u64>>, Error> {
        check_lists(&scenario_id, &lists)?;
        let file = self.stores.open(tenant).await?;
        let caches = self.tables.caches.clone();
        let scenario: Arc<str> = scenario_id.into();
        let epoch = caches.lists.epoch(file.number(), &scenario);
        let asked = lists.into_iter().map(|(term, limit)| {
            let key = ListKey { file: file.number(), scenario: scenario.clone(), term };
            let list = caches.lists.get(&key, epoch, limit);
            (key, limit, list)
        });
        let mut answers: Vec<(ListKey, u32, Option<Vec<u64>>)> = asked.collect();
        if answers.iter().any(|(_, _, list)| list.is_none()) {
            let caches = caches.clone();
            answers = file
                .read(move |tx| {
                    for (key, limit, list) in answers.iter_mut().filter(|(_, _, list)| list.is_none()) {
                        let to_read = KeptList::to_read(*limit);
                        let read = read::newest(tx, &key.scenario, key.term.as_ref(), to_read)?;
                        let kept = KeptList::new(read, to_read);
                        *list = kept.first(*limit).map(<[u64]>::to_vec);
                        caches.lists.keep(key.clone(), epoch, kept);
                    }
                    Ok::<_, Error>(answers)
                })
                .await?;
        }
        Ok(answers.into_iter().map(|(_, _, list)| list.unwrap_or_default()).collect())
    }

    async fn item_columns(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        columns: Vec<ColumnSpec>,
        now_ms: u64,
    ) -> Result<ItemColumns, Error> {
        let plan = Plan::new(columns)?;
        Ok(plan.fill(&self.rows(tenant, &scenario_id, &handles).await?, now_ms))
    }

    async fn item_ids(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
    ) -> Result<Vec<Option<String>>, Error> {
        let rows = self.rows(tenant, &scenario_id, &handles).await?;
        Ok(rows.into_iter().map(|row| row.map(|row| row.id.clone())).collect())
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.stores.tenants().await
    }

    fn walk<'a>(&'a self, tenant: &'a Tenant, collection: Collection) -> Walk<'a, Document> {
        self.pages(tenant, collection)
    }

    async fn restore(&self, tenant: &Tenant, collection: Collection, documents: Vec<Document>) -> Result<(), Error> {
        self.write_back(tenant, collection, documents).await
    }

    async fn version_floor(&self, tenant: &Tenant) -> Result<u64, Error> {
        let file = self.stores.open(tenant).await?;
        file.read(|tx| tables::version_floor(tx)).await
    }

    async fn raise_version_floor(&self, tenant: &Tenant, version: u64) -> Result<(), Error> {
        let file = self.stores.open(tenant).await?;
        file.write(Durability::Durable, move |write| tables::raise_floor(write, version)).await
    }
}

#[cfg(test)]
mod tests;
