//! Models that are ready to rank, of all tenants.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use funnelweb_bindings::{
    stages::rank::RankRequest,
    types::{ColumnKind, StageError},
};
use funnelweb_core::{limits, scenario::FeatureKind};
use funnelweb_engine::Failure;
use funnelweb_tenant_store::{Error as StoreError, Tenant};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::{
    check::feature_kind,
    files::ModelFiles,
    record::{Feature, Record},
    sandbox::{Error, Image, Sandbox},
    usage::{Counters, Usage},
};

/// How often what is on the disk is looked through.
const TRIM_EVERY: Duration = Duration::from_secs(3600);

/// Why there is no ranker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// There is no model of that name.
    NoModel,
    /// No version of it is active.
    NoneActive,
    /// There is no such version.
    NoVersion,
    /// It is being made ready, or could not be here and now.
    NotReady(String),
    /// The ranker component refuses it, or does not come to an end with it.
    Broken(String),
    /// A store did not say.
    Store(StoreError),
}

/// A version of a model, ready to rank.
#[derive(Clone)]
pub struct Ranker {
    record: Arc<Record>,
    served: Arc<Served>,
}

/// Whose, and which files.
type Of = (Tenant, String);

/// An image and what it did.
pub(crate) struct Served {
    image: Image,
    counters: Counters,
}

impl Ranker {
    pub(crate) fn new(record: Arc<Record>, served: Arc<Served>) -> Self {
        Self { record, served }
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.record.model_version
    }

    /// The digest of its ONNX file.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.record.config.sha256
    }

    /// A feature that it reads and that is not among these, as what it reads it.
    #[must_use]
    pub fn undeclared(&self, declared: &[(String, ColumnKind)]) -> Option<&Feature> {
        let kind = |kind: ColumnKind| feature_kind(kind).map(FeatureKind::as_str);
        let is_declared = |feature: &Feature| {
            declared.iter().any(|(name, of)| *name == feature.name && kind(*of) == Some(feature.kind.as_str()))
        };
        self.record.config.features.iter().find(|feature| !is_declared(feature))
    }

    /// The scores of a request's candidates, or what the model says instead.
    ///
    /// # Errors
    /// When it gives no answer.
    pub async fn rank(&self, request: &RankRequest) -> Result<Result<Vec<f32>, StageError>, Failure> {
        let start = Instant::now();
        let answer = self.served.image.rank(request).await;
        match &answer {
            Ok(Ok(scores)) => self.served.counters.answered(scores.len(), start.elapsed()),
            _ => self.served.counters.failed(),
        }
        answer
    }
}

impl Served {
    pub(crate) fn usage(&self) -> Usage {
        self.counters.usage()
    }
}

#[derive(Clone)]
enum State {
    Ready(Arc<Served>),
    Preparing,
    /// Why, and since when; it is tried again now and then.
    Failed(Missing, Instant),
}

/// What is ready and what is becoming so.
pub(crate) struct Serving {
    sandbox: Arc<Sandbox>,
    files: Arc<ModelFiles>,
    known: Cache<Of, State>,
    /// One is made ready after the other: each takes a core and memory.
    preparing: Semaphore,
}

impl Serving {
    pub(crate) fn new(sandbox: Arc<Sandbox>, files: Arc<ModelFiles>) -> Arc<Self> {
        let serving =
            Arc::new(Self { sandbox, files, known: Cache::new(limits::MODEL_IMAGES), preparing: Semaphore::new(1) });
        let weak = Arc::downgrade(&serving);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Ends with what it looks after.
            runtime.spawn(async move {
                let mut trimmed: Option<Instant> = None;
                loop {
                    tokio::time::sleep(limits::MODEL_IDLE / 2).await;
                    let Some(serving) = weak.upgrade() else { return };
                    serving.trim();
                    serving.files.sweep_again(Instant::now()).await;
                    serving.forget_gone().await;
                    if trimmed.is_none_or(|at| at.elapsed() >= TRIM_EVERY) {
                        serving.trim_disk();
                        trimmed = Some(Instant::now());
                    }
                }
            });
        }
        serving
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The image of a tenant's files. One that is not ready is made so beside the
    /// request, which does without.
    pub(crate) async fn get(self: &Arc<Self>, tenant: &Tenant, name: &str) -> Result<Arc<Served>, Missing> {
        let of = (tenant.clone(), name.to_owned());
        match self.known.get(&of) {
            Some(State::Ready(served)) => return Ok(served),
            Some(State::Preparing) => return Err(preparing()),
            Some(State::Failed(why, since)) if since.elapsed() < limits::MODEL_LOAD_TIMEOUT => return Err(why),
            Some(State::Failed(..)) | None => {}
        }
        // Compiled earlier: a file to be mapped.
        match self.sandbox.known(name).await {
            Ok(Some(image)) => Ok(self.put(of, image)),
            Ok(None) => {
                self.known.insert(of.clone(), State::Preparing);
                let this = Arc::clone(self);
                tokio::spawn(async move { this.prepare(of).await });
                Err(preparing())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// An image that is there from now on.
    pub(crate) fn put(&self, of: Of, image: Image) -> Arc<Served> {
        let served = Arc::new(Served { image, counters: Counters::default() });
        self.known.insert(of, State::Ready(Arc::clone(&served)));
        served
    }

    /// What a tenant's files did here, if they are ready.
    pub(crate) fn usage(&self, tenant: &Tenant, name: &str) -> Usage {
        match self.known.get(&(tenant.clone(), name.to_owned())) {
            Some(State::Ready(served)) => served.usage(),
            _ => Usage::default(),
        }
    }

    async fn prepare(&self, of: Of) {
        // It is never closed.
        let _turn = self.preparing.acquire().await;
        if let Some(State::Ready(_)) = self.known.get(&of) {
            // Several requests asked for it at the same moment.
            return;
        }
        let (tenant, name) = &of;
        let image = async {
            let files = self.files.get(tenant, name).await.map_err(|error| Error::Host(error.to_string()))?;
            let files = files.ok_or_else(|| Error::Host("its files are gone".to_owned()))?;
            let (_, image) = self.sandbox.load(name, &files.manifest, &files.onnx).await?;
            Ok::<_, Error>(image)
        };
        match image.await {
            Ok(image) => {
                self.put(of, image);
                self.trim_disk();
            }
            Err(error) => {
                tracing::warn!(%tenant, %name, %error, "model could not be made ready");
                self.known.insert(of.clone(), State::Failed(error.into(), Instant::now()));
            }
        }
    }

    /// Lets go of the images whose files were deleted.
    pub(crate) async fn forget_gone(&self) {
        for of in self.files.take_gone() {
            self.known.remove(&of);
            self.forget(&of.1).await;
        }
    }

    /// The image's file goes. Of a tenant with the same model it is made again when it
    /// is not in use any more.
    pub(crate) async fn forget(&self, name: &str) {
        if let Err(error) = self.sandbox.forget(name).await {
            tracing::warn!(%name, %error, "the image of a model stays");
        }
    }

    /// The images on the disk are at most so many bytes, and those of no model go.
    pub(crate) fn trim_disk(&self) {
        let ready = self.known.iter().filter(|(_, state)| matches!(state, State::Ready(_)));
        let in_use: Vec<String> = ready.map(|((_, name), _)| name).collect();
        self.sandbox.trim(&in_use);
    }

    fn trim(&self) {
        for (_, state) in self.known.iter() {
            if let State::Ready(served) = state {
                served.image.trim(limits::MODEL_IDLE);
            }
        }
    }
}

impl From<Error> for Missing {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::Refused(_) | Error::Failed(_) => Self::Broken(reason),
            Error::Host(_) => Self::NotReady(reason),
        }
    }
}

fn preparing() -> Missing {
    Missing::NotReady("the model is being made ready".to_owned())
}

#[cfg(test)]
mod tests {
    use funnelweb_blob_store::FileBlobs;
    use funnelweb_engine::{ComponentCache, Engines};
    use funnelweb_factor_documents::SqliteDocuments;
    use funnelweb_tenant_store::TenantStores;

    use super::*;

    #[tokio::test]
    async fn so_many_bytes_of_images_are_on_the_disk_and_none_that_nobody_uses() {
        let folder = tempfile::tempdir().unwrap();
        let serving = serving(folder.path());
        let image = |name: &str, bytes: u64, age: Duration| {
            let path = folder.path().join("components").join(name);
            let file = std::fs::File::create(&path).unwrap();
            file.set_len(bytes).unwrap();
            file.set_modified(std::time::SystemTime::now() - age).unwrap();
            path
        };
        let minute = Duration::from_secs(60);
        let new = image("models-new.cwasm", limits::MODEL_IMAGES_BYTES - 1, minute);
        let last = image("models-last.cwasm", 1, 2 * minute);
        let old = image("models-old.cwasm", 1, 3 * minute);
        serving.trim_disk();
        assert_eq!([&new, &last, &old].map(|path| path.exists()), [true, true, false]);
        let orphan = image("models-orphan.cwasm", 0, limits::MODEL_IMAGE_UNUSED);
        let young = image("models-young.cwasm", 0, limits::MODEL_IMAGE_UNUSED - minute);
        let component = image("component.cwasm", 1, limits::MODEL_IMAGE_UNUSED);
        serving.trim_disk();
        assert_eq!([&orphan, &young, &component].map(|path| path.exists()), [false, true, true]);
    }

    fn serving(folder: &std::path::Path) -> Arc<Serving> {
        let documents = SqliteDocuments::new(Arc::new(TenantStores::new(folder).unwrap())).unwrap();
        let files = ModelFiles::new(Arc::new(documents), Arc::new(FileBlobs::new(folder).unwrap()));
        let cache = Arc::new(ComponentCache::new(folder.join("components")).unwrap());
        let sandbox = Sandbox::new(&Engines::new().unwrap(), cache, None).unwrap();
        Serving::new(Arc::new(sandbox), Arc::new(files))
    }

    #[tokio::test]
    async fn so_many_models_are_known_and_the_least_used_goes() {
        let folder = tempfile::tempdir().unwrap();
        let serving = serving(folder.path());
        let of = |at: usize| (Tenant::new("t").unwrap(), format!("models/{at}"));
        for at in 0..limits::MODEL_IMAGES + 100 {
            serving.known.insert(of(at), State::Failed(Missing::Broken("no".to_owned()), Instant::now()));
        }
        assert!(serving.known.len() <= limits::MODEL_IMAGES, "{}", serving.known.len());
        // One that fails is not tried again at once, and says why.
        let last = of(limits::MODEL_IMAGES + 99);
        assert_eq!(serving.get(&last.0, &last.1).await.err(), Some(Missing::Broken("no".to_owned())));
        // Without a component none is ever ready.
        let missing = serving.get(&last.0, "models/new").await.err();
        assert!(matches!(&missing, Some(Missing::NotReady(reason)) if reason.contains("role `model`")), "{missing:?}");
    }
}
