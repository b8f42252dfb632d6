//! A version that a request runs: picked, called within what its tenant may take, and
//! counted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use funnelweb_bindings::{
    stages::{AggregateStage, rank, recall, rerank},
    types::{ColumnSpec, ParamError, RequestContext, Requirements},
};
use funnelweb_core::limits;
use funnelweb_engine::bounded;
use funnelweb_instance::State;
use funnelweb_recording::Tape;
use funnelweb_tenant_store::{Error as StoreError, Refused, Tenant};
use tokio::sync::Semaphore;
use wasmtime::Store;

use crate::{
    Catalogue,
    calls::{Callee, within_manifest},
    catalogue::{Sources, Stored},
    gate::Budget,
    handles::Known,
    metrics,
    record::{Version, columns},
    sandbox::{Fault, FaultKind, Given, Ran},
    serving::{Ready, Serving},
    usage::{AtWork, Skip},
};

/// How long certification waits before it looks again whether there is time.
const WAIT: Duration = Duration::from_millis(10);

/// What is known of a request before it runs a component.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// Empty when there is none.
    pub user_id: &'a str,
    /// The request's seed.
    pub seed: u64,
}

/// Why a request runs none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The tenant has no component of that name.
    #[error("no component `{0}` is uploaded")]
    NoComponent(String),
    /// It has no such version.
    #[error("no version `{version}` of the component `{name}` is uploaded")]
    NoVersion {
        /// Of the component.
        name: String,
        /// Which.
        version: String,
    },
    /// No version of it is active.
    #[error("no version of the component `{0}` is active")]
    NoneActive(String),
    /// It was disabled.
    #[error("the component `{0}` is disabled")]
    Disabled(String),
    /// The version that the config names has not passed certification.
    #[error("version `{version}` of the component `{name}` has not passed certification")]
    NotCertified {
        /// Of the component.
        name: String,
        /// Which.
        version: String,
    },
    /// It is of another world.
    #[error("the component `{name}` is for {world}")]
    World {
        /// Which.
        name: String,
        /// What it is for.
        world: &'static str,
    },
    /// It is being made ready, or could not be.
    #[error("the component `{name}`: {reason}")]
    NotReady {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// A store did not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What one tenant's components share.
pub(crate) struct OfTenant {
    /// Of calls that a request waits for.
    pub(crate) budget: Arc<Budget>,
    /// Of stream operators: they take nothing from requests.
    pub(crate) operators: Arc<Budget>,
    /// Of certification.
    pub(crate) trials: Arc<Budget>,
    pub(crate) places: Semaphore,
}

impl OfTenant {
    pub(crate) fn new(a_second: Duration) -> Self {
        let budget = || Arc::new(Budget::new(a_second, Instant::now()));
        Self {
            budget: budget(),
            operators: budget(),
            trials: budget(),
            places: Semaphore::new(limits::TENANT_COMPONENT_CALLS),
        }
    }
}

/// Whose time certification takes: it waits until there is some, so that one tenant's does not
/// take a processor for good.
#[derive(Clone)]
pub struct Payer {
    pub(crate) tenant: Tenant,
    pub(crate) of_tenant: Arc<OfTenant>,
}

impl Payer {
    pub(crate) async fn wait(&self) {
        while !self.of_tenant.trials.has(Instant::now()) {
            tokio::time::sleep(WAIT).await;
        }
    }

    pub(crate) fn pay(&self, busy: Duration) {
        self.of_tenant.trials.spend(busy, Instant::now());
        metrics::took(self.tenant.as_str(), busy.as_secs_f64());
    }
}

/// Who pays for a call.
struct Bill {
    tenant: Tenant,
    budget: Arc<Budget>,
}

impl Bill {
    fn pay(self, busy: Duration) {
        self.budget.spend(busy, Instant::now());
        metrics::took(self.tenant.as_str(), busy.as_secs_f64());
    }
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// It was not made; why.
    Skipped(Skip, String),
    /// It was made in vain.
    Failed(Fault),
}

/// A version that is ready to be called.
#[derive(Clone)]
pub struct Picked {
    pub(crate) tenant: Tenant,
    pub(crate) version: Arc<Version>,
    pub(crate) ready: Arc<Ready>,
    pub(crate) at_work: Arc<AtWork>,
    pub(crate) of_tenant: Arc<OfTenant>,
    pub(crate) serving: Arc<Serving>,
    pub(crate) sources: Sources,
    /// Whether no request waits for it: then it waits for its turn in what trials may take,
    /// and counts for nothing.
    pub(crate) is_on_trial: bool,
}

impl Picked {
    /// What reports call it: `acme/boost@1.2.0`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}@{}", self.tenant, self.version.name, self.version.version)
    }

    /// The columns of items, and of the user, that its manifest reads.
    #[must_use]
    pub fn columns(&self) -> (Vec<ColumnSpec>, Vec<ColumnSpec>) {
        let reads = &self.version.reads;
        (columns(&reads.columns), columns(&reads.user_columns))
    }

    /// Names its content: whatever it answers to `check` is the same for the same params.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.version.sha256
    }

    /// The version, with what its manifest reads.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The same for a request that nobody waits for.
    #[must_use]
    pub fn on_trial(self) -> Self {
        Self { is_on_trial: true, ..self }
    }

    /// What it needs for these params: no more than its manifest reads.
    ///
    /// # Errors
    /// When it gives no answer; inside, why it does not take the params.
    pub async fn check(&self, params: &str) -> Result<Result<Requirements, ParamError>, NoAnswer> {
        if let Err((path, message)) = self.ready.check(params) {
            return Ok(Err(ParamError { path, message }));
        }
        // Whenever it is asked, it answers the same.
        let given = Given::new(0, 0);
        let said = self.call(&self.of_tenant.budget, async |bill: Bill| {
            let Ran { answer, spent, known } = self.callee().check(given, |busy| bill.pay(busy), params).await;
            let answer = answer.map(|said| (said, known));
            Ran { answer, spent, known: Known::default() }
        });
        let (said, known) = said.await?;
        Ok(match said {
            Ok(needs) => within_manifest(needs, &known, &self.version),
            Err(ParamError { path, message }) => Err(ParamError { path: bounded(path), message: bounded(message) }),
        })
    }

    /// The channel's items, which keep the contract. It may ask for these columns of items;
    /// what it reads passes through `tape`.
    ///
    /// # Errors
    /// When it has none.
    pub async fn recall(
        &self,
        request: recall::RecallRequest,
        allowed: Vec<ColumnSpec>,
        tape: Tape,
    ) -> Result<recall::Recalled, NoAnswer> {
        let RequestContext { scenario_id, now_ms, seed, .. } = &request.context;
        let catalogue: Arc<dyn Catalogue> = Arc::new(Stored {
            sources: self.sources.clone(),
            tenant: self.tenant.clone(),
            scenario_id: scenario_id.clone(),
            now_ms: *now_ms,
            allowed,
            tape,
        });
        let given = Given { catalogue: Some(catalogue), ..Given::new(*now_ms, *seed) };
        let recall = async |bill: Bill| self.callee().recall(given, |busy| bill.pay(busy), request).await;
        self.call(&self.of_tenant.budget, recall).await
    }

    /// A score for each candidate.
    ///
    /// # Errors
    /// When it has none.
    pub async fn rank(&self, request: &mut rank::RankRequest) -> Result<Vec<f32>, NoAnswer> {
        let given = given(&request.context);
        let rank = async |bill: Bill| self.callee().rank(given, |busy| bill.pay(busy), request).await;
        self.call(&self.of_tenant.budget, rank).await
    }

    /// The list after the rule, which keeps the contract.
    ///
    /// # Errors
    /// When it has none.
    pub async fn rerank(&self, request: &mut rerank::RerankRequest) -> Result<rerank::Reranked, NoAnswer> {
        let given = given(&request.context);
        let rerank = async |bill: Bill| self.callee().rerank(given, |busy| bill.pay(busy), request).await;
        self.call(&self.of_tenant.budget, rerank).await
    }

    /// What a stream operator answers.
    pub(crate) async fn operate<R>(
        &self,
        work: impl AsyncFnOnce(&AggregateStage, &mut Store<State>) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, NoAnswer> {
        let operate = async |bill: Bill| self.callee().operate(|busy| bill.pay(busy), work).await;
        self.call(&self.of_tenant.operators, operate).await
    }

    fn callee(&self) -> Callee<'_> {
        Callee { sandbox: &self.serving.sandbox, stage: &self.ready.stage }
    }

    /// Makes a call, unless the tenant's components had their time, are too many, or this
    /// one failed again and again.
    async fn call<R>(&self, budget: &Arc<Budget>, make: impl AsyncFnOnce(Bill) -> Ran<R>) -> Result<R, NoAnswer> {
        if self.is_on_trial {
            return self.try_call(make).await;
        }
        if !budget.has(Instant::now()) {
            return Err(self.skipped(Skip::Budget, "the tenant's components had their time of the processors"));
        }
        let places = async { (self.of_tenant.places.acquire().await, self.serving.calls.acquire().await) };
        let Ok(_places) = tokio::time::timeout(limits::COMPONENT_TIMEOUT, places).await else {
            return Err(self.skipped(Skip::Busy, "as many components as may are at work"));
        };
        let called = self.at_work.breaker.call(
            |fault: &Fault| fault.kind.is_its_own(),
            async || {
                let bill = Bill { tenant: self.tenant.clone(), budget: Arc::clone(budget) };
                let Ran { answer, spent, .. } = make(bill).await;
                let outcome = match &answer {
                    Ok(_) => {
                        self.at_work.answered(&spent);
                        "ok"
                    }
                    // It was not made.
                    Err(fault) if fault.kind == FaultKind::Room => {
                        self.at_work.skipped(Skip::Busy);
                        Skip::Busy.as_str()
                    }
                    Err(fault) => {
                        self.at_work.failed(fault, &spent);
                        fault.kind.as_str()
                    }
                };
                metrics::count(self.tenant.as_str(), outcome);
                answer
            },
        );
        match called.await {
            Ok(answer) => Ok(answer),
            Err(Refused::Failed(Fault { kind: FaultKind::Room, reason })) => Err(NoAnswer::Skipped(Skip::Busy, reason)),
            Err(Refused::Failed(fault)) => Err(NoAnswer::Failed(fault)),
            Err(Refused::Open) => {
                let last = self.at_work.last_fault().unwrap_or_default();
                Err(self.skipped(Skip::Resting, &format!("it rests, since it failed again and again: {last}")))
            }
        }
    }

    async fn try_call<R>(&self, make: impl AsyncFnOnce(Bill) -> Ran<R>) -> Result<R, NoAnswer> {
        let payer = Payer { tenant: self.tenant.clone(), of_tenant: Arc::clone(&self.of_tenant) };
        payer.wait().await;
        let _places = (self.of_tenant.places.acquire().await, self.serving.calls.acquire().await);
        let bill = Bill { tenant: self.tenant.clone(), budget: Arc::clone(&self.of_tenant.trials) };
        make(bill).await.answer.map_err(NoAnswer::Failed)
    }

    fn skipped(&self, skip: Skip, reason: &str) -> NoAnswer {
        self.at_work.skipped(skip);
        metrics::count(self.tenant.as_str(), skip.as_str());
        NoAnswer::Skipped(skip, bounded(reason.to_owned()))
    }
}

fn given(context: &RequestContext) -> Given {
    Given::new(context.now_ms, context.seed)
}
