//! What aggregates, and how it is asked.

use async_trait::async_trait;
pub use funnelweb_bindings::stages::aggregate::{
    Aggregated, Batch, Change, Count, Declaration, Event, Field, Heat, Message, Metric, Output, Signal, Span, Taste,
    Topic, Window,
};
use funnelweb_core::{limits, time};
use funnelweb_factor_events::{effects::Details, store::StoredEvent};

/// Aggregates events. Pure: it answers the same whenever it is asked the same.
#[async_trait]
pub trait Operator: Send + Sync + 'static {
    /// As its component is called.
    fn name(&self) -> &str;

    /// Which events go together.
    fn declaration(&self) -> &Declaration;

    /// The offset of the first event that it is to take.
    fn begins(&self) -> u64 {
        0
    }

    /// How many events it is given in a step.
    fn step_events(&self) -> u32 {
        limits::STREAM_EVENTS
    }

    /// How many calls of a step may fail; what fails then is passed over together.
    fn failures(&self) -> usize {
        limits::STREAM_FAILURES
    }

    /// An accumulator of each batch's events alone, in order.
    async fn aggregate(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure>;

    /// One accumulator of each list.
    async fn merge(&self, parts: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure>;

    /// What each of these adds.
    async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure>;

    /// What each window says.
    async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure>;
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The operator fails with what it was given, or breaks the contract.
    #[error("{0}")]
    Guest(String),
    /// It gave no answer in time: because of what it was given, or because the host has
    /// too much to do.
    #[error("{0}")]
    Late(String),
    /// It could not be asked: nothing that it was to be given is to blame.
    #[error("{0}")]
    Host(String),
}

impl Failure {
    /// What the operator says, or does, cut to a length that can be kept.
    pub fn guest(reason: impl Into<String>) -> Self {
        Self::Guest(funnelweb_engine::bounded(reason.into()))
    }
}

/// An event of the log as operators see it. What its body does not say, or says in
/// another type, is not there.
#[must_use]
pub fn event(stored: &StoredEvent) -> Event {
    let event = &stored.event;
    let Details { group, completion_rate, watch_duration, .. } = Details::of(&event.body);
    let signal = event.signal.clone().map(|signal| Signal {
        weight: signal.weight,
        hot_half_life_s: signal.hot_half_life_s,
        profile_half_life_s: signal.profile_half_life_s,
        known: signal.known,
        preferences: signal.preferences,
    });
    Event {
        event_id: event.event_id.clone(),
        scenario_id: event.scenario_id.clone(),
        user_id: event.user_id.clone(),
        item_id: event.item_id.clone(),
        action_type: event.action_type.clone(),
        timestamp_ms: event.timestamp_ms,
        group,
        completion_rate,
        watch_duration,
        signal,
    }
}

/// The key of an event.
#[must_use]
pub fn key(fields: &[Field], event: &Event) -> Vec<String> {
    let part = |field: &Field| match field {
        Field::Scenario => &event.scenario_id,
        Field::User => &event.user_id,
        Field::Item => &event.item_id,
        Field::Group => &event.group,
    };
    fields.iter().map(|field| part(field).clone()).collect()
}

/// A span for people to read.
#[must_use]
pub fn show(span: Span) -> String {
    format!("{} to {}", time::format_ms(span.from_ms), time::format_ms(span.to_ms))
}
