//! What keeps slates.

use async_trait::async_trait;
pub use funnelweb_tenant_store::{Error, Tenant};

use crate::Slate;

/// The slates of one deployment.
#[async_trait]
pub trait ExposureLog: Send + Sync + 'static {
    /// Notes a slate. It is written down in the background, within a second or so: a
    /// crash may lose those of the last moments, and so does a store that cannot keep up.
    fn append(&self, tenant: &Tenant, slate: Slate);

    /// A scenario's slates in the order in which they were written down, from behind
    /// `after` (the last page's `next`; none for the first).
    async fn read(&self, tenant: &Tenant, scenario_id: &str, after: Option<u64>, limit: u32) -> Result<Page, Error>;

    /// Has what was noted before be written down.
    async fn settle(&self) -> Result<(), Error>;
}

/// Some slates.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// In the order in which they were written down.
    pub slates: Vec<Slate>,
    /// Where it goes on; none behind the last.
    pub next: Option<u64>,
}
