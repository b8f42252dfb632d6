//! The `results` capability on Redis.

use async_trait::async_trait;
use funnelweb_factor_results::store::{Clock, Entry, Error, Key, ResultStore, Tenant, system_clock};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    command::{Command, bytes},
    store::RedisStore,
};

/// Keys that are deleted together.
const UNLINKED: usize = 500;

/// Results in Redis, for every process that works on it: a string
/// `recommend:{tenant}:{scenario}:{user}:{hash}`, JSON, that lives for as long as the result
/// may be used. Whether it is still fresh is told by the clock of whoever reads it: clocks of
/// processes that share a Redis must agree to some seconds.
#[derive(Clone)]
pub struct RedisResults {
    store: RedisStore,
    clock: Clock,
}

/// What stands under a key.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    fresh_until_ms: u64,
    stale_until_ms: u64,
    #[serde(borrow)]
    result: &'a RawValue,
}

impl RedisResults {
    /// The results on this server.
    #[must_use]
    pub fn new(store: RedisStore) -> Self {
        Self::with_clock(store, system_clock())
    }

    /// With a clock of one's own, in milliseconds since 1970.
    #[must_use]
    pub fn with_clock(store: RedisStore, clock: Clock) -> Self {
        Self { store, clock }
    }

    fn key(&self, tenant: &Tenant, key: &Key) -> String {
        self.store.keys().result(tenant, &key.scenario_id, &key.user_id, &key.hash)
    }

    /// Deletes what a pattern finds.
    async fn unlink(&self, pattern: &str) -> Result<(), Error> {
        let found = self.store.scan(pattern).await?;
        for keys in found.chunks(UNLINKED) {
            // One command each: they are on different nodes.
            self.store.run(keys.iter().map(|key| Command::new("UNLINK", key)).collect()).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl ResultStore for RedisResults {
    async fn get(&self, tenant: &Tenant, key: &Key) -> Result<Option<Entry>, Error> {
        let Some(text) = bytes(self.store.run_one(Command::new("GET", &self.key(tenant, key))).await?) else {
            return Ok(None);
        };
        // What another program put there is none of ours.
        let Ok(stored) = serde_json::from_slice::<Stored<'_>>(&text) else { return Ok(None) };
        let Stored { fresh_until_ms, stale_until_ms, result } = stored;
        let entry = Entry { value: result.get().into(), fresh_until_ms, stale_until_ms };
        Ok(Some(entry).filter(|entry| (self.clock)() < entry.stale_until_ms))
    }

    async fn put(&self, tenant: &Tenant, key: &Key, entry: Entry) -> Result<(), Error> {
        let left_ms = entry.stale_until_ms.saturating_sub((self.clock)());
        if left_ms == 0 {
            return Ok(());
        }
        let not_json = |error: serde_json::Error| Error::invalid("value", error);
        let result: &RawValue = serde_json::from_str(&entry.value).map_err(not_json)?;
        let Entry { fresh_until_ms, stale_until_ms, .. } = entry;
        let stored = serde_json::to_vec(&Stored { fresh_until_ms, stale_until_ms, result }).map_err(not_json)?;
        let set = Command::new("SET", &self.key(tenant, key)).arg(stored).arg("PX").arg(left_ms);
        self.store.run_one(set).await.map(drop)
    }

    async fn remove(&self, tenant: &Tenant, key: &Key) -> Result<(), Error> {
        self.store.run_one(Command::new("UNLINK", &self.key(tenant, key))).await.map(drop)
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        self.unlink(&self.store.keys().results_of(tenant, user_id)).await
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.unlink(&self.store.keys().results_in(tenant, scenario_id)).await
    }
}
