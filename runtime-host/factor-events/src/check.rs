//! What a call must be, whichever backend takes it.

use funnelweb_core::{id, limits};
use serde::de::IgnoredAny;

use crate::store::{Change, Effect, Error, Event, HistoryQuery, ProfileEffect, Signal, StoredEvent};

/// The largest weight, amount or preference of an effect, either way: sums of
/// many stay far within an `f64`.
const AMOUNT: f64 = 1e12;
/// Preferences and counters of one profile effect, each.
const PROFILE_CHANGES: usize = 2 * limits::ITEM_TAGS;

/// Checks events and their effects, before anything is written.
///
/// # Errors
/// `invalid`, naming the argument and the rule.
pub fn check(events: &[Event], effects: &[Vec<Effect>], now_ms: u64) -> Result<(), Error> {
    Error::check_count("events", events.len(), 0, limits::EVENTS)?;
    Error::check_count("effects", effects.len(), events.len(), events.len())?;
    for (at, event) in events.iter().enumerate() {
        for (field, id) in [
            ("event-id", &event.event_id),
            ("scenario-id", &event.scenario_id),
            ("user-id", &event.user_id),
            ("item-id", &event.item_id),
        ] {
            Error::check_id(format_args!("events[{at}].{field}"), id)?;
        }
        Error::check_count(
            &format!("events[{at}].action-type"),
            event.action_type.len(),
            1,
            limits::ACTION_TYPE_BYTES,
        )?;
        // One time far ahead would make every other score nothing.
        if event.timestamp_ms > now_ms.saturating_add(limits::EVENT_FUTURE_MS) {
            let rule = format_args!("lies more than {} ms in the future", limits::EVENT_FUTURE_MS);
            return Err(Error::invalid(format_args!("events[{at}].timestamp-ms"), rule));
        }
        let name = || format!("events[{at}].body");
        if !(2..=limits::DOCUMENT_BYTES).contains(&event.body.len()) {
            Error::check_count(&name(), event.body.len(), 2, limits::DOCUMENT_BYTES)?;
        }
        // Read through only: nothing is made of it.
        serde_json::from_str::<IgnoredAny>(&event.body).map_err(|error| Error::invalid(name(), error))?;
        if !event.body.trim_ascii_start().starts_with('{') {
            return Err(Error::invalid(name(), "must be a JSON object"));
        }
        if let Some(signal) = &event.signal {
            check_signal(signal).map_err(|rule| Error::invalid(format_args!("events[{at}].signal"), rule))?;
        }
    }
    for (at, effects) in effects.iter().enumerate() {
        Error::check_count(&format!("effects[{at}]"), effects.len(), 0, limits::EVENT_EFFECTS)?;
        for effect in effects {
            check_effect(effect).map_err(|rule| Error::invalid(format_args!("effects[{at}]"), rule))?;
        }
    }
    Ok(())
}

/// Checks events that are to be restored.
///
/// # Errors
/// `invalid`, naming the argument and the rule.
pub fn check_restored(events: &[StoredEvent]) -> Result<(), Error> {
    let plain: Vec<Event> = events.iter().map(|stored| stored.event.clone()).collect();
    // They were accepted at their time, by another clock perhaps.
    check(&plain, &vec![Vec::new(); plain.len()], u64::MAX)?;
    let ascend = events.is_sorted_by(|a, b| a.offset < b.offset);
    let fit = |stored: &StoredEvent| stored.offset > 0 && i64::try_from(stored.offset).is_ok();
    if ascend && events.iter().all(fit) {
        return Ok(());
    }
    Err(Error::invalid("events", "must have offsets that ascend from 1"))
}

/// That an event which is to be restored at `offset` is another there.
#[must_use]
pub fn taken(offset: u64, event_id: &str) -> Error {
    Error::invalid("events", format_args!("`{event_id}` cannot be restored at offset {offset}, the log has others"))
}

/// Checks whose history is asked for.
///
/// # Errors
/// `invalid`, naming the argument and the rule.
pub fn check_history(query: &HistoryQuery) -> Result<(), Error> {
    Error::check_count("query.limit", query.limit as usize, 1, limits::HISTORY_EVENTS as usize)?;
    if query.user_id.is_none() && query.item_id.is_none() {
        return Err(Error::invalid("query", "at least one of user-id and item-id must be given"));
    }
    Ok(())
}

/// Checks how much of the log is asked for.
///
/// # Errors
/// `invalid`, naming the argument and the rule.
pub fn check_read(limit: u32) -> Result<(), Error> {
    Error::check_count("limit", limit as usize, 1, limits::HISTORY_EVENTS as usize)
}

fn check_signal(signal: &Signal) -> Result<(), String> {
    let Signal { weight, hot_half_life_s, profile_half_life_s, known: _, preferences } = signal;
    amount("weight", f64::from(*weight))?;
    half_life(*hot_half_life_s)?;
    half_life(*profile_half_life_s)?;
    if preferences.len() > PROFILE_CHANGES {
        return Err(format!("preferences: at most {PROFILE_CHANGES}, got {}", preferences.len()));
    }
    preferences.iter().try_for_each(check_preference)
}

fn check_preference((field, value, score): &(String, String, f32)) -> Result<(), String> {
    name("preferences.field", field)?;
    name("preferences.value", value)?;
    amount("preferences.score", f64::from(*score))
}

/// Checks what an operator changes.
///
/// # Errors
/// The field and the rule.
pub fn check_change(change: &Change) -> Result<(), String> {
    let is_id = |what: &str, text: &str| id::check(text).map_err(|error| format!("{what}: {error}"));
    match change {
        Change::Heat { scenario_id, item_id, half_life_s, weight, at_ms: _ } => {
            is_id("scenario-id", scenario_id)?;
            is_id("item-id", item_id)?;
            half_life(*half_life_s)?;
            amount("weight", *weight)
        }
        Change::Count { item_id, field, amount: by } => {
            is_id("item-id", item_id)?;
            name("field", field)?;
            amount("amount", *by)
        }
        Change::Profile { scenario_id, user_id, at_ms: _, effect } => {
            is_id("scenario-id", scenario_id)?;
            is_id("user-id", user_id)?;
            check_profile(effect)
        }
    }
}

fn check_profile(profile: &ProfileEffect) -> Result<(), String> {
    half_life(profile.half_life_s)?;
    profile.preferences.iter().try_for_each(check_preference)?;
    profile.counters.iter().try_for_each(|(field, by)| {
        name("counters.name", field)?;
        amount("counters.amount", *by)
    })
}

fn check_effect(effect: &Effect) -> Result<(), String> {
    match effect {
        Effect::Hot(hot) => {
            amount("weight", hot.weight)?;
            half_life(hot.half_life_s)
        }
        Effect::Count(count) => {
            amount("amount", count.amount)?;
            name("field", &count.field)
        }
        Effect::Profile(profile) => {
            let most = profile.preferences.len().max(profile.counters.len());
            if most > PROFILE_CHANGES {
                return Err(format!("preferences and counters: at most {PROFILE_CHANGES} each, got {most}"));
            }
            check_profile(profile)
        }
    }
}

fn amount(what: &str, amount: f64) -> Result<(), String> {
    // False for NaN too.
    if amount.abs() <= AMOUNT { Ok(()) } else { Err(format!("{what} must be within ±{AMOUNT}, got {amount}")) }
}

fn half_life(half_life_s: u32) -> Result<(), String> {
    if half_life_s > 0 { Ok(()) } else { Err("half-life-s must be at least 1".to_owned()) }
}

fn name(what: &str, text: &str) -> Result<(), String> {
    let bytes = text.len();
    if (1..=limits::TERM_BYTES).contains(&bytes) {
        return Ok(());
    }
    Err(format!("{what} must be 1 to {} bytes, got {bytes}", limits::TERM_BYTES))
}
