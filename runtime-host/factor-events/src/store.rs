//! The trait of the `events` capability, in plain types that mirror
//! `wit/capabilities/events.wit` one to one.

use std::time::Duration;

use async_trait::async_trait;
use bincode::{Decode, Encode};
pub use funnelweb_factor_documents::profile::ProfileEffect;
pub use funnelweb_tenant_store::{Error, Tenant};
use serde::{Deserialize, Serialize};

/// One behaviour: a user did something with an item.
#[derive(Debug, Clone, PartialEq)]
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
    /// None for an event that says nothing about anybody's taste.
    pub signal: Option<Signal>,
}

/// What an event says of its item and its user, as its scenario weighed it when it
/// came.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode, Serialize, Deserialize)]
pub struct Signal {
    /// Above 0 for a liking, below for the contrary, 0 for neither.
    pub weight: f32,
    /// After which it counts half in the item's heat, in seconds, at least 1.
    pub hot_half_life_s: u32,
    /// After which it counts half in the user's preferences, in seconds, at least 1.
    pub profile_half_life_s: u32,
    /// Whether the catalogue has the item.
    pub known: bool,
    /// Item field, value, and how much to add to the user's preference for it.
    #[serde(default)]
    pub preferences: Vec<(String, String, f32)>,
}

/// Of the encoding of [`Signal`]; another one is not read.
const FORMAT: u8 = 1;

impl Signal {
    /// As stores keep it.
    ///
    /// # Errors
    /// `invalid` when it cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![FORMAT];
        bincode::encode_into_std_write(self, &mut bytes, bincode::config::standard())
            .map_err(|error| Error::invalid("signal", error))?;
        Ok(bytes)
    }

    /// As it was kept; none of what another version of this program has written.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else { return None };
        bincode::decode_from_slice(rest, bincode::config::standard()).ok().map(|(signal, _)| signal)
    }
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

/// What an operator adds, made of many events.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Change {
    /// To an item's place in the hot list of a scenario.
    Heat {
        /// Whose list.
        scenario_id: String,
        /// The item.
        item_id: String,
        /// In seconds, at least 1.
        half_life_s: u32,
        /// How much, as of `at_ms`.
        weight: f64,
        /// Milliseconds since 1970.
        at_ms: u64,
    },
    /// To a counter of an item.
    Count {
        /// The item.
        item_id: String,
        /// The counter.
        field: String,
        /// How much.
        amount: f64,
    },
    /// To a user's profile in a scenario.
    Profile {
        /// Where.
        scenario_id: String,
        /// Whose.
        user_id: String,
        /// As of when the preferences are, and when the user was last active, in
        /// milliseconds since 1970.
        at_ms: u64,
        /// How it moves; no item joins the recent ones.
        effect: ProfileEffect,
    },
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
#[derive(Debug, Clone, PartialEq)]
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

/// How far an operator has come with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Its name.
    pub operator: String,
    /// The offset of the next event; those below it were taken.
    pub next: u64,
    /// The newest time of an event that was taken, in milliseconds since 1970.
    pub newest_ms: u64,
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

    /// Whether appends of offsets up to `until` may still be on their way, so that
    /// [`Events::read`] gives nothing from there on yet.
    async fn is_on_its_way(&self, tenant: &Tenant, until: u64) -> Result<bool, Error> {
        let _ = (tenant, until);
        Ok(false)
    }

    /// Whether events that were accepted so long ago have yet to be published to those who
    /// follow them elsewhere.
    async fn is_unpublished(&self, tenant: &Tenant, since: Duration) -> Result<bool, Error> {
        let _ = (tenant, since);
        Ok(false)
    }

    /// Deletes some of the oldest events: those that begin the log, up to the first that is
    /// not older than `before_ms` or has an offset of `below` or more. How many; 0 when there
    /// is nothing to delete, or it is not ours to do.
    async fn expire(&self, tenant: &Tenant, before_ms: u64, below: u64) -> Result<u64, Error> {
        let _ = (tenant, before_ms, below);
        Ok(0)
    }

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

    /// How far those have come that follow the log; none when nobody does, and events
    /// change everything as they are appended.
    async fn positions(&self, tenant: &Tenant) -> Result<Option<Vec<Position>>, Error> {
        let _ = tenant;
        Ok(None)
    }

    /// Has those that follow the log go on from there; with none, behind its end.
    ///
    /// `unavailable` when nobody follows it and something of it was not taken.
    async fn restore_positions(&self, tenant: &Tenant, positions: Option<Vec<Position>>) -> Result<(), Error> {
        for Position { operator, next, .. } in positions.unwrap_or_default() {
            if !self.read(tenant, next, 1).await?.is_empty() {
                let rule = "has not taken the end of the log, and nobody would: serve the tenant where it was first";
                return Err(Error::Unavailable(format!("operator `{operator}` {rule}")));
            }
        }
        Ok(())
    }

    /// Has no offset up to this one be given again.
    async fn raise_last_offset(&self, tenant: &Tenant, offset: u64) -> Result<(), Error>;
}
