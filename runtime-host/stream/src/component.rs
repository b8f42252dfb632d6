//! Operators that are components: a new instance for every call, of which nothing is
//! left, with no store, no network and no tenant.

use std::time::Duration;

use async_trait::async_trait;
use funnelweb_bindings::stages::{AggregateStage, AggregateStagePre};
use funnelweb_core::limits;
use funnelweb_engine::Failure as Fault;
use funnelweb_instance::{State, wasi};
use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};

use crate::{
    operator::{Aggregated, Batch, Change, Declaration, Failure, Operator, Output},
    window::Windows,
};

/// How much longer than a computing guest a waiting one is given.
const GRACE: Duration = Duration::from_millis(5);

/// An operator that is a component.
pub struct ComponentOperator {
    name: String,
    engine: Engine,
    pre: AggregateStagePre<State>,
    declaration: Declaration,
}

impl ComponentOperator {
    /// Of a component of the engine, which is asked what it declares.
    ///
    /// # Errors
    /// When it is of another world, or declares what cannot be.
    pub async fn new(name: &str, engine: &Engine, component: &Component) -> Result<Self, Failure> {
        let link = || {
            let mut linker = Linker::new(engine);
            wasi::add_p2_to_linker(&mut linker)?;
            AggregateStagePre::new(linker.instantiate_pre(component)?)
        };
        let pre = link().map_err(|error| Failure::Guest(format!("{error:#}")))?;
        let none = Declaration { key: Vec::new(), window: EMPTY, allowed_lateness_ms: 0 };
        let mut this = Self { name: name.to_owned(), engine: engine.clone(), pre, declaration: none };
        this.declaration = this
            .call(async |stage, store| stage.funnelweb_stream_aggregate().call_declare(store).await.map(Ok))
            .await?;
        Windows::new(&this.declaration).map_err(Failure::Guest)?;
        Ok(this)
    }

    async fn call<R>(
        &self,
        work: impl AsyncFnOnce(&AggregateStage, &mut Store<State>) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, Failure> {
        let timeout = limits::STREAM_TIMEOUT;
        let mut store = State::bare(limits::STAGE_MEMORY_BYTES, ()).store(&self.engine);
        State::begin(&mut store, timeout, limits::STREAM_ANSWER_BYTES);
        let Ok(instance) = tokio::time::timeout(timeout + GRACE, self.pre.instantiate_async(&mut store)).await else {
            return Err(Failure::Late(Fault::timed_out(timeout).reason));
        };
        // There was no place for it, or none in time.
        let stage = instance.map_err(|error| Failure::Host(format!("{error:#}")))?;
        match tokio::time::timeout(timeout + GRACE, work(&stage, &mut store)).await {
            Ok(Ok(answer)) => answer.map_err(Failure::guest),
            Ok(Err(error)) => {
                let fault = store.data().failure(&error, timeout, limits::STREAM_ANSWER_BYTES);
                // A late answer may be the host's fault, when it has too much to do.
                if fault.is_late() { Err(Failure::Late(fault.reason)) } else { Err(Failure::guest(fault.reason)) }
            }
            Err(_) => Err(Failure::Late(Fault::timed_out(timeout).reason)),
        }
    }
}

const EMPTY: crate::operator::Window = crate::operator::Window { size_ms: 0, slide_ms: 0 };

#[async_trait]
impl Operator for ComponentOperator {
    fn name(&self) -> &str {
        &self.name
    }

    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    async fn aggregate(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
        self.call(async |stage, store| stage.funnelweb_stream_aggregate().call_aggregate(store, batches).await).await
    }

    async fn merge(&self, parts: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
        self.call(async |stage, store| stage.funnelweb_stream_aggregate().call_merge(store, parts).await).await
    }

    async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
        self.call(async |stage, store| stage.funnelweb_stream_aggregate().call_changes(store, panes).await).await
    }

    async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
        self.call(async |stage, store| stage.funnelweb_stream_aggregate().call_summary(store, windows).await).await
    }
}
