//! Events on their way into the log, in one transaction.

use std::collections::HashMap;

use funnelweb_core::{
    behavior::{Facts, Weighing},
    error::ApiError,
    limits,
};
use funnelweb_guest::{
    documents::Key,
    events::{AppendOutcome, Effect, Event},
};

use crate::{effects, event::Read, scenarios::Scenarios};

/// What behaviours need of the host.
pub(crate) trait Stores {
    /// The document of a scenario.
    fn scenario(&mut self, scenario_id: &str) -> Result<Option<String>, ApiError>;
    /// The documents of items, in order.
    fn items(&mut self, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError>;
    /// Appends events with their effects.
    fn append(&mut self, events: &[Event], effects: &[Vec<Effect>]) -> Result<Vec<AppendOutcome>, ApiError>;
}

/// What became of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) duplicates: u64,
}

/// Up to [`limits::EVENTS`] events that go together.
pub(crate) struct Batch<S> {
    stores: S,
    scenarios: Scenarios,
    events: Vec<(Read, Weighing)>,
}

impl<S: Stores> Batch<S> {
    pub(crate) fn new(stores: S) -> Self {
        Self { stores, scenarios: Scenarios::default(), events: Vec::new() }
    }

    /// Adds an event, whose scenario must exist.
    pub(crate) fn add(&mut self, read: Read) -> Result<(), ApiError> {
        let behaviors = self.scenarios.get(&read.event.scenario_id, |id| self.stores.scenario(id))?;
        let weighing = Weighing::new(behaviors, &read.event.action_type);
        self.events.push((read, weighing));
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.events.len() >= limits::EVENTS
    }

    /// Writes the events; they are durable when this returns.
    pub(crate) fn flush(&mut self) -> Result<Counts, ApiError> {
        if self.events.is_empty() {
            return Ok(Counts::default());
        }
        let effects = effects(&self.events, &mut self.stores)?;
        let events: Vec<Event> = self.events.drain(..).map(|(read, _)| read.event).collect();
        let mut counts = Counts::default();
        for outcome in self.stores.append(&events, &effects)? {
            match outcome {
                AppendOutcome::Accepted => counts.accepted += 1,
                AppendOutcome::Duplicate => counts.duplicates += 1,
            }
        }
        Ok(counts)
    }
}

fn effects(events: &[(Read, Weighing)], stores: &mut impl Stores) -> Result<Vec<Vec<Effect>>, ApiError> {
    let facts = facts(events, stores)?;
    Ok(events
        .iter()
        .map(|(read, weighing)| effects::of(read, *weighing, facts.get(&place(read)).and_then(Option::as_ref)))
        .collect())
}

/// A scenario and an item in it.
type Place<'a> = (&'a str, &'a str);

fn place(read: &Read) -> Place<'_> {
    (&read.event.scenario_id, &read.event.item_id)
}

/// The items that something is learnt from, each once, from one call.
fn facts<'a>(
    events: &'a [(Read, Weighing)],
    stores: &mut impl Stores,
) -> Result<HashMap<Place<'a>, Option<Facts>>, ApiError> {
    let mut facts = HashMap::new();
    let mut places = Vec::new();
    for (read, _) in events.iter().filter(|(_, weighing)| weighing.weight != 0.0) {
        if facts.insert(place(read), None).is_none() {
            places.push(place(read));
        }
    }
    if places.is_empty() {
        return Ok(facts);
    }
    let keys: Vec<Key> = places
        .iter()
        .map(|(scenario_id, id)| Key { scenario_id: (*scenario_id).to_owned(), id: (*id).to_owned() })
        .collect();
    for (place, body) in places.into_iter().zip(stores.items(&keys)?) {
        facts.insert(place, body.as_deref().map(Facts::of));
    }
    Ok(facts)
}
