//! The data of one endpoint instance: what its imports act on.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use funnelweb_core::limits;
use funnelweb_dispatch::DispatchCtx;
use funnelweb_engine::{Limiter, Log};
use funnelweb_factor_components::host::ComponentsCtx;
use funnelweb_factor_documents::host::DocumentsCtx;
use funnelweb_factor_events::host::EventsCtx;
use funnelweb_factor_key_value::host::KeyValueCtx;
use funnelweb_factor_learned::host::LearnedCtx;
use funnelweb_factor_live::host::LiveCtx;
use funnelweb_factor_models::host::ModelsCtx;
use funnelweb_factor_outbound_http::OutboundHttp;
use funnelweb_factor_outbound_redis::host::RedisCtx;
use funnelweb_factor_results::host::ResultsCtx;
use funnelweb_factor_variables::VariablesCtx;
use funnelweb_factor_vectors::host::VectorsCtx;
use funnelweb_instance::{State, wasi};
use funnelweb_jobs::host::JobsCtx;
use funnelweb_manifest::Grant;
use funnelweb_recording::{Journal, Tape, host::RecordingsCtx};
use funnelweb_tenant_store::Tenant;
use wasmtime::{Engine, component::Linker};
use wasmtime_wasi::HostWallClock;
use wasmtime_wasi_http::{
    WasiHttp, WasiHttpCtx, WasiHttpCtxView,
    p3::bindings::http::{client, types},
};

use crate::endpoint::{Services, Settings};

/// What one endpoint instance has.
pub(crate) struct Own {
    http: WasiHttpCtx,
    outbound_http: OutboundHttp,
    documents: DocumentsCtx,
    live: LiveCtx,
    events: EventsCtx,
    vectors: VectorsCtx,
    learned: LearnedCtx,
    results: ResultsCtx,
    jobs: JobsCtx,
    models: ModelsCtx,
    components: ComponentsCtx,
    recordings: RecordingsCtx,
    dispatch: DispatchCtx,
    key_value: KeyValueCtx,
    redis: RedisCtx,
    variables: VariablesCtx,
    /// The request it works on, for the log.
    pub(crate) request: Arc<str>,
    /// What is noted of it.
    pub(crate) journal: Journal,
}

impl Own {
    /// With all else that an instance has.
    pub(crate) fn state(services: &Services, settings: &Settings, tenant: Option<&Tenant>) -> State {
        let log = Log::default();
        let mut wasi = wasi::context(&log);
        let journal = Journal::default();
        wasi.wall_clock(RequestClock(journal.clone()));
        for (name, value) in &settings.environment {
            wasi.env(name, value);
        }
        let recordings = Arc::clone(&services.recordings);
        let (tenant, tape) = (|| tenant.cloned(), || Tape::of(&journal));
        let own = Self {
            http: WasiHttpCtx::new(),
            outbound_http: settings.http.clone(),
            documents: DocumentsCtx::new(Arc::clone(&services.documents), tenant()).taped(tape()),
            live: LiveCtx::new(Arc::clone(&services.live), tenant()).taped(tape()),
            events: EventsCtx::new(Arc::clone(&services.events), tenant()),
            vectors: VectorsCtx::new(Arc::clone(&services.vectors), tenant()).taped(tape()),
            learned: LearnedCtx::new(Arc::clone(&services.learned), tenant()).taped(tape()),
            results: ResultsCtx::new(services.results.clone(), tenant()).taped(tape()),
            jobs: JobsCtx::new(services.jobs.clone(), tenant()),
            components: ComponentsCtx::new(services.components.clone(), tenant()),
            models: ModelsCtx::new(services.models.clone(), tenant(), services.dispatcher.share(tenant().as_ref())),
            recordings: RecordingsCtx::new(recordings, Arc::clone(&services.replay), tenant()),
            dispatch: DispatchCtx::new(Arc::clone(&services.dispatcher), tenant(), journal.clone()),
            key_value: KeyValueCtx::new(
                Arc::clone(&services.key_values),
                tenant(),
                Arc::clone(&settings.key_value_stores),
            ),
            redis: RedisCtx::new(settings.redis.clone()),
            variables: settings.variables.clone(),
            request: "".into(),
            journal,
        };
        State::new(wasi.build(), log, Limiter::new(limits::ENDPOINT_MEMORY_BYTES), own)
    }
}

/// The clock of the request at work, which does not move, so that it can be run again; that of
/// the machine where none is recorded.
struct RequestClock(Journal);

impl HostWallClock for RequestClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        match self.0.session() {
            Some(session) => Duration::from_millis(session.now_ms()),
            None => SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
        }
    }
}

/// In closures, where the type is not known.
fn own(state: &mut State) -> &mut Own {
    state.own()
}

/// HTTP, as its interfaces and what hands requests to instances see it.
pub(crate) fn http_view(state: &mut State) -> WasiHttpCtxView<'_> {
    let (own, table) = state.parts::<Own>();
    WasiHttpCtxView { ctx: &mut own.http, table, hooks: &mut own.outbound_http }
}

/// Every import an endpoint may have: WASI, the Spin interfaces, and what its
/// manifest entry grants of Funnelweb's. This is where capabilities are wired.
pub(crate) fn linker(engine: &Engine, grants: &[Grant]) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::<State>::new(engine);
    wasi::add_to_linker(&mut linker)?;
    client::add_to_linker::<_, WasiHttp>(&mut linker, http_view)?;
    types::add_to_linker::<_, WasiHttp>(&mut linker, http_view)?;
    funnelweb_factor_key_value::host::add_to_linker(&mut linker, |state| &mut own(state).key_value)?;
    funnelweb_factor_outbound_redis::host::add_to_linker(&mut linker, |state| &mut own(state).redis)?;
    funnelweb_factor_variables::add_to_linker(&mut linker, |state| &mut own(state).variables)?;
    for grant in grants {
        match grant {
            Grant::Documents => {
                funnelweb_factor_documents::host::add_to_linker(&mut linker, |state| &mut own(state).documents)?;
            }
            Grant::Live => funnelweb_factor_live::host::add_to_linker(&mut linker, |state| &mut own(state).live)?,
            Grant::Events => funnelweb_factor_events::host::add_to_linker(&mut linker, |state| &mut own(state).events)?,
            Grant::Vectors => {
                funnelweb_factor_vectors::host::add_to_linker(&mut linker, |state| &mut own(state).vectors)?
            }
            Grant::Learned => {
                funnelweb_factor_learned::host::add_to_linker(&mut linker, |state| &mut own(state).learned)?
            }
            Grant::Results => {
                funnelweb_factor_results::host::add_to_linker(&mut linker, |state| &mut own(state).results)?
            }
            Grant::Jobs => funnelweb_jobs::host::add_to_linker(&mut linker, |state| &mut own(state).jobs)?,
            Grant::Models => funnelweb_factor_models::host::add_to_linker(&mut linker, |state| &mut own(state).models)?,
            Grant::Components => {
                funnelweb_factor_components::host::add_to_linker(&mut linker, |state| &mut own(state).components)?
            }
            Grant::Recordings => {
                funnelweb_recording::host::add_to_linker(&mut linker, |state| &mut own(state).recordings)?
            }
            Grant::Dispatch => funnelweb_dispatch::add_to_linker(&mut linker, |state| &mut own(state).dispatch)?,
        }
    }
    Ok(linker)
}
