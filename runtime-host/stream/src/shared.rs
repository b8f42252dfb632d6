//! Following logs that other processes follow, too: one process leads a tenant at a time,
//! and looks now and then whether the others had its log grow. That two of them work at
//! the same step does no harm, so this only saves work.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use funnelweb_tenant_store::lock;

use crate::{
    service::{Next, now_ms},
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
    /// When those that made a step did so last.
    last: Mutex<HashMap<Tenant, Instant>>,
}

impl Led {
    pub(crate) fn new(store: Arc<dyn StreamStore>) -> Self {
        Self { store, last: Mutex::default() }
    }

    /// When to try again, if it cannot be followed here, and whether another process
    /// leads.
    pub(crate) async fn wait(&self, tenant: &Tenant) -> Option<(Next, bool)> {
        if !self.store.is_shared() {
            return None;
        }
        let another = match self.store.lead(tenant).await {
            Ok(true) => return None,
            Ok(false) => true,
            Err(error) => {
                tracing::warn!(tenant = tenant.as_str(), %error, "nobody may follow the log");
                false
            }
        };
        lock(&self.last).remove(tenant);
        Some((Next::At(now_ms() + TRY_MS), another))
    }

    /// What comes after a turn of so many steps that came to `next`.
    pub(crate) async fn after(&self, tenant: &Tenant, steps: usize, next: Next) -> Next {
        if !self.store.is_shared() || next == Next::Now {
            return next;
        }
        let is_active = {
            let mut last = lock(&self.last);
            if steps > 0 {
                last.insert(tenant.clone(), Instant::now());
            }
            last.get(tenant).is_some_and(|last| last.elapsed() < IDLE)
        };
        let wake_ms = if let Next::At(at_ms) = next { Some(at_ms) } else { None };
        if is_active {
            let look_ms = now_ms() + POLL_MS;
            return Next::At(wake_ms.map_or(look_ms, |at_ms| at_ms.min(look_ms)));
        }
        lock(&self.last).remove(tenant);
        if let Err(error) = self.store.leave(tenant, wake_ms).await {
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
