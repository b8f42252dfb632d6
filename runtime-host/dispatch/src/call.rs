//! One call of one stage: a fresh instance, a deadline, and a failure that says
//! what happened.

use std::time::{Duration, Instant};

use funnelweb_bindings::{
    dispatch::{StageReport, StageStatus},
    types::StageError,
};
use funnelweb_core::limits;
use funnelweb_engine::{self as engine, bounded};
use funnelweb_factor_components::Picked;
use funnelweb_factor_models::{Missing, Ranker};
use funnelweb_instance::State;
use funnelweb_recording::StageTape;
use wasmtime::Store;

use crate::{metrics, runner::Runner, stages::Stage, uploads};

/// How much longer than a computing guest a waiting one is given, so that the
/// former is stopped by its own clock, which says so precisely.
const GRACE: Duration = Duration::from_millis(5);

/// Why a stage gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: StageStatus,
    pub(crate) reason: String,
}

impl Failure {
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self { status: StageStatus::Failed, reason: reason.into() }
    }

    /// A ranker that is not there, or not now.
    pub(crate) fn no_model(name: &str, version: &str, missing: Missing) -> Self {
        let reason = match missing {
            Missing::NoModel | Missing::NoneActive if version.is_empty() => {
                format!("no version of a model `{name}` is active")
            }
            Missing::NoModel | Missing::NoneActive => format!("no model `{name}` is uploaded"),
            Missing::NoVersion => format!("no version `{version}` of the model `{name}` is uploaded"),
            Missing::NotReady(reason) | Missing::Broken(reason) => return Self::failed(bounded(reason)),
            Missing::Store(error) => return Self::failed(bounded(error.to_string())),
        };
        Self { status: StageStatus::Unavailable, reason }
    }

    pub(crate) fn unknown(name: &str) -> Self {
        Self { status: StageStatus::Unavailable, reason: format!("no stage is named `{name}`") }
    }
}

impl From<engine::Failure> for Failure {
    fn from(failure: engine::Failure) -> Self {
        let status = if failure.is_late() { StageStatus::TimedOut } else { StageStatus::Failed };
        Self { status, reason: failure.reason }
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        Self::failed(bounded(error.message))
    }
}

impl Runner {
    /// Runs `work` on a new store and waits at most [`limits::STAGE_TIMEOUT`],
    /// the wait for one of the tenant's places included.
    /// What it reads passes through `tape`.
    pub(crate) async fn run<R>(
        &self,
        tape: &StageTape,
        work: impl AsyncFnOnce(&mut Store<State>) -> wasmtime::Result<R>,
    ) -> Result<R, Failure> {
        let timeout = limits::STAGE_TIMEOUT;
        let state = self.dispatcher.state(self.tenant.as_ref(), &tape.tape());
        let mut store = state.store(self.dispatcher.engine());
        State::begin(&mut store, timeout, limits::STAGE_ANSWER_BYTES);
        let answer = async {
            // It is never closed.
            let _place = self.share.acquire().await;
            work(&mut store).await
        };
        match tokio::time::timeout(timeout + GRACE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(store.data().failure(&error, timeout, limits::STAGE_ANSWER_BYTES).into()),
            Err(_) => Err(engine::Failure::timed_out(timeout).into()),
        }
    }
}

/// Measures a call and writes its report.
pub(crate) struct Timer {
    stage: String,
    component: String,
    version: String,
    digest: String,
    /// What metrics call the component, if not by its name.
    label: Option<&'static str>,
    candidates_in: usize,
    start: Instant,
}

impl Timer {
    pub(crate) fn start(stage: &str, component: &str, candidates_in: usize) -> Self {
        Self {
            stage: stage.to_owned(),
            component: component.to_owned(),
            version: String::new(),
            digest: String::new(),
            label: None,
            candidates_in,
            start: Instant::now(),
        }
    }

    /// Of a component that is built in.
    pub(crate) fn start_built_in<P>(name: &str, stage: &Stage<P>, candidates_in: usize) -> Self {
        Self { digest: stage.digest.to_string(), ..Self::start(name, &stage.id, candidates_in) }
    }

    /// Of a component that a tenant uploaded, which is known when it is picked.
    pub(crate) fn start_uploaded(stage: &str, candidates_in: usize) -> Self {
        Self { label: Some(uploads::LABEL), ..Self::start(stage, "", candidates_in) }
    }

    /// Says which component it is.
    pub(crate) fn runs(&mut self, picked: &Picked) {
        let version = picked.version();
        self.component = picked.label();
        self.version.clone_from(&version.version);
        self.digest.clone_from(&version.sha256);
    }

    /// Says which model it is.
    pub(crate) fn ranks(&mut self, ranker: &Ranker) {
        self.version = ranker.version().to_owned();
        self.digest = ranker.sha256().to_owned();
    }

    pub(crate) fn ok(self, candidates_out: usize) -> StageReport {
        self.report(StageStatus::Ok, String::new(), candidates_out)
    }

    /// A stage that failed leaves the list as it was.
    pub(crate) fn failed(self, failure: Failure, candidates_out: usize) -> StageReport {
        if failure.status == StageStatus::Unavailable {
            // A config may name what is not uploaded yet: known, and no news.
            tracing::debug!(stage = %self.stage, reason = %failure.reason, "stage passed over");
            return self.report(failure.status, failure.reason, candidates_out);
        }
        tracing::warn!(stage = %self.stage, component = %self.component, status = ?failure.status, reason = %failure.reason, "stage gave no answer");
        self.report(failure.status, failure.reason, candidates_out)
    }

    fn report(self, status: StageStatus, reason: String, candidates_out: usize) -> StageReport {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let elapsed = self.start.elapsed();
        metrics::count(self.label.unwrap_or(&self.component), status, elapsed);
        StageReport {
            stage: self.stage,
            component: self.component,
            version: self.version,
            digest: self.digest,
            status,
            reason,
            elapsed_us: u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX),
            candidates_in: count(self.candidates_in),
            candidates_out: count(candidates_out),
        }
    }
}
