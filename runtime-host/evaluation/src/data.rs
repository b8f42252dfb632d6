//! What users did, with numbers in place of names.

use std::{collections::HashMap, sync::Arc};

/// One behaviour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// By [`Data::users`].
    pub user: u32,
    /// By [`Data::items`].
    pub item: u32,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What the action weighs. Above 0 it is a liking, which can be asked for; below
    /// a dislike; an action of weight 0 (an impression) says nothing.
    pub gain: f32,
}

impl Event {
    /// Whether it can be asked for.
    #[must_use]
    pub fn is_liking(&self) -> bool {
        self.gain > 0.0
    }

    /// Whether the user knows the item by it.
    #[must_use]
    pub fn is_contact(&self) -> bool {
        self.gain != 0.0
    }
}

/// Ids and their numbers, counted from 0 in the order they were met.
#[derive(Debug, Clone, Default)]
pub struct Names {
    ids: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Names {
    /// The number of an id, a new one when it is met for the first time.
    pub fn number(&mut self, id: &str) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let (id, number) = (Arc::<str>::from(id), self.len());
        self.ids.push(Arc::clone(&id));
        self.numbers.insert(id, number);
        number
    }

    /// The number of an id that was met.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    /// The id of a number; empty for one that was not given.
    #[must_use]
    pub fn id(&self, number: u32) -> &str {
        self.ids.get(number as usize).map_or("", |id| id)
    }

    /// How many there are; beyond `u32::MAX` none is counted.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Users, a catalogue, and what those did with these.
#[derive(Debug, Clone, Default)]
pub struct Data {
    /// Who.
    pub users: Names,
    /// With what: all that could be recommended, used or not.
    pub items: Names,
    /// In any order; of events at one time, the first happened first.
    pub events: Vec<Event>,
}

impl Data {
    /// Adds an event.
    pub fn push(&mut self, user_id: &str, item_id: &str, at_ms: u64, gain: f32) {
        let (user, item) = (self.users.number(user_id), self.items.number(item_id));
        self.events.push(Event { user, item, at_ms, gain });
    }
}
