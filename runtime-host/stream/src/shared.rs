//! Following logs that other processes follow, too: one process leads a tenant at a time,
//! and looks now and then whether the others had its log grow. That two of them work at
//! the same step does no harm, so this only saves work.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use funnelweb_tenant_store::lock;

use crate::{
    service::{Next, Side, now_ms},
    store::{StreamStore, Tenant},
};

/// How often it is looked whose turn comes.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// Between two looks at a log that may grow elsewhere.
const POLL_MS: u64 = 200;
/// Time without a step after which another process may lead.
const IDLE: Duration = Duration::from_secs(5);
/// Time after which it is tried again to lead.
const TRY_MS: u64 = 2_000;
/// Between two looks for tenants whom nobody follows though somebody must.
const LOOK: Duration = Duration::from_secs(10);

/// The tenants that this process leads.
pub(crate) struct Led {
    store: Arc<dyn StreamStore>,
    at_work: Mutex<HashMap<Tenant, AtWork>>,
}

/// What the operators of a tenant that is led are at.
#[derive(Default)]
struct AtWork {
    /// When one of them made a step last.
    last: Option<Instant>,
    /// Those that have a turn.
    busy: HashSet<Side>,
    /// When there is something to do again, by side, in milliseconds since 1970.
    wakes: HashMap<Side, u64>,
}

impl Led {
    pub(crate) fn new(store: Arc<dyn StreamStore>) -> Self {
        Self { store, at_work: Mutex::default() }
    }

    /// When to try again, if it cannot be followed here, and whether another process
    /// leads.
    pub(crate) async fn wait(&self, tenant: &Tenant, side: Side) -> Option<(Next, bool)> {
        if !self.store.is_shared() {
            return None;
        }
        let another = match self.store.lead(tenant).await {
            Ok(true) => {
                lock(&self.at_work).entry(tenant.clone()).or_default().busy.insert(side);
                return None;
            }
            Ok(false) => true,
            Err(error) => {
                tracing::warn!(tenant = tenant.as_str(), %error, "nobody may follow the log");
                false
            }
        };
        lock(&self.at_work).remove(tenant);
        Some((Next::At(now_ms() + TRY_MS), another))
    }

    /// Those of a side have nothing to do, and no time at which they will; or panicked.
    pub(crate) fn rest(&self, tenant: &Tenant, side: Side) {
        if let Some(of) = lock(&self.at_work).get_mut(tenant) {
            of.busy.remove(&side);
            of.wakes.remove(&side);
        }
    }

    /// What comes after a turn of so many steps that came to `next`. The tenant is left
    /// when neither side has had a step for a while, has a turn, or has `failed`.
    pub(crate) async fn after(&self, tenant: &Tenant, side: Side, steps: usize, next: Next, failed: bool) -> Next {
        if !self.store.is_shared() {
            return next;
        }
        let wake_ms = if let Next::At(at_ms) = next { Some(at_ms) } else { None };
        let (is_active, first_ms) = {
            let mut at_work = lock(&self.at_work);
            let of = at_work.entry(tenant.clone()).or_default();
            of.busy.remove(&side);
            if steps > 0 || next == Next::Now {
                of.last = Some(Instant::now());
            }
            match wake_ms {
                Some(at_ms) => drop(of.wakes.insert(side, at_ms)),
                None => drop(of.wakes.remove(&side)),
            }
            let is_active = !of.busy.is_empty() || of.last.is_some_and(|last| last.elapsed() < IDLE);
            let first_ms = of.wakes.values().min().copied();
            if !is_active && !failed {
                at_work.remove(tenant);
            }
            (is_active, first_ms)
        };
        if failed || next == Next::Now {
            return next;
        }
        if is_active {
            let look_ms = now_ms() + POLL_MS;
            return Next::At(wake_ms.map_or(look_ms, |at_ms| at_ms.min(look_ms)));
        }
        if let Err(error) = self.store.leave(tenant, first_ms).await {
            // It ends by itself.
            tracing::debug!(tenant = tenant.as_str(), %error, "a log is not left");
        }
        next
    }

    /// The tenants whom nobody follows though somebody must, from time to time.
    pub(crate) async fn abandoned(&self) -> Vec<Tenant> {
        if !self.store.is_shared() {
            return std::future::pending().await;
        }
        tokio::time::sleep(LOOK).await;
        self.store.abandoned().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "it cannot be told which logs nobody follows");
            Vec::new()
        })
    }
}
