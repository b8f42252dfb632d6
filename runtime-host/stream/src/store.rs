//! Where a stream engine keeps what it needs to go on: the trait, and what a step
//! leaves behind.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use async_trait::async_trait;
pub use funnelweb_tenant_store::{Error, Tenant};

use funnelweb_factor_events::store::{Change, Position};

use crate::operator::Message;

/// A pane of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pane {
    /// In the order of the operator's declaration.
    pub key: Vec<String>,
    /// Where it begins, in milliseconds since 1970.
    pub from_ms: u64,
}

/// A key with its panes in order: where each begins, and its accumulator.
pub type Panes = (Vec<String>, Vec<(u64, Vec<u8>)>);

/// How far an operator has come with a tenant's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The offset of the next event; those below it were taken.
    pub next: u64,
    /// The newest time of an event, in milliseconds since 1970, not after it was read.
    pub newest_ms: u64,
    /// Windows that end up to then have said what they have to say.
    pub fired_ms: u64,
    /// Which windows are at it, and the key that was last.
    pub firing: Option<(u64, Vec<String>)>,
    /// Another one after each deletion of something of the tenant, and, where several
    /// processes may make steps, after each of them: what a step has read before is not
    /// written after.
    pub fence: u64,
}

/// A window of a key, by its end.
pub type Window = (Vec<String>, u64);

/// A counter of a tenant: its name, and names and values of its labels, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series {
    /// Without `funnelweb_`.
    pub name: String,
    /// By name.
    pub labels: Vec<(String, String)>,
}

/// An event that an operator cannot take, or a window that it cannot sum up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Of the event; 0 for a window.
    pub offset: u64,
    /// The event's, or none.
    pub scenario_id: String,
    /// The event's, or none.
    pub user_id: String,
    /// Why.
    pub reason: String,
    /// The event's id, or which window of which key.
    pub about: String,
}

/// What a step changes, all of it or nothing.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Afterwards.
    pub progress: Progress,
    /// Panes, with their accumulators.
    pub put: Vec<(Pane, Vec<u8>)>,
    /// Panes that begin before are no longer needed.
    pub drop_before_ms: u64,
    /// Windows that have to speak again.
    pub due: Vec<Window>,
    /// Windows that did.
    pub spoke: Vec<Window>,
    /// What counters get.
    pub counts: Vec<(Series, f64)>,
    /// What is changed of hot lists, items' counters and profiles.
    pub changes: Vec<Change>,
    /// What is published.
    pub messages: Vec<Message>,
    /// What was passed over.
    pub dead: Vec<DeadLetter>,
}

/// The counters of a tenant.
pub type Counters = BTreeMap<Series, f64>;

/// A message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Grows along the topic.
    pub offset: u64,
    /// Messages of the same key stay in their order.
    pub key: String,
    /// A JSON object.
    pub body: String,
}

/// The state of operators, of each tenant apart.
#[async_trait]
pub trait StreamStore: Send + Sync + 'static {
    /// How far an operator has come.
    async fn progress(&self, tenant: &Tenant, operator: &str) -> Result<Progress, Error>;

    /// The accumulators of panes, in order; none for one that is not there.
    async fn accumulators(
        &self,
        tenant: &Tenant,
        operator: &str,
        panes: Vec<Pane>,
    ) -> Result<Vec<Option<Vec<u8>>>, Error>;

    /// Where the first pane begins that does so at `from_ms` or later.
    async fn first_pane(&self, tenant: &Tenant, operator: &str, from_ms: u64) -> Result<Option<u64>, Error>;

    /// The panes that begin in `range`, of the keys after `after`, key by key in an order
    /// that never changes; and whether there are more keys. Up to
    /// [`limits::STREAM_KEYS`](funnelweb_core::limits::STREAM_KEYS) keys, and fewer when
    /// they are larger than
    /// [`limits::STREAM_WINDOWS_BYTES`](funnelweb_core::limits::STREAM_WINDOWS_BYTES), at
    /// least one.
    async fn panes(
        &self,
        tenant: &Tenant,
        operator: &str,
        range: Range<u64>,
        after: Option<Vec<String>>,
    ) -> Result<(Vec<Panes>, bool), Error>;

    /// Windows that have to speak again, each with its panes, whose size is `size_ms`; as
    /// many as of [`Self::panes`].
    async fn due(&self, tenant: &Tenant, operator: &str, size_ms: u64) -> Result<Vec<(Window, Panes)>, Error>;

    /// Makes the changes of a step that begins at `before`; false, and nothing is
    /// changed, when the operator has come to elsewhere meanwhile.
    async fn commit(&self, tenant: &Tenant, operator: &str, before: Progress, step: Step) -> Result<bool, Error>;

    /// How far all operators have come.
    async fn positions(&self, tenant: &Tenant) -> Result<Vec<Position>, Error>;

    /// Has operators go on from there: those that are named, or else all of them, from
    /// the offset `next`. Not while they follow.
    async fn set_positions(&self, tenant: &Tenant, to: Result<Vec<Position>, u64>) -> Result<(), Error>;

    /// Messages of a topic from `offset` on.
    async fn published(&self, tenant: &Tenant, topic: &str, offset: u64, limit: u32) -> Result<Vec<Published>, Error>;

    /// What was passed over, newest first.
    async fn dead_letters(&self, tenant: &Tenant, limit: u32) -> Result<Vec<(String, DeadLetter)>, Error>;

    /// All counters of all tenants; those of one whose file cannot be read are left out.
    async fn counters(&self) -> Result<Vec<(Tenant, Arc<Counters>)>, Error>;

    /// The tenants that may have a log.
    async fn tenants(&self) -> Result<Vec<Tenant>, Error>;

    // --- where several processes share it ---

    /// Whether other processes follow the same logs, and have them grow.
    fn is_shared(&self) -> bool {
        false
    }

    /// Has this process be the one that follows the tenant's log, for some seconds; false
    /// while another one is.
    async fn lead(&self, tenant: &Tenant) -> Result<bool, Error> {
        let _ = tenant;
        Ok(true)
    }

    /// Lets others follow it, and one of them must at `wake_ms`, in milliseconds since
    /// 1970, if the log has not grown before.
    async fn leave(&self, tenant: &Tenant, wake_ms: Option<u64>) -> Result<(), Error> {
        let _ = (tenant, wake_ms);
        Ok(())
    }

    /// The tenants whose logs nobody follows though somebody must.
    async fn abandoned(&self) -> Result<Vec<Tenant>, Error> {
        Ok(Vec::new())
    }
}
