//! Where tenants' components run: each call in a fresh instance, which has nothing of the
//! machine, so much time, fuel and memory, and is gone afterwards.

use std::{pin::pin, sync::Arc, time::Duration};

use funnelweb_admission::World;
use funnelweb_bindings::{
    stages::{AggregateStagePre, RankStagePre, RecallStagePre, RerankStagePre},
    types::StageError,
};
use funnelweb_core::limits;
use funnelweb_engine::{Failure, Kind, Limiter, Log, bounded, sealed, strict_deadline};
use funnelweb_instance::{State, wasi};
use rustix::time::{ClockId, clock_gettime};
use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};

use crate::{
    catalogue::{self, Catalogue},
    handles::Known,
    values,
};

/// Part of what the engine says of functions of other types.
const MISMATCH: &str = "type mismatch";
/// How much longer than a computing guest a waiting one is given, so that the former is
/// stopped by its own clock, which says so precisely.
const GRACE: Duration = Duration::from_millis(5);

/// What a component's linker needs.
pub struct Sandbox {
    engine: Engine,
    pure: Linker<State>,
    recall: Linker<State>,
}

/// A component that is ready to be instantiated, by its world.
pub enum Stage {
    /// A recall channel.
    Recall(RecallStagePre<State>),
    /// A ranker.
    Rank(RankStagePre<State>),
    /// A rerank rule.
    Rerank(RerankStagePre<State>),
    /// A stream operator.
    Aggregate(AggregateStagePre<State>),
}

/// What one instance has.
pub(crate) struct Guest {
    pub(crate) catalogue: Option<Arc<dyn Catalogue>>,
    /// The handles that it was given.
    pub(crate) known: Known,
}

/// What a call is made for.
#[derive(Clone)]
pub struct Given {
    /// The request's clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// The request's seed.
    pub seed: u64,
    /// What a recall channel may read.
    pub catalogue: Option<Arc<dyn Catalogue>>,
    /// The handles that it is given with its arguments, of which it can give others back
    /// than those that it answers with.
    pub(crate) known: Known,
}

impl Given {
    /// Of a request, or of none.
    #[must_use]
    pub fn new(now_ms: u64, seed: u64) -> Self {
        Self { now_ms, seed, catalogue: None, known: Known::default() }
    }
}

/// What a call that gave no answer ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// It trapped, panicked or could not begin.
    Trap,
    /// Its time was over.
    Late,
    /// Its fuel was.
    Fuel,
    /// It wanted more memory than it may have.
    Memory,
    /// Its answer was too large.
    Answer,
    /// Its answer broke the contract of its role.
    Contract,
    /// It said itself that it has none.
    Error,
    /// There was no room for an instance of it: it did not run.
    Room,
}

impl FaultKind {
    /// Every kind of a call that was made, in order.
    pub const ALL: [Self; 7] =
        [Self::Trap, Self::Late, Self::Fuel, Self::Memory, Self::Answer, Self::Contract, Self::Error];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Late => "timeout",
            Self::Fuel => "fuel",
            Self::Memory => "memory",
            Self::Answer => "output",
            Self::Contract => "contract",
            Self::Error => "error",
            Self::Room => "room",
        }
    }
}

/// Why a call gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it ran into.
    pub kind: FaultKind,
    /// On one line.
    pub reason: String,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind {
            Kind::Late => FaultKind::Late,
            Kind::Fuel => FaultKind::Fuel,
            Kind::Memory => FaultKind::Memory,
            Kind::Answer => FaultKind::Answer,
            Kind::Room => FaultKind::Room,
            Kind::Trap => FaultKind::Trap,
        };
        Self { kind, reason: failure.reason }
    }
}

impl From<StageError> for Fault {
    fn from(error: StageError) -> Self {
        Self { kind: FaultKind::Error, reason: bounded(error.message) }
    }
}

impl Fault {
    /// Of an answer that breaks a promise.
    #[must_use]
    pub fn contract(broken: &str) -> Self {
        Self { kind: FaultKind::Contract, reason: format!("broke its contract: {broken}") }
    }
}

/// What a call took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spent {
    /// Of a processor: waiting does not count.
    pub busy: Duration,
    /// About one an instruction; the same wherever it runs.
    pub fuel: u64,
    /// Linear memory of the instance at its end.
    pub memory_bytes: u64,
    /// What it printed.
    pub printed: String,
}

impl Spent {
    pub(crate) fn micros(&self) -> u64 {
        u64::try_from(self.busy.as_micros()).unwrap_or(u64::MAX)
    }
}

/// What came of a call.
#[derive(Debug)]
pub struct Ran<R> {
    /// What it gave.
    pub answer: Result<R, Fault>,
    /// What it took.
    pub spent: Spent,
    /// The handles that it was given.
    pub(crate) known: Known,
}

impl Sandbox {
    /// One for `engine`, which is that of tenants.
    ///
    /// # Errors
    /// When what components import cannot be offered.
    pub fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut pure = Linker::new(engine);
        wasi::add_sealed_to_linker(&mut pure)?;
        values::add_to_linker(&mut pure)?;
        let mut recall = Linker::new(engine);
        wasi::add_sealed_to_linker(&mut recall)?;
        values::add_to_linker(&mut recall)?;
        catalogue::add_to_linker(&mut recall)?;
        Ok(Self { engine: engine.clone(), pure, recall })
    }

    /// Of its components.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Makes a compiled component ready.
    ///
    /// # Errors
    /// When it does not import and export what its world has.
    pub fn stage(&self, world: World, component: &Component) -> wasmtime::Result<Stage> {
        Ok(match world {
            World::Recall => Stage::Recall(RecallStagePre::new(self.recall.instantiate_pre(component)?)?),
            World::Rank => Stage::Rank(RankStagePre::new(self.pure.instantiate_pre(component)?)?),
            World::Rerank => Stage::Rerank(RerankStagePre::new(self.pure.instantiate_pre(component)?)?),
            World::Aggregate => Stage::Aggregate(AggregateStagePre::new(self.pure.instantiate_pre(component)?)?),
        })
    }

    /// Whether a component has functions of its world's types, which is seen when there is an
    /// instance of it. What else that runs into is seen where it is called.
    ///
    /// # Errors
    /// Which function has others.
    pub(crate) async fn fits(&self, stage: &Stage) -> Result<(), String> {
        let mut unlike = Ok(());
        let instantiate = async |store: &mut Store<State>| {
            let made = match stage {
                Stage::Recall(pre) => pre.instantiate_async(store).await.map(drop),
                Stage::Rank(pre) => pre.instantiate_async(store).await.map(drop),
                Stage::Rerank(pre) => pre.instantiate_async(store).await.map(drop),
                Stage::Aggregate(pre) => pre.instantiate_async(store).await.map(drop),
            };
            let made = made.map_err(|error| format!("{error:#}"));
            unlike =
                made.map_err(bounded).or_else(|reason| if reason.contains(MISMATCH) { Err(reason) } else { Ok(()) });
            Ok(())
        };
        let _ = self.run(Given::new(0, 0), |_| {}, instantiate).await;
        unlike
    }

    /// Runs a call on a new instance's store. `began` is called with what it took of a
    /// processor, however it ends, also when nobody waits for it any more.
    pub async fn run<R>(
        &self,
        given: Given,
        took: impl FnOnce(Duration),
        work: impl AsyncFnOnce(&mut Store<State>) -> wasmtime::Result<R>,
    ) -> Ran<R> {
        let timeout = limits::COMPONENT_TIMEOUT;
        let mut store = self.store(given);
        strict_deadline(&mut store, timeout);
        let mut meter = Meter { busy: Duration::ZERO, took: Some(took) };
        let answer = {
            let mut call = pin!(async {
                store.set_fuel(limits::COMPONENT_FUEL)?;
                work(&mut store).await
            });
            let measured = std::future::poll_fn(|cx| {
                let start = thread_time();
                let polled = call.as_mut().poll(cx);
                meter.busy += thread_time().saturating_sub(start);
                polled
            });
            tokio::time::timeout(timeout + GRACE, measured).await
        };
        let left = store.get_fuel().unwrap_or_default();
        let state = store.data_mut();
        let known = std::mem::take(&mut state.own::<Guest>().known);
        let spent = Spent {
            busy: meter.busy,
            fuel: limits::COMPONENT_FUEL.saturating_sub(left),
            memory_bytes: state.held_bytes() as u64,
            printed: state.log().printed(),
        };
        let answer = match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(state.failure(&error, timeout, limits::COMPONENT_ANSWER_BYTES).into()),
            Err(_) => Err(Failure::timed_out(timeout).into()),
        };
        Ran { answer, spent, known }
    }

    fn store(&self, given: Given) -> Store<State> {
        let log = Log::default();
        let wasi = sealed::context(&log, given.now_ms, given.seed);
        let limiter = Limiter::with_tables(limits::COMPONENT_MEMORY_BYTES, limits::COMPONENT_TABLE_ELEMENTS);
        let guest = Guest { catalogue: given.catalogue, known: given.known };
        let state = State::new(wasi, log, limiter, guest).with_handles(limits::COMPONENT_HANDLES);
        let mut store = state.store(&self.engine);
        store.set_hostcall_fuel(limits::COMPONENT_ANSWER_BYTES);
        store.set_max_component_handles(limits::COMPONENT_HANDLES);
        store
    }
}

/// The time that this thread has had of a processor: that others had it meanwhile is nothing
/// that a call took.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// Says what a call took when it is over.
struct Meter<F: FnOnce(Duration)> {
    busy: Duration,
    took: Option<F>,
}

impl<F: FnOnce(Duration)> Drop for Meter<F> {
    fn drop(&mut self) {
        if let Some(took) = self.took.take() {
            took(self.busy);
        }
    }
}
