//! Begins runs when the scenarios' configs say so.
//!
//! The schedules of all active scenarios are read when the process begins, and again
//! every few minutes; those of a tenant whose scenarios are being written here, at
//! once. Before a run is begun its scenario is read again, so that what was changed
//! elsewhere counts. A time is acted upon by one process, as the store keeps which was
//! last; those that passed while there was none are made up for by one run.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use funnelweb_core::{cron::Cron, job::Kind, limits, scenario::Status};
use funnelweb_factor_documents::store::{Collection, Query};
use funnelweb_tenant_store::lock;
use serde_json::Map;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    jobs::{Config, Inner},
    store::{Error, Job, Refused, Tenant},
};

/// For how long a tenant's schedules are read again and again after a scenario was
/// checked, which comes before it is written: as long as a request may take, and some.
const SETTLE: Duration = Duration::from_secs(15);

/// What is known of schedules.
#[derive(Default)]
pub(crate) struct Schedules {
    /// When each is due next.
    due: Mutex<BTreeMap<(Tenant, Job), Due>>,
    /// Tenants whose scenarios are being written, since when.
    changing: Mutex<HashMap<Tenant, Instant>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Due {
    schedule: String,
    cron: Cron,
    at_ms: u64,
}

impl Schedules {
    /// A scenario of the tenant is about to be written.
    pub(crate) fn will_change(&self, tenant: &Tenant) {
        lock(&self.changing).insert(tenant.clone(), Instant::now());
    }

    fn changing(&self) -> Vec<Tenant> {
        let mut changing = lock(&self.changing);
        let tenants = changing.keys().cloned().collect();
        changing.retain(|_, since| since.elapsed() < SETTLE);
        tenants
    }
}

/// Looks at the schedules until the jobs are drained.
pub(crate) async fn run(inner: Arc<Inner>) {
    let mut ticks = interval(inner.options.tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut read: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            () = inner.closing.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let tenants = if read.is_none_or(|read| read.elapsed() >= inner.options.reread) {
            read = Some(Instant::now());
            match inner.documents.tenants().await {
                Ok(tenants) => tenants,
                Err(error) => {
                    tracing::warn!(%error, "cannot tell which tenants have schedules");
                    read = None;
                    continue;
                }
            }
        } else {
            inner.schedules.changing()
        };
        for tenant in tenants {
            if inner.closing.is_cancelled() {
                return;
            }
            if let Err(error) = inner.read_schedules(&tenant).await {
                tracing::warn!(%tenant, %error, "cannot read the schedules of a tenant");
            }
        }
        inner.begin_due().await;
    }
}

impl Inner {
    /// Reads when the jobs of a tenant are due.
    async fn read_schedules(&self, tenant: &Tenant) -> Result<(), Error> {
        let mut found = BTreeMap::new();
        let mut cursor = None;
        loop {
            let status = Some("active".to_owned());
            let query = Query { status, cursor, limit: limits::PAGE_DOCUMENTS, ..Query::default() };
            let page = self.documents.query(tenant, Collection::Scenarios, query).await?;
            let may_be_due = |body: &str| ["\"schedule\"", "\"experiments\""].iter().any(|name| body.contains(name));
            for document in page.documents.iter().filter(|document| may_be_due(&document.body)) {
                let config = Config::read(&document.body);
                for (_, kind) in Kind::NAMES {
                    let job = Job::new(&document.key.id, kind);
                    if let Some(due) = self.due(tenant, &job, &config).await? {
                        found.insert((tenant.clone(), job), due);
                    }
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let mut due = lock(&self.schedules.due);
        due.retain(|(whose, _), _| whose != tenant);
        due.append(&mut found);
        Ok(())
    }

    /// When a job is due next; never without a schedule, and for one that cannot be read.
    async fn due(&self, tenant: &Tenant, job: &Job, config: &Config) -> Result<Option<Due>, Error> {
        if !config.may_be_due(job) {
            return Ok(None);
        }
        let scheduled_ms = self.store.scheduled_ms(tenant, job).await?;
        let Some(schedule) = config.schedule(job, scheduled_ms) else { return Ok(None) };
        let Ok(cron) = Cron::parse(&schedule) else { return Ok(None) };
        // A new schedule says nothing of the time before it was written.
        let since_ms = scheduled_ms.max(config.written_ms().unwrap_or_else(|| self.now_ms()));
        let at_ms = cron.next_after(since_ms);
        Ok(at_ms.map(|at_ms| Due { schedule, cron, at_ms }))
    }

    /// Begins what is due.
    async fn begin_due(&self) {
        let now_ms = self.now_ms();
        let due: Vec<_> = {
            let all = lock(&self.schedules.due);
            all.iter().filter(|(_, due)| due.at_ms <= now_ms).map(|(key, due)| (key.clone(), due.clone())).collect()
        };
        for ((tenant, job), due) in due {
            match self.begin(&tenant, &job, &due).await {
                Ok(next_ms) => {
                    let mut all = lock(&self.schedules.due);
                    let key = (tenant, job);
                    match (all.get_mut(&key), next_ms) {
                        (Some(known), Some(at_ms)) if *known == due => known.at_ms = at_ms,
                        (Some(known), None) if *known == due => drop(all.remove(&key)),
                        // Read anew meanwhile.
                        _ => {}
                    }
                }
                // It is due still.
                Err(error) => tracing::warn!(%tenant, %error, "cannot begin a job that is due"),
            }
        }
    }

    /// Begins one, if the scenario still says so; when it is due next.
    async fn begin(&self, tenant: &Tenant, job: &Job, due: &Due) -> Result<Option<u64>, Error> {
        let Some(config) = self.config(tenant, &job.scenario_id).await? else { return Ok(None) };
        let scheduled_ms = self.store.scheduled_ms(tenant, job).await?;
        if config.status != Status::Active || config.schedule(job, scheduled_ms).as_ref() != Some(&due.schedule) {
            self.schedules.will_change(tenant);
            return Ok(None);
        }
        let params = config.params(job.kind, Map::new());
        match self.create(tenant, job, &params, Some(due.at_ms)).await {
            Ok(_) | Err(Refused::Nothing) => {}
            Err(Refused::Store(error)) => return Err(error),
            Err(other) => return Err(Error::Unavailable(other.to_string())),
        }
        Ok(due.cron.next_after(self.now_ms().max(due.at_ms)))
    }
}

#[cfg(test)]
mod tests;
