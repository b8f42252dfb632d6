//! An application: from a manifest and a data directory to a server.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, anyhow, bail};
use funnelweb_admission::Compiler;
use funnelweb_dispatch::{Capabilities, Dispatcher};
use funnelweb_engine::{ComponentCache, Engines};
use funnelweb_factor_components::{Components, Logs, Parts, Settings};
use funnelweb_factor_models::{Models, Sandbox};
use funnelweb_factor_outbound_redis::Outbound;
use funnelweb_jobs::{Jobs, Options as JobOptions};
use funnelweb_manifest::{Component as Entry, Manifest, Role, Router};
use funnelweb_stream::{ComponentOperator, Streams, operator::Operator};
use funnelweb_stream_kafka::Readers;
use funnelweb_sync::{SyncSettings, SyncWork};
use funnelweb_tenant_store::Tenant;
use funnelweb_trigger_http::{Endpoint, Requests, Server, ServerHandle, Services, server::Exposition};
use http::Method;
use prometheus_client::{encoding::text::encode_registry, registry::Registry};
use wasmtime::{Engine, component::Component};

use crate::{
    follower::Follower,
    inside::{self, Call, Endpoints, JSON},
    replay::{self, Replayer},
    revalidate::Recommend,
    stores::{Stores, StreamStores},
    sync::OwnIntake,
    works::works,
};

/// The command of this program that compiles uploads.
pub const ADMIT: &str = "admit-component";

/// What an application is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The manifest file.
    pub manifest: PathBuf,
    /// Where compiled components are kept, beside what embedded stores keep.
    pub data_dir: PathBuf,
    /// Values of application variables; they come before
    /// `SPIN_VARIABLE_<NAME>` in the environment.
    pub variables: BTreeMap<String, String>,
    /// What `sync` jobs may read; nothing, if none.
    pub sync: Option<SyncSettings>,
    /// What the operator says of components that tenants upload.
    pub components: Settings,
}

/// A loaded application.
pub struct App {
    /// The backends.
    pub stores: Stores,
    /// The stages.
    pub dispatcher: Arc<Dispatcher>,
    /// Jobs; none is done before [`Jobs::spawn`].
    pub jobs: Jobs,
    router: Router,
    endpoints: Vec<Arc<Endpoint>>,
    operators: Vec<(String, Component)>,
    components: Components,
    stages: Engine,
}

impl App {
    /// Loads the manifest and makes every component ready.
    ///
    /// # Errors
    /// What is wrong with the manifest, a component, or the data directory.
    pub fn load(options: &Options, stores: Stores) -> anyhow::Result<Self> {
        let manifest = Manifest::load(&options.manifest)?;
        let engines = Engines::new()?;
        let cache = Arc::new(ComponentCache::new(options.data_dir.join("components"))?);
        let compiled = compile(&manifest, &engines, &cache)?;
        let models = models(&manifest, &engines, Arc::clone(&cache), &stores)?;
        let components = components(&engines, cache, &stores, options.components.clone())?;
        let mut dispatcher =
            Dispatcher::new(engines.stages(), capabilities(&stores), models.clone(), components.clone());
        add_stages(&mut dispatcher, &manifest, &compiled)?;
        let dispatcher = Arc::new(dispatcher);
        let values = manifest.resolve_variables(|name| {
            let given = options.variables.get(name).cloned();
            given.or_else(|| std::env::var(format!("SPIN_VARIABLE_{}", name.to_uppercase())).ok())
        })?;
        let own = Arc::new(Endpoints::default());
        let intake = Arc::new(OwnIntake(Arc::clone(&own)));
        let sync =
            SyncWork::new(options.sync.clone(), &options.data_dir, intake).map_err(|error| anyhow!("sync.{error}"))?;
        let replayer = Arc::new(Replayer::new(&stores, Arc::clone(&own)));
        let waiting = replay::waiting(&replayer);
        stores.recordings.try_on(Box::new(move |tenant, recording, config| waiting.add(tenant, recording, config)));
        let works = works(&stores, &dispatcher, Arc::clone(&own), sync, Arc::clone(&replayer));
        let jobs = Jobs::new(Arc::clone(&stores.jobs), Arc::clone(&stores.documents), works, JobOptions::default());
        let services = Services {
            documents: Arc::clone(&stores.documents),
            live: Arc::clone(&stores.live),
            events: Arc::clone(&stores.events),
            vectors: Arc::clone(&stores.vectors),
            learned: Arc::clone(&stores.learned),
            results: stores.results.clone(),
            jobs: jobs.clone(),
            models,
            components: components.clone(),
            recordings: Arc::clone(&stores.recordings),
            replay: replayer,
            key_values: Arc::clone(&stores.key_values),
            redis: Outbound::new(),
            dispatcher: Arc::clone(&dispatcher),
        };
        let mut endpoints = Vec::new();
        for (entry, component) in compiled.iter().filter(|(entry, _)| entry.funnelweb.role == Role::Endpoint) {
            endpoints.push(Arc::new(Endpoint::new(engines.endpoints(), entry, component, &values, &services)?));
        }
        own.set(&endpoints);
        stores.results.revalidated_by(Arc::new(Recommend::new(own)));
        let operators = compiled.iter().filter(|(entry, _)| entry.funnelweb.role == Role::Aggregate);
        let operators = operators.map(|(entry, component)| (entry.id.clone(), component.clone())).collect();
        let stages = engines.stages().clone();
        let router = Router::new(&manifest);
        Ok(Self { stores, dispatcher, jobs, router, endpoints, operators, components, stages })
    }

    /// What follows the logs with the application's operators, and what takes their
    /// partitions on Kafka; none where another program keeps the logs.
    ///
    /// # Errors
    /// When an operator declares what cannot be.
    pub async fn streams(&self) -> anyhow::Result<Option<Follower>> {
        let Some(StreamStores { state, grown, kafka }) = self.stores.streams.clone() else { return Ok(None) };
        let mut operators: Vec<Arc<dyn Operator>> = Vec::new();
        for (id, component) in &self.operators {
            let operator = ComponentOperator::new(id, &self.stages, component).await;
            operators.push(Arc::new(operator.with_context(|| format!("component `{id}`"))?));
        }
        if operators.is_empty() {
            tracing::warn!("no component aggregates behaviours: hot lists, counters and preferences stay as they are");
        }
        let streams = Streams::new(Arc::clone(&self.stores.events), state, operators, grown);
        let streams = streams.with_own(Arc::new(self.components.clone()));
        let (streams, log) = match kafka {
            Some((log, shards)) => (streams.with_shards(shards), Some(log)),
            None => (streams, None),
        };
        streams.mark_all().await;
        let streams = Arc::new(streams);
        let readers = log.map(|log| Readers::new(log, Arc::clone(&streams)));
        Ok(Some(Follower::new(streams, readers)))
    }

    /// An endpoint by its component's id, to be asked without a listener.
    #[must_use]
    pub fn endpoint(&self, id: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.id() == id).map(AsRef::as_ref)
    }

    /// Asks for a slate as a user's client does.
    ///
    /// # Errors
    /// What the endpoint says.
    pub async fn recommend(&self, tenant: &Tenant, scenario_id: &str, user_id: &str) -> anyhow::Result<()> {
        let endpoint = self.endpoint("recommend").context("the manifest has no endpoint `recommend`")?;
        let body = serde_json::to_vec(&serde_json::json!({ "scenario_id": scenario_id }))?;
        let path = "/api/v1/recommend";
        let call = Call { method: Method::POST, path, user_id: Some(user_id), media: JSON, body };
        inside::ask(endpoint, tenant, "record", call).await?;
        Ok(())
    }

    /// Serves until the handle is drained; the stores stay usable.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn listen(self, address: SocketAddr) -> anyhow::Result<(ServerHandle, Stores)> {
        let requests = Requests::default();
        let exposition = exposition(&requests, self.stores.streams.as_ref());
        let server = Server::new(self.router, self.endpoints).with_metrics(requests, exposition);
        let handle = server.listen(address).await.with_context(|| format!("listening on {address}"))?;
        Ok((handle, self.stores))
    }
}

/// What `/metrics` answers: requests and stages of this process, and what operators
/// have counted of the tenants' logs.
fn exposition(requests: &Requests, streams: Option<&StreamStores>) -> Exposition {
    let mut registry = Registry::with_prefix("funnelweb");
    requests.register(&mut registry);
    funnelweb_dispatch::metrics::register(&mut registry);
    funnelweb_factor_components::metrics::register(&mut registry);
    funnelweb_recording::metrics::register(&mut registry);
    replay::register(&mut registry);
    funnelweb_factor_results::metrics::register(&mut registry);
    funnelweb_store_mongodb::metrics::register(&mut registry);
    let (registry, streams) = (Arc::new(registry), streams.cloned());
    Box::new(move || {
        let (registry, streams) = (Arc::clone(&registry), streams.clone());
        Box::pin(async move {
            let mut text = String::new();
            // A `String` takes everything.
            let _ = encode_registry(&mut text, &registry);
            if let Some(StreamStores { state, grown, .. }) = streams {
                text.push_str(&funnelweb_stream::exposition::behind(&grown.behind()));
                match state.counters().await {
                    Ok(counters) => text.push_str(&funnelweb_stream::exposition::text(&counters)),
                    Err(error) => tracing::warn!(%error, "counters of tenants are left out"),
                }
            }
            text.push_str("# EOF\n");
            text
        })
    })
}

fn compile<'a>(
    manifest: &'a Manifest,
    engines: &Engines,
    cache: &ComponentCache,
) -> anyhow::Result<Vec<(&'a Entry, Component)>> {
    let missing: Vec<&Path> = manifest.components.values().map(|entry| entry.source.as_path()).collect();
    if let Some(path) = missing.into_iter().find(|path| !path.exists()) {
        bail!("{} does not exist; `funnelweb build` (or `cargo xtask build`) makes it", path.display());
    }
    let compile = |entry: &'a Entry| {
        let engine = match entry.funnelweb.role {
            Role::Endpoint => engines.endpoints(),
            Role::Recall | Role::Features | Role::Rank | Role::Model | Role::Rerank | Role::Aggregate => {
                engines.stages()
            }
        };
        Ok((entry, cache.load(engine, &entry.source)?))
    };
    // A cold start compiles everything: as many at once as there are cores, since each
    // takes tens of megabytes while it lasts.
    // The one that models run in is compiled when there is a model.
    let entries: Vec<&Entry> =
        manifest.components.values().filter(|entry| entry.funnelweb.role != Role::Model).collect();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicUsize::new(0);
    let work = || std::iter::from_fn(|| entries.get(next.fetch_add(1, Ordering::Relaxed)).map(|entry| compile(entry)));
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| work().collect::<anyhow::Result<Vec<_>>>())).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, anyhow::Result<_>>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let compiled = threads.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(compiled.into_iter().flatten().collect())
    })
}

/// The entry of the component that models run in.
fn model_entry(manifest: &Manifest) -> Option<&Entry> {
    manifest.components.values().find(|entry| entry.funnelweb.role == Role::Model)
}

fn models(
    manifest: &Manifest,
    engines: &Engines,
    cache: Arc<ComponentCache>,
    stores: &Stores,
) -> anyhow::Result<Models> {
    // Without one every model is refused when it is uploaded.
    let source = model_entry(manifest).map(|entry| entry.source.clone());
    let sandbox = Sandbox::new(engines, cache, source).map_err(anyhow::Error::msg)?;
    Ok(Models::new(Arc::clone(&stores.documents), Arc::clone(&stores.models), Arc::new(sandbox)))
}

fn components(
    engines: &Engines,
    cache: Arc<ComponentCache>,
    stores: &Stores,
    settings: Settings,
) -> anyhow::Result<Components> {
    // What compiles uploads is this program, in a process of its own.
    let program = std::env::current_exe().context("this program's own file")?;
    let compiler = Compiler::new(program, [ADMIT]);
    let (files, recorder) = (Arc::clone(&stores.components), Arc::clone(&stores.recorder));
    let logs = stores.streams.as_ref().map(|StreamStores { state, grown, .. }| Logs {
        events: Arc::clone(&stores.events),
        state: Arc::clone(state),
        grown: Arc::clone(grown),
    });
    let parts = Parts { files, sources: stores.sources(), recorder, cache, compiler, logs };
    Components::new(engines, parts, settings).map_err(|error| anyhow!("{error:#}"))
}

fn capabilities(stores: &Stores) -> Capabilities {
    Capabilities {
        documents: Arc::clone(&stores.documents),
        live: Arc::clone(&stores.live),
        vectors: Arc::clone(&stores.vectors),
        learned: Arc::clone(&stores.learned),
        exposures: Arc::clone(&stores.exposures),
    }
}

fn add_stages(
    dispatcher: &mut Dispatcher,
    manifest: &Manifest,
    compiled: &[(&Entry, Component)],
) -> anyhow::Result<()> {
    if let Some(entry) = model_entry(manifest) {
        dispatcher.add_models(entry);
    }
    for (entry, component) in compiled {
        dispatcher.add(entry, component)?;
    }
    Ok(())
}
