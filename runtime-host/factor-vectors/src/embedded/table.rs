//! The spaces that are open, and which of them are closed again.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use funnelweb_core::limits;
use funnelweb_tenant_store::lock;
use tokio::sync::Mutex as AsyncMutex;

use super::{Name, open::Open};
use crate::store::Tenant;

/// What open spaces may take.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    /// Bytes of memory of all.
    pub bytes: usize,
    /// Bytes of memory of a tenant's.
    pub tenant_bytes: usize,
    /// How many, as each has a file open.
    pub spaces: usize,
    /// Time after which one that nobody asks for is closed.
    pub idle: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            bytes: limits::VECTOR_BYTES,
            tenant_bytes: limits::TENANT_VECTOR_BYTES,
            spaces: limits::OPEN_SPACES,
            idle: Duration::from_secs(15 * 60),
        }
    }
}

/// Spaces by name.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Mutex<HashMap<Name, Entry>>,
    uses: AtomicU64,
    pub budget: Budget,
}

#[derive(Debug)]
struct Entry {
    /// Nothing before it is opened.
    open: Option<Arc<Open>>,
    /// Held by who opens, makes or removes the space.
    gate: Arc<AsyncMutex<()>>,
    used: u64,
    at: Instant,
}

/// What a tenant has open.
#[derive(Default)]
struct Share {
    bytes: usize,
    /// Of the space used last.
    used: u64,
}

impl Table {
    pub fn new(budget: Budget) -> Self {
        Self { budget, ..Self::default() }
    }

    /// The space, if it is open and of use.
    pub fn ready(&self, name: &Name) -> Option<Arc<Open>> {
        let mut entries = lock(&self.entries);
        let entry = entries.get_mut(name)?;
        entry.used = self.uses.fetch_add(1, Relaxed);
        entry.at = Instant::now();
        // References are given out under this lock only, so one that nobody else
        // holds now can be closed.
        if entry.open.as_ref().is_some_and(|open| open.is_broken() && Arc::strong_count(open) == 1) {
            entry.open = None;
        }
        entry.open.clone()
    }

    /// What is to be held to open, make or remove the space.
    pub fn gate(&self, name: &Name) -> Arc<AsyncMutex<()>> {
        let mut entries = lock(&self.entries);
        let new = || Entry { open: None, gate: Arc::default(), used: 0, at: Instant::now() };
        let entry = entries.entry(name.clone()).or_insert_with(new);
        entry.used = self.uses.fetch_add(1, Relaxed);
        Arc::clone(&entry.gate)
    }

    /// It was opened; the gate is held.
    pub fn put(&self, name: &Name, open: &Arc<Open>) {
        if let Some(entry) = lock(&self.entries).get_mut(name) {
            entry.open = Some(Arc::clone(open));
        }
    }

    /// It is to be removed; the gate is held.
    pub fn take(&self, name: &Name) -> Option<Arc<Open>> {
        lock(&self.entries).get_mut(name)?.open.take()
    }

    /// Whether it is, without using it.
    #[cfg(test)]
    pub fn is_open(&self, name: &Name) -> bool {
        lock(&self.entries).get(name).is_some_and(|entry| entry.open.is_some())
    }

    /// All that are open.
    pub fn all(&self) -> Vec<Arc<Open>> {
        lock(&self.entries).values().filter_map(|entry| entry.open.clone()).collect()
    }

    /// Forgets the names of what is neither open nor asked for.
    pub fn tidy(&self) {
        lock(&self.entries).retain(|_, entry| entry.open.is_some() || Arc::strong_count(&entry.gate) > 1);
    }

    /// Closes those used least recently until the others are within the budget, and
    /// those that are idle. It waits for the disk.
    pub fn trim(&self) {
        while let Some((name, open)) = self.superfluous() {
            if let Err(error) = open.sync() {
                tracing::warn!(%name, %error, "vectors were not made durable");
            }
            if !self.close(&name, &open) {
                // Someone asks for it again.
                return;
            }
        }
    }

    /// The next to be closed.
    fn superfluous(&self) -> Option<(Name, Arc<Open>)> {
        let entries = lock(&self.entries);
        let open = || entries.iter().filter_map(|(name, entry)| Some((name, entry, entry.open.as_ref()?)));
        let mut all = Share::default();
        let mut tenants: HashMap<&Tenant, Share> = HashMap::new();
        for (name, entry, open) in open() {
            for share in [&mut all, tenants.entry(&name.tenant).or_default()] {
                share.bytes += open.bytes();
                share.used = share.used.max(entry.used);
            }
        }
        let too_many = all.bytes > self.budget.bytes || open().count() > self.budget.spaces;
        let goes = |(name, entry, open): &(&Name, &Entry, &Arc<Open>)| {
            let of_tenant = |share: &Share| share.bytes > self.budget.tenant_bytes && entry.used != share.used;
            let over = too_many && entry.used != all.used || tenants.get(&name.tenant).is_some_and(of_tenant);
            Arc::strong_count(open) == 1 && (over || entry.at.elapsed() > self.budget.idle)
        };
        let next = open().filter(goes).min_by_key(|(_, entry, _)| entry.used);
        next.map(|(name, _, open)| (name.clone(), Arc::clone(open)))
    }

    fn close(&self, name: &Name, open: &Arc<Open>) -> bool {
        let mut entries = lock(&self.entries);
        let Some(entry) = entries.get_mut(name) else { return false };
        let same = entry.open.as_ref().is_some_and(|other| Arc::ptr_eq(other, open));
        let idle = same && Arc::strong_count(open) == 2 && (!open.is_unsynced() || open.is_broken());
        if idle {
            entry.open = None;
        }
        idle
    }
}
