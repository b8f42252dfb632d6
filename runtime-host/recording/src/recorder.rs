//! From requests that ended to what is kept of them, on a thread of its own: no request waits
//! for it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_tenant_store::{Tenant, give_way, lock};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    Draft, Head, Reason, Recording, encode, metrics,
    store::{Error, Page, Recordings},
};

/// Told of each request that a config is to be tried on, with the config, after it was kept.
pub type TryOn = Box<dyn Fn(&Tenant, Arc<Recording>, &str) + Send + Sync>;

/// For how long the thread lets requests come before it writes them, so that most of them find
/// nobody to wake.
const GATHERED: Duration = Duration::from_millis(10);

/// Takes what is to be kept, and is the store of it: what waits is written before anything is
/// deleted.
pub struct Recorder {
    store: Arc<dyn Recordings>,
    /// To the thread, from the first request on.
    queue: OnceLock<SyncSender<Work>>,
    try_on: Arc<OnceLock<TryOn>>,
    failures: Mutex<Failures>,
}

enum Work {
    Draft(Tenant, Box<Draft>),
    /// Says when all before it is written.
    Settle(oneshot::Sender<()>),
}

/// Of tenants, how many requests are recorded since they failed, within a second.
struct Failures {
    since: Instant,
    of: HashMap<Tenant, u32>,
}

impl Recorder {
    /// Keeps in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Recordings>) -> Self {
        let failures = Mutex::new(Failures { since: Instant::now(), of: HashMap::new() });
        Self { store, queue: OnceLock::new(), try_on: Arc::default(), failures }
    }

    /// Has configs be tried by this; once.
    pub fn try_on(&self, try_on: TryOn) {
        // A second one has nothing to say.
        let _ = self.try_on.set(try_on);
    }

    /// Has a request be kept, soon. It is not when too many wait already, or too many failed.
    /// Must be called within a runtime.
    pub fn keep(&self, tenant: &Tenant, draft: Draft) {
        if draft.reason() != Reason::Sample && lock(&self.failures).is_too_many(tenant, Instant::now()) {
            return metrics::count("too_many");
        }
        match self.queue().try_send(Work::Draft(tenant.clone(), Box::new(draft))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => metrics::count("too_many"),
            Err(TrySendError::Disconnected(_)) => metrics::count("failed"),
        }
    }

    /// Says that a request cannot be kept: it is too large.
    pub fn lost(&self) {
        metrics::count("failed");
    }

    /// Waits until what was to be kept is.
    pub async fn drain(&self) {
        if self.queue.get().is_none() {
            return;
        }
        let (done, is_done) = oneshot::channel();
        let queue = self.queue().clone();
        let sent = tokio::task::spawn_blocking(move || queue.send(Work::Settle(done)));
        if sent.await.is_ok_and(|sent| sent.is_ok()) {
            // The thread may have ended.
            let _ = is_done.await;
        }
    }

    /// The thread ends when this does.
    fn queue(&self) -> &SyncSender<Work> {
        self.queue.get_or_init(|| {
            let (sender, receiver) = sync_channel(limits::RECORDINGS_WAITING);
            let (store, try_on, runtime) = (Arc::clone(&self.store), Arc::clone(&self.try_on), Handle::current());
            let write = move || write_all(&receiver, &runtime, store.as_ref(), &try_on);
            if let Err(error) = thread::Builder::new().name("recorder".to_owned()).spawn(write) {
                tracing::error!(%error, "requests are not recorded");
            }
            sender
        })
    }
}

impl Failures {
    fn is_too_many(&mut self, tenant: &Tenant, now: Instant) -> bool {
        if now.duration_since(self.since).as_secs() >= 1 {
            self.of.clear();
            self.since = now;
        }
        let count = self.of.entry(tenant.clone()).or_default();
        *count += 1;
        *count > limits::RECORDED_FAILURES_A_SECOND
    }
}

fn write_all(receiver: &Receiver<Work>, runtime: &Handle, store: &dyn Recordings, try_on: &OnceLock<TryOn>) {
    // To requests, above all.
    give_way();
    while let Ok(first) = receiver.recv() {
        thread::sleep(GATHERED);
        for work in std::iter::once(first).chain(receiver.try_iter()) {
            match work {
                Work::Draft(tenant, draft) => write(&tenant, *draft, runtime, store, try_on),
                // Whoever waits may have gone.
                Work::Settle(done) => drop(done.send(())),
            }
        }
    }
}

fn write(tenant: &Tenant, draft: Draft, runtime: &Handle, store: &dyn Recordings, try_on: &OnceLock<TryOn>) {
    let shadow = draft.shadow().map(str::to_owned);
    let is_kept = draft.is_kept();
    let recording = draft.recording();
    if is_kept {
        let written = encode(&recording);
        match written.and_then(|bytes| runtime.block_on(store.append(tenant, recording.head(), bytes))) {
            Ok(()) => metrics::count("kept"),
            Err(error) => {
                metrics::count("failed");
                let request_id = &recording.asked.request_id;
                tracing::warn!(%tenant, request_id, %error, "a request is not recorded");
            }
        }
    }
    if let (Some(config), Some(try_on)) = (shadow, try_on.get()) {
        try_on(tenant, Arc::new(recording), &config);
    }
}

#[async_trait]
impl Recordings for Recorder {
    async fn append(&self, tenant: &Tenant, head: Head, recording: Vec<u8>) -> Result<(), Error> {
        self.store.append(tenant, head, recording).await
    }

    async fn get(&self, tenant: &Tenant, request_id: &str) -> Result<Option<Recording>, Error> {
        self.store.get(tenant, request_id).await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        scenario_id: Option<&str>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page, Error> {
        self.store.list(tenant, scenario_id, before, limit).await
    }

    async fn settle(&self, tenant: &Tenant) -> Result<(), Error> {
        self.drain().await;
        self.store.settle(tenant).await
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        self.drain().await;
        self.store.forget_user(tenant, user_id).await
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.drain().await;
        self.store.forget_scenario(tenant, scenario_id).await
    }

    async fn sweep(&self) -> Result<(), Error> {
        self.store.sweep().await
    }
}

#[cfg(test)]
mod tests {
    use funnelweb_tenant_store::TenantStores;

    use super::*;
    use crate::{Keep, Session, SqliteRecordings, conformance::asked};

    fn draft(request_id: &str, keep: Keep, shadow: Option<&str>) -> Draft {
        let session = Session::record(1000);
        session.keep("feed", keep, 60, shadow.map(str::to_owned));
        session.finish("recommend", "00", asked("ann", request_id), 200, b"{}".to_vec()).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_is_written_before_it_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let stores = Arc::new(TenantStores::with(folder.path(), Arc::new(|| 1), 4).unwrap());
        let recorder = Recorder::new(Arc::new(SqliteRecordings::new(stores).unwrap()));
        let tried: Arc<Mutex<Vec<String>>> = Arc::default();
        let tell = Arc::clone(&tried);
        recorder.try_on(Box::new(move |_, recording, config| {
            lock(&tell).push(format!("{} {config}", recording.asked.request_id));
        }));
        let tenant = Tenant::new("t").unwrap();
        recorder.drain().await;
        recorder.keep(&tenant, draft("r1", Keep::Always, None));
        recorder.keep(&tenant, draft("r2", Keep::Always, Some("{}")));
        recorder.keep(&tenant, draft("r3", Keep::IfDegraded, Some("{}")));
        recorder.settle(&tenant).await.unwrap();
        let page = recorder.list(&tenant, Some("feed"), None, 10).await.unwrap();
        let ids: Vec<_> = page.heads.iter().map(|head| head.request_id.as_str()).collect();
        assert_eq!(ids, ["r2", "r1"], "what a config is only tried on is not kept");
        assert_eq!(*lock(&tried), ["r2 {}", "r3 {}"]);
        // A user who is deleted has nothing that is written afterwards.
        recorder.keep(&tenant, draft("r4", Keep::Always, None));
        recorder.forget_user(&tenant, "ann").await.unwrap();
        recorder.store.settle(&tenant).await.unwrap();
        assert!(recorder.get(&tenant, "r4").await.unwrap().is_some(), "it was written, for the store to delete");
    }

    /// Keeps nothing until it is let.
    struct Slow {
        gate: tokio::sync::Semaphore,
        kept: std::sync::atomic::AtomicUsize,
    }

    #[async_trait]
    impl Recordings for Slow {
        async fn append(&self, _: &Tenant, _: Head, _: Vec<u8>) -> Result<(), Error> {
            let _permit = self.gate.acquire().await.unwrap();
            self.kept.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }

        async fn get(&self, _: &Tenant, _: &str) -> Result<Option<Recording>, Error> {
            Ok(None)
        }

        async fn list(&self, _: &Tenant, _: Option<&str>, _: Option<u64>, _: u32) -> Result<Page, Error> {
            Ok(Page::default())
        }

        async fn settle(&self, _: &Tenant) -> Result<(), Error> {
            Ok(())
        }

        async fn forget_user(&self, _: &Tenant, _: &str) -> Result<(), Error> {
            Ok(())
        }

        async fn forget_scenario(&self, _: &Tenant, _: &str) -> Result<(), Error> {
            Ok(())
        }

        async fn sweep(&self) -> Result<(), Error> {
            Ok(())
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn so_many_wait_and_no_request_for_them() {
        let slow = Arc::new(Slow { gate: tokio::sync::Semaphore::new(0), kept: 0.into() });
        let recorder = Recorder::new(Arc::clone(&slow) as Arc<dyn Recordings>);
        let tenant = Tenant::new("t").unwrap();
        for at in 0..2 * limits::RECORDINGS_WAITING {
            recorder.keep(&tenant, draft(&format!("r{at}"), Keep::Always, None));
        }
        slow.gate.add_permits(1);
        recorder.drain().await;
        // One may be at work while the others wait.
        let kept = slow.kept.load(std::sync::atomic::Ordering::Relaxed);
        assert!((limits::RECORDINGS_WAITING..=limits::RECORDINGS_WAITING + 1).contains(&kept), "{kept}");
    }

    #[test]
    fn of_those_that_fail_so_many_a_second_are_kept() {
        let now = Instant::now();
        let mut failures = Failures { since: now, of: HashMap::new() };
        let [one, other] = ["one", "other"].map(|name| Tenant::new(name).unwrap());
        let most = limits::RECORDED_FAILURES_A_SECOND;
        assert!((0..most).all(|_| !failures.is_too_many(&one, now)));
        assert!(failures.is_too_many(&one, now) && !failures.is_too_many(&other, now));
        assert!(!failures.is_too_many(&one, now + Duration::from_secs(1)));
    }
}
