//! The WIT interface `jobs` over [`Jobs`]: conversions, and the tenant, which no call
//! names.

use funnelweb_bindings::capabilities::{
    errors,
    jobs::{self as wit, Host},
};
use funnelweb_core::job::{Kind, State};
use funnelweb_tenant_store::{Tenant, host::bound};
use wasmtime::component::{HasData, Linker};

use crate::{
    Jobs, StartError,
    store::{Run, RunsQuery},
};

/// What one instance may do: the jobs of one tenant, or of none.
#[derive(Clone)]
pub struct JobsCtx {
    jobs: Jobs,
    tenant: Option<Tenant>,
}

impl JobsCtx {
    /// Without a tenant every call is denied, but `check`.
    #[must_use]
    pub fn new(jobs: Jobs, tenant: Option<Tenant>) -> Self {
        Self { jobs, tenant }
    }

    fn tenant(&self) -> Result<&Tenant, errors::Error> {
        bound(self.tenant.as_ref())
    }
}

struct HasJobs;

impl HasData for HasJobs {
    type Data<'a> = &'a mut JobsCtx;
}

/// Offers `funnelweb:capabilities/jobs` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut JobsCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasJobs>(linker, ctx)
}

impl Host for JobsCtx {
    async fn start(
        &mut self,
        scenario_id: String,
        kind: wit::Kind,
        params: String,
    ) -> Result<wit::Run, wit::StartError> {
        let tenant = self.tenant().map_err(wit::StartError::Store)?;
        let started = self.jobs.start(tenant, &scenario_id, of_kind(kind), &params).await;
        started.map(to_run).map_err(|error| match error {
            StartError::Store(error) => wit::StartError::Store(error.into()),
            StartError::Active(id) => wit::StartError::Active(id),
            StartError::NoScenario => wit::StartError::NoScenario,
            StartError::Params(error) => wit::StartError::Params(error),
        })
    }

    async fn check(&mut self, kind: wit::Kind, params: String) -> Result<(), (String, String)> {
        self.jobs.check(self.tenant.as_ref(), of_kind(kind), &params)
    }

    async fn get(&mut self, id: String) -> Result<Option<wit::Run>, errors::Error> {
        Ok(self.jobs.get(self.tenant()?, &id).await?.map(to_run))
    }

    async fn list(&mut self, query: wit::RunsQuery) -> Result<Vec<wit::Run>, errors::Error> {
        let query = RunsQuery {
            scenario_id: query.scenario_id,
            kind: query.kind.map(of_kind),
            state: query.state.map(of_state),
            before: query.before,
            limit: query.limit,
        };
        Ok(self.jobs.list(self.tenant()?, query).await?.into_iter().map(to_run).collect())
    }

    async fn cancel(&mut self, id: String) -> Result<Option<wit::Run>, errors::Error> {
        Ok(self.jobs.cancel(self.tenant()?, &id).await?.map(to_run))
    }
}

fn of_kind(kind: wit::Kind) -> Kind {
    match kind {
        wit::Kind::Similarity => Kind::Similarity,
        wit::Kind::Embeddings => Kind::Embeddings,
        wit::Kind::Precompute => Kind::Precompute,
        wit::Kind::Profiles => Kind::Profiles,
        wit::Kind::Sync => Kind::Sync,
        wit::Kind::Experiments => Kind::Experiments,
        wit::Kind::Replay => Kind::Replay,
    }
}

fn to_kind(kind: Kind) -> wit::Kind {
    match kind {
        Kind::Similarity => wit::Kind::Similarity,
        Kind::Embeddings => wit::Kind::Embeddings,
        Kind::Precompute => wit::Kind::Precompute,
        Kind::Profiles => wit::Kind::Profiles,
        Kind::Sync => wit::Kind::Sync,
        Kind::Experiments => wit::Kind::Experiments,
        Kind::Replay => wit::Kind::Replay,
    }
}

fn of_state(state: wit::State) -> State {
    match state {
        wit::State::Queued => State::Queued,
        wit::State::Running => State::Running,
        wit::State::Succeeded => State::Succeeded,
        wit::State::Failed => State::Failed,
        wit::State::Cancelled => State::Cancelled,
    }
}

fn to_state(state: State) -> wit::State {
    match state {
        State::Queued => wit::State::Queued,
        State::Running => wit::State::Running,
        State::Succeeded => wit::State::Succeeded,
        State::Failed => wit::State::Failed,
        State::Cancelled => wit::State::Cancelled,
    }
}

fn to_run(run: Run) -> wit::Run {
    wit::Run {
        id: run.id,
        scenario_id: run.scenario_id,
        kind: to_kind(run.kind),
        state: to_state(run.state),
        trigger: run.trigger.as_str().to_owned(),
        phase: run.phase,
        percent: run.percent,
        eta_s: run.eta_s,
        attempts: run.attempts,
        created_ms: run.created_ms,
        started_ms: run.started_ms,
        finished_ms: run.finished_ms,
        outcome: run.outcome,
        error: run.error,
    }
}
