//! What is kept in memory: documents, item rows, lists of the newest items.
//!
//! Own writes are seen at once. Of those of other processes a document is at most
//! [`DOCUMENT_AGE`] behind. Items have a stamp per scenario that changes with every
//! write ([`MongoStore::items_generation`]): it is asked for at most once in
//! [`STAMP_AGE`], and while it stays the same everything that was read of the
//! scenario's items is what is stored. When it changed, rows are compared by
//! version before they are read again. For the sake of programs that know no stamps
//! a row or list that is asked for and older than [`ROW_AGE`] is read again, beside
//! the request ([`crate::documents::refresh`]).
//!
//! Nothing is dropped for its age alone: while the server is down, what is there
//! is better than nothing (design §5.4).

use std::{
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bson::oid::ObjectId;
use funnelweb_core::{limits, row::ItemRow};
use funnelweb_factor_documents::{
    backend::KeptList,
    store::{Collection, Document, Error, Key, Tenant, Term},
};
use funnelweb_tenant_store::FreshCache;
use quick_cache::{Equivalent, Weighter, sync::Cache};

use crate::server::MongoStore;

/// How old a document may be.
pub(crate) const DOCUMENT_AGE: Duration = Duration::from_secs(1);
/// How old the stamp of a scenario's items may be.
pub(crate) const STAMP_AGE: Duration = Duration::from_millis(900);
/// How old a row or list may be, whose scenario has the same stamp, before it is read
/// again.
pub(crate) const ROW_AGE: Duration = Duration::from_secs(60);
/// Scenarios whose stamps are remembered.
const STAMPS: usize = 10_000;

/// Counts the bytes of entries, with what the cache itself needs for each.
#[derive(Debug, Clone)]
pub(crate) struct Bytes;

const ENTRY_BYTES: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DocumentKey {
    pub(crate) tenant: Tenant,
    pub(crate) collection: Collection,
    pub(crate) key: Key,
}

/// What was read, and when.
#[derive(Debug, Clone)]
pub(crate) struct Kept<T> {
    pub(crate) value: T,
    pub(crate) read: Instant,
    /// Of an item: the generation of its scenario when it was read.
    pub(crate) generation: u64,
}

impl<T> Kept<T> {
    /// Whether it is what is stored, as far as that can be known without asking.
    pub(crate) fn holds(&self, generation: u64) -> bool {
        self.generation == generation
    }

    /// Whether it holds and was read so long ago that somebody who knows no stamps may
    /// have changed it.
    pub(crate) fn is_old(&self, generation: u64) -> bool {
        self.holds(generation) && self.read.elapsed() >= ROW_AGE
    }
}

/// None: it is known that there is no such document.
pub(crate) type KeptDocument = Kept<Option<Arc<Document>>>;

impl Weighter<DocumentKey, KeptDocument> for Bytes {
    fn weight(&self, key: &DocumentKey, kept: &KeptDocument) -> u64 {
        let text = key.key.id.len() + key.key.scenario_id.len();
        let document = kept.value.as_ref().map_or(0, |document| size_of::<Document>() + document.body.len());
        (ENTRY_BYTES + 2 * text + document) as u64
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowKey {
    pub(crate) tenant: Tenant,
    pub(crate) scenario: Arc<str>,
    pub(crate) handle: u64,
}

/// [`RowKey`], borrowed: looking up 500 rows clones nothing.
#[derive(Clone, Copy)]
pub(crate) struct RowRef<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) scenario: &'a str,
    pub(crate) handle: u64,
}

// The handle is a hash already; equality compares everything.
impl Hash for RowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.handle);
    }
}

impl Hash for RowRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.handle);
    }
}

impl Equivalent<RowKey> for RowRef<'_> {
    fn equivalent(&self, key: &RowKey) -> bool {
        self.handle == key.handle && *self.scenario == *key.scenario && *self.tenant == key.tenant
    }
}

/// A row with its version; none when it is known that there is no such item.
pub(crate) type KeptRow = Kept<Option<(u64, Arc<ItemRow>)>>;

impl Weighter<RowKey, KeptRow> for Bytes {
    fn weight(&self, key: &RowKey, kept: &KeptRow) -> u64 {
        (ENTRY_BYTES + key.scenario.len() + kept.value.as_ref().map_or(0, |(_, row)| row.bytes())) as u64
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ListKey {
    pub(crate) tenant: Tenant,
    pub(crate) scenario: Arc<str>,
    pub(crate) term: Option<Term>,
}

impl Weighter<ListKey, Kept<KeptList>> for Bytes {
    fn weight(&self, key: &ListKey, kept: &Kept<KeptList>) -> u64 {
        let term = key.term.as_ref().map_or(0, |term| term.field.len() + term.value.len());
        (ENTRY_BYTES + key.scenario.len() + term + kept.value.bytes()) as u64
    }
}

/// What is known of a scenario's items. Numbers stand for states of them: as long
/// as one is the same, what was read under it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation {
    /// Of items; own writes leave it, as they forget what they change.
    pub(crate) items: u64,
    /// Of lists of items.
    pub(crate) lists: u64,
}

#[derive(Debug, Clone, Copy)]
struct Stamped {
    stamp: Option<ObjectId>,
    generation: Generation,
    asked: Instant,
}

/// Everything that is kept in memory.
pub(crate) struct Caches {
    pub(crate) documents: FreshCache<DocumentKey, KeptDocument, Bytes>,
    pub(crate) rows: FreshCache<RowKey, KeptRow, Bytes>,
    pub(crate) lists: Cache<ListKey, Kept<KeptList>, Bytes>,
    stamps: Cache<(Tenant, Arc<str>), Stamped>,
    next: AtomicU64,
}

impl Caches {
    pub(crate) fn new() -> Self {
        Self {
            documents: FreshCache::new(limits::DOCUMENT_CACHE_BYTES, Bytes),
            rows: FreshCache::new(limits::ROW_CACHE_BYTES, Bytes),
            lists: Cache::with_weighter(10_000, limits::LIST_CACHE_BYTES, Bytes),
            stamps: Cache::new(STAMPS),
            next: AtomicU64::new(1),
        }
    }

    fn new_generation(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A document was written or deleted; an item has the handle `item`.
    pub(crate) fn forget(&self, key: &DocumentKey, item: Option<u64>) {
        self.documents.forget(key);
        if let Some(handle) = item {
            self.rows.forget(&RowRef { tenant: &key.tenant, scenario: &key.key.scenario_id, handle });
        }
    }

    /// Nothing that is kept of the scenario's items is to be trusted unseen.
    fn distrust(&self, key: (Tenant, Arc<str>), stamp: Option<ObjectId>) -> Generation {
        let generation = Generation { items: self.new_generation(), lists: self.new_generation() };
        self.stamps.insert(key, Stamped { stamp, generation, asked: Instant::now() });
        generation
    }
}

impl MongoStore {
    /// What is known of the scenario's items, at most [`STAMP_AGE`] old; the last
    /// that was known when the server does not answer.
    pub(crate) async fn items_generation(&self, tenant: &Tenant, scenario: &str) -> Result<Generation, Error> {
        let key = (tenant.clone(), Arc::from(scenario));
        let fresh = || self.caches.stamps.get(&key).filter(|stamped| stamped.asked.elapsed() < STAMP_AGE);
        if let Some(stamped) = fresh() {
            return Ok(stamped.generation);
        }
        let _one = self.locks.stamps.hold(&key).await;
        if let Some(stamped) = fresh() {
            return Ok(stamped.generation);
        }
        let known = self.caches.stamps.get(&key);
        match (self.items_stamp(tenant, scenario).await, known) {
            (Ok(stamp), Some(known)) if known.stamp == stamp => {
                self.caches.stamps.insert(key, Stamped { asked: Instant::now(), ..known });
                Ok(known.generation)
            }
            (Ok(stamp), _) => Ok(self.caches.distrust(key, stamp)),
            (Err(_), Some(known)) => Ok(known.generation),
            (Err(failure), None) => Err(failure.into()),
        }
    }

    /// Items of the scenario were written, and what is kept of them was
    /// forgotten: has everybody else find out.
    pub(crate) async fn items_changed(&self, tenant: &Tenant, scenario: &str) {
        let key = (tenant.clone(), Arc::<str>::from(scenario));
        let stamp = ObjectId::new();
        let before = self.stamp_items(tenant, scenario, stamp).await;
        let _one = self.locks.stamps.hold(&key).await;
        match (before, self.caches.stamps.get(&key)) {
            // Nobody else wrote since it was read: the rest is as it was.
            (Ok(before), Some(known)) if known.stamp == before || known.stamp == Some(stamp) => {
                let generation = Generation { lists: self.caches.new_generation(), ..known.generation };
                self.caches.stamps.insert(key, Stamped { stamp: Some(stamp), generation, asked: Instant::now() });
            }
            (Ok(_), _) => {
                self.caches.distrust(key, Some(stamp));
            }
            (Err(failure), known) => {
                // The write itself is done. Other processes see it when theirs is
                // too old, or with the next one.
                tracing::warn!(%tenant, scenario, ?failure, "the stamp of the items could not be changed");
                self.caches.distrust(key, known.and_then(|known| known.stamp));
            }
        }
    }

    /// It is not known what became of a write to the scenario's items.
    pub(crate) fn items_unknown(&self, tenant: &Tenant, scenario: &str) {
        let key = (tenant.clone(), Arc::<str>::from(scenario));
        let known = self.caches.stamps.get(&key).and_then(|known| known.stamp);
        self.caches.distrust(key, known);
    }
}
