//! What is kept in memory: documents, item rows, lists of the newest items.

use std::{
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use funnelweb_core::{limits, row::ItemRow};
use funnelweb_tenant_store::{FreshCache, Overlay, bounded_cache};
use quick_cache::{Equivalent, Weighter, sync::Cache};

use crate::{
    backend::KeptList,
    profile::Move,
    store::{Collection, Document, Key, Term},
};

/// Counts the bytes of entries, with what the cache itself needs for each.
#[derive(Debug, Clone)]
pub(crate) struct Bytes;

const ENTRY_BYTES: usize = 96;

/// A document of an open file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DocumentKey {
    pub(crate) file: u64,
    pub(crate) collection: Collection,
    pub(crate) key: Key,
}

/// None: it is known that there is no such document.
type CachedDocument = Option<Arc<Document>>;

impl Weighter<DocumentKey, CachedDocument> for Bytes {
    fn weight(&self, key: &DocumentKey, value: &CachedDocument) -> u64 {
        let text = key.key.id.len() + key.key.scenario_id.len();
        (ENTRY_BYTES + 2 * text + value.as_ref().map_or(0, |document| size_of::<Document>() + document.body.len()))
            as u64
    }
}

/// An item of an open file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowKey {
    pub(crate) scenario: Arc<str>,
    pub(crate) file: u64,
    pub(crate) handle: u64,
}

/// [`RowKey`], borrowed: looking up 500 rows clones nothing.
#[derive(Clone, Copy)]
pub(crate) struct RowRef<'a> {
    pub(crate) scenario: &'a str,
    pub(crate) file: u64,
    pub(crate) handle: u64,
}

// The handle is a hash already and nearly always unique over all scenarios;
// equality compares everything.
impl Hash for RowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.handle ^ self.file.rotate_left(32));
    }
}

impl Hash for RowRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.handle ^ self.file.rotate_left(32));
    }
}

impl Equivalent<RowKey> for RowRef<'_> {
    fn equivalent(&self, key: &RowKey) -> bool {
        self.handle == key.handle && self.file == key.file && *self.scenario == *key.scenario
    }
}

/// None: it is known that there is no such item.
type CachedRow = Option<Arc<ItemRow>>;

impl Weighter<RowKey, CachedRow> for Bytes {
    fn weight(&self, key: &RowKey, value: &CachedRow) -> u64 {
        (ENTRY_BYTES + key.scenario.len() + value.as_ref().map_or(0, |row| row.bytes())) as u64
    }
}

/// A list of the newest items in an open file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ListKey {
    pub(crate) file: u64,
    pub(crate) scenario: Arc<str>,
    pub(crate) term: Option<Term>,
}

/// A list, and the epoch of its scenario when the store was read.
type CachedList = (u64, KeptList);

impl Weighter<ListKey, CachedList> for Bytes {
    fn weight(&self, key: &ListKey, (_, list): &CachedList) -> u64 {
        let term = key.term.as_ref().map_or(0, |term| term.field.len() + term.value.len());
        (ENTRY_BYTES + key.scenario.len() + term + list.bytes()) as u64
    }
}

/// Lists of the newest items. Every write to an item advances the epoch of its
/// scenario; a list counts only while the epoch is the one it was read in.
pub(crate) struct Lists {
    lists: Cache<ListKey, CachedList, Bytes>,
    /// Scenarios share epochs by hash; sharing one costs a needless read.
    epochs: Vec<AtomicU64>,
    hasher: RandomState,
}

impl Lists {
    fn new() -> Self {
        Self {
            lists: bounded_cache(10_000, limits::LIST_CACHE_BYTES, Bytes),
            epochs: (0..1024).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn epoch(&self, file: u64, scenario: &str) -> u64 {
        self.slot(file, scenario).map_or(0, |epoch| epoch.load(Ordering::Acquire))
    }

    pub(crate) fn advance(&self, file: u64, scenario: &str) {
        if let Some(epoch) = self.slot(file, scenario) {
            epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn slot(&self, file: u64, scenario: &str) -> Option<&AtomicU64> {
        // Truncation keeps the low bits, which are all that is wanted.
        self.epochs.get(self.hasher.hash_one((file, scenario)) as usize % self.epochs.len())
    }

    /// The first `limit` of a list.
    pub(crate) fn get(&self, key: &ListKey, epoch: u64, limit: u32) -> Option<Vec<u64>> {
        let (_, list) = self.lists.get(key).filter(|(read_in, _)| *read_in == epoch)?;
        list.first(limit).map(<[u64]>::to_vec)
    }

    /// Keeps a list that was read after `epoch` was taken.
    pub(crate) fn keep(&self, key: ListKey, epoch: u64, list: KeptList) {
        self.lists.insert(key, (epoch, list));
    }
}

/// Everything that is kept in memory.
pub(crate) struct Caches {
    pub(crate) documents: FreshCache<DocumentKey, CachedDocument, Bytes>,
    pub(crate) rows: FreshCache<RowKey, CachedRow, Bytes>,
    pub(crate) lists: Lists,
    /// How profiles moved that is not in the tables yet.
    pub(crate) moves: Overlay<Key, Arc<Move>>,
}

impl Caches {
    pub(crate) fn new() -> Self {
        Self {
            documents: FreshCache::new(limits::DOCUMENT_CACHE_BYTES, Bytes),
            rows: FreshCache::new(limits::ROW_CACHE_BYTES, Bytes),
            lists: Lists::new(),
            moves: Overlay::default(),
        }
    }

    /// A document was written or deleted; an item has the handle `item`.
    pub(crate) fn forget(&self, key: &DocumentKey, item: Option<u64>) {
        self.documents.forget(key);
        if let Some(handle) = item {
            let scenario = &key.key.scenario_id;
            self.rows.forget(&RowRef { scenario, file: key.file, handle });
            self.lists.advance(key.file, scenario);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of entries that weigh twice the limit together, as many are there as fit.
    fn holds(limit: u64, weight: u64, there: impl Fn(u64) -> bool) {
        let count = limit / weight * 2;
        let held = (0..count).filter(|at| there(*at)).count() as u64 * weight;
        assert!((limit / 2..=limit).contains(&held), "{held} bytes of {limit}");
    }

    #[test]
    fn each_cache_holds_as_many_bytes_as_it_may() {
        let caches = Caches::new();

        let body = " ".repeat(limits::DOCUMENT_BYTES);
        let document = Some(Arc::new(Document { key: Key::new("s", "i"), body, version: 1 }));
        let key = |at: u64| DocumentKey { file: at, collection: Collection::Items, key: Key::new("s", "i") };
        let weight = Bytes.weight(&key(0), &document);
        assert!(weight > limits::DOCUMENT_BYTES as u64);
        for at in 0..limits::DOCUMENT_CACHE_BYTES / weight * 2 {
            caches.documents.offer(key(at), document.clone(), caches.documents.stamp(&key(at)));
        }
        holds(limits::DOCUMENT_CACHE_BYTES, weight, |at| caches.documents.get(&key(at)).is_some());

        let embedding = vec![0.0; 64 * 1024];
        let fields = Vec::new();
        let row = ItemRow { id: "i".to_owned(), active: true, created_ms: 0, updated_ms: 0, fields, embedding };
        let row = Some(Arc::new(row));
        let key = |at: u64| RowKey { scenario: "s".into(), file: 1, handle: at };
        let weight = Bytes.weight(&key(0), &row);
        assert!(weight > 256 * 1024);
        for at in 0..limits::ROW_CACHE_BYTES / weight * 2 {
            caches.rows.offer(key(at), row.clone(), caches.rows.stamp(&key(at)));
        }
        holds(limits::ROW_CACHE_BYTES, weight, |at| caches.rows.get(&key(at)).is_some());

        let list = KeptList::new(vec![0; limits::CANDIDATES].into(), 1);
        let key = |at: u64| ListKey { file: at, scenario: "s".into(), term: None };
        let weight = Bytes.weight(&key(0), &(0, list.clone()));
        assert!(weight > 8 * limits::CANDIDATES as u64);
        for at in 0..limits::LIST_CACHE_BYTES / weight * 2 {
            caches.lists.keep(key(at), 0, list.clone());
        }
        holds(limits::LIST_CACHE_BYTES, weight, |at| caches.lists.get(&key(at), 0, 1).is_some());
    }
}
