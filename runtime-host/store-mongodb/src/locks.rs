//! Locks within this process. Where the server tests and changes in one step they
//! only save repeated work; where it does not they are what makes a change whole.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, Hash, RandomState},
};

use tokio::sync::{Mutex, MutexGuard};

/// Locks of one kind, unless said otherwise; unrelated keys share one now and then and
/// just wait.
pub(crate) const STRIPES: usize = 256;

/// A fixed number of locks over any number of keys.
pub(crate) struct Stripes {
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Stripes {
    fn new(stripes: usize) -> Self {
        Self { stripes: (0..stripes.max(1)).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }

    fn place(&self, key: impl Hash) -> usize {
        // Truncation keeps the low bits, which are all that is wanted.
        self.hasher.hash_one(key) as usize % self.stripes.len()
    }

    /// Holds the lock of one key.
    pub(crate) async fn hold(&self, key: impl Hash) -> Option<MutexGuard<'_, ()>> {
        Some(self.stripes.get(self.place(key))?.lock().await)
    }

    /// Holds the locks of all keys, taken in one order so that nobody waits in a
    /// circle.
    pub(crate) async fn hold_all(&self, keys: impl Iterator<Item = impl Hash>) -> Vec<MutexGuard<'_, ()>> {
        let places: BTreeSet<usize> = keys.map(|key| self.place(key)).collect();
        let mut held = Vec::with_capacity(places.len());
        for stripe in places.into_iter().filter_map(|place| self.stripes.get(place)) {
            held.push(stripe.lock().await);
        }
        held
    }
}

/// All locks of a store. Who holds one of a kind takes only those of kinds below: of
/// its own kind another key may have the same one.
pub(crate) struct Locks {
    /// Of what operators keep, while a step is written down and applied.
    pub(crate) streams: Stripes,
    /// Of documents, while they are read and written back.
    pub(crate) documents: Stripes,
    /// Of entries of our own bookkeeping.
    pub(crate) state: Stripes,
    /// Of what is being read into a cache, so that many askers cost one question.
    pub(crate) flights: Stripes,
    /// Of the stamps of scenarios' items, while they are asked for.
    pub(crate) stamps: Stripes,
}

impl Locks {
    pub(crate) fn new(stripes: usize) -> Self {
        let [streams, documents, state, flights, stamps] = std::array::from_fn(|_| Stripes::new(stripes));
        Self { streams, documents, state, flights, stamps }
    }
}
