//! Where models are read and rank: the ranker component and its two engines.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use funnelweb_bindings::stages::{
    ModelStage, RankStage, RankStagePre,
    model::{LoadError, Loaded},
    rank::RankRequest,
};
use funnelweb_bindings::types::StageError;
use funnelweb_core::limits;
use funnelweb_engine::{ComponentCache, Engines, Failure, Template};
use funnelweb_instance::{State, wasi};
use tokio::sync::OnceCell;
use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};

use crate::idle::Idle;

/// How much longer than a computing guest a waiting one is given.
const GRACE: Duration = Duration::from_millis(5);

/// What the names of images begin with, among those of other compiled components.
const IMAGES: &str = "models-";

/// The ranker component before it is given a model.
pub struct Sandbox {
    engines: Engines,
    cache: Arc<ComponentCache>,
    /// None where the application has no such component.
    source: Option<PathBuf>,
    /// Compiled when the first model comes.
    template: OnceCell<Arc<Template>>,
    linker: Linker<State>,
}

/// Why a model cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The component refused it.
    #[error("{}", .0.message)]
    Refused(LoadError),
    /// The component did not come to an end with it.
    #[error("{}", .0.reason)]
    Failed(Failure),
    /// A fault of the host's own.
    #[error("{0:#}")]
    Host(String),
}

impl Sandbox {
    /// With the component of this file, which is compiled when the first model comes.
    ///
    /// # Errors
    /// When the linker cannot be set up.
    pub fn new(engines: &Engines, cache: Arc<ComponentCache>, source: Option<PathBuf>) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engines.models());
        wasi::add_p2_to_linker(&mut linker)?;
        Ok(Self { engines: engines.clone(), cache, source, template: OnceCell::new(), linker })
    }

    /// Gives the component a model and keeps its image under `name`, from where
    /// [`known`](Self::known) has it from then on.
    ///
    /// # Errors
    /// What the component says of the model, or that it did not come to an end.
    pub(crate) async fn load(&self, name: &str, manifest: &str, onnx: &[u8]) -> Result<(Loaded, Image), Error> {
        let template = self.template().await?;
        let (loaded, wasm) = self.initialise(&template, manifest, onnx).await?;
        let (engine, name) = (self.engines.models(), self.content(&template, name));
        // For seconds; and not among what serves requests.
        let file = self.cache.functions_file(engine, template.id());
        let component = blocking(|| match self.cache.known(engine, &name) {
            Some(component) => Ok(component),
            None => {
                self.engines.functions().with_file(&file, || self.cache.compile_as(engine, &name, &wasm)).map_err(host)
            }
        })?;
        Ok((loaded, self.image(&component)?))
    }

    /// The image that was kept under `name`; none when there is none, or it is of
    /// another version of this program.
    pub(crate) async fn known(&self, name: &str) -> Result<Option<Image>, Error> {
        let template = self.template().await?;
        let component = self.cache.known(self.engines.models(), &self.content(&template, name));
        component.map(|component| self.image(&component)).transpose()
    }

    /// Says which images are in use; those that are not, and more than may be there, are
    /// removed from the disk.
    pub(crate) fn trim(&self, in_use: &[String]) {
        if let Some(template) = self.template.get() {
            for name in in_use {
                self.cache.used(self.engines.models(), &self.content(template, name));
            }
        }
        blocking(|| self.cache.trim(IMAGES, limits::MODEL_IMAGES_BYTES, limits::MODEL_IMAGE_UNUSED));
    }

    /// Forgets an image.
    pub(crate) async fn forget(&self, name: &str) -> Result<(), Error> {
        let template = self.template().await?;
        self.cache.forget(self.engines.models(), &self.content(&template, name));
        Ok(())
    }

    async fn template(&self) -> Result<Arc<Template>, Error> {
        let source = self
            .source
            .as_deref()
            .ok_or_else(|| Error::Host("there is no component of the role `model`".to_owned()))?;
        let load = || blocking(|| Template::load(&self.engines, &self.cache, source).map(Arc::new).map_err(host));
        self.template.get_or_try_init(async || load()).await.map(Arc::clone)
    }

    /// An image depends on the component as on the model.
    fn content(&self, template: &Template, name: &str) -> String {
        let name = name.rsplit('/').next().unwrap_or_default();
        format!("{IMAGES}{name}-{}", template.id())
    }

    async fn initialise(&self, template: &Template, manifest: &str, onnx: &[u8]) -> Result<(Loaded, Vec<u8>), Error> {
        let mut linker = Linker::new(self.engines.loading());
        wasi::add_p2_to_linker(&mut linker).map_err(|error| Error::Host(error.to_string()))?;
        let mut store = store(self.engines.loading());
        State::begin(&mut store, limits::MODEL_LOAD_TIMEOUT, limits::STAGE_ANSWER_BYTES);
        let work = async {
            let instance = linker.instantiate_async(&mut store, template.component()).await?;
            let stage = ModelStage::new(&mut store, &instance)?;
            let answer = stage.funnelweb_pipeline_model().call_load(&mut store, manifest, onnx).await?;
            Ok::<_, wasmtime::Error>((instance, answer))
        };
        let answer = within(limits::MODEL_LOAD_TIMEOUT, work).await;
        let (instance, answer) = match answer {
            None => return Err(Error::Failed(Failure::timed_out(limits::MODEL_LOAD_TIMEOUT))),
            Some(Err(error)) => return Err(Error::Failed(failure(&store, &error, limits::MODEL_LOAD_TIMEOUT))),
            Some(Ok(answer)) => answer,
        };
        let loaded = answer.map_err(Error::Refused)?;
        // What reads the memory are calls of the component's, too; they answer all of it.
        State::begin(&mut store, limits::MODEL_LOAD_TIMEOUT, 2 * limits::MODEL_MEMORY_BYTES);
        let wasm = template.image(&mut store, instance).await.map_err(host)?;
        Ok((loaded, wasm))
    }

    fn image(&self, component: &Component) -> Result<Image, Error> {
        let pre = self.linker.instantiate_pre(component).and_then(RankStagePre::new);
        let pre = pre.map_err(|error| Error::Host(format!("{error:#}")))?;
        Ok(Image { engine: self.engines.models().clone(), pre, idle: Idle::new(limits::MODEL_IDLE_INSTANCES) })
    }
}

/// Computes for long, on a thread that can be spared.
fn blocking<R>(work: impl FnOnce() -> R) -> R {
    match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn host(error: funnelweb_engine::Error) -> Error {
    Error::Host(error.to_string())
}

async fn within<R>(timeout: Duration, work: impl Future<Output = R>) -> Option<R> {
    tokio::time::timeout(timeout + GRACE, work).await.ok()
}

fn store(engine: &Engine) -> Store<State> {
    State::bare(limits::MODEL_MEMORY_BYTES, ()).store(engine)
}

fn failure(store: &Store<State>, error: &wasmtime::Error, timeout: Duration) -> Failure {
    store.data().failure(error, timeout, limits::STAGE_ANSWER_BYTES)
}

/// A component that has its model, and instances of it that wait for work.
pub(crate) struct Image {
    engine: Engine,
    pre: RankStagePre<State>,
    idle: Idle<Instance>,
}

struct Instance {
    store: Store<State>,
    stage: RankStage,
}

impl Image {
    /// The scores of a request's candidates, or what the model says instead.
    ///
    /// # Errors
    /// When it gives no answer. The instance is thrown away then.
    pub(crate) async fn rank(&self, request: &RankRequest) -> Result<Result<Vec<f32>, StageError>, Failure> {
        self.with(async |instance| {
            instance.stage.funnelweb_pipeline_rank().call_rank(&mut instance.store, request).await
        })
        .await
    }

    /// Linear memory of an instance, once one has ranked.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.idle.last(|instance| instance.store.data().held_bytes() as u64).unwrap_or_default()
    }

    /// Lets go of the instances that have not been used for so long.
    pub(crate) fn trim(&self, unused: Duration) {
        self.idle.trim(unused);
    }

    async fn with<R>(&self, work: impl AsyncFnOnce(&mut Instance) -> wasmtime::Result<R>) -> Result<R, Failure> {
        let timeout = limits::STAGE_TIMEOUT;
        let mut instance = match self.idle.take() {
            Some(instance) => instance,
            None => self.instantiate(timeout).await?,
        };
        State::begin(&mut instance.store, timeout, limits::STAGE_ANSWER_BYTES);
        let answer = within(timeout, work(&mut instance)).await;
        match answer {
            Some(Ok(answer)) => {
                self.idle.put(instance);
                Ok(answer)
            }
            Some(Err(error)) => Err(failure(&instance.store, &error, timeout)),
            None => Err(Failure::timed_out(timeout)),
        }
    }

    async fn instantiate(&self, timeout: Duration) -> Result<Instance, Failure> {
        let mut store = store(&self.engine);
        State::begin(&mut store, timeout, limits::STAGE_ANSWER_BYTES);
        match self.pre.instantiate_async(&mut store).await {
            Ok(stage) => Ok(Instance { store, stage }),
            Err(error) => Err(failure(&store, &error, timeout)),
        }
    }
}
