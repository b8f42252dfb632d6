//! What keeps slates.

use async_trait::async_trait;
pub use funnelweb_tenant_store::{Error, Tenant};

use crate::Slate;

/// The slates of one deployment.
#[async_trait]
pub trait ExposureLog: Send + Sync + 'static {
    /// Notes a slate. It is written down in the background, soon: a crash may lose those
    /// of the last moments.
    ///
    /// `unavailable` when too many wait already, or the store cannot be asked.
    async fn append(&self, tenant: &Tenant, slate: Slate) -> Result<(), Error>;

    /// A scenario's slates in the order in which they were written down, 1 to
    /// [`funnelweb_core::limits::LOGGED_SLATES`] of them, from behind `after` (the last
    /// page's `next`; none for the first).
    async fn read(&self, tenant: &Tenant, scenario_id: &str, after: Option<u64>, limit: u32) -> Result<Page, Error>;

    /// Has what was noted before be written down.
    async fn settle(&self, tenant: &Tenant) -> Result<(), Error>;

    /// A position behind all slates that any process has noted before, when they are written down:
    /// nothing is written there or before it any more, so that whoever has read this far goes on
    /// behind it and misses none. Where other processes write too, it waits for them, some seconds.
    async fn end(&self, tenant: &Tenant) -> Result<u64, Error>;

    /// Has nothing come of what was noted here of a user who was deleted. What another
    /// process has noted is written down all the same, if it was not yet.
    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error>;

    /// The same of a scenario.
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error>;

    /// Deletes what is kept no more, also of tenants who are shown nothing any more.
    async fn sweep(&self) -> Result<(), Error>;
}

/// Some slates.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// In the order in which they were written down.
    pub slates: Vec<Slate>,
    /// Where each of them stands: to be read `after` the one before.
    pub positions: Vec<u64>,
    /// Where it goes on; none behind the last.
    pub next: Option<u64>,
}
