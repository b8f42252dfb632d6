//! Following the logs: a tenant's operators run whenever its log has grown, and once a
//! second while windows wait for their end.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use funnelweb_factor_events::store::{AppendOutcome, Effect, Event, Events, HistoryQuery, StoredEvent};
use funnelweb_tenant_store::lock;
use tokio::{sync::Notify, task::JoinSet};

use crate::{
    engine::{Engine, Outcome},
    operator::Operator,
    store::{Error, StreamStore, Tenant},
};

/// How often windows are looked at that wait for their end, and what failed is tried
/// again.
const TICK: Duration = Duration::from_secs(1);

/// Tenants whose log has grown.
#[derive(Default)]
pub struct Grown {
    tenants: Mutex<HashSet<Tenant>>,
    some: Notify,
}

impl Grown {
    fn add(&self, tenant: &Tenant) {
        if lock(&self.tenants).insert(tenant.clone()) {
            self.some.notify_one();
        }
    }

    fn take(&self) -> HashSet<Tenant> {
        std::mem::take(&mut lock(&self.tenants))
    }
}

/// A log that says when it has grown.
pub struct Watched {
    log: Arc<dyn Events>,
    grown: Arc<Grown>,
}

impl Watched {
    /// `grown` is told of each tenant.
    #[must_use]
    pub fn new(log: Arc<dyn Events>, grown: Arc<Grown>) -> Self {
        Self { log, grown }
    }
}

#[async_trait]
impl Events for Watched {
    async fn append(
        &self,
        tenant: &Tenant,
        events: Vec<Event>,
        effects: Vec<Vec<Effect>>,
    ) -> Result<Vec<AppendOutcome>, Error> {
        let outcomes = self.log.append(tenant, events, effects).await?;
        if outcomes.contains(&AppendOutcome::Accepted) {
            self.grown.add(tenant);
        }
        Ok(outcomes)
    }

    async fn history(&self, tenant: &Tenant, query: HistoryQuery) -> Result<Vec<StoredEvent>, Error> {
        self.log.history(tenant, query).await
    }

    async fn read(&self, tenant: &Tenant, offset: u64, limit: u32) -> Result<Vec<StoredEvent>, Error> {
        self.log.read(tenant, offset, limit).await
    }

    async fn settle(&self, tenant: &Tenant) -> Result<(), Error> {
        self.log.settle(tenant).await
    }

    async fn restore(&self, tenant: &Tenant, events: Vec<StoredEvent>) -> Result<(), Error> {
        self.log.restore(tenant, events).await
    }

    async fn last_offset(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.log.last_offset(tenant).await
    }

    async fn raise_last_offset(&self, tenant: &Tenant, offset: u64) -> Result<(), Error> {
        self.log.raise_last_offset(tenant, offset).await
    }
}

/// All operators over all logs.
pub struct Streams {
    engine: Engine,
    operators: Vec<Arc<dyn Operator>>,
    grown: Arc<Grown>,
    clock: fn() -> u64,
}

/// What a tenant's turn came to.
struct Turn {
    tenant: Tenant,
    /// Whether to come back at the next tick.
    again: bool,
}

impl Streams {
    /// Operators over a log that tells `grown`.
    #[must_use]
    pub fn new(
        log: Arc<dyn Events>,
        store: Arc<dyn StreamStore>,
        operators: Vec<Arc<dyn Operator>>,
        grown: Arc<Grown>,
    ) -> Self {
        Self { engine: Engine::new(log, store), operators, grown, clock: now_ms }
    }

    /// The state.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn StreamStore> {
        self.engine.store()
    }

    /// Follows the logs, those first that grew while nobody did, until it is dropped. As
    /// many tenants at once as there are cores.
    pub async fn follow(self: Arc<Self>) {
        let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut waiting: HashSet<Tenant> = self.store().tenants().await.unwrap_or_default().into_iter().collect();
        let (mut busy, mut later) = (HashSet::new(), HashSet::new());
        let mut turns = JoinSet::new();
        let mut tick = tokio::time::interval(TICK);
        loop {
            waiting.extend(self.grown.take());
            while turns.len() < at_once
                && let Some(tenant) = waiting.iter().find(|tenant| !busy.contains(*tenant)).cloned()
            {
                waiting.remove(&tenant);
                busy.insert(tenant.clone());
                let this = Arc::clone(&self);
                turns.spawn(async move { this.turn(tenant).await });
            }
            tokio::select! {
                () = self.grown.some.notified() => {}
                _ = tick.tick() => waiting.extend(later.drain()),
                Some(done) = turns.join_next() => {
                    // One that panicked said so; its tenant is left alone.
                    if let Ok(Turn { tenant, again }) = done {
                        busy.remove(&tenant);
                        if again {
                            later.insert(tenant);
                        }
                    }
                }
            }
        }
    }

    /// Has all operators go on with a tenant's log until there is nothing more to do.
    async fn turn(&self, tenant: Tenant) -> Turn {
        let mut again = false;
        for operator in &self.operators {
            loop {
                match self.engine.step(&tenant, operator.as_ref(), (self.clock)()).await {
                    Ok(Outcome::Advanced) => {}
                    Ok(Outcome::Rests { open }) => {
                        again |= open;
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(tenant = tenant.as_str(), %error, "an operator waits");
                        again = true;
                        break;
                    }
                }
            }
        }
        Turn { tenant, again }
    }
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
