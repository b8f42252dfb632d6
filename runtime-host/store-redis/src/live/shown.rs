//! What users were shown, read ahead: a recommendation reads the user's profile
//! first and what the user was shown next, so both come in one round trip.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use funnelweb_core::limits;
use funnelweb_tenant_store::{FreshCache, Stamp, Tenant};
use quick_cache::{Weighter, sync::Cache};

/// How long it is kept: from one call of a recommendation to the next. What
/// another process shows the user meanwhile is not seen.
const KEPT: Duration = Duration::from_millis(200);
/// Readings ahead that nobody asked for, in a row, before a scenario has no more:
/// it does not look at exposures.
const UNWANTED: u32 = 8;
/// Scenarios of which it is known.
const SCENARIOS: usize = 10_000;

type Name = (Tenant, Arc<str>, Arc<str>);

#[derive(Clone)]
struct Bytes;

impl Weighter<Name, (Instant, Arc<[u64]>)> for Bytes {
    fn weight(&self, (tenant, scenario, user): &Name, (_, shown): &(Instant, Arc<[u64]>)) -> u64 {
        (128 + tenant.as_str().len() + scenario.len() + user.len() + 8 * shown.len()) as u64
    }
}

/// Readings ahead, each for one use.
pub(super) struct Shown {
    ahead: FreshCache<Name, (Instant, Arc<[u64]>), Bytes>,
    unwanted: Cache<(Tenant, Arc<str>), u32>,
}

impl Shown {
    pub(super) fn new() -> Self {
        // They are small and short-lived; most of the bytes are for hot lists.
        Self { ahead: FreshCache::new(limits::LIVE_CACHE_BYTES / 8, Bytes), unwanted: Cache::new(SCENARIOS) }
    }

    /// Whether the scenario looks at exposures, as far as is known.
    pub(super) fn is_wanted(&self, tenant: &Tenant, scenario_id: &str) -> bool {
        let name = (tenant.clone(), scenario_id.into());
        let unwanted = self.unwanted.get(&name).unwrap_or(0);
        if unwanted < UNWANTED {
            self.unwanted.insert(name, unwanted + 1);
        }
        unwanted < UNWANTED
    }

    /// To be taken before it is read.
    pub(super) fn stamp(&self, tenant: &Tenant, scenario_id: &str, user_id: &str) -> Stamp {
        self.ahead.stamp(&name(tenant, scenario_id, user_id))
    }

    /// Keeps what was read after the stamp was taken.
    pub(super) fn offer(&self, tenant: &Tenant, scenario_id: &str, user_id: &str, shown: Vec<u64>, stamp: Stamp) {
        self.ahead.offer(name(tenant, scenario_id, user_id), (Instant::now(), shown.into()), stamp);
    }

    /// What was read ahead, once.
    pub(super) fn take(&self, tenant: &Tenant, scenario_id: &str, user_id: &str) -> Option<Vec<u64>> {
        self.unwanted.insert((tenant.clone(), scenario_id.into()), 0);
        let name = name(tenant, scenario_id, user_id);
        let (at, shown) = self.ahead.get(&name)?;
        self.ahead.forget(&name);
        (at.elapsed() < KEPT).then(|| shown.to_vec())
    }

    /// It changed.
    pub(super) fn forget(&self, tenant: &Tenant, scenario_id: &str, user_id: &str) {
        self.ahead.forget(&name(tenant, scenario_id, user_id));
    }

    /// It changed for every user of the scenario.
    pub(super) fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) {
        self.ahead.forget_where(|(of, scenario, _)| of == tenant && **scenario == *scenario_id);
    }
}

fn name(tenant: &Tenant, scenario_id: &str, user_id: &str) -> Name {
    (tenant.clone(), scenario_id.into(), user_id.into())
}
