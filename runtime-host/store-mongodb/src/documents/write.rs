//! Writing: a document is read, changed, and written back on condition that it is
//! still the one that was read.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bson::{Document as BsonDocument, doc, oid::ObjectId};
use funnelweb_factor_documents::{
    backend::{Body, check_precondition},
    store::{Collection, Document, Error, Key, Precondition, Tenant, WriteError},
};

use super::{Shape, Stored, own, shape, version};
use crate::{
    cache::{DocumentKey, Kept},
    codec::OWN,
    server::MongoStore,
};

/// How often a write begins anew when another writer came between.
pub(super) const ATTEMPTS: u32 = 24;
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(1);
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// What to do with a document.
pub(super) enum Change<T> {
    /// Write it; what to answer with it as written.
    Put(Body, fn(Document) -> T),
    /// Delete it.
    Remove(T),
    /// Leave it.
    Nothing(T),
}

pub(super) fn too_many_writers() -> Error {
    Error::Unavailable("mongodb: other writers came between each time".to_owned())
}

impl MongoStore {
    /// Runs `change` over the document at `key` until it is written or refused.
    pub(super) async fn write_document<T>(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: &Key,
        when: Precondition,
        change: impl Fn(Option<&Stored>) -> Result<Change<T>, WriteError> + Send + Sync,
    ) -> Result<T, WriteError> {
        let id = self.id_of(tenant, &key.scenario_id, self.handle(&key.id));
        let mut wait = FIRST_WAIT;
        for _ in 0..ATTEMPTS {
            let held = self.locks.documents.hold((collection, id)).await;
            let found = self.stored(tenant, collection, key).await?;
            check_precondition(when, found.as_ref().map_or(0, |found| found.version))?;
            let done = match change(found.as_ref())? {
                Change::Nothing(answer) => return Ok(answer),
                Change::Put(body, answer) => {
                    let written = self.put(tenant, collection, key, body, found.as_ref()).await?;
                    written.map(answer)
                }
                Change::Remove(answer) => match &found {
                    Some(found) => self.remove(tenant, collection, key, found).await?.then_some(answer),
                    None => Some(answer),
                },
            };
            drop(held);
            if let Some(answer) = done {
                if collection == Collection::Items {
                    self.items_changed(tenant, &key.scenario_id).await;
                }
                return Ok(answer);
            }
            tokio::time::sleep(funnelweb_tenant_store::jitter(wait)).await;
            wait = (2 * wait).min(LONGEST_WAIT);
        }
        Err(too_many_writers().into())
    }

    /// The document at `key`, as it is on the server.
    pub(crate) async fn stored(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: &Key,
    ) -> Result<Option<Stored>, Error> {
        let handle = self.handle(&key.id);
        let found = self.look_up(tenant, collection, std::iter::once((key, handle)), None).await?;
        Ok(found.into_iter().next().map(Stored::new))
    }

    /// [`MongoStore::at`], and only at this version. Where the server cannot test
    /// and change in one step, our own lock is what keeps it at that.
    pub(crate) fn at_version(&self, tenant: &Tenant, collection: Collection, key: &Key, version: u64) -> BsonDocument {
        let mut filter = self.at(tenant, collection, key);
        if self.abilities.atomic_updates {
            filter.insert("_fw.version", version.cast_signed());
        }
        filter
    }

    /// Writes a document over `found`; none when it is no longer the one found.
    async fn put(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: &Key,
        mut body: Body,
        found: Option<&Stored>,
    ) -> Result<Option<Document>, WriteError> {
        let now_ms = self.now_ms();
        let created_ms = body.created_ms.or(found.map(|found| found.created_ms)).unwrap_or(now_ms);
        let text = body.finish("body", created_ms, now_ms)?;
        let version = self.next_version(tenant, found).await?;
        let mut document = self.document(tenant, collection, key, &body, version);
        if let Some(found) = found {
            carry_over(&found.document, &mut document);
        }
        let Some(version) = self.write_over(tenant, collection, key, document, found).await? else { return Ok(None) };
        let written = Document { key: key.clone(), body: text, version };
        self.wrote(tenant, collection, key, Some(&written));
        Ok(Some(written))
    }

    /// The version of what is written over `found`.
    pub(super) async fn next_version(&self, tenant: &Tenant, found: Option<&Stored>) -> Result<u64, Error> {
        Ok(1 + match found {
            Some(found) => found.version,
            None => self.floor(tenant).await?,
        })
    }

    /// Writes a document of [`MongoStore::next_version`] over `found`: the version
    /// that it got, or none when `found` is no longer the one that is there.
    pub(super) async fn write_over(
        &self,
        tenant: &Tenant,
        collection: Collection,
        key: &Key,
        document: BsonDocument,
        found: Option<&Stored>,
    ) -> Result<Option<u64>, WriteError> {
        let documents = self.collection(shape(collection).name);
        let version = version(&document);
        if let Some(found) = found {
            let filter = self.at_version(tenant, collection, key, found.version);
            let replaced = self.once("replace", || async { documents.replace_one(filter, document).await }).await;
            return Ok((replaced.map_err(Error::from)?.matched_count != 0).then_some(version));
        }
        let id = document.get_object_id("_id").ok();
        match self.once("insert", || async { documents.insert_one(document).await }).await {
            Ok(_) => Ok(Some(self.above_floor(tenant, collection, id.as_slice(), version).await?)),
            Err(failure) if failure.is_duplicate() => match self.has_other(tenant, collection, key).await? {
                true => Err(WriteError::Collision),
                false => Ok(None),
            },
            Err(failure) => Err(Error::from(failure).into()),
        }
    }

    /// Deletes `found`; false when it is no longer the one found.
    async fn remove(&self, tenant: &Tenant, collection: Collection, key: &Key, found: &Stored) -> Result<bool, Error> {
        // First: between the two, a new document would start above it already.
        self.raise_floor(tenant, found.version).await?;
        let documents = self.collection(shape(collection).name);
        let filter = self.at_version(tenant, collection, key, found.version);
        let deleted = self.once("delete", || async { documents.delete_one(filter).await }).await?.deleted_count;
        self.wrote(tenant, collection, key, None);
        Ok(deleted == 1)
    }

    /// Has memory follow a write, before anybody else may write the document.
    pub(crate) fn wrote(&self, tenant: &Tenant, collection: Collection, key: &Key, written: Option<&Document>) {
        let key = DocumentKey { tenant: tenant.clone(), collection, key: key.clone() };
        let item = (collection == Collection::Items).then(|| self.handle(&key.key.id));
        self.caches.forget(&key, item);
        if let Some(written) = written {
            let kept = Kept { value: Some(Arc::new(written.clone())), read: Instant::now(), generation: 0 };
            self.caches.documents.put(key, kept);
        }
    }

    /// New documents were written at `version`. If documents were deleted
    /// meanwhile that had it or more, they are put above those: no key has a
    /// version twice. The version that they have.
    pub(super) async fn above_floor(
        &self,
        tenant: &Tenant,
        collection: Collection,
        ids: &[ObjectId],
        version: u64,
    ) -> Result<u64, Error> {
        let floor = self.floor(tenant).await?;
        if floor < version {
            return Ok(version);
        }
        let documents = self.collection(shape(collection).name);
        let filter = doc! {
            "tenant_id": tenant.as_str(), "_id": { "$in": ids }, "_fw.version": version.cast_signed()
        };
        let version = floor + 1;
        let change = doc! { "$set": { "_fw.version": version.cast_signed() } };
        self.once("raise versions", || async { documents.update_many(filter, change).await }).await?;
        Ok(version)
    }

    /// Whether another id has the handle of the key's.
    async fn has_other(&self, tenant: &Tenant, collection: Collection, key: &Key) -> Result<bool, Error> {
        let Shape { name, id, .. } = shape(collection);
        let filter = doc! { "_id": self.id_of(tenant, &key.scenario_id, self.handle(&key.id)) };
        let find = crate::call::Find { filter, fields: Some(doc! { id: 1 }), ..Default::default() };
        let found = self.find(name, &find).await?;
        Ok(found.first().is_some_and(|found| found.get_str(id).ok() != Some(key.id.as_str())))
    }
}

/// What moved a profile stays with it, whoever writes it: batches of events, and panes of
/// another stream engine.
pub(super) fn carry_over(found: &BsonDocument, document: &mut BsonDocument) {
    for field in ["batches", "panes"] {
        let moved_by = own(found).and_then(|own| own.get(field)).cloned();
        if let (Some(moved_by), Ok(own)) = (moved_by, document.get_document_mut(OWN)) {
            own.insert(field, moved_by);
        }
    }
}
