//! The WIT interface `events` over the trait: conversions, and the tenant,
//! which no call names.

use std::sync::Arc;

use funnelweb_bindings::capabilities::{
    errors,
    events::{self as wit, Host},
};
use funnelweb_tenant_store::host::bound;
use wasmtime::component::{HasData, Linker};

use crate::{
    effects,
    store::{AppendOutcome, Event, Events, HistoryQuery, Signal, StoredEvent, Tenant},
};

/// What one instance may do: the behaviour log of one tenant, or of none.
#[derive(Clone)]
pub struct EventsCtx {
    store: Arc<dyn Events>,
    tenant: Option<Tenant>,
}

impl EventsCtx {
    /// Without a tenant every call is denied.
    #[must_use]
    pub fn new(store: Arc<dyn Events>, tenant: Option<Tenant>) -> Self {
        Self { store, tenant }
    }

    fn tenant(&self) -> Result<&Tenant, errors::Error> {
        bound(self.tenant.as_ref())
    }
}

struct HasEvents;

impl HasData for HasEvents {
    type Data<'a> = &'a mut EventsCtx;
}

/// Offers `funnelweb:capabilities/events` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut EventsCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasEvents>(linker, ctx)
}

impl Host for EventsCtx {
    async fn append(&mut self, events: Vec<wit::Event>) -> Result<Vec<wit::AppendOutcome>, errors::Error> {
        let events: Vec<Event> = events.into_iter().map(Into::into).collect();
        let effects = events.iter().map(effects::at_once).collect();
        let outcomes = self.store.append(self.tenant()?, events, effects).await?;
        Ok(outcomes
            .into_iter()
            .map(|outcome| match outcome {
                AppendOutcome::Accepted => wit::AppendOutcome::Accepted,
                AppendOutcome::Duplicate => wit::AppendOutcome::Duplicate,
            })
            .collect())
    }

    async fn history(&mut self, query: wit::HistoryQuery) -> Result<Vec<wit::StoredEvent>, errors::Error> {
        let query = HistoryQuery {
            user_id: query.user_id,
            item_id: query.item_id,
            scenario_id: query.scenario_id,
            before: query.before,
            limit: query.limit,
        };
        let found = self.store.history(self.tenant()?, query).await?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    async fn read(&mut self, offset: u64, limit: u32) -> Result<Vec<wit::StoredEvent>, errors::Error> {
        let found = self.store.read(self.tenant()?, offset, limit).await?;
        Ok(found.into_iter().map(Into::into).collect())
    }
}

impl From<wit::Event> for Event {
    fn from(event: wit::Event) -> Self {
        Self {
            event_id: event.event_id,
            scenario_id: event.scenario_id,
            user_id: event.user_id,
            item_id: event.item_id,
            action_type: event.action_type,
            timestamp_ms: event.timestamp_ms,
            body: event.body,
            signal: event.signal.map(Into::into),
        }
    }
}

impl From<wit::Signal> for Signal {
    fn from(signal: wit::Signal) -> Self {
        let wit::Signal { weight, hot_half_life_s, profile_half_life_s, known, preferences } = signal;
        Self { weight, hot_half_life_s, profile_half_life_s, known, preferences }
    }
}

impl From<Signal> for wit::Signal {
    fn from(signal: Signal) -> Self {
        let Signal { weight, hot_half_life_s, profile_half_life_s, known, preferences } = signal;
        Self { weight, hot_half_life_s, profile_half_life_s, known, preferences }
    }
}

impl From<StoredEvent> for wit::StoredEvent {
    fn from(stored: StoredEvent) -> Self {
        let event = stored.event;
        Self {
            offset: stored.offset,
            event: wit::Event {
                event_id: event.event_id,
                scenario_id: event.scenario_id,
                user_id: event.user_id,
                item_id: event.item_id,
                action_type: event.action_type,
                timestamp_ms: event.timestamp_ms,
                body: event.body,
                signal: event.signal.map(Into::into),
            },
        }
    }
}
