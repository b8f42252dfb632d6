//! The data of an instance, whatever component it is of.
//!
//! It is one type, so that what Wasmtime makes of WASI for it is compiled once ([`wasi`]), and
//! not for every kind of component. What a kind has of its own is behind [`State::own`].

pub mod wasi;

use std::{any::Any, time::Duration};

use funnelweb_engine::{Failure, Limiter, Log, deadline};
use wasmtime::{Engine, Store, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// The data of one instance.
pub struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    own: Box<dyn Any + Send>,
    log: Log,
    limiter: Limiter,
}

impl State {
    /// With WASI as it was made, whose output goes to `log`, and what its kind has.
    #[must_use]
    pub fn new(wasi: WasiCtx, log: Log, limiter: Limiter, own: impl Any + Send) -> Self {
        Self { wasi, table: ResourceTable::new(), own: Box::new(own), log, limiter }
    }

    /// With nothing behind WASI, and so much memory.
    #[must_use]
    pub fn bare(memory_bytes: usize, own: impl Any + Send) -> Self {
        let log = Log::default();
        Self::new(wasi::context(&log).build(), log, Limiter::new(memory_bytes), own)
    }

    /// Which may have so many resources at once.
    #[must_use]
    pub fn with_handles(mut self, most: usize) -> Self {
        self.table.set_max_capacity(most);
        self
    }

    /// A store for an instance with it.
    #[must_use]
    pub fn store(self, engine: &Engine) -> Store<Self> {
        let mut store = Store::new(engine, self);
        store.limiter(|state| &mut state.limiter);
        store
    }

    /// What its kind has.
    ///
    /// # Panics
    /// When that is of another type. It never is: linkers and stores of a kind are made in one
    /// module, which has its components run by nobody else.
    pub fn own<T: Any>(&mut self) -> &mut T {
        self.parts().0
    }

    /// The same and the instance's resources, for calls that need both.
    ///
    /// # Panics
    /// The same.
    pub fn parts<T: Any>(&mut self) -> (&mut T, &mut ResourceTable) {
        let Some(own) = self.own.downcast_mut() else { unreachable!("an instance is of one kind") };
        (own, &mut self.table)
    }

    /// What it printed.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What it may take, and took.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Prepares a store for a call, which has so much time, and whose answer may have so many
    /// bytes.
    pub fn begin(store: &mut Store<Self>, timeout: Duration, answer_bytes: usize) {
        store.set_hostcall_fuel(answer_bytes);
        deadline(store, timeout);
    }

    /// What became of a call that was prepared like this.
    #[must_use]
    pub fn failure(&self, error: &wasmtime::Error, timeout: Duration, answer_bytes: usize) -> Failure {
        Failure::of(error, &self.limiter, &self.log, timeout, answer_bytes)
    }

    /// The linear memory that it has, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.limiter.held_bytes()
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
