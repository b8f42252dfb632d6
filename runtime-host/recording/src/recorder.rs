//! From requests that ended to what is kept of them, on a thread of its own: no request waits
//! for it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
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
    Draft, Reason, Recording, encode, metrics,
    store::{Error, Packed, Page, Recordings},
};

/// Told of each request that a config is to be tried on, with the config.
pub type TryOn = Box<dyn Fn(&Tenant, Arc<Recording>, &str) + Send + Sync>;

/// For how long the thread lets requests come before it writes them: together they cost less, and
/// most of them find nobody at work.
const GATHERED: Duration = Duration::from_millis(100);
/// Bytes after which what was gathered is written.
const TOGETHER: usize = 4 * 1024 * 1024;

/// Takes what is to be kept, and is the store of it: what waits is written before anything is
/// deleted.
pub struct Recorder {
    store: Arc<dyn Recordings>,
    /// To the thread, from the first request on.
    queue: OnceLock<SyncSender<Work>>,
    /// Bytes of what waits.
    waiting: Arc<AtomicUsize>,
    try_on: Arc<OnceLock<TryOn>>,
    failures: Mutex<Failures>,
}

enum Work {
    Draft(Tenant, Box<Draft>, Waiting),
    /// Says when all before it is written.
    Drain(oneshot::Sender<()>),
}

/// Bytes that wait, until this goes.
struct Waiting {
    all: Arc<AtomicUsize>,
    bytes: usize,
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
        Self { store, queue: OnceLock::new(), waiting: Arc::default(), try_on: Arc::default(), failures }
    }

    /// Has configs be tried by this; once.
    pub fn try_on(&self, try_on: TryOn) {
        // A second one has nothing to say.
        let _ = self.try_on.set(try_on);
    }

    /// Has a request be kept, soon: a crash may lose those of the last moments. It is not when too
    /// many wait already, or too many failed. Must be called within a runtime.
    pub fn keep(&self, tenant: &Tenant, draft: Draft) {
        if draft.reason() != Reason::Sample && lock(&self.failures).is_too_many(tenant, Instant::now()) {
            return metrics::count("too_many", 1);
        }
        let Some(waiting) = Waiting::begin(&self.waiting, draft.bytes()) else {
            return metrics::count("too_many", 1);
        };
        match self.queue().try_send(Work::Draft(tenant.clone(), Box::new(draft), waiting)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => metrics::count("too_many", 1),
            Err(TrySendError::Disconnected(_)) => metrics::count("failed", 1),
        }
    }

    /// Says that a request cannot be kept: it is too large.
    pub fn lost(&self) {
        metrics::count("failed", 1);
    }

    /// Waits until what was to be kept is.
    pub async fn drain(&self) {
        if self.queue.get().is_none() {
            return;
        }
        let (done, is_done) = oneshot::channel();
        let queue = self.queue().clone();
        let sent = tokio::task::spawn_blocking(move || queue.send(Work::Drain(done)));
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
            let writer = Writer { runtime, store, try_on, gathered: Default::default() };
            let spawned = thread::Builder::new().name("recorder".to_owned()).spawn(move || writer.run(&receiver));
            if let Err(error) = spawned {
                tracing::error!(%error, "requests are not recorded");
            }
            sender
        })
    }
}

impl Waiting {
    /// None where so many wait that there is no room.
    fn begin(all: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let before = all.fetch_add(bytes, Ordering::Relaxed);
        // From here on they are taken off again.
        let waiting = Self { all: Arc::clone(all), bytes };
        (before == 0 || before + bytes <= limits::RECORDINGS_WAITING_BYTES).then_some(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
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

/// The thread that writes.
struct Writer {
    runtime: Handle,
    store: Arc<dyn Recordings>,
    try_on: Arc<OnceLock<TryOn>>,
    /// What is to be written of each tenant, and how many bytes that is.
    gathered: (HashMap<Tenant, Vec<Packed>>, usize),
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Work>) {
        // To requests, above all.
        give_way();
        while let Ok(first) = receiver.recv() {
            if matches!(first, Work::Draft(..)) {
                thread::sleep(GATHERED);
            }
            for work in std::iter::once(first).chain(receiver.try_iter()) {
                match work {
                    Work::Draft(tenant, draft, _waiting) => self.take(&tenant, *draft),
                    Work::Drain(done) => {
                        self.write_all();
                        // Whoever waits may have gone.
                        let _ = done.send(());
                    }
                }
            }
            self.write_all();
        }
    }

    fn take(&mut self, tenant: &Tenant, draft: Draft) {
        let shadow = draft.shadow().map(str::to_owned);
        let is_kept = draft.is_kept();
        let recording = draft.recording();
        if is_kept {
            match encode(&recording) {
                Ok(bytes) => {
                    let (of_tenants, all) = &mut self.gathered;
                    *all += bytes.len();
                    of_tenants.entry(tenant.clone()).or_default().push(Packed { head: recording.head(), bytes });
                }
                Err(error) => {
                    metrics::count("failed", 1);
                    let request_id = &recording.asked.request_id;
                    tracing::warn!(%tenant, request_id, %error, "a request is not recorded");
                }
            }
        }
        if let (Some(config), Some(try_on)) = (shadow, self.try_on.get()) {
            try_on(tenant, Arc::new(recording), &config);
        }
        if self.gathered.1 >= TOGETHER {
            self.write_all();
        }
    }

    fn write_all(&mut self) {
        for (tenant, recordings) in std::mem::take(&mut self.gathered).0 {
            let count = recordings.len() as u64;
            let written = self.runtime.block_on(self.store.append(&tenant, recordings));
            metrics::count(if written.is_ok() { "kept" } else { "failed" }, count);
            if let Err(error) = written {
                tracing::warn!(%tenant, count, %error, "requests are not recorded");
            }
        }
    }
}

#[async_trait]
impl Recordings for Recorder {
    async fn append(&self, tenant: &Tenant, recordings: Vec<Packed>) -> Result<(), Error> {
        self.store.append(tenant, recordings).await
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
        recorder.drain().await;
        let page = recorder.list(&tenant, Some("feed"), None, 10).await.unwrap();
        let ids: Vec<_> = page.heads.iter().map(|head| head.request_id.as_str()).collect();
        assert_eq!(ids, ["r2", "r1"], "what a config is only tried on is not kept");
        assert_eq!(*lock(&tried), ["r2 {}", "r3 {}"]);
        // Nor is what waited when its user, or its scenario, was deleted.
        recorder.keep(&tenant, draft("r4", Keep::Always, None));
        recorder.forget_user(&tenant, "ann").await.unwrap();
        assert_eq!(recorder.list(&tenant, None, None, 10).await.unwrap().heads, []);
        recorder.keep(&tenant, draft("r5", Keep::Always, None));
        recorder.forget_scenario(&tenant, "feed").await.unwrap();
        assert_eq!(recorder.list(&tenant, None, None, 10).await.unwrap().heads, []);
    }

    /// Keeps nothing until it is let.
    struct Slow {
        asked: tokio::sync::Notify,
        gate: tokio::sync::Semaphore,
        kept: AtomicUsize,
    }

    #[async_trait]
    impl Recordings for Slow {
        async fn append(&self, _: &Tenant, recordings: Vec<Packed>) -> Result<(), Error> {
            self.asked.notify_one();
            let _permit = self.gate.acquire().await.unwrap();
            self.kept.fetch_add(recordings.len(), Ordering::Relaxed);
            Ok(())
        }

        async fn get(&self, _: &Tenant, _: &str) -> Result<Option<Recording>, Error> {
            Ok(None)
        }

        async fn list(&self, _: &Tenant, _: Option<&str>, _: Option<u64>, _: u32) -> Result<Page, Error> {
            Ok(Page::default())
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
        let (asked, gate) = (tokio::sync::Notify::new(), tokio::sync::Semaphore::new(0));
        let slow = Arc::new(Slow { asked, gate, kept: 0.into() });
        let recorder = Recorder::new(Arc::clone(&slow) as Arc<dyn Recordings>);
        let tenant = Tenant::new("t").unwrap();
        recorder.keep(&tenant, draft("first", Keep::Always, None));
        slow.asked.notified().await;
        for at in 0..2 * limits::RECORDINGS_WAITING {
            recorder.keep(&tenant, draft(&format!("r{at}"), Keep::Always, None));
        }
        slow.gate.add_permits(1);
        recorder.drain().await;
        // One was at work while the others waited.
        assert_eq!(slow.kept.load(Ordering::Relaxed), 1 + limits::RECORDINGS_WAITING);
    }

    #[test]
    fn so_many_bytes_wait() {
        let (all, most) = (Arc::default(), limits::RECORDINGS_WAITING_BYTES);
        let alone = Waiting::begin(&all, most + 1);
        assert!(alone.is_some() && Waiting::begin(&all, 0).is_none());
        drop(alone);
        let first = Waiting::begin(&all, most - 1);
        let second = Waiting::begin(&all, 1);
        assert!(first.is_some() && second.is_some() && Waiting::begin(&all, 1).is_none());
        drop(first);
        assert!(Waiting::begin(&all, most - 1).is_some());
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
