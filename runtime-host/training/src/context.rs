//! What works are given.

use std::{sync::Arc, time::Duration};

use funnelweb_blob_store::store::{Blobs, Error as BlobError};
use funnelweb_core::scenario::{Behaviors, Config};
use funnelweb_factor_documents::store::{Collection, Documents, Key, WriteError};
use funnelweb_factor_events::store::Events;
use funnelweb_factor_learned::{format, store::Learned};
use funnelweb_factor_vectors::store::Vectors;
use funnelweb_tenant_store::{Error as StoreError, Tenant};
use serde::Deserialize;

/// The stores that works read and write.
#[derive(Clone)]
pub struct Context {
    /// Items, profiles, scenarios.
    pub documents: Arc<dyn Documents>,
    /// The behaviours.
    pub events: Arc<dyn Events>,
    /// Items' own vectors.
    pub vectors: Arc<dyn Vectors>,
    /// Where results go.
    pub blobs: Arc<dyn Blobs>,
    /// Whoever serves them in this process.
    pub learned: Arc<dyn Learned>,
    /// How often a long training keeps where it stands.
    pub checkpoint_every: Duration,
}

/// For whom a work is done.
#[derive(Debug, Clone)]
pub struct Target {
    /// Whose.
    pub tenant: Tenant,
    /// For which scenario.
    pub scenario_id: String,
    /// Of what is written: a number that grows with every run of this work for this
    /// scenario, such as the fencing token of its lock.
    pub version: u64,
    /// When the run began, in milliseconds since 1970: before it reads anything.
    pub began_ms: u64,
}

/// Why a work was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such scenario.
    #[error("there is no scenario `{0}`")]
    NoScenario(String),
    /// Another run that began later has written its result already.
    #[error("a later run has written its result already")]
    Superseded,
    /// A limit was crossed, or nothing can be learned from the data.
    #[error("{0}")]
    Data(String),
    /// It was told to stop.
    #[error("it was told to stop")]
    Cancelled,
}

impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Stale { .. } => Self::Superseded,
            error => Self::Store(error.into()),
        }
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Store(error) => Self::Store(error),
            error => Self::Data(error.to_string()),
        }
    }
}

impl From<funnelweb_algorithms::Error> for Error {
    fn from(error: funnelweb_algorithms::Error) -> Self {
        match error {
            funnelweb_algorithms::Error::Stopped => Self::Cancelled,
            error => Self::Data(error.to_string()),
        }
    }
}

impl From<format::Error> for Error {
    fn from(error: format::Error) -> Self {
        Self::Data(format!("the result cannot be written: {error}"))
    }
}

/// The one part of a scenario that is read here: all of its config, or a part of it.
#[derive(Deserialize)]
struct Document<C> {
    config: C,
}

#[derive(Deserialize)]
struct OfBehaviors {
    #[serde(default)]
    behaviors: Behaviors,
}

impl Context {
    /// What behaviours mean in the scenario.
    pub(crate) async fn behaviors(&self, target: &Target) -> Result<Behaviors, Error> {
        // A scenario is checked when it is written.
        let read = serde_json::from_str::<Document<OfBehaviors>>(&self.scenario(target).await?);
        Ok(read.map_or_else(|_| Behaviors::default(), |document| document.config.behaviors))
    }

    /// The scenario's config.
    pub(crate) async fn config(&self, target: &Target) -> Result<Config, Error> {
        let read = serde_json::from_str::<Document<Config>>(&self.scenario(target).await?);
        let read = read.map_err(|error| Error::Data(format!("the stored scenario does not read: {error}")))?;
        Ok(read.config)
    }

    async fn scenario(&self, target: &Target) -> Result<String, Error> {
        let id = &target.scenario_id;
        let found = self.documents.get(&target.tenant, Collection::Scenarios, Key::new(id, id)).await?;
        Ok(found.ok_or_else(|| Error::NoScenario(id.clone()))?.body)
    }
}

/// What is said when there is nothing to learn from.
pub(crate) fn note(interactions: usize) -> Option<&'static str> {
    (interactions == 0).then_some("there are no behaviours to learn from")
}

/// Runs what takes long on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Data(format!("the work was abandoned: {error}")))?
}
