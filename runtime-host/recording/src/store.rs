//! What keeps recordings.

use async_trait::async_trait;
pub use funnelweb_tenant_store::{Error, Tenant};

use crate::{Head, Recording};

/// The recordings of one deployment.
#[async_trait]
pub trait Recordings: Send + Sync + 'static {
    /// Keeps recordings, the oldest first. Of a tenant's the newest
    /// [`funnelweb_core::limits::RECORDINGS`] are kept, each until it expires. On an error
    /// some of these may be kept.
    async fn append(&self, tenant: &Tenant, recordings: Vec<Packed>) -> Result<(), Error>;

    /// The last of this request.
    async fn get(&self, tenant: &Tenant, request_id: &str) -> Result<Option<Recording>, Error>;

    /// What is kept of a scenario, or of all, the newest first: 1 to
    /// [`funnelweb_core::limits::PAGE_DOCUMENTS`] of them, from behind `before` (the last
    /// page's `next`; none for the first).
    async fn list(
        &self,
        tenant: &Tenant,
        scenario_id: Option<&str>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page, Error>;

    /// Has nothing come of what was kept here of a user who was deleted.
    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error>;

    /// The same of a scenario.
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error>;

    /// Deletes what has expired, also of tenants who are asked nothing any more.
    async fn sweep(&self) -> Result<(), Error>;
}

/// A recording to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// What can be seen of it without reading it.
    pub head: Head,
    /// It, as [`crate::encode`] made it.
    pub bytes: Vec<u8>,
}

/// Some of what is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The newest first.
    pub heads: Vec<Head>,
    /// Where it goes on; none behind the last.
    pub next: Option<u64>,
}
