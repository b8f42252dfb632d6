//! Blobs: the collections `model_blobs` and `model_blob_chunks`.
//!
//! A version is a *head* in the first, whose `_id` follows from tenant, name and
//! version, and chunks in the second, found by their `_id`s alone. The head comes last,
//! so that what can be seen is whole. Before the chunks a note is written of what is
//! begun; whatever a process that died has begun and not finished is removed when the
//! same blob is next written or deleted.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bson::{Binary, Bson, Document, doc, oid::ObjectId, spec::BinarySubtype};
use funnelweb_blob_store::{
    check,
    store::{Blob, Blobs, Bytes, Error, StoreError, Tenant},
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::{
    call::{Failure, Find},
    server::{MongoStore, object_id},
    state::integer,
};

/// Versions, and notes of those that are begun.
pub(crate) const HEADS: &str = "model_blobs";
/// What they consist of.
const CHUNKS: &str = "model_blob_chunks";
/// Bytes of a chunk: few enough for a document, and for a call's deadline.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// How long a version may be on its way.
const ON_THE_WAY: Duration = Duration::from_secs(3600);

/// Blobs in a MongoDB.
#[derive(Clone)]
pub struct MongoBlobs(Arc<MongoStore>);

/// A head, or a note.
struct Head {
    id: Bson,
    name: String,
    version: u64,
    bytes: u64,
    sum: i64,
    /// What its chunks' ids follow from.
    upload: ObjectId,
    /// Of a note: when it was written.
    begun_ms: Option<u64>,
    /// When it was written or touched last; 0 where nobody noted it.
    touched_ms: u64,
}

impl Head {
    fn read(document: &Document) -> Option<Self> {
        let unsigned = |name: &str| integer(document, name).map(i64::cast_unsigned);
        Some(Self {
            id: document.get("_id")?.clone(),
            name: document.get_str("name").ok()?.to_owned(),
            version: unsigned("version")?,
            bytes: unsigned("bytes")?,
            sum: integer(document, "sum")?,
            upload: document.get_object_id("upload").ok()?,
            begun_ms: unsigned("begun_ms"),
            touched_ms: unsigned("touched_ms").unwrap_or_default(),
        })
    }

    fn document(&self, tenant: &Tenant) -> Document {
        let mut document = doc! {
            "_id": &self.id,
            "tenant_id": tenant.as_str(),
            "name": &self.name,
            // An i64 holds them: a version is checked, and so is a length.
            "version": self.version.cast_signed(),
            "bytes": self.bytes.cast_signed(),
            "sum": self.sum,
            "upload": self.upload,
            "touched_ms": self.touched_ms.cast_signed(),
        };
        if let Some(begun_ms) = self.begun_ms {
            document.insert("begun_ms", begun_ms.cast_signed());
        }
        document
    }

    fn chunks(&self) -> impl Iterator<Item = ObjectId> {
        let upload = self.upload;
        (0..self.bytes.div_ceil(CHUNK_BYTES as u64)).map(move |at| chunk_id(upload, at))
    }
}

/// Of 96 bits of a hash.
fn chunk_id(upload: ObjectId, at: u64) -> ObjectId {
    let hash = xxh3_128_with_seed(&upload.bytes(), at).to_be_bytes();
    let mut short = [0; 12];
    short.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    ObjectId::from_bytes(short)
}

impl MongoBlobs {
    /// Blobs in `store`.
    #[must_use]
    pub fn new(store: Arc<MongoStore>) -> Self {
        Self(store)
    }

    /// Heads and notes of `prefix` and below.
    async fn heads(&self, tenant: &Tenant, prefix: &str) -> Result<Vec<Head>, Error> {
        let mut filter = doc! { "tenant_id": tenant.as_str() };
        if !prefix.is_empty() {
            // `0` comes next after `/`.
            let below = doc! { "$gte": format!("{prefix}/"), "$lt": format!("{prefix}0") };
            filter.insert("$or", vec![doc! { "name": prefix }, doc! { "name": below }]);
        }
        let found = self.0.find(HEADS, &Find { filter, ..Find::default() }).await.map_err(store_error)?;
        let heads = found.iter().filter_map(Head::read);
        Ok(heads.filter(|head| check::is_below(&head.name, prefix)).collect())
    }

    async fn head(&self, tenant: &Tenant, name: &str, version: u64) -> Result<Option<Head>, Error> {
        let filter = doc! { "_id": head_id(tenant, name, version) };
        let found = self.0.find(HEADS, &Find { filter, ..Find::default() }).await.map_err(store_error)?;
        Ok(found.first().and_then(Head::read))
    }

    async fn remove(&self, collection: &str, id: &Bson) -> Result<bool, Error> {
        let documents = self.0.collection(collection);
        let removed = self.0.again("delete", || async { documents.delete_one(doc! { "_id": id }).await }).await;
        Ok(removed.map_err(store_error)?.deleted_count > 0)
    }

    /// The head first, so that nothing that can be seen lacks a chunk.
    async fn remove_whole(&self, head: &Head) -> Result<bool, Error> {
        let removed = self.remove(HEADS, &head.id).await?;
        for chunk in head.chunks() {
            self.remove(CHUNKS, &chunk.into()).await?;
        }
        Ok(removed)
    }

    /// The same, unless it was touched since it was read; whether none is left.
    async fn remove_as_read(&self, tenant: &Tenant, head: &Head) -> Result<bool, Error> {
        let documents = self.0.collection(HEADS);
        // One without matches null.
        let touched = if head.touched_ms == 0 { Bson::Null } else { head.touched_ms.cast_signed().into() };
        let as_read = doc! { "_id": &head.id, "touched_ms": touched };
        self.0.again("delete", || async { documents.delete_one(as_read.clone()).await }).await.map_err(store_error)?;
        let left = self.head(tenant, &head.name, head.version).await?;
        if left.as_ref().is_none_or(|left| left.upload != head.upload) {
            for chunk in head.chunks() {
                self.remove(CHUNKS, &chunk.into()).await?;
            }
        }
        Ok(left.is_none())
    }

    /// Removes what was begun so long ago that nobody can be at work on it.
    async fn remove_begun(&self, heads: &[Head]) -> Result<(), Error> {
        let until_ms = self.0.now_ms().saturating_sub(ON_THE_WAY.as_millis() as u64);
        for note in heads.iter().filter(|head| head.begun_ms.is_some_and(|begun_ms| begun_ms < until_ms)) {
            let finished = heads.iter().any(|head| head.begun_ms.is_none() && head.upload == note.upload);
            if finished {
                self.remove(HEADS, &note.id).await?;
                continue;
            }
            for chunk in note.chunks() {
                self.remove(CHUNKS, &chunk.into()).await?;
            }
            // Last: it says which chunks there are.
            self.remove(HEADS, &note.id).await?;
        }
        Ok(())
    }

    async fn insert(&self, collection: &str, document: &Document) -> Result<(), Failure> {
        let documents = self.0.collection(collection);
        self.0.once("insert", || async { documents.insert_one(document).await }).await.map(|_| ())
    }

    async fn write_chunks(&self, upload: ObjectId, bytes: &Bytes) -> Result<(), Error> {
        for (at, chunk) in (0..).zip(bytes.chunks(CHUNK_BYTES)) {
            let data = Binary { subtype: BinarySubtype::Generic, bytes: chunk.to_vec() };
            self.insert(CHUNKS, &doc! { "_id": chunk_id(upload, at), "data": data }).await.map_err(store_error)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Blobs for MongoBlobs {
    async fn put(&self, tenant: &Tenant, name: &str, version: u64, bytes: Bytes) -> Result<(), Error> {
        check::put(name, version, bytes.len())?;
        let stale = |latest: Option<u64>| match latest {
            Some(latest) if latest >= version => Err(Error::Stale { name: name.to_owned(), version, latest }),
            _ => Ok(()),
        };
        let before: Vec<Head> = self.heads(tenant, name).await?.into_iter().filter(|head| head.name == name).collect();
        stale(latest(&before))?;
        self.remove_begun(&before).await?;
        let upload = ObjectId::new();
        let head = Head {
            id: head_id(tenant, name, version).into(),
            name: name.to_owned(),
            version,
            bytes: bytes.len() as u64,
            sum: xxh3_64(&bytes).cast_signed(),
            upload,
            begun_ms: None,
            touched_ms: self.0.now_ms(),
        };
        let mut note = head.document(tenant);
        note.insert("_id", upload);
        note.insert("begun_ms", self.0.now_ms().cast_signed());
        self.insert(HEADS, &note).await.map_err(store_error)?;
        self.write_chunks(upload, &bytes).await?;
        stale(self.latest(tenant, name).await?)?;
        match self.insert(HEADS, &head.document(tenant)).await {
            Ok(()) => {}
            Err(failure) if failure.is_duplicate() => return stale(Some(version)),
            Err(failure) => return Err(store_error(failure)),
        }
        self.remove(HEADS, &upload.into()).await?;
        // A later one that came at the same moment did not see this one.
        match self.latest(tenant, name).await? {
            Some(latest) if latest > version => {
                self.remove_whole(&head).await?;
                stale(Some(latest))
            }
            _ => Ok(()),
        }
    }

    async fn latest(&self, tenant: &Tenant, name: &str) -> Result<Option<u64>, Error> {
        check::name(name)?;
        let filter = doc! { "tenant_id": tenant.as_str(), "name": name };
        let found = self.0.find(HEADS, &Find { filter, ..Find::default() }).await.map_err(store_error)?;
        Ok(latest(&found.iter().filter_map(Head::read).collect::<Vec<_>>()))
    }

    async fn get(&self, tenant: &Tenant, name: &str, version: u64) -> Result<Option<Bytes>, Error> {
        check::name(name)?;
        let Some(head) = self.head(tenant, name, version).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        for chunk in head.chunks() {
            let find = Find { filter: doc! { "_id": chunk }, ..Find::default() };
            let found = self.0.find(CHUNKS, &find).await.map_err(store_error)?;
            let Some(data) = found.first().and_then(|chunk| chunk.get_binary_generic("data").ok()) else { break };
            bytes.extend_from_slice(data);
        }
        if bytes.len() as u64 == head.bytes && xxh3_64(&bytes).cast_signed() == head.sum {
            return Ok(Some(bytes.into()));
        }
        // Deleted meanwhile, perhaps.
        match self.head(tenant, name, version).await? {
            Some(_) => {
                let reason = "its checksum is wrong".to_owned();
                Err(Error::Damaged { name: name.to_owned(), version, reason })
            }
            None => Ok(None),
        }
    }

    async fn list(&self, tenant: &Tenant, prefix: &str) -> Result<Vec<Blob>, Error> {
        check::prefix(prefix)?;
        let heads = self.heads(tenant, prefix).await?.into_iter().filter(|head| head.begun_ms.is_none());
        let mut blobs: Vec<Blob> =
            heads.map(|Head { name, version, bytes, .. }| Blob { name, version, bytes }).collect();
        blobs.sort_unstable();
        Ok(blobs)
    }

    async fn delete(&self, tenant: &Tenant, name: &str, version: u64) -> Result<bool, Error> {
        check::name(name)?;
        match self.head(tenant, name, version).await? {
            Some(head) => self.remove_whole(&head).await,
            None => Ok(false),
        }
    }

    async fn delete_prefix(&self, tenant: &Tenant, prefix: &str) -> Result<(), Error> {
        check::prefix(prefix)?;
        let heads = self.heads(tenant, prefix).await?;
        self.remove_begun(&heads).await?;
        for head in heads.iter().filter(|head| head.begun_ms.is_none()) {
            self.remove_whole(head).await?;
        }
        Ok(())
    }

    async fn touch(&self, tenant: &Tenant, name: &str, version: u64) -> Result<bool, Error> {
        check::name(name)?;
        let heads = self.0.collection(HEADS);
        let (which, now_ms) = (doc! { "_id": head_id(tenant, name, version) }, self.0.now_ms().cast_signed());
        let touch = doc! { "$set": { "touched_ms": now_ms } };
        let touched = self.0.again("update", || async { heads.update_one(which.clone(), touch.clone()).await }).await;
        Ok(touched.map_err(store_error)?.matched_count > 0)
    }

    async fn delete_unused(&self, tenant: &Tenant, prefix: &str, unused: Duration) -> Result<bool, Error> {
        check::prefix(prefix)?;
        let heads = self.heads(tenant, prefix).await?;
        self.remove_begun(&heads).await?;
        let now_ms = self.0.now_ms();
        let mut is_empty = true;
        for head in heads.iter().filter(|head| head.begun_ms.is_none()) {
            let is_unused = u128::from(now_ms.saturating_sub(head.touched_ms)) >= unused.as_millis();
            is_empty &= is_unused && self.remove_as_read(tenant, head).await?;
        }
        Ok(is_empty)
    }

    fn on_the_way(&self) -> Duration {
        ON_THE_WAY
    }
}

fn head_id(tenant: &Tenant, name: &str, version: u64) -> ObjectId {
    object_id(tenant, &[b"blob", name.as_bytes(), &version.to_be_bytes()])
}

/// The highest version that is whole.
fn latest(heads: &[Head]) -> Option<u64> {
    heads.iter().filter(|head| head.begun_ms.is_none()).map(|head| head.version).max()
}

fn store_error(failure: Failure) -> Error {
    StoreError::from(failure).into()
}
