//! Recommendations for nobody in particular: the user of the funnel is made of a
//! list of behaviours that the request brings along. Nothing of it is stored; that its items
//! were served is counted.

use std::collections::{BTreeMap, HashSet};

use funnelweb_core::{
    behavior::Facts,
    error::{ApiError, Code},
    id, limits,
    scenario::Behaviors,
    time,
};
use funnelweb_guest::{
    documents::{Collection, Key},
    http::json,
    profile,
    types::{Preference, User},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Request, capabilities::Capabilities};

/// The body of `POST /api/v1/recommend/session`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    scenario_id: String,
    /// What was done; at most [`limits::EVENTS`].
    behaviors: Vec<Behavior>,
    #[serde(default = "crate::request::default_count")]
    count: u32,
    #[serde(default)]
    context: Map<String, Value>,
    #[serde(default)]
    exclude_items: Vec<String>,
    #[serde(default)]
    return_metadata: bool,
    #[serde(default)]
    cursor: Option<String>,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Behavior {
    item_id: String,
    action_type: String,
    /// Now when it is left out.
    #[serde(default)]
    timestamp: Option<Value>,
}

/// A behaviour, checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Done {
    item_id: String,
    action_type: String,
    at_ms: u64,
}

impl SessionRequest {
    /// The part that any request has, and what was done, newest first: by time, and of
    /// one time the last in the list first.
    pub(crate) fn check(self, now_ms: u64) -> Result<(Request, Vec<Done>), ApiError> {
        if self.behaviors.len() > limits::EVENTS {
            let message = format!("must be at most {} long, got {}", limits::EVENTS, self.behaviors.len());
            return Err(field("behaviors", message));
        }
        let checked = |(at, behavior): (usize, Behavior)| {
            behavior.check(now_ms).map_err(|error| json::within(&format!("behaviors[{at}]"), error))
        };
        let mut done = self.behaviors.into_iter().enumerate().map(checked).collect::<Result<Vec<_>, _>>()?;
        done.reverse();
        // Stable: those of one time keep their order.
        done.sort_by_key(|one| std::cmp::Reverse(one.at_ms));
        let request = Request {
            scenario_id: self.scenario_id,
            count: self.count,
            context: self.context,
            exclude_items: self.exclude_items,
            return_metadata: self.return_metadata,
            cursor: self.cursor,
        };
        Ok((request, done))
    }
}

impl Behavior {
    fn check(self, now_ms: u64) -> Result<Done, ApiError> {
        id::check(&self.item_id).map_err(|error| field("item_id", error.to_string()))?;
        let action = self.action_type;
        let plain = action.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !plain || !(1..=limits::ACTION_TYPE_BYTES).contains(&action.len()) {
            return Err(field("action_type", format!("must be 1 to {} of `a-z 0-9 _`", limits::ACTION_TYPE_BYTES)));
        }
        let at_ms = match &self.timestamp {
            None | Some(Value::Null) => Some(now_ms),
            Some(Value::String(text)) => time::parse_ms(text),
            Some(Value::Number(number)) => number.as_f64().and_then(time::from_number),
            Some(_) => None,
        };
        let at_ms =
            at_ms.ok_or_else(|| field("timestamp", "must be RFC 3339 or seconds or milliseconds since 1970"))?;
        Ok(Done { item_id: self.item_id, action_type: action, at_ms })
    }
}

/// The user that these behaviours make: as if they had been recorded, the items with
/// an action that weighs above 0 are recent, and preferences are learnt from the
/// category and tags of those that the catalogue has.
///
/// # Errors
/// Those of the store.
pub(crate) fn user(
    host: &impl Capabilities,
    scenario_id: &str,
    done: &[Done],
    behaviors: &Behaviors,
) -> Result<User, ApiError> {
    let weighed: Vec<(&Done, f32)> =
        done.iter().map(|one| (one, behaviors.weight(&one.action_type))).filter(|(_, weight)| *weight != 0.0).collect();
    let mut known = HashSet::new();
    let recent = weighed.iter().filter(|(one, weight)| *weight > 0.0 && known.insert(one.item_id.as_str()));
    let recent = recent.take(limits::PROFILE_RECENT_ITEMS).map(|(one, weight)| (id::handle(&one.item_id), *weight));
    let (recent, recent_weights) = recent.unzip();
    Ok(User {
        id: String::new(),
        attributes: Vec::new(),
        preferences: preferences(host, scenario_id, &weighed, behaviors.profile_half_life_days)?,
        recent,
        recent_weights,
    })
}

/// Sums of what each behaviour teaches, older ones faded as in a profile.
fn preferences(
    host: &impl Capabilities,
    scenario_id: &str,
    weighed: &[(&Done, f32)],
    half_life_days: f32,
) -> Result<Vec<Preference>, ApiError> {
    let key = |(one, _): &(&Done, f32)| Key { scenario_id: scenario_id.to_owned(), id: one.item_id.clone() };
    let keys: Vec<Key> = weighed.iter().map(key).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let items = host.documents(Collection::Items, &keys)?;
    let newest_ms = weighed.iter().map(|(one, _)| one.at_ms).max().unwrap_or_default();
    let mut sums: BTreeMap<(String, String), f32> = BTreeMap::new();
    for ((one, weight), item) in weighed.iter().zip(items) {
        let Some(item) = item else { continue };
        let age_days = newest_ms.saturating_sub(one.at_ms) as f32 / 86_400_000.0;
        for (of, value, amount) in Facts::of(&item).preferences(weight * (-age_days / half_life_days).exp2()) {
            *sums.entry((of, value)).or_default() += amount;
        }
    }
    let all = sums.into_iter().map(|((field, value), score)| Preference { field, value, score });
    Ok(profile::strongest(all.collect()))
}

fn field(name: &str, message: impl Into<String>) -> ApiError {
    ApiError::field(Code::InvalidField, name, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::Host;

    const NOW: u64 = 1_767_225_600_000;

    fn parse(body: &Value) -> Result<(Request, Vec<Done>), ApiError> {
        json::object::<SessionRequest>(body.to_string().as_bytes())?.check(NOW)
    }

    fn session(behaviors: &Value) -> Result<Vec<Done>, ApiError> {
        parse(&json!({"scenario_id": "s", "behaviors": behaviors})).map(|(_, done)| done)
    }

    #[test]
    fn the_newest_comes_first() {
        let at = |item: &str, at: Value| json!({"item_id": item, "action_type": "click", "timestamp": at});
        let list = json!([
            at("old", json!("2020-01-01T00:00:00Z")),
            at("now", Value::Null),
            at("older", json!(1_500_000_000)),
            {"item_id": "last", "action_type": "click"},
        ]);
        let ids: Vec<_> = session(&list).unwrap().into_iter().map(|one| one.item_id).collect();
        assert_eq!(ids, ["last", "now", "old", "older"]);
    }

    #[test]
    fn every_fault_names_its_field() {
        let path = |behavior: Value| {
            let error = session(&json!([{"item_id": "a", "action_type": "view"}, behavior])).unwrap_err();
            assert_eq!(error.code, Code::InvalidField);
            error.field.unwrap()
        };
        assert_eq!(path(json!({"item_id": "a/b", "action_type": "view"})), "behaviors[1].item_id");
        assert_eq!(path(json!({"item_id": "a", "action_type": "View"})), "behaviors[1].action_type");
        let long = "x".repeat(limits::ACTION_TYPE_BYTES + 1);
        assert_eq!(path(json!({"item_id": "a", "action_type": long})), "behaviors[1].action_type");
        assert_eq!(path(json!({"item_id": "a", "action_type": "view", "timestamp": "soon"})), "behaviors[1].timestamp");
        assert_eq!(path(json!({"item_id": "a", "action_type": "view", "timestamp": [1]})), "behaviors[1].timestamp");
        assert_eq!(path(json!({"item_id": "a"})), "behaviors[1].action_type");
        assert_eq!(path(json!({"item_id": "a", "action_type": "view", "user_id": "u"})), "behaviors[1].user_id");
        assert_eq!(parse(&json!({"scenario_id": "s"})).unwrap_err().field.as_deref(), Some("behaviors"));
    }

    #[test]
    fn so_many_behaviours_make_a_session() {
        let of = |count: usize| session(&json!(vec![json!({"item_id": "a", "action_type": "view"}); count]));
        assert_eq!(of(limits::EVENTS).unwrap().len(), limits::EVENTS);
        let error = of(limits::EVENTS + 1).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("behaviors"));
        assert!(error.message.contains(&limits::EVENTS.to_string()));
        assert!(of(0).unwrap().is_empty());
    }

    #[test]
    fn behaviours_make_a_user() {
        let host = Host::default()
            .with_item("a", r#"{"metadata":{"category":"x","tags":["t"]}}"#)
            .with_item("b", r#"{"metadata":{"category":"y"}}"#);
        let did = |item: &str, action: &str, timestamp: &str| json!({"item_id": item, "action_type": action, "timestamp": timestamp});
        let done = session(&json!([
            did("a", "click", "2025-12-17T00:00:00Z"),
            did("b", "dislike", "2025-12-31T00:00:00Z"),
            did("c", "impression", "2025-12-31T00:00:00Z"),
            did("gone", "like", "2025-12-30T00:00:00Z"),
            did("a", "view", "2025-12-31T00:00:00Z"),
        ]));
        let user = user(&host, "s", &done.unwrap(), &Behaviors::default()).unwrap();
        assert!(user.id.is_empty());
        assert_eq!((user.recent, user.recent_weights), (vec![id::handle("a"), id::handle("gone")], vec![1.0, 3.0]));
        // x: 1 + 2/2, t: half of that, y: −4; the strongest has magnitude 1.
        let scores: Vec<_> = user.preferences.iter().map(|one| (one.value.as_str(), one.score)).collect();
        assert_eq!(scores, [("y", -1.0), ("x", 0.5), ("t", 0.25)]);
    }

    #[test]
    fn no_more_is_recent_than_in_a_profile() {
        let list: Vec<Value> = (0..limits::PROFILE_RECENT_ITEMS + 20)
            .map(|at| json!({"item_id": format!("i{at}"), "action_type": "view"}))
            .collect();
        let user = user(&Host::default(), "s", &session(&json!(list)).unwrap(), &Behaviors::default()).unwrap();
        assert_eq!(user.recent.len(), limits::PROFILE_RECENT_ITEMS);
        assert_eq!(user.recent[0], id::handle(&format!("i{}", limits::PROFILE_RECENT_ITEMS + 19)));
    }
}
