//! Why a model is not taken, activated, or deleted, in its author's terms.

use funnelweb_tenant_store::Error as StoreError;

/// The rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The scenario is not there.
    #[error("no scenario `{0}`")]
    NoScenario(String),
    /// No version of that name.
    #[error("no model `{0}`")]
    NoModel(String),
    /// No version of that name and version.
    #[error("no version `{version}` of the model `{name}`")]
    NoVersion {
        /// The model.
        name: String,
        /// The version.
        version: String,
    },
    /// A version is never changed.
    #[error("version `{version}` of `{name}` is there already, with other content")]
    Exists {
        /// The model.
        name: String,
        /// The version.
        version: String,
    },
    /// It is needed.
    #[error("{0}")]
    InUse(String),
    /// There are as many as there may be.
    #[error("{0}")]
    TooMany(String),
    /// The model breaks a rule; `field` is where.
    #[error("{message}")]
    Invalid {
        /// `manifest.inputs[0].tensor`, `onnx`, …
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Refusal {
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }
}
