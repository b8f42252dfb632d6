//! Places served, from memory to the items' counters.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use funnelweb_core::counter::SERVED_PLACES;
use funnelweb_factor_live::{
    served::{Batch, Served},
    store::{CountAdd, Error, Tenant},
};

use super::RedisLive;

/// How long a batch is remembered as applied: it is written again within seconds, or
/// after an outage, and there are five a second.
const MARK_S: u32 = 60;

/// What this process counts. The numbers of its batches are its own, and their names
/// no other process's.
pub(super) struct Places {
    pub(super) served: Served<Tenant, String>,
    process: u64,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { served: Served::default(), process: RandomState::new().hash_one("served") }
    }

    fn batch(&self, number: u64) -> u128 {
        u128::from(self.process) << 64 | u128::from(number)
    }
}

impl RedisLive {
    /// Counts a place for each of these items. This process sees it from here on; the
    /// server follows, and nobody waits for it.
    pub(super) fn serve(&self, tenant: &Tenant, item_ids: &[String]) {
        let Some(turn) = self.places.served.add(tenant, item_ids.iter().cloned()) else { return };
        let (live, tenant) = (self.clone(), tenant.clone());
        tokio::spawn(async move {
            let write = |batches| live.write_places(&tenant, batches);
            live.places.served.write_behind(turn, tenant.clone(), write).await;
        });
    }

    /// Writes everything that was counted.
    pub(super) async fn settle_served(&self, tenant: &Tenant) -> Result<(), Error> {
        let batches = self.places.served.take(tenant);
        let Some(last) = batches.last().map(|batch| batch.number) else { return Ok(()) };
        self.write_places(tenant, batches).await?;
        self.places.served.written(tenant, last);
        Ok(())
    }

    async fn write_places(&self, tenant: &Tenant, batches: Vec<Arc<Batch<String>>>) -> Result<(), Error> {
        for batch in batches {
            let add = |(item_id, count): (&String, &f64)| {
                let (item_id, field) = (item_id.clone(), SERVED_PLACES.to_owned());
                CountAdd { item_id, field, amount: *count }
            };
            let counts = batch.counts.iter().map(add).collect();
            self.count(tenant, self.places.batch(batch.number), counts, MARK_S).await?;
        }
        Ok(())
    }
}
