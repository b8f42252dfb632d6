//! The trait.

use std::time::Duration;

use async_trait::async_trait;
pub use bytes::Bytes;
pub use funnelweb_tenant_store::{Error as StoreError, Tenant};

/// Why a blob was not written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The call is wrong, or the store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A version that is not above the latest one cannot be written.
    #[error("{name}: version {version} is not above {latest}, the latest one")]
    Stale {
        /// The blob.
        name: String,
        /// What was to be written.
        version: u64,
        /// What is there.
        latest: u64,
    },
    /// What is stored is not what was written; reading it again does not help.
    #[error("{name}, version {version}, is damaged: {reason}")]
    Damaged {
        /// The blob.
        name: String,
        /// Its version.
        version: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error,
            Error::Stale { .. } => Self::Invalid(error.to_string()),
            Error::Damaged { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

/// One version of a blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    /// Segments of the alphabet of ids, joined by `/`.
    pub name: String,
    /// Above 0.
    pub version: u64,
    /// How long it is.
    pub bytes: u64,
}

/// The blobs of one deployment, for every tenant. Versions of a name are whole and
/// durable when they can be seen, and grow; arguments must obey [`crate::check`].
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Writes a version of `name`, which must be above all that are there: a runner
    /// whose place was taken cannot write over what its successor has written.
    ///
    /// # Errors
    /// [`Error::Stale`].
    async fn put(&self, tenant: &Tenant, name: &str, version: u64, bytes: Bytes) -> Result<(), Error>;

    /// The highest version of `name`.
    async fn latest(&self, tenant: &Tenant, name: &str) -> Result<Option<u64>, Error>;

    /// The bytes of a version; none when it is not there.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    async fn get(&self, tenant: &Tenant, name: &str, version: u64) -> Result<Option<Bytes>, Error>;

    /// All versions of `prefix` and of the names below it, by name and version;
    /// those of every name for an empty one.
    async fn list(&self, tenant: &Tenant, prefix: &str) -> Result<Vec<Blob>, Error>;

    /// Whether the version was there.
    async fn delete(&self, tenant: &Tenant, name: &str, version: u64) -> Result<bool, Error>;

    /// Deletes what [`list`](Blobs::list) lists.
    async fn delete_prefix(&self, tenant: &Tenant, prefix: &str) -> Result<(), Error>;

    /// Makes a version as young as one that is written now; whether it was there.
    async fn touch(&self, tenant: &Tenant, name: &str, version: u64) -> Result<bool, Error>;

    /// Deletes what [`list`](Blobs::list) lists and what has been neither written nor
    /// touched for as long as `unused`; whether nothing is left. One that is touched
    /// meanwhile stays.
    async fn delete_unused(&self, tenant: &Tenant, prefix: &str, unused: Duration) -> Result<bool, Error>;

    /// For how long what was written or touched may be of use to another process, which has
    /// not said yet what for: nothing where there is no other.
    fn on_the_way(&self) -> Duration;
}
