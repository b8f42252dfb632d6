//! A tenant's stream operator, as the stream engine asks it: each call in a fresh instance,
//! under the limits of all calls of tenants' components.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use funnelweb_bindings::stages::AggregateStage;
use funnelweb_instance::State;
use funnelweb_stream::{
    operator::{Aggregated, Batch, Change, Declaration, Failure, Metric, Operator, Output},
    own,
};
use funnelweb_tenant_store::lock;
use wasmtime::Store;

use crate::{
    Fault, FaultKind, NoAnswer, Payer, Picked, Sandbox,
    calls::Callee,
    certify::was_kept_waiting,
    record::Follows,
    sandbox::{Ran, Spent, Stage},
};

/// Events of a step, in which it is certified as well: a step that costs more than its tenant
/// may spend at once would never be made.
pub(crate) const STEP_EVENTS: u32 = 50;
/// Calls of a step that may fail, for the same reason.
const FAILURES: usize = 8;

/// See the module.
pub struct OwnOperator {
    name: String,
    declaration: Declaration,
    begins: u64,
    via: Via,
}

/// How it is called.
enum Via {
    /// Within what its tenant may take, and counted.
    Picked(Box<Picked>),
    /// As it is, to be tried.
    Tried(Tried),
}

/// An operator that follows no log.
struct Tried {
    sandbox: Arc<Sandbox>,
    stage: Arc<Stage>,
    /// Of whose time its calls are; nobody's where there is no server.
    pays: Option<Payer>,
    spent: Mutex<Vec<Spent>>,
}

impl OwnOperator {
    /// One that follows its tenant's log.
    #[must_use]
    pub(crate) fn following(picked: Picked, follows: &Follows, begins: u64) -> Self {
        Self {
            name: own::name(&picked.version.name, follows.since_ms),
            declaration: follows.declared.clone().into(),
            begins,
            via: Via::Picked(Box::new(picked)),
        }
    }

    /// One to be tried, which is asked what it declares.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn tried(sandbox: Arc<Sandbox>, stage: Arc<Stage>, pays: Option<Payer>) -> Result<Self, Fault> {
        let spent = Mutex::default();
        let callee = Callee { sandbox: &sandbox, stage: &stage };
        let declare = async |stage: &AggregateStage, store: &mut Store<State>| {
            stage.funnelweb_stream_aggregate().call_declare(store).await.map(Ok)
        };
        if let Some(payer) = &pays {
            payer.wait().await;
        }
        let mut attempt = 1;
        let declaration = loop {
            let ran = callee.operate(took(pays.as_ref()), declare).await;
            if !was_kept_waiting(&ran, attempt) {
                break ran.answer?;
            }
            attempt += 1;
        };
        let via = Via::Tried(Tried { sandbox, stage, pays, spent });
        Ok(Self { name: own::name("tried", 0), declaration, begins: 0, via })
    }

    /// What the calls took that were made to try it, answered or not.
    #[must_use]
    pub fn spent(&self) -> Vec<Spent> {
        match &self.via {
            Via::Picked(_) => Vec::new(),
            Via::Tried(tried) => lock(&tried.spent).clone(),
        }
    }

    /// Makes a call; `attempt` is 0 afterwards unless it is to be made once more.
    async fn call<R>(
        &self,
        attempt: &mut usize,
        work: impl AsyncFnOnce(&AggregateStage, &mut Store<State>) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, Failure> {
        match &self.via {
            Via::Picked(picked) => {
                *attempt = 0;
                picked.operate(work).await.map_err(|none| match none {
                    NoAnswer::Skipped(_, reason) => Failure::Host(reason),
                    NoAnswer::Failed(fault) => failure(fault),
                })
            }
            Via::Tried(Tried { sandbox, stage, pays, spent }) => {
                if let Some(payer) = pays {
                    payer.wait().await;
                }
                let ran = Callee { sandbox, stage }.operate(took(pays.as_ref()), work).await;
                let is_in_vain = was_kept_waiting(&ran, *attempt);
                *attempt = if is_in_vain { *attempt + 1 } else { 0 };
                let Ran { answer, spent: took, .. } = ran;
                if !is_in_vain {
                    lock(spent).push(took);
                }
                answer.map_err(failure)
            }
        }
    }
}

/// Who pays for a call.
fn took(pays: Option<&Payer>) -> impl FnOnce(Duration) {
    move |busy| {
        if let Some(payer) = pays {
            payer.pay(busy);
        }
    }
}

fn failure(fault: Fault) -> Failure {
    // What waits for a processor may be late for no fault of its own.
    if fault.kind == FaultKind::Late { Failure::Late(fault.reason) } else { Failure::guest(fault.reason) }
}

#[async_trait]
impl Operator for OwnOperator {
    fn name(&self) -> &str {
        &self.name
    }

    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    fn begins(&self) -> u64 {
        self.begins
    }

    fn step_events(&self) -> u32 {
        STEP_EVENTS
    }

    fn failures(&self) -> usize {
        FAILURES
    }

    async fn aggregate(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
        let mut attempt = 1;
        loop {
            let aggregate = async |stage: &AggregateStage, store: &mut Store<State>| {
                stage.funnelweb_stream_aggregate().call_aggregate(store, batches).await
            };
            let answer = self.call(&mut attempt, aggregate).await;
            if attempt == 0 {
                return answer;
            }
        }
    }

    async fn merge(&self, parts: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
        let mut attempt = 1;
        loop {
            let merge = async |stage: &AggregateStage, store: &mut Store<State>| {
                stage.funnelweb_stream_aggregate().call_merge(store, parts).await
            };
            let answer = self.call(&mut attempt, merge).await;
            if attempt == 0 {
                return answer;
            }
        }
    }

    async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
        let mut attempt = 1;
        let changes = loop {
            let changes = async |stage: &AggregateStage, store: &mut Store<State>| {
                stage.funnelweb_stream_aggregate().call_changes(store, panes).await
            };
            let answer = self.call(&mut attempt, changes).await;
            if attempt == 0 {
                break answer?;
            }
        };
        // No counter of the application's has such a name.
        let own = |change| match change {
            Change::Metric(metric) => {
                Change::Metric(Metric { name: format!("{}{}", own::METRICS, metric.name), ..metric })
            }
            change => change,
        };
        Ok(changes.into_iter().map(|changes| changes.into_iter().map(own).collect()).collect())
    }

    async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
        let mut attempt = 1;
        loop {
            let summary = async |stage: &AggregateStage, store: &mut Store<State>| {
                stage.funnelweb_stream_aggregate().call_summary(store, windows).await
            };
            let answer = self.call(&mut attempt, summary).await;
            if attempt == 0 {
                return answer;
            }
        }
    }
}
