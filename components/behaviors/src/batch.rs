//! Events on their way into the log, in one transaction.

use std::collections::HashMap;

use funnelweb_core::{
    behavior::{Facts, Weighing},
    error::ApiError,
    limits,
};
use funnelweb_guest::{
    documents::Key,
    events::{AppendOutcome, Event, Signal},
};

use crate::scenarios::Scenarios;

/// What behaviours need of the host.
pub(crate) trait Stores {
    /// The document of a scenario.
    fn scenario(&mut self, scenario_id: &str) -> Result<Option<String>, ApiError>;
    /// The documents of items, in order.
    fn items(&mut self, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError>;
    /// Appends events.
    fn append(&mut self, events: &[Event]) -> Result<Vec<AppendOutcome>, ApiError>;
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
    events: Vec<(Event, Weighing)>,
}

impl<S: Stores> Batch<S> {
    pub(crate) fn new(stores: S) -> Self {
        Self { stores, scenarios: Scenarios::default(), events: Vec::new() }
    }

    /// Adds an event, whose scenario must exist.
    pub(crate) fn add(&mut self, event: Event) -> Result<(), ApiError> {
        let behaviors = self.scenarios.get(&event.scenario_id, |id| self.stores.scenario(id))?;
        let weighing = Weighing::new(behaviors, &event.action_type);
        self.events.push((event, weighing));
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
        let signals = signals(&self.events, &mut self.stores)?;
        let events = self.events.drain(..).zip(signals).map(|((event, _), signal)| Event { signal, ..event });
        let events: Vec<Event> = events.collect();
        let mut counts = Counts::default();
        for outcome in self.stores.append(&events)? {
            match outcome {
                AppendOutcome::Accepted => counts.accepted += 1,
                AppendOutcome::Duplicate => counts.duplicates += 1,
            }
        }
        Ok(counts)
    }
}

fn signals(events: &[(Event, Weighing)], stores: &mut impl Stores) -> Result<Vec<Option<Signal>>, ApiError> {
    let facts = facts(events, stores)?;
    let one = |(event, weighing): &(Event, Weighing)| {
        let item = facts.get(&place(event)).and_then(Option::as_ref);
        signal(*weighing, item)
    };
    Ok(events.iter().map(one).collect())
}

/// What an event says; of an item that the catalogue does not have (yet) nothing about
/// its user. None for an action that weighs nothing (an impression).
fn signal(weighing: Weighing, item: Option<&Facts>) -> Option<Signal> {
    let Weighing { weight, hot_half_life_s, profile_half_life_s } = weighing;
    (weight != 0.0).then(|| Signal {
        weight,
        hot_half_life_s,
        profile_half_life_s,
        known: item.is_some(),
        preferences: item.map_or_else(Vec::new, |item| item.preferences(weight)),
    })
}

/// A scenario and an item in it.
type Place<'a> = (&'a str, &'a str);

fn place(event: &Event) -> Place<'_> {
    (&event.scenario_id, &event.item_id)
}

/// The items that something is learnt from, each once, from one call.
fn facts<'a>(
    events: &'a [(Event, Weighing)],
    stores: &mut impl Stores,
) -> Result<HashMap<Place<'a>, Option<Facts>>, ApiError> {
    let mut facts = HashMap::new();
    let mut places = Vec::new();
    for (event, _) in events.iter().filter(|(_, weighing)| weighing.weight != 0.0) {
        if facts.insert(place(event), None).is_none() {
            places.push(place(event));
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

#[cfg(test)]
mod tests {
    use funnelweb_core::scenario::Behaviors;

    use super::*;

    fn of(action: &str, item: Option<&str>) -> Option<Signal> {
        signal(Weighing::new(&Behaviors::default(), action), item.map(Facts::of).as_ref())
    }

    #[test]
    fn a_liking_says_what_is_liked_and_a_dislike_the_contrary() {
        let item = r#"{"item_id":"i","metadata":{"category":"c","tags":["a",""],"n":1},"status":"active"}"#;
        let like = of("like", Some(item)).unwrap();
        assert_eq!((like.weight, like.hot_half_life_s, like.profile_half_life_s), (3.0, 86_400, 1_209_600));
        let preference = |field: &str, value: &str, amount| (field.to_owned(), value.to_owned(), amount);
        // A value that no profile takes is passed over.
        assert_eq!(like.preferences, [preference("category", "c", 3.0), preference("tags", "a", 1.5)]);
        assert_eq!(of("dislike", Some(item)).unwrap().preferences.first(), Some(&preference("category", "c", -4.0)));
    }

    #[test]
    fn impressions_say_nothing_and_what_is_not_there_teaches_nothing() {
        assert!(of("impression", Some("{}")).is_none() && of("hum", None).is_none());
        let play = of("play", None).unwrap();
        assert!(!play.known && play.preferences.is_empty());
        assert!(of("play", Some("{}")).unwrap().known);
    }
}
