//! A bounded cache of what is stored, that never holds what is no longer stored.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::Mutex,
};

use quick_cache::{Equivalent, OptionsBuilder, Weighter, sync::Cache};

use crate::lock;

/// Parts of a cache, each with its share of the bytes. Left to itself, it would
/// make more on a larger machine, and a large entry would fit in none.
const PARTS: usize = 4;

/// Generations; more than threads that could meet at one.
const SHARDS: usize = 64;

/// A cache that is filled by readers and changed by the hooks after commits
/// ([`crate::Write::after_commit`]).
///
/// A reader that found nothing takes a [`Stamp`], reads the store and offers
/// what it read with the stamp. A change advances the generation of its key
/// first, so what was read before the change is refused after it; test and
/// insertion are under one lock, so there is no moment between them. The weight
/// of a value must stay what it was when it was inserted.
pub struct FreshCache<K, V, W> {
    cache: Cache<K, V, W>,
    generations: Vec<Mutex<u64>>,
    hasher: RandomState,
}

/// A cache of at most `bytes`, as `weighter` counts them, and of about `items`
/// entries, one of which may be as large as a quarter of it all.
pub fn bounded_cache<K, V, W>(items: usize, bytes: u64, weighter: W) -> Cache<K, V, W>
where
    K: Hash + Eq,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    let options = OptionsBuilder::new().shards(PARTS).estimated_items_capacity(items).weight_capacity(bytes).build();
    match options {
        Ok(options) => Cache::with_options(options, weighter, <_>::default(), <_>::default()),
        // Not reached: all that is required was given.
        Err(_) => Cache::with_weighter(items, bytes, weighter),
    }
}

/// When a reader began to read.
#[derive(Debug, Clone, Copy)]
pub struct Stamp(u64);

impl<K, V, W> FreshCache<K, V, W>
where
    K: Hash + Eq,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    /// A cache of at most `bytes`, as `weighter` counts them.
    pub fn new(bytes: u64, weighter: W) -> Self {
        let items = usize::try_from(bytes / 1024).unwrap_or(usize::MAX);
        let cache = bounded_cache(items, bytes, weighter);
        Self { cache, generations: (0..SHARDS).map(|_| Mutex::new(0)).collect(), hasher: RandomState::new() }
    }

    /// What is known of `key`.
    pub fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        self.cache.get(key)
    }

    /// To be taken before the store is read.
    pub fn stamp<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Stamp {
        Stamp(self.generation(key).map_or(0, |generation| *lock(generation)))
    }

    /// Keeps what was read after `stamp` was taken, unless it changed since.
    pub fn offer(&self, key: K, value: V, stamp: Stamp) {
        if let Some(generation) = self.generation(&key) {
            let generation = lock(generation);
            if *generation == stamp.0 {
                self.cache.insert(key, value);
            }
        }
    }

    /// `key` changed: `change` makes the new value of the one known of it, if one
    /// is.
    pub fn change(&self, key: &K, change: impl FnOnce(V) -> V)
    where
        K: Clone,
    {
        let Some(generation) = self.generation(key) else { return };
        let mut generation = lock(generation);
        *generation += 1;
        if let Some(value) = self.cache.peek(key) {
            // Fails when it was evicted meanwhile.
            let _ = self.cache.replace(key.clone(), change(value), true);
        }
    }

    /// `key` changed to `value`.
    pub fn put(&self, key: K, value: V) {
        if let Some(generation) = self.generation(&key) {
            let mut generation = lock(generation);
            *generation += 1;
            self.cache.insert(key, value);
        }
    }

    /// `key` changed; it is read again when it is asked for.
    pub fn forget<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) {
        if let Some(generation) = self.generation(key) {
            let mut generation = lock(generation);
            *generation += 1;
            self.cache.remove(key);
        }
    }

    /// Everything that `which` is true of changed. Looks at every entry.
    pub fn forget_where(&self, which: impl Fn(&K) -> bool) {
        let mut generations: Vec<_> = self.generations.iter().map(lock).collect();
        for generation in &mut generations {
            **generation += 1;
        }
        self.cache.retain(|key, _| !which(key));
    }

    fn generation<Q: Hash + ?Sized>(&self, key: &Q) -> Option<&Mutex<u64>> {
        // Truncation keeps the low bits, which are all that is wanted.
        self.generations.get(self.hasher.hash_one(key) as usize % SHARDS)
    }
}
