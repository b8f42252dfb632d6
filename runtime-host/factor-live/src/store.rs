//! The trait of the `live` capability, in plain types that mirror
//! `wit/capabilities/live.wit` one to one. Changes to hot lists and counters
//! come with the events that cause them (`events.append`).

use async_trait::async_trait;
pub use funnelweb_tenant_store::{Error, Tenant, Walk};

pub use crate::whole::{Counters, Exposed, Hot, Whole};

/// Two lists of the same length, best first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scored {
    /// Items.
    pub handles: Vec<u64>,
    /// Their scores.
    pub scores: Vec<f32>,
}

/// The live structures of one deployment, for every tenant. A change can be
/// read at once by every later call and is not waited for on the disk.
#[async_trait]
pub trait Live: Send + Sync + 'static {
    /// The hottest items of a scenario as of `now_ms`, `exclude`d ones passed
    /// over.
    async fn hot_top(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        limit: u32,
        exclude: Vec<u64>,
        now_ms: u64,
    ) -> Result<Scored, Error>;

    /// The scores of these items as of `now_ms`; 0 for one that is not there.
    async fn hot_scores(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        now_ms: u64,
    ) -> Result<Vec<f32>, Error>;

    /// Counts a place served for each of these items
    /// ([`funnelweb_core::counter::SERVED_PLACES`]), and remembers for `ttl_s` seconds
    /// that the user was shown them, if there is one.
    async fn expose(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        user_id: Option<String>,
        item_ids: Vec<String>,
        ttl_s: u32,
    ) -> Result<(), Error>;

    /// What the user was shown and has not expired.
    async fn exposed(&self, tenant: &Tenant, scenario_id: String, user_id: String) -> Result<Vec<u64>, Error>;

    /// Counters of items, row-major over `handles * fields`; 0 where never
    /// counted.
    async fn item_stats(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        fields: Vec<String>,
    ) -> Result<Vec<f64>, Error>;

    /// Writes down what is put off, as far as that can be done soon: for an orderly
    /// end of the process.
    async fn flush(&self);

    // --- for moving a tenant ---

    /// All live structures, those of a kind together. A structure is as one moment
    /// has it; what is of items whose ids the store does not know is left out.
    fn walk<'a>(&'a self, tenant: &'a Tenant) -> Walk<'a, Whole>;

    /// Puts structures in the places of those of the same names, as they were
    /// walked; exposures that have expired are left out. Repeating it changes
    /// nothing.
    async fn restore(&self, tenant: &Tenant, structures: Vec<Whole>) -> Result<(), Error>;
}

/// What an item of a hot list gets from an event.
#[derive(Debug, Clone, PartialEq)]
pub struct HotAdd {
    /// Of which list.
    pub scenario_id: String,
    /// The item.
    pub item_id: String,
    /// How much; finite, may be negative.
    pub weight: f64,
    /// Time in which it halves, in seconds, at least 1.
    pub half_life_s: u32,
    /// When the event happened, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What a counter of an item gets from an event.
#[derive(Debug, Clone, PartialEq)]
pub struct CountAdd {
    /// The item.
    pub item_id: String,
    /// `view_count`, `like_count`, …
    pub field: String,
    /// How much; finite.
    pub amount: f64,
}

/// The writing side of live structures that share no transaction with the event
/// log: the log calls it after events are durable, and again when it cannot
/// know whether a call arrived.
#[async_trait]
pub trait LiveEffects: Send + Sync + 'static {
    /// Applies the changes of one batch of events, all of them once: a batch
    /// that was applied before, here or by another process, changes nothing.
    async fn apply(&self, tenant: &Tenant, batch: u128, hot: Vec<HotAdd>, counts: Vec<CountAdd>) -> Result<(), Error>;

    /// Forgets what the user was shown in these scenarios.
    async fn forget_user(&self, tenant: &Tenant, user_id: &str, scenario_ids: Vec<String>) -> Result<(), Error>;

    /// Forgets the scenario's hot list and exposures, and the counters of these
    /// items; called page by page with what the scenario holds.
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str, item_ids: Vec<String>) -> Result<(), Error>;
}
