//! What a job does, and what it is given to do it with.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use funnelweb_core::{
    job::{Kind, State},
    limits,
};
use funnelweb_tenant_store::lock;
use serde_json::Value;
use tokio::sync::Notify;

use crate::store::{Error, Job, JobStore, Refused, RunsQuery, Tenant};

/// What is wrong with params: a JSON pointer (RFC 6901) and a message.
pub type ParamError = (String, String);

/// A kind of job.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// Checks params, a JSON object.
    ///
    /// # Errors
    /// The first that is wrong.
    fn check(&self, params: &Value) -> Result<(), ParamError>;

    /// Does it, on a thread of its own that gives way to all others and may be
    /// blocked. What came of it is a JSON object of at most
    /// [`funnelweb_core::limits::JOB_OUTCOME_BYTES`].
    ///
    /// A run may be taken from this process without its knowledge, or begun again:
    /// what it writes must carry [`Task::token`], and be refused for an older one.
    ///
    /// # Errors
    /// Why it was not done. [`Failure::Cancelled`] soon after [`Cancel`] says so.
    async fn run(&self, task: Task) -> Result<Value, Failure>;
}

/// The kinds of jobs that there are.
pub type Works = HashMap<Kind, Arc<dyn Work>>;

/// Why a job was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may be the next time; it is tried again after a pause.
    #[error("{0}")]
    Transient(String),
    /// It will not be.
    #[error("{0}")]
    Permanent(String),
    /// It was told to stop.
    #[error("it was told to stop")]
    Cancelled,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(message) => Self::Transient(message),
            Error::Invalid(message) | Error::Denied(message) => Self::Permanent(message),
        }
    }
}

/// One run, as the work sees it.
#[derive(Clone)]
pub struct Task {
    /// Whose.
    pub tenant: Tenant,
    /// For which scenario.
    pub scenario_id: String,
    /// The run's id.
    pub run_id: String,
    /// Checked params: those of the scenario's config, overlaid by those of the call.
    pub params: Value,
    /// Fences what the run writes: greater than that of every earlier run of this job,
    /// and of every earlier attempt of this one.
    pub token: u64,
    /// From 1; more after a failure or a restart.
    pub attempt: u32,
    /// Where it says how far it is.
    pub progress: Arc<Progress>,
    /// Says when it is to stop.
    pub cancel: Cancel,
    pub(crate) job: Job,
    pub(crate) store: Arc<dyn JobStore>,
}

impl Task {
    /// What an earlier attempt of this run kept, if any did.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn kept(&self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.store.kept(&self.tenant, &self.job).await?)
    }

    /// Keeps what the run can be taken up from, in place of what it kept before.
    ///
    /// # Errors
    /// [`Failure::Cancelled`] when the run is another's by now; when it is larger than
    /// [`funnelweb_core::limits::JOB_CHECKPOINT_BYTES`], or the store does not answer.
    pub async fn keep(&self, checkpoint: Vec<u8>) -> Result<(), Failure> {
        self.store.keep(&self.tenant, &self.job, self.token, checkpoint).await.map_err(|refused| match refused {
            Refused::Store(error) => error.into(),
            Refused::Active(_) | Refused::Stale | Refused::Nothing => Failure::Cancelled,
        })
    }

    /// What came of the runs of this job that succeeded and are remembered
    /// ([`limits::JOB_RUNS`]), the last first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn outcomes(&self) -> Result<Vec<Value>, Failure> {
        let query = RunsQuery {
            scenario_id: Some(self.scenario_id.clone()),
            kind: Some(self.job.kind),
            state: Some(State::Succeeded),
            before: None,
            limit: limits::JOB_RUNS,
        };
        let runs = self.store.list(&self.tenant, query).await?;
        Ok(runs.iter().filter_map(|run| serde_json::from_str(&run.outcome).ok()).collect())
    }

    /// [`Failure::Cancelled`] when it is to stop: for `?` within a loop.
    ///
    /// # Errors
    /// As above.
    pub fn go_on(&self) -> Result<(), Failure> {
        if self.cancel.is_cancelled() { Err(Failure::Cancelled) } else { Ok(()) }
    }
}

/// How far a run is. May be told as often as one likes: it is read every few seconds.
#[derive(Debug, Default)]
pub struct Progress(Mutex<(String, f32)>);

impl Progress {
    /// It is at `phase`, and done to `percent` of all of it, 0 to 100.
    pub fn report(&self, phase: &str, percent: f32) {
        let mut now = lock(&self.0);
        if now.0 != phase {
            phase.clone_into(&mut now.0);
        }
        now.1 = percent;
    }

    pub(crate) fn now(&self) -> (String, f32) {
        lock(&self.0).clone()
    }
}

/// Says when to stop. Clones say the same.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    flag: AtomicBool,
    told: Notify,
}

impl Cancel {
    /// Has everybody stop who looks or waits.
    pub fn cancel(&self) {
        self.0.flag.store(true, Ordering::Release);
        self.0.told.notify_waiters();
    }

    /// Whether to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.flag.load(Ordering::Acquire)
    }

    /// Waits until it is time to stop.
    pub async fn cancelled(&self) {
        // Told of what happens after this, too.
        let told = self.0.told.notified();
        if !self.is_cancelled() {
            told.await;
        }
    }
}
