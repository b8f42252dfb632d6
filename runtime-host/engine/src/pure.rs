//! Instances that are given nothing: no store, no network, nothing of a tenant. What they
//! print is kept for the log.

use std::time::Duration;

use funnelweb_core::limits;
use wasmtime::{Engine, Store, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{Failure, Limiter, Log, deadline};

/// The data of such an instance.
pub struct Pure {
    wasi: WasiCtx,
    table: ResourceTable,
    log: Log,
    limiter: Limiter,
}

impl WasiView for Pure {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Pure {
    /// A store for one, which may take so much memory.
    #[must_use]
    pub fn store(engine: &Engine, memory_bytes: usize) -> Store<Self> {
        let log = Log::default();
        let mut wasi = WasiCtx::builder();
        wasi.stdout(log.clone()).stderr(log.clone()).max_random_size(limits::RANDOM_BYTES);
        let limiter = Limiter::new(memory_bytes);
        let mut store = Store::new(engine, Self { wasi: wasi.build(), table: ResourceTable::new(), log, limiter });
        store.limiter(|pure| &mut pure.limiter);
        store
    }

    /// Prepares the store for a call, which has so much time, and whose answer may have so
    /// many bytes.
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
