//! Runs of jobs as they are kept: the trait that backends implement, in plain types.
//!
//! What may happen to a run is the same for every backend ([`Change`], applied by
//! [`Entry::apply`]); a backend makes each change one step that no other comes
//! between.

use async_trait::async_trait;
use funnelweb_core::job::{Kind, State};
pub use funnelweb_tenant_store::{Error, Tenant};
use serde::{Deserialize, Serialize};

pub use crate::entry::{Applied, Change, End, Entry, Record, Refused, Report, backoff_ms};

/// A job of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Job {
    /// The scenario.
    pub scenario_id: String,
    /// What is done for it.
    pub kind: Kind,
}

impl Job {
    /// This kind of job, of this scenario.
    pub fn new(scenario_id: impl Into<String>, kind: Kind) -> Self {
        Self { scenario_id: scenario_id.into(), kind }
    }
}

/// Who asked for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A request.
    Api,
    /// The scenario's schedule.
    Schedule,
}

impl Trigger {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Schedule => "schedule",
        }
    }
}

/// One run of a job (`jobs.run`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Unique within the tenant; later ones are greater.
    pub id: String,
    /// The scenario.
    pub scenario_id: String,
    /// What is done.
    pub kind: Kind,
    /// What has become of it.
    pub state: State,
    /// Who asked for it.
    pub trigger: Trigger,
    /// What it is at, for people.
    pub phase: String,
    /// 0 to 100.
    pub percent: f32,
    /// Seconds left, when that can be told.
    pub eta_s: Option<u32>,
    /// How often it was begun.
    pub attempts: u32,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// When it was begun first.
    pub started_ms: Option<u64>,
    /// When it was over.
    pub finished_ms: Option<u64>,
    /// What came of it, a JSON object; empty until it succeeded.
    pub outcome: String,
    /// Why it failed; empty unless it did.
    pub error: String,
}

/// Which runs. Every filter that is set must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunsQuery {
    /// Of this scenario.
    pub scenario_id: Option<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In this state.
    pub state: Option<State>,
    /// That were created before the one of this id.
    pub before: Option<String>,
    /// 1 to [`funnelweb_core::limits::PAGE_DOCUMENTS`].
    pub limit: u32,
}

/// A run that waits or is at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// Whose.
    pub tenant: Tenant,
    /// Of which job.
    pub job: Job,
    /// The run.
    pub record: Record,
}

/// The runs of one deployment, for every tenant. A change is durable when its call
/// returns, but for the progress of a run.
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Changes the job's run that is open, or begins one; what the run is then.
    /// Several processes may try: the change is one step, and is made once.
    async fn change(&self, tenant: &Tenant, job: &Job, change: Change) -> Result<Record, Refused>;

    /// When the job's schedule was acted upon last, in milliseconds since 1970; 0 for
    /// never.
    async fn scheduled_ms(&self, tenant: &Tenant, job: &Job) -> Result<u64, Error>;

    /// What the open run keeps to be taken up again, at most
    /// [`funnelweb_core::limits::JOB_CHECKPOINT_BYTES`]. It goes with the run.
    async fn keep(&self, tenant: &Tenant, job: &Job, token: u64, checkpoint: Vec<u8>) -> Result<(), Refused>;

    /// What was kept last, if anything was.
    async fn kept(&self, tenant: &Tenant, job: &Job) -> Result<Option<Vec<u8>>, Error>;

    /// A run.
    async fn get(&self, tenant: &Tenant, id: &str) -> Result<Option<Run>, Error>;

    /// Runs, newest first.
    async fn list(&self, tenant: &Tenant, query: RunsQuery) -> Result<Vec<Run>, Error>;

    /// The runs of all tenants that wait or are at work.
    async fn open(&self) -> Result<Vec<Open>, Error>;

    /// Deletes everything of a scenario; whoever is at a run of it learns that it is
    /// no longer theirs.
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error>;
}
