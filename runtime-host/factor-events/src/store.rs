//! The trait of the `events` capability, in plain types that mirror
//! `wit/capabilities/events.wit` one to one.

use async_trait::async_trait;
use bincode::{Decode, Encode};
pub use funnelweb_factor_documents::profile::ProfileEffect;
pub use funnelweb_tenant_store::{Error, Tenant};

/// One behaviour: a user did something with an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Unique within the tenant; a second event with the same id changes nothing.
    pub event_id: String,
    /// Where it happened.
    pub scenario_id: String,
    /// Who acted.
    pub user_id: String,
    /// On what.
    pub item_id: String,
    /// `click`, `like`, …
    pub action_type: String,
    /// Milliseconds since 1970.
    pub timestamp_ms: u64,
    /// The event as the collection `interactions` holds it, a JSON object.
    pub body: String,
}

/// A change that an event causes, in the same transaction and only when the
/// event is new.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Effect {
    /// See [`HotEffect`].
    Hot(HotEffect),
    /// See [`CountEffect`].
    Count(CountEffect),
    /// See [`ProfileEffect`].
    Profile(ProfileEffect),
}

/// Adds to the item's place in the hot list of the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub struct HotEffect {
    /// How much; may be negative.
    pub weight: f64,
    /// Time in which it halves, in seconds, at least 1.
    pub half_life_s: u32,
}

/// Adds to a counter of the item.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct CountEffect {
    /// `view_count`, `like_count`, …
    pub field: String,
    /// How much.
    pub amount: f64,
}

/// What became of one event of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is new and its effects are applied.
    Accepted,
    /// An event with this id was there; nothing changed.
    Duplicate,
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Grows along the tenant's log.
    pub offset: u64,
    /// The event.
    pub event: Event,
}

/// Whose or which item's events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryQuery {
    /// At least one of `user_id` and `item_id`.
    pub user_id: Option<String>,
    /// At least one of `user_id` and `item_id`.
    pub item_id: Option<String>,
    /// In this scenario only.
    pub scenario_id: Option<String>,
    /// Events below this offset; none for the newest.
    pub before: Option<u64>,
    /// 1 to [`funnelweb_core::limits::HISTORY_EVENTS`].
    pub limit: u32,
}

/// The behaviour logs of one deployment, one per tenant.
#[async_trait]
pub trait Events: Send + Sync + 'static {
    /// Appends events, each with its effects (`effects` is as long as
    /// `events`), all in one transaction; durable and visible when it returns.
    /// One outcome per event, in order.
    async fn append(
        &self,
        tenant: &Tenant,
        events: Vec<Event>,
        effects: Vec<Vec<Effect>>,
    ) -> Result<Vec<AppendOutcome>, Error>;

    /// Newest first.
    async fn history(&self, tenant: &Tenant, query: HistoryQuery) -> Result<Vec<StoredEvent>, Error>;

    /// The log from `offset` on, oldest first; at most `limit` (1 to 1000).
    async fn read(&self, tenant: &Tenant, offset: u64, limit: u32) -> Result<Vec<StoredEvent>, Error>;

    // --- for moving a tenant ---

    /// Has everything that events change be up to date with the log.
    ///
    /// `unavailable` while appends are on their way, or when their effects cannot
    /// be applied.
    async fn settle(&self, tenant: &Tenant) -> Result<(), Error>;

    /// Puts events as [`Events::read`] gave them behind the end of the log, with
    /// their offsets, which ascend, and without effects; one that is there at its
    /// offset already is passed over. Up to [`funnelweb_core::limits::EVENTS`].
    ///
    /// `invalid` when another event has the offset, or the event another offset.
    async fn restore(&self, tenant: &Tenant, events: Vec<StoredEvent>) -> Result<(), Error>;

    /// The last offset that was given, 0 for none; its event may be deleted.
    async fn last_offset(&self, tenant: &Tenant) -> Result<u64, Error>;

    /// Has no offset up to this one be given again.
    async fn raise_last_offset(&self, tenant: &Tenant, offset: u64) -> Result<(), Error>;
}
