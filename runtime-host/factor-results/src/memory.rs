//! The embedded backend: the memory of the process, so much of it.

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_tenant_store::bounded_cache;
use quick_cache::{Equivalent, Weighter, sync::Cache};

use crate::store::{Clock, Entry, Error, Key, ResultStore, Tenant, system_clock};

/// Bytes of a usual result: how many there are, about.
const ENTRY_BYTES: u64 = 4096;

/// Results in memory, those used least recently first to go.
pub struct MemoryResults {
    entries: Cache<Of, Entry, Bytes>,
    clock: Clock,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Of(Tenant, Key);

/// [`Of`] without a copy.
#[derive(Hash)]
struct Borrowed<'a>(&'a Tenant, &'a Key);

impl Equivalent<Of> for Borrowed<'_> {
    fn equivalent(&self, key: &Of) -> bool {
        *self.0 == key.0 && *self.1 == key.1
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Of, Entry> for Bytes {
    fn weight(&self, Of(tenant, key): &Of, entry: &Entry) -> u64 {
        let names = tenant.as_str().len() + key.scenario_id.len() + key.user_id.len() + key.hash.len();
        (256 + names + entry.value.len()) as u64
    }
}

impl Default for MemoryResults {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryResults {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(system_clock())
    }

    /// With a clock of one's own, in milliseconds since 1970.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        let items = usize::try_from(limits::RESULT_CACHE_BYTES / ENTRY_BYTES).unwrap_or(usize::MAX);
        Self { entries: bounded_cache(items, limits::RESULT_CACHE_BYTES, Bytes), clock }
    }
}

#[async_trait]
impl ResultStore for MemoryResults {
    async fn get(&self, tenant: &Tenant, key: &Key) -> Result<Option<Entry>, Error> {
        let found = self.entries.get(&Borrowed(tenant, key));
        Ok(found.filter(|entry| (self.clock)() < entry.stale_until_ms))
    }

    async fn put(&self, tenant: &Tenant, key: &Key, entry: Entry) -> Result<(), Error> {
        self.entries.insert(Of(tenant.clone(), key.clone()), entry);
        Ok(())
    }

    async fn remove(&self, tenant: &Tenant, key: &Key) -> Result<(), Error> {
        self.entries.remove(&Borrowed(tenant, key));
        Ok(())
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        self.entries.retain(|Of(of, key), _| of != tenant || key.user_id != user_id);
        Ok(())
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.entries.retain(|Of(of, key), _| of != tenant || key.scenario_id != scenario_id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::conformance::Suite;

    #[tokio::test]
    async fn it_is_a_store_of_results() {
        let now = Arc::new(AtomicU64::new(1_700_000_000_000));
        let clock = Arc::clone(&now);
        let store = MemoryResults::with_clock(Arc::new(move || clock.load(Ordering::Relaxed)));
        let time = || now.load(Ordering::Relaxed);
        let advance = |ms| {
            now.fetch_add(ms, Ordering::Relaxed);
        };
        Suite { store: &store, now_ms: &time, advance: &advance, prefix: "" }.run().await;
    }

    #[tokio::test]
    async fn it_holds_as_many_bytes_as_it_may() {
        let (store, acme) = (MemoryResults::new(), Tenant::new("acme").unwrap());
        let value: Arc<str> = "x".repeat(limits::RESULT_BYTES).into();
        let entry = Entry { value, fresh_until_ms: u64::MAX, stale_until_ms: u64::MAX };
        let key = |at: u64| Key { scenario_id: "feed".into(), user_id: String::new(), hash: format!("{at:x}") };
        let count = 2 * limits::RESULT_CACHE_BYTES / limits::RESULT_BYTES as u64;
        for at in 0..count {
            store.put(&acme, &key(at), entry.clone()).await.unwrap();
        }
        let mut held = 0;
        for at in 0..count {
            held += u64::from(store.get(&acme, &key(at)).await.unwrap().is_some()) * limits::RESULT_BYTES as u64;
        }
        assert!((limits::RESULT_CACHE_BYTES / 2..=limits::RESULT_CACHE_BYTES).contains(&held), "{held}");
    }
}
