//! A host of the kind that the project has, as small as it can be: a fresh instance per
//! call, with its limits. A closed one gives nothing of the machine; an open one does, to
//! see that what looks for it would find it.

use std::{sync::LazyLock, time::Duration};

use funnelweb_bindings::{
    stages::{
        AggregateStagePre, RankStagePre, RecallStagePre, RerankStagePre,
        aggregate::{Batch, Event, Span},
        rank::RankRequest,
        recall::RecallRequest,
        rerank::RerankRequest,
    },
    types::{Candidates, Personal, RequestContext, Requirements, Table, User},
};
use funnelweb_core::limits;
use funnelweb_corpus::{Case, World};
use funnelweb_engine::{Failure, Limiter, Log, deadline};
use tokio::{io::AsyncWrite, runtime::Runtime};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter, Store,
    component::{Component, InstancePre, Linker, Resource, ResourceTable, Val},
};
use wasmtime_wasi::{
    FsPerms, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView,
    cli::{IsTerminal, StdoutStream},
    p2::{DynPollable, OutputStream, Pollable, pipe::MemoryInputPipe, subscribe},
    random::Deterministic,
};

/// For an instance to be made.
const TIMEOUT: Duration = Duration::from_millis(300);

/// Items of the requests.
const ITEMS: usize = 30;
/// What a recall channel is asked for.
const LIMIT: u32 = 40;

/// The bits of all lists of an answer, or why there is none.
pub(crate) type Answered = Result<Vec<u64>, String>;

/// What became of an upload's calls.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) check: Result<(), String>,
    /// A call, and the same again.
    pub(crate) call: Answered,
    pub(crate) again: Answered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Closed,
    Open,
}

struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
    log: Log,
    limiter: Sum,
}

/// The limit is one for all memories of an instance, and one for all its tables.
struct Sum {
    limiter: Limiter,
    memory_bytes: usize,
    elements: usize,
}

impl ResourceLimiter for Sum {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.memory_bytes + (desired - current);
        let allowed = self.limiter.memory_growing(self.memory_bytes, sum, None)?;
        if allowed {
            self.memory_bytes = sum;
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.elements + (desired - current);
        let allowed = self.limiter.table_growing(self.elements, sum, None)?;
        if allowed {
            self.elements = sum;
        }
        Ok(allowed)
    }
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

pub(crate) struct Host {
    engine: Engine,
    linker: Linker<Data>,
    kind: Kind,
}

impl Host {
    pub(crate) fn new(kind: Kind) -> Self {
        let engine = engine();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi::p3::add_to_linker(&mut linker).unwrap();
        if kind == Kind::Closed {
            without_timers(&mut linker);
        }
        catalogue(&mut linker);
        Self { engine, linker, kind }
    }

    pub(crate) fn compile(&self, upload: &[u8]) -> wasmtime::Result<Component> {
        Component::new(&self.engine, upload)
    }

    /// Everything that is done with an upload that was admitted.
    pub(crate) async fn run(&self, case: &Case, user: &str, timeout: Duration) -> Outcome {
        let pre = match self.compile(&case.upload).and_then(|component| self.linker.instantiate_pre(&component)) {
            Ok(pre) => pre,
            Err(error) => {
                let reason = format!("not to be run: {error:#}");
                return Outcome { check: Err(reason.clone()), call: Err(reason.clone()), again: Err(reason) };
            }
        };
        let run = Run { host: self, pre, case, timeout };
        let check = run.check().await;
        // An open host is one that uses an instance again.
        let times = if self.kind == Kind::Open { 2 } else { 1 };
        let (call, again) = (run.call(user, 1).await, run.call(user, times).await);
        Outcome { check, call, again }
    }

    fn store(&self, timeout: Duration) -> Store<Data> {
        let log = Log::default();
        let mut wasi = WasiCtx::builder();
        wasi.max_random_size(limits::RANDOM_BYTES);
        match self.kind {
            Kind::Closed => wasi
                .stdout(log.clone())
                .wall_clock(Still)
                .monotonic_clock(Still)
                .secure_random(Deterministic::new(b"of the request's seed".to_vec()))
                .insecure_random(Deterministic::new(b"of the request's seed".to_vec()))
                .insecure_random_seed(1),
            Kind::Open => wasi
                .stdout(Terminal(log.clone()))
                .stdin(MemoryInputPipe::new("typed"))
                .env("SECRET", "1")
                .arg("program")
                .initial_cwd("/")
                .preopened_dir(env!("CARGO_MANIFEST_DIR"), "/", FsPerms::ReadOnly)
                .unwrap()
                .inherit_network()
                .allow_tcp(true)
                .allow_udp(true)
                .allow_ip_name_lookup(true),
        };
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::COMPONENT_HANDLES);
        let limiter = Limiter::new(limits::COMPONENT_MEMORY_BYTES);
        let limiter = Sum { limiter, memory_bytes: 0, elements: 0 };
        let mut store = Store::new(&self.engine, Data { wasi: wasi.build(), table, log, limiter });
        store.limiter(|data| &mut data.limiter);
        store.set_max_component_handles(limits::COMPONENT_HANDLES);
        store.set_hostcall_fuel(limits::COMPONENT_ANSWER_BYTES);
        store.set_fuel(limits::COMPONENT_FUEL).unwrap();
        deadline(&mut store, timeout);
        store
    }
}

/// An upload that is being run.
struct Run<'a> {
    host: &'a Host,
    pre: InstancePre<Data>,
    case: &'a Case,
    timeout: Duration,
}

impl Run<'_> {
    /// Makes a store, has the call made in it, and says why it gave no answer.
    async fn in_store<R>(&self, call: impl AsyncFnOnce(&mut Store<Data>) -> wasmtime::Result<R>) -> Result<R, String> {
        let mut store = self.host.store(self.timeout);
        let answer = tokio::time::timeout(self.timeout, call(&mut store)).await;
        let data = store.data();
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let answer = limits::COMPONENT_ANSWER_BYTES;
                Err(Failure::of(&error, &data.limiter.limiter, &data.log, self.timeout, answer).reason)
            }
            Err(_) => Err(Failure::timed_out(self.timeout).reason),
        }
    }

    async fn check(&self) -> Result<(), String> {
        let Self { pre, case, .. } = self;
        let params = case.params.as_str();
        let needs = match case.world {
            World::Recall => {
                let pre = RecallStagePre::new(pre.clone()).unwrap();
                self.in_store(async |store| {
                    let stage = pre.instantiate_async(&mut *store).await?;
                    stage.funnelweb_pipeline_recall().call_check(store, params).await
                })
                .await?
            }
            World::Rank => {
                let pre = RankStagePre::new(pre.clone()).unwrap();
                self.in_store(async |store| {
                    let stage = pre.instantiate_async(&mut *store).await?;
                    stage.funnelweb_pipeline_rank().call_check(store, params).await
                })
                .await?
            }
            World::Rerank => {
                let pre = RerankStagePre::new(pre.clone()).unwrap();
                self.in_store(async |store| {
                    let stage = pre.instantiate_async(&mut *store).await?;
                    stage.funnelweb_pipeline_rerank().call_check(store, params).await
                })
                .await?
            }
            World::Aggregate => {
                let pre = AggregateStagePre::new(pre.clone()).unwrap();
                let declared = self.in_store(async |store| {
                    let stage = pre.instantiate_async(&mut *store).await?;
                    stage.funnelweb_stream_aggregate().call_declare(store).await
                });
                return declared.await.map(|declaration| assert_eq!(declaration.window.size_ms, 60_000));
            }
        };
        needs.map_err(|error| error.message).and_then(|needs| within_limits(&needs))
    }

    /// The last of so many calls of one instance.
    async fn call(&self, user: &str, times: usize) -> Answered {
        let Self { pre, case, .. } = self;
        // It is told what its manifest says that it reads.
        let told = crate::census::reads_of_user(&case.upload).iter().any(|part| part == "id");
        let context = context(if told { user } else { "" });
        let params = case.params.clone();
        let candidates = candidates();
        let (handles, items) = (candidates.handles.clone(), candidates.handles.len());
        match case.world {
            World::Recall => {
                let pre = RecallStagePre::new(pre.clone()).unwrap();
                let request = RecallRequest { context, limit: LIMIT, exclude: handles, params };
                let found = self
                    .in_store(async |store| {
                        let stage = pre.instantiate_async(&mut *store).await?;
                        stage.funnelweb_pipeline_recall().call_recall(store, &request).await
                    })
                    .await?
                    .map_err(|error| error.message)?;
                recalled(&found.handles, &found.scores)?;
                Ok(bits(&found.handles, &found.scores))
            }
            World::Rank => {
                let pre = RankStagePre::new(pre.clone()).unwrap();
                let request = RankRequest {
                    context,
                    candidates,
                    items: table(items),
                    user: table(1),
                    item_features: Vec::new(),
                    objective: String::new(),
                    params,
                };
                let found = self
                    .in_store(async |store| {
                        let stage = pre.instantiate_async(&mut *store).await?;
                        stage.funnelweb_pipeline_rank().call_rank(store, &request).await
                    })
                    .await?
                    .map_err(|error| error.message)?;
                scores(&found, items)?;
                Ok(bits(&[], &found))
            }
            World::Rerank => {
                let pre = RerankStagePre::new(pre.clone()).unwrap();
                let rows = (0..u32::try_from(items).unwrap()).collect();
                let request = RerankRequest { context, candidates, rows, items: table(items), weight: 1.0, params };
                let found = self
                    .in_store(async |store| {
                        let stage = pre.instantiate_async(&mut *store).await?;
                        for _ in 1..times {
                            let _ = stage.funnelweb_pipeline_rerank().call_rerank(&mut *store, &request).await?;
                        }
                        stage.funnelweb_pipeline_rerank().call_rerank(store, &request).await
                    })
                    .await?
                    .map_err(|error| error.message)?;
                reranked(&handles, &found.handles, &found.scores, &found.removed)?;
                Ok(bits(&found.handles, &found.scores))
            }
            World::Aggregate => {
                let pre = AggregateStagePre::new(pre.clone()).unwrap();
                let batches = [batch(), batch()];
                let found = self
                    .in_store(async |store| {
                        let stage = pre.instantiate_async(&mut *store).await?;
                        stage.funnelweb_stream_aggregate().call_aggregate(store, &batches).await
                    })
                    .await??;
                Ok(found.iter().map(|accumulator| accumulator.len() as u64).collect())
            }
        }
    }
}

/// Whether it can be loaded and has what its world exports, of the types that it must be
/// of. An error of another kind than of types is not one of these.
pub(crate) fn linked(upload: &[u8], world: World) -> Result<(), (&'static str, String)> {
    static HOST: LazyLock<Host> = LazyLock::new(|| Host::new(Kind::Closed));
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    let Ok(component) = HOST.compile(upload) else { return Ok(()) };
    let pre = HOST.linker.instantiate_pre(&component).map_err(|error| ("imports", format!("{error:#}")))?;
    let (done, typed) = std::sync::mpsc::channel();
    RUNTIME.spawn(async move {
        let mut store = HOST.store(TIMEOUT);
        let store = &mut store;
        let typed = match world {
            World::Recall => async { RecallStagePre::new(pre)?.instantiate_async(store).await.map(|_| ()) }.await,
            World::Rank => async { RankStagePre::new(pre)?.instantiate_async(store).await.map(|_| ()) }.await,
            World::Rerank => async { RerankStagePre::new(pre)?.instantiate_async(store).await.map(|_| ()) }.await,
            World::Aggregate => async { AggregateStagePre::new(pre)?.instantiate_async(store).await.map(|_| ()) }.await,
        };
        done.send(typed).unwrap();
    });
    let typed = typed.recv().unwrap().map_err(|error| format!("{error:#}"));
    match typed {
        Err(error) if error.contains("expected `") || error.contains("does not have export") => Err(("exports", error)),
        _ => Ok(()),
    }
}

/// As the project's for stages, with few instances and with fuel.
fn engine() -> Engine {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(20)
        .total_core_instances(400)
        .max_core_instances_per_component(64)
        .total_memories(40)
        .max_memories_per_component(2)
        .total_tables(200)
        .max_tables_per_component(20)
        .table_elements(limits::TABLE_ELEMENTS)
        .total_stacks(20)
        .max_memory_size(limits::COMPONENT_MEMORY_BYTES);
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .generate_address_map(false)
        .max_wasm_stack(limits::STACK_BYTES)
        .async_stack_size(limits::STACK_BYTES + 512 * 1024)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config).unwrap();
    let weak = engine.weak();
    std::thread::spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    engine
}

/// When it is.
const NOW_NS: u64 = 1_700_000_000_000_000_000;

/// A clock that stands.
struct Still;

impl HostWallClock for Still {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(NOW_NS)
    }
}

impl HostMonotonicClock for Still {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        NOW_NS
    }
}

/// What is ready when the clock has moved, where it stands.
struct Never;

#[wasmtime_wasi::async_trait]
impl Pollable for Never {
    async fn ready(&mut self) {
        std::future::pending().await
    }
}

/// What is ready at once.
struct AtOnce;

#[wasmtime_wasi::async_trait]
impl Pollable for AtOnce {
    async fn ready(&mut self) {
        tokio::task::yield_now().await;
    }
}

/// WASI's timers go by a clock of their own, whichever one it is given to tell the time by.
fn without_timers(linker: &mut Linker<Data>) {
    let timer =
        |mut store: wasmtime::StoreContextMut<'_, Data>, waits: bool| -> wasmtime::Result<Resource<DynPollable>> {
            let table = &mut store.data_mut().table;
            if waits {
                let timer = table.push(Never)?;
                subscribe(table, timer)
            } else {
                let timer = table.push(AtOnce)?;
                subscribe(table, timer)
            }
        };
    linker.allow_shadowing(true);
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.2.12").unwrap();
    clock
        .func_wrap("subscribe-duration", move |store, (duration,): (u64,)| Ok((timer(store, duration > 0)?,)))
        .unwrap();
    clock
        .func_wrap("subscribe-instant", move |store, (instant,): (u64,)| Ok((timer(store, instant > NOW_NS)?,)))
        .unwrap();
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.3.0").unwrap();
    let wait = |waits: bool| async move {
        if waits {
            std::future::pending::<()>().await;
        }
        Ok(())
    };
    clock.func_wrap_concurrent("wait-for", move |_, (duration,): (u64,)| Box::pin(wait(duration > 0))).unwrap();
    clock.func_wrap_concurrent("wait-until", move |_, (when,): (u64,)| Box::pin(wait(when > NOW_NS))).unwrap();
    linker.allow_shadowing(false);
}

/// A catalogue of nothing, with the limits of the real one.
fn catalogue(linker: &mut Linker<Data>) {
    let mut catalogue = linker.instance("funnelweb:tenant/catalogue@0.1.0").unwrap();
    let invalid = || {
        let error = Val::Variant("invalid".to_owned(), Some(Box::new(Val::String("too much".to_owned()))));
        Val::Result(Err(Some(Box::new(error))))
    };
    let none = |lists: &[&str]| {
        let fields = lists.iter().map(|list| ((*list).to_owned(), Val::List(Vec::new()))).collect();
        Val::Result(Ok(Some(Box::new(Val::Record(fields)))))
    };
    catalogue
        .func_new("hot", move |_, _, params, results| {
            let within = matches!(params, [Val::U32(1..=1000)]);
            results[0] = if within { none(&["handles", "scores"]) } else { invalid() };
            Ok(())
        })
        .unwrap();
    for name in ["newest", "similar", "columns"] {
        catalogue
            .func_new(name, move |_, _, _, results| {
                results[0] = invalid();
                Ok(())
            })
            .unwrap();
    }
}

/// Output that says it is a terminal.
struct Terminal(Log);

impl IsTerminal for Terminal {
    fn is_terminal(&self) -> bool {
        true
    }
}

impl StdoutStream for Terminal {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        self.0.async_stream()
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        self.0.p2_stream()
    }
}

fn context(user: &str) -> RequestContext {
    let user = User {
        id: user.to_owned(),
        attributes: Vec::new(),
        preferences: Vec::new(),
        recent: Vec::new(),
        recent_weights: Vec::new(),
    };
    RequestContext {
        scenario_id: "feed".to_owned(),
        user,
        context: Vec::new(),
        now_ms: 1_700_000_000_000,
        count: 10,
        seed: 7,
    }
}

fn candidates() -> Candidates {
    let handles: Vec<u64> = (0..ITEMS as u64).map(|at| at * 1000 + 17).collect();
    let scores = (0..ITEMS).map(|at| 1.0 / (1.0 + at as f32)).collect();
    Candidates { handles, scores, sources: vec![1; ITEMS] }
}

fn table(rows: usize) -> Table {
    Table {
        rows: u32::try_from(rows).unwrap(),
        numeric_names: vec!["age".to_owned()],
        numeric: vec![1.0; rows],
        categorical_names: Vec::new(),
        categorical: Vec::new(),
        multi_names: Vec::new(),
        multi_offsets: Vec::new(),
        multi_values: Vec::new(),
        embedding_dim: 0,
        embeddings: Vec::new(),
    }
}

fn batch() -> Batch {
    let event = Event {
        event_id: "e".to_owned(),
        scenario_id: "feed".to_owned(),
        user_id: "somebody".to_owned(),
        item_id: "i".to_owned(),
        action_type: "click".to_owned(),
        timestamp_ms: 30_000,
        group: String::new(),
        completion_rate: None,
        watch_duration: None,
        signal: None,
    };
    Batch { key: Vec::new(), pane: Span { from_ms: 0, to_ms: 60_000 }, events: vec![event; 3] }
}

fn within_limits(needs: &Requirements) -> Result<(), String> {
    let over = |what: &str, count: usize, limit: usize| {
        if count > limit { Err(format!("these params need {count} {what}, {limit} is the most")) } else { Ok(()) }
    };
    over("columns", needs.columns.len(), limits::STAGE_COLUMNS)?;
    over("items", needs.items.len(), limits::STAGE_ITEMS)?;
    let longest = needs.columns.iter().map(|column| column.name.len()).max().unwrap_or_default();
    over("bytes in a column's name", longest, limits::NAME_BYTES)?;
    assert!(Personal::all().contains(needs.personal));
    Ok(())
}

// What stages promise, in the words of what checks it in requests.

fn scores(scores: &[f32], items: usize) -> Result<(), String> {
    if scores.len() != items {
        return Err(format!("{} scores for {items} candidates", scores.len()));
    }
    if scores.iter().all(|score| score.is_finite()) { Ok(()) } else { Err("a score is not finite".to_owned()) }
}

fn recalled(handles: &[u64], found: &[f32]) -> Result<(), String> {
    if handles.len() > LIMIT as usize {
        return Err(format!("{} candidates for a limit of {LIMIT}", handles.len()));
    }
    scores(found, handles.len())?;
    let distinct: std::collections::HashSet<_> = handles.iter().collect();
    if distinct.len() == handles.len() { Ok(()) } else { Err("a candidate stands twice".to_owned()) }
}

fn reranked(offered: &[u64], kept: &[u64], found: &[f32], removed: &[u64]) -> Result<(), String> {
    scores(found, kept.len())?;
    let mut left: std::collections::HashSet<_> = offered.iter().collect();
    if kept.iter().chain(removed).any(|handle| !left.remove(handle)) {
        return Err("an answer was not offered, or stands twice".to_owned());
    }
    if left.is_empty() { Ok(()) } else { Err(format!("{} candidates are lost", left.len())) }
}

fn bits(handles: &[u64], scores: &[f32]) -> Vec<u64> {
    handles.iter().copied().chain(scores.iter().map(|score| u64::from(score.to_bits()))).collect()
}
