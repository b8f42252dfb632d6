//! Which stages there are: from a role and a name to a component that is ready
//! to be instantiated.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use funnelweb_bindings::{
    dispatch::Role,
    stages::{FeaturesStagePre, RankStagePre, RecallStagePre, RerankStagePre},
};
use funnelweb_core::limits;
use funnelweb_exposure_log::store::ExposureLog;
use funnelweb_factor_components::Components;
use funnelweb_factor_documents::{
    host::{self as documents, DocumentsCtx},
    store::Documents,
};
use funnelweb_factor_learned::{
    host::{self as learned, LearnedCtx},
    store::Learned,
};
use funnelweb_factor_live::{
    host::{self as live, LiveCtx},
    store::Live,
};
use funnelweb_factor_models::Models;
use funnelweb_factor_vectors::{
    host::{self as vectors, VectorsCtx},
    store::Vectors,
};
use funnelweb_instance::{State, wasi};
use funnelweb_manifest::{Component as Entry, Grant, Role as ManifestRole};
use funnelweb_recording::Tape;
use funnelweb_tenant_store::Tenant;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use crate::{checks::Checks, effort::Effort, fingerprint::Fingerprint};

/// Tenants whose shares are remembered. One that is forgotten while its stages
/// run begins a new share; there are far fewer instances than this.
const SHARES: usize = 16_384;

/// What stages may be given of the stores.
#[derive(Clone)]
pub struct Capabilities {
    /// Documents of all tenants.
    pub documents: Arc<dyn Documents>,
    /// Live structures of all tenants.
    pub live: Arc<dyn Live>,
    /// Vectors of all tenants.
    pub vectors: Arc<dyn Vectors>,
    /// What was learned, of all tenants.
    pub learned: Arc<dyn Learned>,
    /// What users were shown; stages are not given it.
    pub exposures: Arc<dyn ExposureLog>,
}

/// Why the stages of an application cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("stage `{id}`: {source:#}")]
pub struct Error {
    id: String,
    source: wasmtime::Error,
}

/// All stages of an application.
pub struct Dispatcher {
    engine: Engine,
    capabilities: Capabilities,
    features: Option<Stage<FeaturesStagePre<State>>>,
    recall: BTreeMap<String, Stage<RecallStagePre<State>>>,
    rank: BTreeMap<String, Stage<RankStagePre<State>>>,
    models: Models,
    components: Components,
    /// Names of models that configs may name before one is uploaded.
    model_names: Vec<String>,
    /// The component that models run in, for reports.
    model_component: Arc<str>,
    rerank: BTreeMap<String, Stage<RerankStagePre<State>>>,
    pub(crate) checks: Checks,
    /// Of the files of all of them.
    built_in: u64,
    shares: Cache<Option<Tenant>, Arc<Semaphore>>,
}

/// One stage, ready to be instantiated.
#[derive(Clone)]
pub(crate) struct Stage<P> {
    /// The component's id.
    pub(crate) id: Arc<str>,
    /// Of its file.
    pub(crate) digest: Arc<str>,
    pub(crate) pre: P,
    /// Of its calls, whatever the name they go by.
    pub(crate) effort: Effort,
}

impl<P> Stage<P> {
    fn new((id, digest): (Arc<str>, Arc<str>), pre: P) -> Self {
        Self { id, digest, pre, effort: Effort::default() }
    }
}

impl Dispatcher {
    /// A dispatcher without stages; `engine` is that of stages.
    #[must_use]
    pub fn new(engine: &Engine, capabilities: Capabilities, models: Models, components: Components) -> Self {
        Self {
            engine: engine.clone(),
            capabilities,
            features: None,
            recall: BTreeMap::new(),
            rank: BTreeMap::new(),
            models,
            components,
            model_names: Vec::new(),
            model_component: "".into(),
            rerank: BTreeMap::new(),
            checks: Checks::new(),
            built_in: 0,
            shares: Cache::new(SHARES),
        }
    }

    /// Has configs name models of these names before there are any; `entry` is that of
    /// the component that models run in.
    pub fn add_models(&mut self, entry: &Entry) {
        self.model_component = entry.id.as_str().into();
        self.model_names.clone_from(&entry.funnelweb.names);
    }

    /// Adds a stage under all its names. Components of other roles are passed over.
    ///
    /// # Errors
    /// When the component imports what it was not granted, or does not export
    /// its role.
    pub fn add(&mut self, entry: &Entry, component: &Component) -> Result<(), Error> {
        self.add_inner(entry, component).map_err(|source| Error { id: entry.id.clone(), source })
    }

    fn add_inner(&mut self, entry: &Entry, component: &Component) -> wasmtime::Result<()> {
        if matches!(entry.funnelweb.role, ManifestRole::Endpoint | ManifestRole::Model | ManifestRole::Aggregate) {
            return Ok(());
        }
        let linker = linker(&self.engine, &entry.funnelweb.grants)?;
        let pre = linker.instantiate_pre(component)?;
        let names = entry.funnelweb.names.iter().cloned();
        let digest = funnelweb_engine::sha256(&std::fs::read(&entry.source)?);
        let mut fingerprint = Fingerprint::new(self.built_in);
        fingerprint.add(&entry.id);
        fingerprint.add(&digest);
        self.built_in = fingerprint.finish();
        let id: (Arc<str>, Arc<str>) = (entry.id.as_str().into(), digest.into());
        match entry.funnelweb.role {
            ManifestRole::Endpoint | ManifestRole::Model | ManifestRole::Aggregate => {}
            ManifestRole::Features => self.features = Some(Stage::new(id, FeaturesStagePre::new(pre)?)),
            ManifestRole::Recall => {
                let stage = Stage::new(id, RecallStagePre::new(pre)?);
                self.recall.extend(names.map(|name| (name, stage.clone())));
            }
            ManifestRole::Rank => {
                let stage = Stage::new(id, RankStagePre::new(pre)?);
                self.rank.extend(names.map(|name| (name, stage.clone())));
            }
            ManifestRole::Rerank => {
                let stage = Stage::new(id, RerankStagePre::new(pre)?);
                self.rerank.extend(names.map(|name| (name, stage.clone())));
            }
        }
        Ok(())
    }

    /// What bounds the stages, and models, that one tenant has at work at once.
    #[must_use]
    pub fn share(&self, tenant: Option<&Tenant>) -> Arc<Semaphore> {
        let make = || Ok::<_, Infallible>(Arc::new(Semaphore::new(limits::TENANT_STAGES)));
        match self.shares.get_or_insert_with(&tenant.cloned(), make) {
            Ok(share) => share,
            Err(never) => match never {},
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn features(&self) -> Option<&Stage<FeaturesStagePre<State>>> {
        self.features.as_ref()
    }

    pub(crate) fn recall(&self, name: &str) -> Option<&Stage<RecallStagePre<State>>> {
        self.recall.get(name)
    }

    pub(crate) fn rank(&self, name: &str) -> Option<&Stage<RankStagePre<State>>> {
        self.rank.get(name)
    }

    pub(crate) fn rerank(&self, name: &str) -> Option<&Stage<RerankStagePre<State>>> {
        self.rerank.get(name)
    }

    pub(crate) fn exposures(&self) -> &dyn ExposureLog {
        self.capabilities.exposures.as_ref()
    }

    pub(crate) fn models(&self) -> &Models {
        &self.models
    }

    pub(crate) fn components(&self) -> &Components {
        &self.components
    }

    /// A number for the stages that are built in, all together.
    pub(crate) fn built_in(&self) -> u64 {
        self.built_in
    }

    pub(crate) fn model_component(&self) -> &str {
        &self.model_component
    }

    /// Whether a scenario may name a ranker although no model of that name is there.
    pub(crate) fn is_model_name(&self, name: &str) -> bool {
        self.model_names.iter().any(|known| known == name)
    }

    /// Every name of a role that a scenario may use, sorted.
    #[must_use]
    pub fn names(&self, role: Role) -> Vec<String> {
        let mut names: Vec<String> = match role {
            Role::Recall => self.recall.keys().cloned().collect(),
            Role::Rank => self.rank.keys().cloned().collect(),
            Role::Rerank => self.rerank.keys().cloned().collect(),
        };
        if role == Role::Rank {
            names.extend(self.model_names.iter().cloned());
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(crate) fn state(&self, tenant: Option<&Tenant>, tape: &Tape) -> State {
        let granted = Granted {
            documents: DocumentsCtx::new(Arc::clone(&self.capabilities.documents), tenant.cloned()).taped(tape.clone()),
            live: LiveCtx::new(Arc::clone(&self.capabilities.live), tenant.cloned()).taped(tape.clone()),
            vectors: VectorsCtx::new(Arc::clone(&self.capabilities.vectors), tenant.cloned()).taped(tape.clone()),
            learned: LearnedCtx::new(Arc::clone(&self.capabilities.learned), tenant.cloned()).taped(tape.clone()),
        };
        State::bare(limits::STAGE_MEMORY_BYTES, granted)
    }
}

/// What one stage instance has.
struct Granted {
    documents: DocumentsCtx,
    live: LiveCtx,
    vectors: VectorsCtx,
    learned: LearnedCtx,
}

/// WASI with nothing behind it (no files, sockets, environment), and the
/// capabilities granted.
fn linker(engine: &Engine, grants: &[Grant]) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasi::add_p2_to_linker(&mut linker)?;
    if grants.contains(&Grant::Documents) {
        documents::add_to_linker(&mut linker, |state| &mut state.own::<Granted>().documents)?;
    }
    if grants.contains(&Grant::Live) {
        live::add_to_linker(&mut linker, |state| &mut state.own::<Granted>().live)?;
    }
    if grants.contains(&Grant::Vectors) {
        vectors::add_to_linker(&mut linker, |state| &mut state.own::<Granted>().vectors)?;
    }
    if grants.contains(&Grant::Learned) {
        learned::add_to_linker(&mut linker, |state| &mut state.own::<Granted>().learned)?;
    }
    Ok(linker)
}
