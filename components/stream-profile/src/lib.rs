//! What users do and like, in five minutes each: their profile in the scenario, and the
//! topic `user-profile-updates`.
//!
//! Profiles change with every step of the log, not only at the ends of windows. An action
//! on an item of the catalogue moves the preferences for its category and tags by the
//! action's weight, which halves every half-life of the scenario, and counts in the
//! profile's `features`: `total_<action>_count`, `total_watch_count`, and
//! `active_hour_<00 to 23>`, the hours of the day (UTC) at which the user is there. At the
//! end of five minutes, what happened in them is published; `preferences` are as of the
//! end and of these five minutes alone.

use std::{borrow::Cow, collections::BTreeMap};

use bincode::{BorrowDecode, Encode};
use funnelweb_core::{behavior, decay, tally::Tally, time};
use funnelweb_guest::aggregate::{
    Aggregated, Batch, Change, Declaration, Event, Field, Guest, Message, Output, Signal, Taste, Topic, Window,
};
use serde_json::{Map, Value, json};

/// The component.
pub struct Operator;

const MINUTE_MS: u64 = 60_000;
const WINDOW: Window = Window { size_ms: 5 * MINUTE_MS, slide_ms: 5 * MINUTE_MS };
/// A client that was offline sends what happened meanwhile.
const LATENESS_MS: u64 = 5 * MINUTE_MS;
/// Bytes of the names of preferences that are learnt at once. Nothing is learnt of others:
/// who sees more within moments is a program.
const PREFERENCE_BYTES: usize = 10 * 1024;
/// Preferences that are published, the strongest.
const PUBLISHED: usize = 20;

/// What a user did.
#[derive(Debug, Clone, Default, PartialEq, Encode, BorrowDecode)]
struct Doings<'a> {
    actions: Tally,
    learnt: Option<Learnt<'a>>,
}

/// What the profile gets.
#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
struct Learnt<'a> {
    /// By item field and value, as of a time.
    preferences: BTreeMap<Preference<'a>, f64>,
    as_of_ms: u64,
    /// In seconds; the first that an event came with: the scenario's may change.
    half_life_s: u32,
    counters: Tally,
    /// In milliseconds since 1970.
    last_ms: u64,
}

/// Item field and value: the text of an event or of an accumulator.
type Preference<'a> = (Cow<'a, str>, Cow<'a, str>);

impl<'a> Learnt<'a> {
    fn new(signal: &Signal, as_of_ms: u64) -> Self {
        let half_life_s = signal.profile_half_life_s;
        Self { preferences: BTreeMap::new(), as_of_ms, half_life_s, counters: Tally::default(), last_ms: 0 }
    }

    fn add(&mut self, event: &Event, signal: &'a Signal) {
        let factor = decay::factor(event.timestamp_ms, self.as_of_ms, self.half_life_s);
        let amounts = signal.preferences.iter();
        let key = |field: &'a str, value: &'a str| (Cow::Borrowed(field), Cow::Borrowed(value));
        self.prefer(amounts.map(|(field, value, amount)| (key(field, value), f64::from(*amount) * factor)));
        for (name, _) in behavior::user_counters(&event.action_type, event.timestamp_ms) {
            self.counters.add(&name, 1);
        }
        self.last_ms = self.last_ms.max(event.timestamp_ms);
    }

    /// Adds to preferences, as far as there is room for their names.
    fn prefer(&mut self, amounts: impl Iterator<Item = (Preference<'a>, f64)>) {
        let mut bytes: usize = self.preferences.keys().map(size).sum();
        for (key, amount) in amounts {
            match self.preferences.get_mut(&key) {
                Some(score) => *score += amount,
                None => {
                    bytes += size(&key);
                    if bytes > PREFERENCE_BYTES {
                        return;
                    }
                    self.preferences.insert(key, amount);
                }
            }
        }
    }

    fn merge(&mut self, other: Self) {
        let as_of_ms = self.as_of_ms.max(other.as_of_ms);
        let factor = |from_ms| decay::factor(from_ms, as_of_ms, self.half_life_s);
        let (own, others) = (factor(self.as_of_ms), factor(other.as_of_ms));
        self.preferences.values_mut().for_each(|score| *score *= own);
        self.prefer(other.preferences.into_iter().map(|(key, score)| (key, score * others)));
        self.as_of_ms = as_of_ms;
        self.counters.merge(&other.counters);
        self.last_ms = self.last_ms.max(other.last_ms);
    }
}

fn size((field, value): &Preference<'_>) -> usize {
    field.len() + value.len() + 16
}

impl<'a> Doings<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let read = bincode::borrow_decode_from_slice(bytes, bincode::config::standard());
        read.map(|(doings, _)| doings).map_err(|error| format!("accumulator: {error}"))
    }

    fn write(&self) -> Result<Vec<u8>, String> {
        bincode::encode_to_vec(self, bincode::config::standard()).map_err(|error| error.to_string())
    }

    /// Adds an event of a pane that ends at `end_ms`: preferences are as of then.
    fn add(&mut self, event: &'a Event, end_ms: u64) {
        self.actions.add(&event.action_type, 1);
        // Of an item that the catalogue has not, nothing is learnt.
        let Some(signal) = event.signal.as_ref().filter(|signal| signal.known) else { return };
        self.learnt.get_or_insert_with(|| Learnt::new(signal, end_ms)).add(event, signal);
    }

    fn merge(&mut self, other: Self) {
        self.actions.merge(&other.actions);
        match (&mut self.learnt, other.learnt) {
            (Some(own), Some(other)) => own.merge(other),
            (None, Some(other)) => self.learnt = Some(other),
            (_, None) => {}
        }
    }

    /// The strongest preferences, by item field and value, as of `at_ms`.
    fn preferences(&self, at_ms: u64) -> Value {
        let Some(learnt) = &self.learnt else { return json!({}) };
        let factor = decay::factor(learnt.as_of_ms, at_ms, learnt.half_life_s);
        let mut all: Vec<_> = learnt.preferences.iter().collect();
        all.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then_with(|| a.0.cmp(b.0)));
        let mut fields = Map::new();
        for ((field, value), score) in all.into_iter().take(PUBLISHED) {
            let of = fields.entry(field.as_ref()).or_insert_with(|| json!({}));
            if let Some(of) = of.as_object_mut() {
                of.insert(value.clone().into_owned(), (score * factor).into());
            }
        }
        fields.into()
    }
}

impl Guest for Operator {
    fn declare() -> Declaration {
        let key = vec![Field::Scenario, Field::User];
        Declaration { key, window: WINDOW, allowed_lateness_ms: LATENESS_MS }
    }

    fn aggregate(batches: Vec<Batch>) -> Result<Vec<Vec<u8>>, String> {
        let one = |batch: &Batch| {
            let mut doings = Doings::default();
            batch.events.iter().for_each(|event| doings.add(event, batch.pane.to_ms));
            doings.write()
        };
        batches.iter().map(one).collect()
    }

    fn merge(parts: Vec<Vec<Vec<u8>>>) -> Result<Vec<Vec<u8>>, String> {
        let one = |parts: &Vec<Vec<u8>>| {
            let mut all = Doings::default();
            for part in parts {
                all.merge(Doings::read(part)?);
            }
            all.write()
        };
        parts.iter().map(one).collect()
    }

    fn changes(panes: Vec<Aggregated>) -> Result<Vec<Vec<Change>>, String> {
        let one = |pane: &Aggregated| {
            let (scenario, user) = parts(&pane.key)?;
            let taste = |learnt: Learnt<'_>| {
                let Learnt { preferences, half_life_s, counters, last_ms, as_of_ms: _ } = learnt;
                Change::Taste(Taste {
                    scenario_id: scenario.to_owned(),
                    user_id: user.to_owned(),
                    half_life_s,
                    preferences: preferences
                        .into_iter()
                        .map(|((field, value), score)| (field.into_owned(), value.into_owned(), score))
                        .collect(),
                    counters: counters.iter().map(|(name, count)| (name.to_owned(), count as f64)).collect(),
                    last_ms,
                })
            };
            Ok(Doings::read(&pane.accumulator)?.learnt.map(taste).into_iter().collect())
        };
        panes.iter().map(one).collect()
    }

    fn summary(windows: Vec<Aggregated>) -> Result<Vec<Vec<Output>>, String> {
        let one = |window: &Aggregated| {
            let (scenario, user) = parts(&window.key)?;
            let doings = Doings::read(&window.accumulator)?;
            let actions: Map<String, Value> =
                doings.actions.iter().map(|(action, count)| (action.to_owned(), count.into())).collect();
            let body = json!({
                "scenario_id": scenario,
                "user_id": user,
                "window_start": time::format_ms(window.span.from_ms),
                "window_end": time::format_ms(window.span.to_ms),
                "behaviors": doings.actions.total(),
                "actions": actions,
                "preferences": doings.preferences(window.span.to_ms),
                "last_active_at": doings.learnt.as_ref().map(|learnt| time::format_ms(learnt.last_ms)),
            });
            let (topic, key) = (Topic::UserProfileUpdates, format!("{scenario}/{user}"));
            Ok(vec![Output::Publish(Message { topic, key, body: body.to_string() })])
        };
        windows.iter().map(one).collect()
    }
}

fn parts(key: &[String]) -> Result<(&str, &str), String> {
    match key {
        [scenario, user] => Ok((scenario, user)),
        _ => Err(format!("a key of {} parts", key.len())),
    }
}

funnelweb_guest::export_aggregate!(Operator);

#[cfg(test)]
mod tests;
