//! Why something is not done.

use funnelweb_admission::Refused;
use funnelweb_tenant_store::Error as StoreError;

/// Why something is not done with a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no scenario of that id.
    #[error("no scenario `{0}`")]
    NoScenario(String),
    /// There is no component of that name.
    #[error("no component `{0}`")]
    NoComponent(String),
    /// There is no such version of it.
    #[error("no version `{version}` of the component `{name}`")]
    NoVersion {
        /// Of the component.
        name: String,
        /// Which.
        version: String,
    },
    /// A version of that name and version with other content is there.
    #[error(
        "version `{version}` of `{name}` is there with other content; a version is never changed: give this one another"
    )]
    Exists {
        /// Of the component.
        name: String,
        /// Which.
        version: String,
    },
    /// It is at work, or nothing is there to go back to.
    #[error("{0}")]
    InUse(String),
    /// The tenant has as many as it may have.
    #[error("{0}")]
    TooMany(String),
    /// Others are at work.
    #[error("{0}")]
    Busy(String),
    /// The upload breaks a rule.
    #[error(transparent)]
    NotAdmitted(#[from] Refused),
    /// It has no certificate that it passed.
    #[error("{0}")]
    NotCertified(String),
    /// Only an operator may do this.
    #[error("{0}")]
    NotPermitted(String),
    /// An argument is wrong.
    #[error("{field}: {message}")]
    Invalid {
        /// Which.
        field: String,
        /// What is wrong.
        message: String,
    },
}

impl Refusal {
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    pub(crate) fn no_version(name: &str, version: &str) -> Self {
        Self::NoVersion { name: name.to_owned(), version: version.to_owned() }
    }
}
