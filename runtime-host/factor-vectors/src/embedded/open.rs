//! A space that is open.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use funnelweb_vector_index::{self as index, Change, Store};
use tokio::sync::Mutex as AsyncMutex;

use super::refused;
use crate::store::Error;

/// Numbers of all vectors of a space that is searched on the caller's thread: a scan
/// of so many takes less than a millisecond.
const QUICK_VALUES: usize = 8 * 1024 * 1024;

/// An index with what is known of its files.
#[derive(Debug)]
pub(super) struct Open {
    pub store: Store,
    pub space: index::Space,
    /// Held by who rebuilds it.
    pub upkeep: Arc<AsyncMutex<()>>,
    bytes: AtomicUsize,
    unsynced: AtomicBool,
    broken: AtomicBool,
    dropped: AtomicBool,
}

impl Open {
    pub fn new(store: Store, space: index::Space) -> Self {
        let bytes = AtomicUsize::new(store.memory_bytes());
        let [unsynced, broken, dropped] = [const { AtomicBool::new(false) }; 3];
        Self { store, space, upkeep: Arc::default(), bytes, unsynced, broken, dropped }
    }

    /// Bytes of memory, when it was last looked at.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Whether a query is over so soon that it need not leave the caller's thread.
    pub fn is_quick(&self) -> bool {
        self.store.len() * self.space.dimension() <= QUICK_VALUES
    }

    /// After a failed write: it takes no more, and has to be opened again.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// Whether there are changes that the machine's end would undo.
    pub fn is_unsynced(&self) -> bool {
        self.unsynced.load(Relaxed)
    }

    /// Its files are removed; who still has it is left alone.
    pub fn set_dropped(&self) {
        self.dropped.store(true, Relaxed);
    }

    pub fn is_dropped(&self) -> bool {
        self.dropped.load(Relaxed)
    }

    pub fn apply(&self, changes: &[Change]) -> Result<(), Error> {
        self.unsynced.store(true, Relaxed);
        self.noted(self.store.apply(changes))
    }

    /// Makes all changes durable.
    pub fn sync(&self) -> Result<(), Error> {
        if self.unsynced.swap(false, Relaxed) { self.noted(self.store.sync()) } else { Ok(()) }
    }

    /// Takes long, see [`Store::maintain`].
    pub fn maintain(&self) -> Result<(), Error> {
        self.noted(self.store.maintain())
    }

    fn noted(&self, result: Result<(), index::Error>) -> Result<(), Error> {
        if let Err(index::Error::File { .. } | index::Error::Broken { .. }) = &result {
            self.broken.store(true, Relaxed);
        }
        self.bytes.store(self.store.memory_bytes(), Relaxed);
        result.map_err(refused)
    }
}
