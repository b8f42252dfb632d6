//! The kinds of jobs that this program does, on its stores.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use funnelweb_core::job::Kind;
use funnelweb_dispatch::Dispatcher;
use funnelweb_jobs::work::{Cancel, Failure, ParamError, Progress, Task, Work, Works};
use funnelweb_sync::SyncWork;
use funnelweb_training::{
    Context, EmbeddingsParams, Error, Follow, ProfilesParams, SimilarityParams, Target, embeddings, profiles,
    similarity,
};
use serde_json::Value;

use crate::{
    inside::Endpoints,
    precompute::Precompute,
    replay::{Replayer, Replays},
    reports::Reports,
    stores::Stores,
};

/// How often a long training keeps where it stands.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// Every kind of job that there is.
#[must_use]
pub(crate) fn works(
    stores: &Stores,
    dispatcher: &Arc<Dispatcher>,
    endpoints: Arc<Endpoints>,
    sync: SyncWork,
    replayer: Arc<Replayer>,
) -> Works {
    let context = Context {
        documents: Arc::clone(&stores.documents),
        events: Arc::clone(&stores.events),
        vectors: Arc::clone(&stores.vectors),
        blobs: Arc::clone(&stores.blobs),
        learned: Arc::clone(&stores.learned),
        checkpoint_every: CHECKPOINT_EVERY,
    };
    let dispatcher = Arc::clone(dispatcher);
    let reports = Reports::new(stores, Arc::clone(&endpoints));
    let precompute = Precompute { context: context.clone(), dispatcher, endpoints };
    Works::from([
        (Kind::Precompute, Arc::new(precompute) as Arc<dyn Work>),
        (Kind::Similarity, Arc::new(Similarity(context.clone()))),
        (Kind::Embeddings, Arc::new(Embeddings(context.clone()))),
        (Kind::Profiles, Arc::new(Profiles(context))),
        (Kind::Sync, Arc::new(sync)),
        (Kind::Experiments, Arc::new(reports)),
        (Kind::Replay, Arc::new(Replays(replayer))),
    ])
}

struct Similarity(Context);
struct Embeddings(Context);
struct Profiles(Context);

#[async_trait]
impl Work for Similarity {
    fn check(&self, params: &Value) -> Result<(), ParamError> {
        SimilarityParams::parse(params).map(drop)
    }

    async fn run(&self, task: Task) -> Result<Value, Failure> {
        let params = SimilarityParams::parse(&task.params).map_err(refused)?;
        similarity(&self.0, &target(&task), &params, following(&task)).await.map_err(failure)
    }
}

#[async_trait]
impl Work for Embeddings {
    fn check(&self, params: &Value) -> Result<(), ParamError> {
        EmbeddingsParams::parse(params).map(drop)
    }

    async fn run(&self, task: Task) -> Result<Value, Failure> {
        let params = EmbeddingsParams::parse(&task.params).map_err(refused)?;
        embeddings(&self.0, &target(&task), &params, following(&task)).await.map_err(failure)
    }
}

#[async_trait]
impl Work for Profiles {
    fn check(&self, params: &Value) -> Result<(), ParamError> {
        ProfilesParams::parse(params).map(drop)
    }

    async fn run(&self, task: Task) -> Result<Value, Failure> {
        let params = ProfilesParams::parse(&task.params).map_err(refused)?;
        profiles(&self.0, &target(&task), &params, following(&task)).await.map_err(failure)
    }
}

pub(crate) fn target(task: &Task) -> Target {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let began_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Target { tenant: task.tenant.clone(), scenario_id: task.scenario_id.clone(), version: task.token, began_ms }
}

pub(crate) fn refused((pointer, message): ParamError) -> Failure {
    Failure::Permanent(format!("{pointer}: {message}"))
}

pub(crate) fn failure(error: Error) -> Failure {
    match error {
        Error::Store(error) => error.into(),
        Error::Cancelled => Failure::Cancelled,
        Error::NoScenario(_) | Error::Superseded | Error::Data(_) => Failure::Permanent(error.to_string()),
    }
}

/// Tells a run's progress to whoever asks for it.
struct Following {
    progress: Arc<Progress>,
    cancel: Cancel,
}

pub(crate) fn following(task: &Task) -> Arc<dyn Follow> {
    Arc::new(Following { progress: Arc::clone(&task.progress), cancel: task.cancel.clone() })
}

impl Follow for Following {
    fn at(&self, phase: &str, part: f32) {
        self.progress.report(phase, part * 100.0);
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
