//! Instances of one endpoint for one tenant, and how long each lives.
//!
//! `wasmtime_wasi_http::handler` keeps them: it hands a request to a free
//! instance or makes one. Here stands what is ours to say: an instance works on
//! one request at a time, so that the request's id can be bound to it (the rest
//! of a streamed response may still be on its way when the next begins); it is
//! replaced after [`limits::INSTANCE_REQUESTS`] and dropped when idle.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use funnelweb_core::limits;
use funnelweb_engine::give_way;
use funnelweb_instance::State;
use funnelweb_recording::Session;
use funnelweb_tenant_store::{Tenant, lock};
use tokio::time::{Sleep, sleep_until};
use wasmtime::{Store, StoreContextMut, component::GuestTaskId};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};

use crate::{
    endpoint::Shared,
    state::{Own, http_view},
};

/// How much longer than its request an instance lives before it is taken down
/// from outside: the request's own deadline comes first.
const GRACE: Duration = Duration::from_millis(100);

/// A request on its way through an instance.
pub(crate) struct Task {
    pub(crate) id: Arc<str>,
    /// Time for it.
    limit: Duration,
    /// Where it is recorded, or told what was.
    session: Option<Arc<Session>>,
    /// Whether the instance failed before the response was sent.
    cut_off: AtomicBool,
}

impl Task {
    pub(crate) fn new(id: Arc<str>, limit: Duration, session: Option<Arc<Session>>) -> Self {
        Self { id, limit, session, cut_off: AtomicBool::new(false) }
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
    }
}

/// Makes instances of one endpoint for one tenant.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    tenant: Option<Tenant>,
}

impl Workers {
    pub(crate) fn new(shared: Arc<Shared>, tenant: Option<Tenant>) -> Self {
        Self { shared, tenant }
    }
}

impl HandlerState for Workers {
    type StoreData = State;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<State, Expiration, Worker>> {
        let shared = &self.shared;
        let state = Own::state(&shared.services, &shared.settings, self.tenant.as_ref());
        let mut store = state.store(&shared.engine);
        // Its time is bounded from outside.
        give_way(&mut store);
        let proxy = Proxy::P3(shared.pre.instantiate_async(&mut store).await?);
        let limit = Arc::new(Mutex::new(Duration::ZERO));
        Ok(Instance {
            store,
            proxy,
            view: http_view,
            expiration: Expiration { limit: Arc::clone(&limit), sleep: None },
            state: Worker { id: Arc::clone(&shared.id), limit, tasks: Mutex::default() },
        })
    }
}

/// The rules of one instance.
pub(crate) struct Worker {
    id: Arc<str>,
    /// Time for the request that it works on, or worked on last.
    limit: Arc<Mutex<Duration>>,
    /// Those whose responses may still be under way.
    tasks: Mutex<Vec<Weak<Task>>>,
}

impl WorkerState for Worker {
    type StoreData = State;
    type RequestData = Arc<Task>;

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        if total >= limits::INSTANCE_REQUESTS {
            ShouldAccept::Never
        } else if concurrent == 0 {
            ShouldAccept::Yes
        } else {
            ShouldAccept::No
        }
    }

    fn on_request_start(
        &self,
        mut store: StoreContextMut<'_, State>,
        request: Arc<Task>,
        _task: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        let own = store.data_mut().own::<Own>();
        own.request = Arc::clone(&request.id);
        own.journal.turn_to(request.session.clone());
        let mut tasks = lock(&self.tasks);
        tasks.retain(|task| task.strong_count() > 0);
        tasks.push(Arc::downgrade(&request));
        *lock(&self.limit) = request.limit;
        Box::pin(tokio::time::sleep(request.limit))
    }

    fn drop(&self, mut store: Store<State>, result: wasmtime::Result<()>) {
        let request = Arc::clone(&store.data_mut().own::<Own>().request);
        let state = store.data();
        let printed = state.log().take();
        if !printed.is_empty() {
            tracing::info!(component = %self.id, request_id = %request, printed, "endpoint printed");
        }
        if let Err(error) = result {
            let tasks = lock(&self.tasks);
            let under_way: Vec<_> = tasks.iter().filter_map(Weak::upgrade).collect();
            if under_way.is_empty() && is_abandoned(&error, std::thread::panicking()) {
                return;
            }
            // Before the store goes, and with it the bodies that it was sending.
            for task in under_way {
                task.cut_off.store(true, Ordering::Release);
            }
            let out_of_memory = state.limiter().denied();
            tracing::error!(component = %self.id, request_id = %request, out_of_memory, error = format!("{error:#}"), "endpoint instance failed");
        }
    }
}

/// Whether an instance ends because the process does: its worker is dropped where it
/// stands. `wasmtime_wasi_http` takes any such end for a panic; in one the thread is
/// panicking.
fn is_abandoned(error: &wasmtime::Error, panicking: bool) -> bool {
    !panicking && error.to_string() == "worker panicked"
}

/// Takes an instance down when it was idle, or busy, for too long.
pub(crate) struct Expiration {
    limit: Arc<Mutex<Duration>>,
    /// For which moment, and its alarm.
    sleep: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl WorkerExpiration for Expiration {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, status: WorkerStatus, start: Instant) -> Poll<()> {
        let end = match status {
            WorkerStatus::Idle => start + limits::INSTANCE_IDLE,
            WorkerStatus::Requests | WorkerStatus::PostReturn => start + *lock(&self.limit) + GRACE,
        };
        let (until, sleep) = self.sleep.get_or_insert_with(|| (end, Box::pin(sleep_until(end.into()))));
        if *until != end {
            *until = end;
            sleep.as_mut().reset(end.into());
        }
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_process_is_no_failure_of_an_instance() {
        let dropped = wasmtime::format_err!("worker panicked");
        assert!(is_abandoned(&dropped, false));
        assert!(!is_abandoned(&dropped, true), "a panic is told");
        assert!(!is_abandoned(&wasmtime::format_err!("wasm trap: unreachable"), false));
    }
}
