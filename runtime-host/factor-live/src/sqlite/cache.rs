//! What is kept in memory.

use std::collections::HashMap;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use funnelweb_core::{counter::SERVED_PLACES, limits};
use funnelweb_tenant_store::{FreshCache, Overlay, lock};
use quick_cache::Weighter;

use crate::{
    exposures::{ExposureSet, Shown},
    hot::HotList,
    served::Served,
};

/// Names a structure of an open file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LiveKey {
    Hot { file: u64, scenario: Arc<str> },
    Exposed { file: u64, scenario: Arc<str>, user: Arc<str> },
    Stats { file: u64, handle: u64 },
}

/// Counters of an item: few, so they are looked through.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The journal's number up to which they have everything.
    as_of: u64,
    /// The same of batches of places served.
    served_as_of: u64,
    values: Vec<(Box<str>, f64)>,
}

impl Counters {
    pub(crate) fn new(as_of: u64, served_as_of: u64, values: Vec<(Box<str>, f64)>) -> Self {
        Self { as_of, served_as_of, values }
    }

    /// Adds what is committed under the number `seq`, unless it is in already.
    pub(crate) fn add<'a>(&mut self, seq: u64, amounts: impl Iterator<Item = (&'a str, f64)>) {
        if seq <= self.as_of {
            return;
        }
        self.as_of = seq;
        for (field, amount) in amounts {
            self.add_one(field, amount);
        }
    }

    /// Adds places served that are committed as part of a batch, unless they are in
    /// already.
    pub(crate) fn add_served(&mut self, batch: u64, count: f64) {
        if batch > self.served_as_of {
            self.served_as_of = batch;
            self.add_one(SERVED_PLACES, count);
        }
    }

    /// Those of pending places that are not in.
    pub(crate) fn lacking(&self, pending: &[(u64, f64)]) -> f64 {
        pending.iter().filter(|(batch, _)| *batch > self.served_as_of).map(|(_, count)| count).sum()
    }

    /// Adds to one counter.
    pub(crate) fn add_one(&mut self, field: &str, amount: f64) {
        match self.values.iter_mut().find(|(name, _)| **name == *field) {
            Some((_, value)) => *value += amount,
            None => self.values.push((field.into(), amount)),
        }
    }

    /// 0 when it was never counted.
    pub(crate) fn get(&self, field: &str) -> f64 {
        self.values.iter().find(|(name, _)| **name == *field).map_or(0.0, |(_, value)| *value)
    }
}

/// A structure in memory.
#[derive(Debug, Clone)]
pub(crate) enum Structure {
    Hot(Arc<Mutex<HotList>>),
    Exposed(Arc<Mutex<ExposureSet>>),
    Stats(Arc<Mutex<Counters>>),
}

/// A structure and its size when it was put into the cache: it changes in place,
/// and the cache must count off what it counted on.
#[derive(Debug, Clone)]
pub(crate) struct Cached {
    pub(crate) structure: Structure,
    bytes: usize,
}

impl Cached {
    pub(crate) fn new(structure: Structure) -> Self {
        let bytes = match &structure {
            Structure::Hot(list) => lock(list).bytes(),
            Structure::Exposed(set) => lock(set).bytes(),
            Structure::Stats(counters) => lock(counters).values.iter().map(|(field, _)| 24 + field.len()).sum(),
        };
        Self { structure, bytes }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Bytes;

impl Weighter<LiveKey, Cached> for Bytes {
    fn weight(&self, key: &LiveKey, value: &Cached) -> u64 {
        let names = match key {
            LiveKey::Hot { scenario, .. } => scenario.len(),
            LiveKey::Exposed { scenario, user, .. } => scenario.len() + user.len(),
            LiveKey::Stats { .. } => 0,
        };
        (128 + names + value.bytes) as u64
    }
}

/// What one call showed, under the call's number.
type Ticketed = (u64, Arc<Shown>);

/// Everything that is kept in memory.
pub(crate) struct Memory {
    /// As committed.
    pub(crate) cache: FreshCache<LiveKey, Cached, Bytes>,
    /// What counters got that is not in the tables yet.
    pub(crate) counts: Overlay<u64, (Arc<str>, f64)>,
    /// Places served that are not in the tables yet, by file and handle.
    pub(crate) served: Served<u64, u64>,
    /// What was shown by calls that have returned and are not committed yet.
    unflushed: Mutex<HashMap<LiveKey, Vec<Ticketed>>>,
    tickets: AtomicU64,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            cache: FreshCache::new(limits::LIVE_CACHE_BYTES, Bytes),
            counts: Overlay::default(),
            served: Served::default(),
            unflushed: Mutex::default(),
            tickets: AtomicU64::new(0),
        }
    }

    /// What is known of `key`.
    pub(crate) fn get(&self, key: &LiveKey) -> Option<Structure> {
        self.cache.get(key).map(|cached| cached.structure)
    }

    /// Changes what is known of `key`, in place.
    pub(crate) fn change(&self, key: &LiveKey, change: impl FnOnce(&Structure)) {
        self.cache.change(key, |cached| {
            change(&cached.structure);
            Cached::new(cached.structure)
        });
    }

    /// Makes `shown` visible until the guard is dropped: after the commit and
    /// after the committed set in memory has it, or when its write failed.
    pub(crate) fn show(self: &Arc<Self>, key: LiveKey, shown: Arc<Shown>) -> Unflushed {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        lock(&self.unflushed).entry(key.clone()).or_default().push((ticket, shown));
        Unflushed { memory: self.clone(), key, ticket }
    }

    /// What is visible only here. To be asked before the committed set.
    pub(crate) fn unflushed(&self, key: &LiveKey) -> Vec<Arc<Shown>> {
        let unflushed = lock(&self.unflushed);
        unflushed.get(key).map_or_else(Vec::new, |shown| shown.iter().map(|(_, shown)| shown.clone()).collect())
    }
}

/// Keeps one call's items visible.
pub(crate) struct Unflushed {
    memory: Arc<Memory>,
    key: LiveKey,
    ticket: u64,
}

impl Unflushed {
    pub(crate) fn key(&self) -> &LiveKey {
        &self.key
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }
}

impl Drop for Unflushed {
    fn drop(&mut self) {
        let mut unflushed = lock(&self.memory.unflushed);
        if let Some(shown) = unflushed.get_mut(&self.key) {
            shown.retain(|(ticket, _)| *ticket != self.ticket);
            if shown.is_empty() {
                unflushed.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_as_many_bytes_as_it_may() {
        let memory = Memory::new();
        let field: Box<str> = "x".repeat(1 << 20).into();
        let counters = Counters::new(0, 0, vec![(field, 1.0)]);
        let cached = Cached::new(Structure::Stats(Arc::new(Mutex::new(counters))));
        let key = |at: u64| LiveKey::Stats { file: 1, handle: at };
        let weight = Bytes.weight(&key(0), &cached);
        assert!(weight > 1 << 20);
        let count = limits::LIVE_CACHE_BYTES / weight * 2;
        for at in 0..count {
            memory.cache.offer(key(at), cached.clone(), memory.cache.stamp(&key(at)));
        }
        let held = (0..count).filter(|at| memory.get(&key(*at)).is_some()).count() as u64 * weight;
        assert!((limits::LIVE_CACHE_BYTES / 2..=limits::LIVE_CACHE_BYTES).contains(&held), "{held}");
    }
}
