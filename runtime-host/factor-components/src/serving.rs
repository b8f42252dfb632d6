//! Components that are ready to run, of all tenants. What two tenants upload of the same
//! content is one.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use funnelweb_admission::{Admitted, Compiler, Error as AdmissionError, Refused, Schema};
use funnelweb_core::limits;
use funnelweb_engine::{ComponentCache, Error, Mapped, bounded};
use funnelweb_tenant_store::{Error as StoreError, Tenant};
use quick_cache::sync::Cache;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{
    files::ComponentFiles,
    memory::InMemory,
    record::Version,
    sandbox::{Sandbox, Stage},
};

/// What files of compiled components begin with.
const PREFIX: &str = "tenants-";
/// What is said of one that is not compiled yet.
pub(crate) const PREPARING: &str = "it is being made ready";
/// How often those that nobody calls are let go of.
const TRIM_EVERY: Duration = Duration::from_secs(60);
/// How often what is on the disk is looked through.
const TRIM_DISK_EVERY: Duration = Duration::from_secs(3600);
/// After which a file that nobody uses goes.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long one that could not be made ready is not tried again.
const RETRY: Duration = Duration::from_secs(15);

/// A component that is ready.
pub(crate) struct Ready {
    pub(crate) stage: Arc<Stage>,
    pub(crate) mapped: Mapped,
    pub(crate) schema: Option<Schema>,
    /// Seconds since the process began to serve.
    used: AtomicU64,
}

#[derive(Clone)]
enum State {
    Ready(Arc<Ready>),
    Preparing,
    Failed(String, Instant),
}

/// What is ready and what is becoming so.
pub(crate) struct Serving {
    pub(crate) sandbox: Arc<Sandbox>,
    files: Arc<ComponentFiles>,
    cache: Arc<ComponentCache>,
    compiler: Compiler,
    /// By the digest of the file.
    known: Cache<String, State>,
    pub(crate) in_memory: InMemory,
    /// Calls at work, of all tenants.
    pub(crate) calls: Semaphore,
    /// One upload is compiled after the other: each takes a core and memory.
    compiling: Semaphore,
    /// Nor do those that are in service wait for uploads.
    preparing: Semaphore,
    began: Instant,
}

impl Serving {
    pub(crate) fn new(
        sandbox: Sandbox,
        files: Arc<ComponentFiles>,
        cache: Arc<ComponentCache>,
        compiler: Compiler,
    ) -> Arc<Self> {
        let serving = Arc::new(Self {
            sandbox: Arc::new(sandbox),
            files,
            cache,
            compiler,
            known: Cache::new(limits::COMPONENTS_READY),
            in_memory: InMemory::new(limits::COMPONENTS_CODE_BYTES),
            calls: Semaphore::new(limits::COMPONENT_CALLS),
            compiling: Semaphore::new(1),
            preparing: Semaphore::new(1),
            began: Instant::now(),
        });
        let weak = Arc::downgrade(&serving);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Ends with what it looks after.
            runtime.spawn(async move {
                let mut trimmed: Option<Instant> = None;
                loop {
                    tokio::time::sleep(TRIM_EVERY).await;
                    let Some(serving) = weak.upgrade() else { return };
                    serving.let_go(limits::COMPONENT_IDLE);
                    if trimmed.is_none_or(|at| at.elapsed() >= TRIM_DISK_EVERY) {
                        serving.trim_disk();
                        trimmed = Some(Instant::now());
                    }
                }
            });
        }
        serving
    }

    /// Admits and compiles an upload of this digest, in a process of its own.
    pub(crate) async fn admit(&self, sha256: &str, wasm: &[u8]) -> Result<Admitted, Fault> {
        // It is never closed.
        let _turn = self.compiling.acquire().await;
        self.compile(sha256, wasm).await
    }

    async fn compile(&self, sha256: &str, wasm: &[u8]) -> Result<Admitted, Fault> {
        let file = self.file(sha256);
        self.compiler.admit(wasm, &file).await.map_err(|error| match error {
            AdmissionError::Refused(refused) => Fault::Refused(refused),
            AdmissionError::Fault(reason) => Fault::Host(reason),
        })
    }

    /// Where the machine code of an upload is.
    pub(crate) fn file(&self, sha256: &str) -> PathBuf {
        self.cache.file(self.sandbox.engine(), &format!("{PREFIX}{sha256}"))
    }

    /// A version that is ready. One that is not compiled here becomes so beside the request,
    /// which does without.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) async fn get(self: &Arc<Self>, tenant: &Tenant, version: &Version) -> Result<Arc<Ready>, String> {
        match self.known.get(&version.sha256) {
            Some(State::Ready(ready)) => {
                ready.used.store(self.began.elapsed().as_secs(), Ordering::Relaxed);
                self.in_memory.called(&version.sha256, &ready);
                return Ok(ready);
            }
            Some(State::Preparing) => return Err(preparing()),
            Some(State::Failed(reason, since)) if since.elapsed() < RETRY => return Err(reason),
            Some(State::Failed(..)) | None => {}
        }
        // A file that was cut off by a crash is made again.
        if let Ok(Some(ready)) = self.compiled(version) {
            return Ok(ready);
        }
        self.known.insert(version.sha256.clone(), State::Preparing);
        let (this, tenant, version) = (Arc::clone(self), tenant.clone(), version.clone());
        tokio::spawn(async move {
            if let Err(reason) = this.prepare(&tenant, &version).await {
                tracing::warn!(%tenant, component = %version.name, version = %version.version, %reason, "component cannot be made ready");
                this.fail(&version.sha256, reason);
            }
        });
        Err(preparing())
    }

    /// One that was compiled earlier: a file to be mapped.
    ///
    /// # Errors
    /// Why it cannot run here; it never will.
    pub(crate) fn compiled(&self, version: &Version) -> Result<Option<Arc<Ready>>, String> {
        let name = format!("{PREFIX}{}", version.sha256);
        let mapped = match self.cache.open(self.sandbox.engine(), &name) {
            Ok(Some(mapped)) => mapped,
            Ok(None) => return Ok(None),
            Err(Error::Compile { source, .. }) => {
                return Err(bounded(format!("it cannot be instantiated: {source:#}")));
            }
            Err(error) => return Err(error.to_string()),
        };
        let stage = self.sandbox.stage(version.world, mapped.component());
        let stage = stage.map_err(|error| bounded(format!("it does not fit its world: {error:#}")))?;
        let schema = version.params_schema.as_ref().map(Schema::new).transpose();
        let schema = schema.map_err(|refused| refused.to_string())?;
        let stage = Arc::new(stage);
        let used = AtomicU64::new(self.began.elapsed().as_secs());
        let ready = Arc::new(Ready { stage, mapped, schema, used });
        self.known.insert(version.sha256.clone(), State::Ready(Arc::clone(&ready)));
        self.in_memory.called(&version.sha256, &ready);
        Ok(Some(ready))
    }

    /// Lets go of an upload that is not kept.
    pub(crate) fn forget(&self, sha256: &str) {
        self.known.remove(sha256);
        self.cache.forget(self.sandbox.engine(), &format!("{PREFIX}{sha256}"));
    }

    async fn prepare(&self, tenant: &Tenant, version: &Version) -> Result<(), String> {
        // Those that wait hold no file.
        let _turn = self.preparing.acquire().await;
        let wasm = self.files.get(tenant, &version.sha256).await.map_err(|error| error.to_string())?;
        let wasm = wasm.ok_or("its file is gone: upload it again")?;
        match self.compile(&version.sha256, &wasm).await {
            Ok(_) => {}
            Err(Fault::Refused(refused)) => return Err(refused.to_string()),
            Err(Fault::Host(reason)) => return Err(reason),
        }
        self.compiled(version)?.ok_or("it is gone as soon as it is compiled")?;
        Ok(())
    }

    /// Removes compiled ones that are too many or too old.
    pub(crate) fn trim_disk(&self) {
        self.cache.trim(PREFIX, limits::COMPONENTS_COMPILED_BYTES, UNUSED);
    }

    /// Lets go of those that nobody called for so long; their files stay.
    pub(crate) fn let_go(&self, idle: Duration) {
        let now = self.began.elapsed().as_secs();
        self.known.retain(|_, state| match state {
            State::Ready(ready) => now - ready.used.load(Ordering::Relaxed).min(now) < idle.as_secs(),
            State::Preparing | State::Failed(..) => true,
        });
    }

    /// Says that one cannot be made ready for now.
    pub(crate) fn fail(&self, sha256: &str, reason: String) {
        self.known.insert(sha256.to_owned(), State::Failed(reason, Instant::now()));
    }

    /// How many are ready.
    pub(crate) fn ready(&self) -> usize {
        self.known.len()
    }
}

fn preparing() -> String {
    PREPARING.to_owned()
}

/// Why an upload is not compiled.
pub(crate) enum Fault {
    /// It breaks a rule.
    Refused(Refused),
    /// The host cannot.
    Host(String),
}

impl From<Fault> for crate::Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(refused) => refused.into(),
            Fault::Host(reason) => StoreError::Unavailable(reason).into(),
        }
    }
}

impl Ready {
    /// Whether params fit the component's schema.
    ///
    /// # Errors
    /// Where they do not, as a JSON pointer, and why.
    pub(crate) fn check(&self, params: &str) -> Result<(), (String, String)> {
        let given = if params.trim().is_empty() { "{}" } else { params };
        let given: Value = serde_json::from_str(given).map_err(|error| (String::new(), error.to_string()))?;
        let Value::Object(given) = given else { return Err((String::new(), "must be an object".to_owned())) };
        self.schema.as_ref().map_or(Ok(()), |schema| schema.check(&given))
    }
}
