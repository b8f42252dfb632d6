//! What others call: begin, look, stop.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use funnelweb_core::{
    id,
    job::{Kind, State},
    limits, scenario, time,
};
use funnelweb_factor_documents::store::{Collection, Documents, Key};
use funnelweb_tenant_store::{Clock, lock};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};
use tokio::{
    sync::{Notify, Semaphore},
    time::timeout,
};

use crate::{
    new_id,
    runner::{self, GRACE},
    schedule::{self, Schedules},
    store::{Change, Error, Job, JobStore, Record, Refused, Run, RunsQuery, Tenant},
    work::{Cancel, ParamError, Works},
};

/// How jobs are done.
#[derive(Clone)]
pub struct Options {
    /// Runs that this process has at work at once, at least 1.
    pub at_once: usize,
    /// Between two signs of life of a run: well below [`limits::JOB_LEASE`].
    pub heartbeat: Duration,
    /// Between two looks for runs that other processes began, or left.
    pub poll: Duration,
    /// Between two looks at the schedules.
    pub tick: Duration,
    /// Between two readings of the schedules of all tenants; those of scenarios that
    /// this process wrote are read at once.
    pub reread: Duration,
    /// Milliseconds since 1970.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        let clock = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        };
        Self {
            at_once: limits::RUNNING_JOBS,
            heartbeat: Duration::from_secs(5),
            poll: Duration::from_secs(5),
            tick: Duration::from_secs(1),
            reread: Duration::from_secs(600),
            clock: Arc::new(clock),
        }
    }
}

/// Why a run was not begun (`jobs.start-error`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// A run of this job is open: its id.
    #[error("the run `{0}` waits or is at work")]
    Active(String),
    /// The scenario is not there.
    #[error("there is no such scenario")]
    NoScenario,
    /// Params that the job refuses.
    #[error("{}: {}", .0.0, .0.1)]
    Params(ParamError),
}

/// The jobs of one deployment, for every tenant. Clones are the same.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) documents: Arc<dyn Documents>,
    pub(crate) works: Works,
    pub(crate) options: Options,
    pub(crate) seats: Arc<Semaphore>,
    /// Told when a run was begun.
    pub(crate) wake: Notify,
    /// The runs at work here.
    pub(crate) running: Mutex<HashMap<(Tenant, String), Cancel>>,
    pub(crate) closing: Cancel,
    pub(crate) schedules: Schedules,
}

impl Jobs {
    /// Jobs of these kinds, kept in `store`, for the scenarios in `documents`. Nothing
    /// is done before [`Jobs::spawn`].
    #[must_use]
    pub fn new(store: Arc<dyn JobStore>, documents: Arc<dyn Documents>, works: Works, options: Options) -> Self {
        Self(Arc::new(Inner {
            store,
            documents,
            works,
            seats: Arc::new(Semaphore::new(options.at_once.max(1))),
            options,
            wake: Notify::new(),
            running: Mutex::default(),
            closing: Cancel::default(),
            schedules: Schedules::default(),
        }))
    }

    /// Begins to work, and to look at the schedules, until [`Jobs::drain`]. Must be
    /// called within a runtime.
    pub fn spawn(&self) {
        tokio::spawn(runner::run(Arc::clone(&self.0)));
        tokio::spawn(schedule::run(Arc::clone(&self.0)));
    }

    /// Stops: no further run is begun, and those at work are told to stop; whoever has
    /// the jobs next goes on with them from what they kept. Waits for them some
    /// seconds.
    pub async fn drain(&self) {
        self.0.closing.cancel();
        let all = u32::try_from(self.0.options.at_once.max(1)).unwrap_or(u32::MAX);
        let stopped = timeout(2 * GRACE, self.0.seats.acquire_many(all)).await;
        if stopped.is_err() {
            tracing::warn!("jobs are at work still; they are taken up when their leases have run out");
        }
    }

    /// Has a job run. `params` is a JSON object that overlays those of the scenario's
    /// config.
    ///
    /// # Errors
    /// As [`StartError`] says.
    pub async fn start(&self, tenant: &Tenant, scenario_id: &str, kind: Kind, params: &str) -> Result<Run, StartError> {
        Error::check_id("scenario-id", scenario_id)?;
        let given = object(params).map_err(StartError::Params)?;
        let config = self.0.config(tenant, scenario_id).await?.ok_or(StartError::NoScenario)?;
        let params = config.params(kind, given);
        self.0.check(kind, &params).map_err(StartError::Params)?;
        let job = Job::new(scenario_id, kind);
        let record = self.0.create(tenant, &job, &params, None).await.map_err(|refused| match refused {
            Refused::Store(error) => StartError::Store(error),
            Refused::Active(id) => StartError::Active(id),
            Refused::Stale | Refused::Nothing => Error::Unavailable(refused.to_string()).into(),
        })?;
        Ok(record.run)
    }

    /// Checks the params of a scenario's config for this job, whose schedules are about
    /// to change.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self, tenant: Option<&Tenant>, kind: Kind, params: &str) -> Result<(), ParamError> {
        self.0.check(kind, &object(params)?)?;
        if let Some(tenant) = tenant {
            self.0.schedules.will_change(tenant);
        }
        Ok(())
    }

    /// A run.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, tenant: &Tenant, id: &str) -> Result<Option<Run>, Error> {
        Error::check_id("id", id)?;
        self.0.store.get(tenant, id).await
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// `invalid`, or when the store fails.
    pub async fn list(&self, tenant: &Tenant, query: RunsQuery) -> Result<Vec<Run>, Error> {
        self.0.store.list(tenant, query).await
    }

    /// Has a run stop; as it is then. One that is over stays as it is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cancel(&self, tenant: &Tenant, id: &str) -> Result<Option<Run>, Error> {
        let Some(run) = self.get(tenant, id).await? else { return Ok(None) };
        if run.state.is_over() {
            return Ok(Some(run));
        }
        let job = Job::new(&run.scenario_id, run.kind);
        match self.0.store.change(tenant, &job, Change::Cancel { id: id.to_owned() }).await {
            Ok(record) => {
                if record.run.state == State::Running
                    && let Some(cancel) = lock(&self.0.running).get(&(tenant.clone(), id.to_owned()))
                {
                    cancel.cancel();
                }
                Ok(Some(record.run))
            }
            Err(Refused::Store(error)) => Err(error),
            // It was over just then.
            Err(Refused::Active(_) | Refused::Stale | Refused::Nothing) => self.get(tenant, id).await,
        }
    }

    /// Deletes everything of a scenario.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.0.store.forget_scenario(tenant, scenario_id).await
    }
}

impl Inner {
    pub(crate) fn now_ms(&self) -> u64 {
        (self.options.clock)()
    }

    pub(crate) fn check(&self, kind: Kind, params: &Map<String, Value>) -> Result<(), ParamError> {
        let work = self.works.get(&kind).ok_or_else(|| {
            let mut known: Vec<&str> = self.works.keys().map(|kind| kind.as_str()).collect();
            known.sort_unstable();
            let message = format!("this server has no job `{}`; it has: {}", kind.as_str(), known.join(", "));
            (String::new(), message)
        })?;
        work.check(&Value::Object(params.clone()))
    }

    /// What a scenario says of jobs; none when it is not there.
    pub(crate) async fn config(&self, tenant: &Tenant, scenario_id: &str) -> Result<Option<Config>, Error> {
        let key = Key::new(scenario_id, scenario_id);
        let document = self.documents.get(tenant, Collection::Scenarios, key).await?;
        Ok(document.map(|document| Config::read(&document.body)))
    }

    /// Begins a run, and has it looked at.
    pub(crate) async fn create(
        &self,
        tenant: &Tenant,
        job: &Job,
        params: &Map<String, Value>,
        scheduled_ms: Option<u64>,
    ) -> Result<Record, Refused> {
        let params = serde_json::to_string(params).map_err(|error| Error::Invalid(error.to_string()))?;
        let change = Change::Create { id: new_id(self.now_ms()), params, scheduled_ms };
        let record = self.store.change(tenant, job, change).await?;
        self.wake.notify_one();
        Ok(record)
    }
}

/// What a stored scenario says of jobs; nothing, where it cannot be read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) status: scenario::Status,
    pub(crate) updated_at: String,
    config: Inside,
    /// Those that run; none where there never were any.
    experiments: Option<Vec<IgnoredAny>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Inside {
    jobs: scenario::Jobs,
}

impl Config {
    pub(crate) fn read(body: &str) -> Self {
        serde_json::from_str(body).unwrap_or_default()
    }

    pub(crate) fn jobs(&self) -> &scenario::Jobs {
        &self.config.jobs
    }

    /// Whether a job may have a schedule.
    pub(crate) fn may_be_due(&self, job: &Job) -> bool {
        self.said(job).is_some() || job.kind == Kind::Experiments && self.experiments.is_some()
    }

    /// When a job is due, of which the last time that was acted upon is known. Experiments are
    /// reported on every hour for as long as there are any, so that what harms is stopped, and
    /// once more after the scenario was written, so that those that were stopped have their last
    /// report; unless it is said otherwise. The minute is the scenario's own, so that they are not
    /// all at once.
    pub(crate) fn schedule(&self, job: &Job, scheduled_ms: u64) -> Option<String> {
        if let Some(said) = self.said(job) {
            return Some(said.to_owned());
        }
        let running = self.experiments.as_ref().filter(|_| job.kind == Kind::Experiments)?;
        let is_reported = || self.written_ms().is_none_or(|written_ms| written_ms <= scheduled_ms);
        let is_open = !running.is_empty() || !is_reported();
        is_open.then(|| format!("{} * * * *", id::handle(&job.scenario_id) % 60))
    }

    fn said(&self, job: &Job) -> Option<&str> {
        self.jobs().get(job.kind)?.schedule.as_deref()
    }

    /// When the scenario was written last.
    pub(crate) fn written_ms(&self) -> Option<u64> {
        time::parse_ms(&self.updated_at)
    }

    /// The params of a job, overlaid by `over`.
    pub(crate) fn params(&self, kind: Kind, over: Map<String, Value>) -> Map<String, Value> {
        let mut params = self.jobs().get(kind).map(|job| job.params.clone()).unwrap_or_default();
        params.extend(over);
        params
    }
}

fn object(params: &str) -> Result<Map<String, Value>, ParamError> {
    if params.len() > limits::PARAMS_BYTES {
        let message = format!("must be at most {} bytes of JSON, got {}", limits::PARAMS_BYTES, params.len());
        return Err((String::new(), message));
    }
    serde_json::from_str(params).map_err(|error| (String::new(), format!("must be a JSON object: {error}")))
}
