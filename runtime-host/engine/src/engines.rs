//! The engines, their clock, and how a store is given a deadline.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use funnelweb_core::limits;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Store, UpdateDeadline,
};

use crate::{Error, Functions};

/// How often a running guest looks at the clock.
const TICK: Duration = Duration::from_millis(1);

/// How many ticks a guest computes before it gives way: a request that needs a
/// millisecond or two is not cut into pieces, whose caches others would use up.
const TICKS_IN_A_ROW: u32 = 4;

/// Stage instances that exist at once: every request in a component may run all
/// its channels at the same time.
const STAGE_INSTANCES: u32 = 1000;

/// Endpoint instances that exist at once: as many as requests, and idle ones.
const ENDPOINT_INSTANCES: u32 = 2 * limits::CONCURRENT_REQUESTS as u32;

/// Instances of models that exist at once: those that wait for work, of as many models
/// as are ready, and one for every request. They are address space until they are used.
const MODEL_INSTANCES: u32 = (limits::MODEL_IMAGES * limits::MODEL_IDLE_INSTANCES + limits::CONCURRENT_REQUESTS) as u32;

/// Instances of tenants' components that exist at once: those of a call each, and of uploads
/// and certifications.
const TENANT_INSTANCES: u32 = (limits::COMPONENT_CALLS + 4 * limits::COMPONENT_UPLOADS) as u32;

/// The engines of a process, and the thread that ticks their epochs for as long
/// as one of them is alive.
#[derive(Clone)]
pub struct Engines {
    stages: Engine,
    endpoints: Engine,
    tenants: Engine,
    models: Engine,
    functions: Arc<Functions>,
    loading: Engine,
}

impl Engines {
    /// All engines.
    ///
    /// # Errors
    /// [`Error::Engine`] when this kernel or processor lacks something.
    pub fn new() -> Result<Self, Error> {
        let stages = {
            let mut pool = pool(STAGE_INSTANCES, limits::STAGE_MEMORY_BYTES);
            pool.pagemap_scan(Enabled::Auto);
            pool.linear_memory_keep_resident(2 * 1024 * 1024);
            let mut config = config();
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
            Engine::new(&config).map_err(Error::Engine)?
        };
        let endpoints = {
            let mut pool = pool(ENDPOINT_INSTANCES, limits::ENDPOINT_MEMORY_BYTES);
            pool.linear_memory_keep_resident(64 * 1024);
            let mut config = config();
            config.wasm_component_model_async(true);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
            Engine::new(&config).map_err(Error::Engine)?
        };
        let tenants = {
            let mut pool = pool(TENANT_INSTANCES, limits::COMPONENT_MEMORY_BYTES);
            pool.pagemap_scan(Enabled::Auto);
            pool.linear_memory_keep_resident(2 * 1024 * 1024);
            // Room for each to be as large as it may: nobody's takes another's.
            pool.max_core_instances_per_component(limits::COMPONENT_INSTANCES as u32)
                .total_core_instances(TENANT_INSTANCES * limits::COMPONENT_INSTANCES as u32)
                .max_memories_per_component(limits::COMPONENT_MEMORIES as u32)
                .total_memories(TENANT_INSTANCES * limits::COMPONENT_MEMORIES as u32)
                .max_tables_per_component(limits::COMPONENT_TABLES as u32)
                .total_tables(TENANT_INSTANCES * limits::COMPONENT_TABLES as u32)
                .table_elements(limits::COMPONENT_TABLE_ELEMENTS);
            let mut config = tenants_config();
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
            Engine::new(&config).map_err(Error::Engine)?
        };
        let functions = Arc::new(Functions::default());
        let models = {
            let mut pool = pool(MODEL_INSTANCES, limits::MODEL_MEMORY_BYTES);
            pool.linear_memory_keep_resident(64 * 1024);
            let mut config = config();
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
            config.enable_incremental_compilation(functions.clone()).map_err(Error::Engine)?;
            Engine::new(&config).map_err(Error::Engine)?
        };
        let loading = {
            let mut config = config();
            // They are the same functions.
            config.enable_incremental_compilation(functions.clone()).map_err(Error::Engine)?;
            Engine::new(&config).map_err(Error::Engine)?
        };
        tick(&[&stages, &endpoints, &tenants, &models, &loading]);
        Ok(Self { stages, endpoints, tenants, models, functions, loading })
    }

    /// For stages with a fresh instance per call.
    #[must_use]
    pub fn stages(&self) -> &Engine {
        &self.stages
    }

    /// For endpoints, whose instances are reused.
    #[must_use]
    pub fn endpoints(&self) -> &Engine {
        &self.endpoints
    }

    /// For what tenants upload: a fresh instance per call, whose fuel is counted.
    #[must_use]
    pub fn tenants(&self) -> &Engine {
        &self.tenants
    }

    /// What compiles for [`tenants`](Self::tenants), in a process of its own that has
    /// little memory: without a pool, and one function after the other.
    ///
    /// # Errors
    /// [`Error::Engine`] as of [`new`](Self::new).
    pub fn tenants_compiler() -> Result<Engine, Error> {
        let mut config = tenants_config();
        config.parallel_compilation(false);
        Engine::new(&config).map_err(Error::Engine)
    }

    /// For stages that hold a model: images that are kept ([`crate::Template`]), whose
    /// instances are reused.
    #[must_use]
    pub fn models(&self) -> &Engine {
        &self.models
    }

    /// Functions that were compiled for models, with them or without.
    #[must_use]
    pub fn functions(&self) -> &Arc<Functions> {
        &self.functions
    }

    /// For giving a component its model before its image is kept. Its instances are few
    /// and short-lived, so they are not pooled.
    #[must_use]
    pub fn loading(&self) -> &Engine {
        &self.loading
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.cranelift_opt_level(OptLevel::Speed);
    // The same bits on every processor.
    config.relaxed_simd_deterministic(true);
    // Where in a component a trap was is told by functions' names; lines are not kept.
    config.generate_address_map(false);
    config.max_wasm_stack(limits::STACK_BYTES);
    config.async_stack_size(limits::STACK_BYTES + 512 * 1024);
    config
}

/// What is counted costs a little (see decision 0013) and is the same wherever it runs.
fn tenants_config() -> Config {
    let mut config = config();
    config.consume_fuel(true);
    config.wasm_component_model_async(true);
    config
}

fn pool(instances: u32, memory_bytes: usize) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    // A Rust component is one or two core modules and a few shims, one of which
    // holds the memory.
    pool.total_component_instances(instances)
        .total_core_instances(instances * 8)
        .max_core_instances_per_component(40)
        .total_memories(instances)
        .max_memories_per_component(2)
        .total_tables(instances * 4)
        .max_tables_per_component(10)
        .table_elements(limits::TABLE_ELEMENTS)
        .total_stacks(instances * 2)
        .max_memory_size(memory_bytes)
        .table_keep_resident(64 * 1024)
        .async_stack_keep_resident(64 * 1024)
        .max_unused_warm_slots(64);
    pool
}

/// One thread moves the epoch of all engines; it ends when the last is gone.
fn tick(engines: &[&Engine]) {
    let weak: Vec<_> = engines.iter().map(|engine| engine.weak()).collect();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(TICK);
            let mut alive = false;
            for engine in weak.iter().filter_map(wasmtime::EngineWeak::upgrade) {
                engine.increment_epoch();
                alive = true;
            }
            if !alive {
                return;
            }
        }
    });
}

/// Gives a store's guest until `timeout` from now; when its time is over it traps
/// at the next tick. While it computes it [gives way](give_way). A guest that waits
/// for the host is not stopped by this: bound the call from outside as well.
pub fn deadline<T>(store: &mut Store<T>, timeout: Duration) {
    deadline_in_slices(store, timeout, TICKS_IN_A_ROW);
}

/// The same of a guest that gives way after every tick, since others come before it.
pub fn strict_deadline<T>(store: &mut Store<T>, timeout: Duration) {
    deadline_in_slices(store, timeout, 1);
}

fn deadline_in_slices<T>(store: &mut Store<T>, timeout: Duration, ticks_in_a_row: u32) {
    let end = Instant::now() + timeout;
    let mut next = give_way_now_and_then(ticks_in_a_row);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        if Instant::now() >= end {
            return Err(wasmtime::Error::from(TimedOut));
        }
        Ok(next())
    });
}

/// Has a store's guest give way to other tasks, and to what else its own task has to
/// do, after every few ticks of computing.
pub fn give_way<T>(store: &mut Store<T>) {
    let mut next = give_way_now_and_then(TICKS_IN_A_ROW);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| Ok(next()));
}

/// What becomes of a guest at each tick.
fn give_way_now_and_then(ticks_in_a_row: u32) -> impl FnMut() -> UpdateDeadline + Send + Sync {
    let mut ticks = 0_u32;
    move || {
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(ticks_in_a_row) {
            UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
        } else {
            UpdateDeadline::Continue(1)
        }
    }
}

/// The trap of a guest whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ran past its deadline")]
pub struct TimedOut;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_without_a_pool_runs_in_one() {
        let engines = Engines::new().unwrap();
        let code = Engines::tenants_compiler().unwrap().precompile_component(b"\0asm\x0d\0\x01\0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("empty.cwasm");
        std::fs::write(&file, code).unwrap();
        assert!(crate::load::component(engines.tenants(), &file).is_ok());
    }
}
