//! Logs that say when they have grown, and wait for those who follow them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use funnelweb_factor_events::store::{AppendOutcome, Effect, Event, Events, HistoryQuery, Position, StoredEvent};
use funnelweb_tenant_store::lock;
use tokio::sync::Notify;

use crate::{
    own,
    shards::{Shard, Shards},
    store::{Error, MAIN, Place, Progress, StreamStore, Tenant},
};

/// How long it is waited for an operator that does not move.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at how far they are.
const PAUSE: Duration = Duration::from_millis(10);

/// Tenants whose log has grown, and who follows.
#[derive(Default)]
pub struct Grown {
    behind: Mutex<Behind>,
    some: Notify,
    /// The names of the operators that follow; none before it is known who does.
    followers: Mutex<Option<Vec<String>>>,
}

/// Tenants of whose log something may not be taken.
#[derive(Default)]
struct Behind {
    /// Those that nobody has begun with.
    new: HashSet<Tenant>,
    /// Since when.
    since: HashMap<Tenant, Instant>,
}

impl Grown {
    /// The tenant's log has, or who follows it is another.
    pub fn add(&self, tenant: &Tenant) {
        let mut behind = lock(&self.behind);
        behind.since.entry(tenant.clone()).or_insert_with(Instant::now);
        if behind.new.insert(tenant.clone()) {
            self.some.notify_one();
        }
    }

    /// These operators follow the logs.
    pub(crate) fn followed_by(&self, operators: Vec<String>) {
        *lock(&self.followers) = Some(operators);
    }

    /// Waits until a log grows.
    pub(crate) async fn grows(&self) {
        self.some.notified().await;
    }

    /// Those that have grown since this was asked last.
    pub(crate) fn take(&self) -> HashSet<Tenant> {
        std::mem::take(&mut lock(&self.behind).new)
    }

    /// Everything that the log had was taken.
    pub(crate) fn taken(&self, tenant: &Tenant) {
        let mut behind = lock(&self.behind);
        if !behind.new.contains(tenant) {
            behind.since.remove(tenant);
        }
    }

    /// Tenants whose operators have not taken everything, and for how long that is so.
    #[must_use]
    pub fn behind(&self) -> BTreeMap<Tenant, Duration> {
        lock(&self.behind).since.iter().map(|(tenant, since)| (tenant.clone(), since.elapsed())).collect()
    }
}

/// A log that is followed: it says when it has grown.
pub struct Watched {
    log: Arc<dyn Events>,
    state: Arc<dyn StreamStore>,
    grown: Arc<Grown>,
    shards: Option<Arc<dyn Shards>>,
}

impl Watched {
    /// `grown` is told of each tenant; `state` is that of those who follow.
    #[must_use]
    pub fn new(log: Arc<dyn Events>, state: Arc<dyn StreamStore>, grown: Arc<Grown>) -> Self {
        Self { log, state, grown, shards: None }
    }

    /// A log that goes on in shards, of which `shards` knows.
    #[must_use]
    pub fn with_shards(self, shards: Arc<dyn Shards>) -> Self {
        Self { shards: Some(shards), ..self }
    }

    /// An operator that has not taken the log up to `end`, or a shard up to its, and how
    /// far it is; none when all have.
    async fn behind(&self, tenant: &Tenant, end: u64, ends: &[Shard]) -> Result<Option<(Place, Progress)>, Error> {
        let operators = lock(&self.grown.followers).clone().unwrap_or_default();
        let end = end.min(self.state.log_until(tenant).await?);
        for operator in operators {
            let main = Place::main(tenant, &operator);
            let progress = self.state.progress(&main).await?;
            let next = progress.next;
            // What is behind may have been deleted.
            let left = if next > end { Vec::new() } else { self.log.read(tenant, next, 1).await? };
            if left.first().is_some_and(|stored| stored.offset <= end) {
                return Ok(Some((main, progress)));
            }
            let taken = if ends.is_empty() { BTreeMap::new() } else { self.state.shards(&main).await? };
            for Shard { shard, end } in ends {
                let progress = taken.get(shard).cloned().unwrap_or_default();
                if progress.next < *end {
                    return Ok(Some((main.at(*shard), progress)));
                }
            }
        }
        Ok(None)
    }

    /// How far shards go, once everything that was accepted is in them.
    async fn ends(&self, tenant: &Tenant) -> Result<Vec<Shard>, Error> {
        let Some(shards) = &self.shards else { return Ok(Vec::new()) };
        let since = Instant::now();
        while self.log.is_unpublished(tenant, Duration::ZERO).await? {
            if since.elapsed() > PATIENCE {
                let rule = format!("behaviours of tenant {tenant} wait to be published");
                return Err(Error::Unavailable(rule));
            }
            tokio::time::sleep(PAUSE).await;
        }
        shards.ends(tenant).await
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
        let (log, grown, of) = (Arc::clone(&self.log), Arc::clone(&self.grown), tenant.clone());
        // To its end even when nobody waits for it any more: what is written is followed.
        let append = tokio::spawn(async move {
            let outcomes = log.append(&of, events, effects).await;
            // One that failed may have been written.
            if !matches!(&outcomes, Ok(outcomes) if !outcomes.contains(&AppendOutcome::Accepted)) {
                grown.add(&of);
            }
            outcomes
        });
        append.await.map_err(|error| Error::Unavailable(format!("appending was abandoned: {error}")))?
    }

    async fn history(&self, tenant: &Tenant, query: HistoryQuery) -> Result<Vec<StoredEvent>, Error> {
        self.log.history(tenant, query).await
    }

    async fn read(&self, tenant: &Tenant, offset: u64, limit: u32) -> Result<Vec<StoredEvent>, Error> {
        self.log.read(tenant, offset, limit).await
    }

    async fn is_on_its_way(&self, tenant: &Tenant, until: u64) -> Result<bool, Error> {
        self.log.is_on_its_way(tenant, until).await
    }

    async fn is_unpublished(&self, tenant: &Tenant, since: Duration) -> Result<bool, Error> {
        self.log.is_unpublished(tenant, since).await
    }

    /// What an operator has not taken is kept, and everything before it is known who follows.
    async fn expire(&self, tenant: &Tenant, before_ms: u64, below: u64) -> Result<u64, Error> {
        let Some(operators) = lock(&self.grown.followers).clone() else { return Ok(0) };
        let mut below = below;
        for operator in operators {
            below = below.min(self.state.progress(&Place::main(tenant, &operator)).await?.next);
        }
        self.log.expire(tenant, before_ms, below).await
    }

    async fn settle(&self, tenant: &Tenant) -> Result<(), Error> {
        let end = self.log.last_offset(tenant).await?;
        let ends = self.ends(tenant).await?;
        let (mut since, mut last) = (Instant::now(), None);
        while let Some(behind) = self.behind(tenant, end, &ends).await? {
            if last.as_ref() != Some(&behind) {
                (since, last) = (Instant::now(), Some(behind));
            } else if since.elapsed() > PATIENCE {
                let (Place { operator, shard, .. }, Progress { next, .. }) = behind;
                let end = ends.iter().find(|other| other.shard == shard).map_or(end, |other| other.end);
                let of = if shard == MAIN { String::new() } else { format!(", shard {shard}") };
                let rule =
                    format!("operator `{operator}` is at {next} of tenant {tenant}'s log{of}, which ends at {end}");
                return Err(Error::Unavailable(rule));
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.log.settle(tenant).await
    }

    async fn positions(&self, tenant: &Tenant) -> Result<Option<Vec<Position>>, Error> {
        let mut positions = self.state.positions(tenant).await?;
        if self.shards.is_some() {
            let (until, last) = (self.state.log_until(tenant).await?, self.log.last_offset(tenant).await?);
            // Shards have what comes after it, and were taken to their ends.
            let in_shards =
                |position: &&mut Position| position.next.max(1) > until && own::component(&position.operator).is_none();
            for position in positions.iter_mut().filter(in_shards) {
                position.next = last.saturating_add(1);
            }
        }
        Ok(Some(positions))
    }

    async fn restore_positions(&self, tenant: &Tenant, positions: Option<Vec<Position>>) -> Result<(), Error> {
        let to = match positions {
            Some(positions) => Ok(positions),
            // Everything that is there has changed what it changes.
            None => Err(self.log.last_offset(tenant).await?.saturating_add(1)),
        };
        self.state.set_positions(tenant, to).await
    }

    async fn restore(&self, tenant: &Tenant, events: Vec<StoredEvent>) -> Result<(), Error> {
        self.log.restore(tenant, events).await?;
        self.grown.add(tenant);
        Ok(())
    }

    async fn last_offset(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.log.last_offset(tenant).await
    }

    async fn raise_last_offset(&self, tenant: &Tenant, offset: u64) -> Result<(), Error> {
        self.log.raise_last_offset(tenant, offset).await
    }
}
