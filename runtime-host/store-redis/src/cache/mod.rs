//! Documents of another store with the caches of design §3.2 in front.
//!
//! A read looks in this process (at most [`local::AGE`] old), then in Redis, then
//! in the store; scenario configs and profiles only, everything else is the
//! store's. A write goes to the store and then to Redis, where the greater version
//! stays: a reader that was slow cannot bring an older document back. What was
//! deleted, or changed in a way that is not known here, is not kept again for a
//! moment.
//!
//! Without Redis it is the store alone. Without the store, the last that is known
//! answers reads (design §5.4); writes fail.

mod local;
mod remote;

use std::{collections::HashMap, sync::Arc, time::Instant};

use async_trait::async_trait;
use funnelweb_core::{id, limits};
use funnelweb_factor_documents::store::{
    Collection, ColumnSpec, Document, Documents, Error, InsertOutcome, ItemColumns, Key, Page, Precondition, Prepared,
    Query, Tenant, Term, Walk, Watcher, WriteError,
};

use self::{
    local::{Local, Looked},
    remote::{Remote, Whose},
};
use crate::{live::RedisLive, store::RedisStore};

/// A [`Documents`] with caches in front; see the module.
pub struct CachedDocuments<D: ?Sized> {
    inner: Arc<D>,
    local: Arc<Local>,
    remote: Arc<Remote>,
}

impl<D: ?Sized> Clone for CachedDocuments<D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), local: self.local.clone(), remote: self.remote.clone() }
    }
}

impl<D: Documents + ?Sized> CachedDocuments<D> {
    /// Caches documents of `inner`.
    pub fn new(inner: Arc<D>, store: RedisStore) -> Self {
        Self { inner, local: Arc::new(Local::new()), remote: Arc::new(Remote::new(store, None)) }
    }

    /// With `live` a user's profile is read together with what the user was shown,
    /// which a recommendation asks for next.
    pub fn with_live(inner: Arc<D>, store: RedisStore, live: RedisLive) -> Self {
        Self { inner, local: Arc::new(Local::new()), remote: Arc::new(Remote::new(store, Some(live))) }
    }

    /// These documents changed in the store in a way that is not known here. They
    /// are read from there, and not kept, for a few seconds.
    pub async fn invalidate(&self, tenant: &Tenant, collection: Collection, keys: &[Key]) {
        if is_cached(collection) {
            self.remote.drop(tenant, collection, keys).await;
            self.local.forget(tenant, collection, keys);
        }
    }

    /// These documents changed in the store and are so now ([`Watcher`]).
    pub async fn refresh(&self, tenant: &Tenant, collection: Collection, documents: &[Document]) {
        if is_cached(collection) {
            self.remote.put(tenant, collection, documents).await;
            let keys: Vec<Key> = documents.iter().map(|document| document.key.clone()).collect();
            // After the other: who reads in between must not keep what was there.
            self.local.forget(tenant, collection, &keys);
        }
    }

    /// The documents that this process does not have, from Redis and the store.
    async fn fetch(
        &self,
        tenant: &Tenant,
        collection: Collection,
        missing: &[Looked],
    ) -> Result<HashMap<Key, Option<Document>>, Error> {
        let started = Instant::now();
        let keys: Vec<Key> = missing.iter().map(|looked| looked.key.clone()).collect();
        // Who reads a profile reads the scenario's config as well: it comes along
        // before it is too old.
        let aging = match (collection, keys.as_slice()) {
            (Collection::UserProfiles, [key]) => self.local.aging_scenario(tenant, &key.scenario_id),
            _ => None,
        };
        let (mut found, aged) = self.remote.get(tenant, collection, &keys, aging.as_ref().map(|at| &at.key)).await;
        if let (Some(looked), Some(config)) = (aging, aged) {
            self.local.keep(tenant, Collection::Scenarios, looked, Some(config));
        }
        let absent: Vec<Key> = keys.into_iter().filter(|key| !found.contains_key(key)).collect();
        if absent.is_empty() {
            return Ok(found.into_iter().map(|(key, document)| (key, Some(document))).collect());
        }
        let read = self.inner.get_many(tenant, collection, absent.clone()).await?;
        self.remote.fill(tenant, collection, read.iter().flatten().cloned().collect(), started);
        let found = found.drain().map(|(key, document)| (key, Some(document)));
        Ok(found.chain(absent.into_iter().zip(read)).collect())
    }

    /// What a write that has failed may have done all the same.
    async fn after<T>(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: &Key,
        result: Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        // What is known here may be what was there before another process wrote.
        if matches!(result, Err(WriteError::Store(Error::Unavailable(_)) | WriteError::Conflict(_))) {
            self.invalidate(tenant, collection, std::slice::from_ref(key)).await;
        }
        result
    }
}

fn is_cached(collection: Collection) -> bool {
    matches!(collection, Collection::Scenarios | Collection::UserProfiles)
}

/// Whether the store takes such a key; what is wrong with it, the store says.
fn is_valid(collection: Collection, key: &Key) -> bool {
    let same = collection != Collection::Scenarios || key.scenario_id == key.id;
    same && id::check(&key.scenario_id).is_ok() && id::check(&key.id).is_ok()
}

#[async_trait]
impl<D: Documents + ?Sized> Watcher for CachedDocuments<D> {
    async fn changed(&self, tenant: &Tenant, collection: Collection, documents: &[Document]) {
        self.refresh(tenant, collection, documents).await;
    }
}

#[async_trait]
impl<D: Documents + ?Sized> Documents for CachedDocuments<D> {
    async fn get(&self, tenant: &Tenant, collection: Collection, key: Key) -> Result<Option<Document>, Error> {
        if !is_cached(collection) || !is_valid(collection, &key) {
            return self.inner.get(tenant, collection, key).await;
        }
        Ok(self.get_many(tenant, collection, vec![key]).await?.pop().flatten())
    }

    async fn get_many(
        &self,
        tenant: &Tenant,
        collection: Collection,
        keys: Vec<Key>,
    ) -> Result<Vec<Option<Document>>, Error> {
        let cached = is_cached(collection) && keys.len() <= limits::GET_KEYS;
        if !cached || !keys.iter().all(|key| is_valid(collection, key)) {
            return self.inner.get_many(tenant, collection, keys).await;
        }
        let looked: Vec<Looked> = keys.iter().map(|key| self.local.look(tenant, collection, key)).collect();
        let (fresh, missing): (Vec<_>, Vec<_>) = looked.into_iter().partition(|looked| looked.fresh);
        let mut known: HashMap<Key, Option<Document>> =
            fresh.into_iter().map(|looked| (looked.key, looked.last.flatten())).collect();
        if !missing.is_empty() {
            match self.fetch(tenant, collection, &missing).await {
                Ok(found) => {
                    for looked in missing {
                        let document = found.get(&looked.key).cloned().flatten();
                        self.local.keep(tenant, collection, looked, document);
                    }
                    known.extend(found);
                }
                Err(Error::Unavailable(error)) if missing.iter().all(|looked| looked.last.is_some()) => {
                    tracing::warn!(%tenant, %error, "the last known documents answer for the store");
                    known.extend(missing.into_iter().map(|looked| (looked.key, looked.last.flatten())));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(keys.iter().map(|key| known.get(key).cloned().flatten()).collect())
    }

    async fn insert_prepared(
        &self,
        tenant: &Tenant,
        prepared: Prepared,
        replace: bool,
    ) -> Result<Vec<InsertOutcome>, Error> {
        let collection = prepared.collection;
        if !is_cached(collection) {
            return self.inner.insert_prepared(tenant, prepared, replace).await;
        }
        let keys: Vec<Key> = prepared.documents.iter().map(|(key, _)| key.clone()).collect();
        let result = self.inner.insert_prepared(tenant, prepared, replace).await;
        let changed = |at: usize| match &result {
            Ok(outcomes) => matches!(outcomes.get(at), Some(InsertOutcome::Created | InsertOutcome::Replaced)),
            Err(Error::Unavailable(_)) => true,
            Err(_) => false,
        };
        let keys = keys.into_iter().enumerate().filter(|(at, _)| changed(*at)).map(|(_, key)| key);
        self.invalidate(tenant, collection, &keys.collect::<Vec<_>>()).await;
        result
    }

    async fn replace(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        body: String,
        when: Precondition,
    ) -> Result<u64, WriteError> {
        let result = self.inner.replace(tenant, collection, key.clone(), body, when).await;
        if result.is_ok() && is_cached(collection) {
            // The store has added to it what is the store's to set.
            match self.inner.get(tenant, collection, key.clone()).await {
                Ok(Some(document)) => self.refresh(tenant, collection, &[document]).await,
                _ => self.invalidate(tenant, collection, std::slice::from_ref(&key)).await,
            }
        }
        self.after(tenant, collection, &key, result).await
    }

    async fn patch(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        merge_patch: String,
        when: Precondition,
    ) -> Result<Document, WriteError> {
        let result = self.inner.patch(tenant, collection, key.clone(), merge_patch, when).await;
        if let Ok(document) = &result {
            self.refresh(tenant, collection, std::slice::from_ref(document)).await;
        }
        self.after(tenant, collection, &key, result).await
    }

    async fn delete(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: Key,
        when: Precondition,
    ) -> Result<bool, WriteError> {
        let result = self.inner.delete(tenant, collection, key.clone(), when).await;
        if result.is_ok() {
            self.invalidate(tenant, collection, std::slice::from_ref(&key)).await;
        }
        self.after(tenant, collection, &key, result).await
    }

    async fn delete_user(&self, tenant: &Tenant, user_id: String) -> Result<u64, Error> {
        Error::check_id("user-id", &user_id)?;
        let result = self.inner.delete_user(tenant, user_id.clone()).await;
        self.remote.drop_all(tenant, Whose::User(user_id.clone())).await;
        self.local.forget_user(tenant, &user_id);
        result
    }

    async fn delete_scenario(&self, tenant: &Tenant, scenario_id: String) -> Result<u64, Error> {
        Error::check_id("scenario-id", &scenario_id)?;
        let result = self.inner.delete_scenario(tenant, scenario_id.clone()).await;
        self.remote.drop_all(tenant, Whose::Scenario(scenario_id.clone())).await;
        self.local.forget_scenario(tenant, &scenario_id);
        result
    }

    async fn query(&self, tenant: &Tenant, collection: Collection, query: Query) -> Result<Page, Error> {
        self.inner.query(tenant, collection, query).await
    }

    async fn newest_items(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        lists: Vec<(Option<Term>, u32)>,
    ) -> Result<Vec<Vec<u64>>, Error> {
        self.inner.newest_items(tenant, scenario_id, lists).await
    }

    async fn item_columns(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        columns: Vec<ColumnSpec>,
        now_ms: u64,
    ) -> Result<ItemColumns, Error> {
        self.inner.item_columns(tenant, scenario_id, handles, columns, now_ms).await
    }

    async fn item_ids(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
    ) -> Result<Vec<Option<String>>, Error> {
        self.inner.item_ids(tenant, scenario_id, handles).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.inner.tenants().await
    }

    fn walk<'a>(&'a self, tenant: &'a Tenant, collection: Collection) -> Walk<'a, Document> {
        self.inner.walk(tenant, collection)
    }

    async fn restore(&self, tenant: &Tenant, collection: Collection, documents: Vec<Document>) -> Result<(), Error> {
        let keys: Vec<Key> = documents.iter().map(|document| document.key.clone()).collect();
        let result = self.inner.restore(tenant, collection, documents).await;
        self.invalidate(tenant, collection, &keys).await;
        result
    }

    async fn version_floor(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.inner.version_floor(tenant).await
    }

    async fn raise_version_floor(&self, tenant: &Tenant, version: u64) -> Result<(), Error> {
        self.inner.raise_version_floor(tenant, version).await
    }
}
