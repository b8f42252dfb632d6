//! A profile as a client writes it, checked field by field.

use std::collections::BTreeMap;

use funnelweb_core::{
    error::{ApiError, Code},
    id, limits, time,
};
use funnelweb_guest::http::json;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Map, Value};

/// The largest score, either way.
const SCORE: f64 = 1e6;

/// The fields of a profile; each may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    user_id: Option<String>,
    scenario_id: Option<String>,
    #[serde(default)]
    features: Map<String, Value>,
    #[serde(default)]
    preferences: Preferences,
    #[serde(default)]
    recent_items: Vec<Recent>,
    embedding: Option<Vec<f32>>,
    preferences_at_ms: Option<u64>,
    /// Set by the store; may stand here, so that what was read can be written
    /// back.
    #[serde(rename = "created_at")]
    _created_at: Option<IgnoredAny>,
    #[serde(rename = "updated_at")]
    _updated_at: Option<IgnoredAny>,
}

/// `category_scores`, `tag_scores`, …: by value, how much the user likes it.
type Preferences = BTreeMap<String, BTreeMap<String, f64>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recent {
    item_id: String,
    action_type: String,
    at: Value,
}

/// A profile as it is stored.
#[derive(Serialize)]
struct Profile<'a> {
    user_id: &'a str,
    scenario_id: &'a str,
    features: Map<String, Value>,
    preferences: Preferences,
    recent_items: Vec<StoredRecent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<Vec<f32>>,
    preferences_at_ms: u64,
}

#[derive(Serialize)]
struct StoredRecent {
    item_id: String,
    action_type: String,
    at: String,
}

/// Reads the profile of a user; the document to store.
pub(crate) fn read(text: &[u8], scenario_id: &str, user_id: &str, now_ms: u64) -> Result<String, ApiError> {
    let written: Written = json::object(text)?;
    same("scenario_id", written.scenario_id.as_deref(), scenario_id)?;
    same("user_id", written.user_id.as_deref(), user_id)?;
    for name in written.features.keys() {
        check_length("features", "a name", name, limits::TERM_BYTES)?;
    }
    check_preferences(&written.preferences)?;
    if let Some(embedding) = &written.embedding {
        check_embedding(embedding)?;
    }
    let preferences_at_ms = written.preferences_at_ms.unwrap_or(now_ms);
    check_time("preferences_at_ms", preferences_at_ms, now_ms)?;
    let profile = Profile {
        user_id,
        scenario_id,
        features: written.features,
        preferences: written.preferences,
        recent_items: recent_items(written.recent_items, now_ms)?,
        embedding: written.embedding,
        preferences_at_ms,
    };
    let text = serde_json::to_string(&profile).map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    if text.len() > limits::DOCUMENT_BYTES {
        let message =
            format!("the profile has {} bytes, more than the limit of {}", text.len(), limits::DOCUMENT_BYTES);
        return Err(ApiError::new(Code::BodyTooLarge, message));
    }
    Ok(text)
}

fn check_preferences(preferences: &Preferences) -> Result<(), ApiError> {
    for (name, scores) in preferences {
        let path = format!("preferences.{name}");
        if name.len() > limits::TERM_BYTES || !name.ends_with("_scores") || name == "_scores" {
            return Err(field(path, "must be called after an item field: `category_scores`, `tag_scores`, …"));
        }
        if scores.len() > limits::PROFILE_PREFERENCES {
            let message = format!("must hold at most {} values, got {}", limits::PROFILE_PREFERENCES, scores.len());
            return Err(field(path, message));
        }
        for (value, score) in scores {
            check_length(&path, "a value", value, limits::TERM_BYTES)?;
            if score.abs() > SCORE {
                return Err(field(format!("{path}.{value}"), format!("must be within ±{SCORE}, got {score}")));
            }
        }
    }
    Ok(())
}

/// Newest first, each item once.
fn recent_items(written: Vec<Recent>, now_ms: u64) -> Result<Vec<StoredRecent>, ApiError> {
    if written.len() > limits::PROFILE_RECENT_ITEMS {
        let message = format!("must hold at most {}, got {}", limits::PROFILE_RECENT_ITEMS, written.len());
        return Err(field("recent_items", message));
    }
    let mut items: Vec<(u64, Recent)> = Vec::new();
    for (at, recent) in written.into_iter().enumerate() {
        let path = format!("recent_items[{at}]");
        id::check(&recent.item_id).map_err(|error| field(format!("{path}.item_id"), error.to_string()))?;
        if items.iter().any(|(_, other)| other.item_id == recent.item_id) {
            return Err(field(format!("{path}.item_id"), format!("`{}` stands twice", recent.item_id)));
        }
        check_length(&format!("{path}.action_type"), "it", &recent.action_type, limits::ACTION_TYPE_BYTES)?;
        let name = format!("{path}.at");
        let ms = match &recent.at {
            Value::String(text) => time::parse_ms(text),
            Value::Number(number) => number.as_f64().and_then(time::from_number),
            _ => None,
        };
        let ms = ms.ok_or_else(|| field(name.as_str(), "must be RFC 3339 or seconds or milliseconds since 1970"))?;
        check_time(&name, ms, now_ms)?;
        items.push((ms, recent));
    }
    items.sort_by_key(|(ms, _)| std::cmp::Reverse(*ms));
    Ok(items
        .into_iter()
        .map(|(ms, Recent { item_id, action_type, .. })| StoredRecent { item_id, action_type, at: time::format_ms(ms) })
        .collect())
}

fn check_embedding(values: &[f32]) -> Result<(), ApiError> {
    if !(1..=limits::EMBEDDING_VALUES).contains(&values.len()) {
        let message = format!("must hold 1 to {} numbers, got {}", limits::EMBEDDING_VALUES, values.len());
        return Err(field("embedding", message));
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(field(format!("embedding[{at}]"), "is too large for a 32-bit float")),
    }
}

/// A time far ahead would make everything that comes before it count nothing.
fn check_time(name: &str, ms: u64, now_ms: u64) -> Result<(), ApiError> {
    if ms <= now_ms.saturating_add(limits::EVENT_FUTURE_MS) {
        return Ok(());
    }
    let hours = limits::EVENT_FUTURE_MS / 3_600_000;
    Err(field(name, format!("lies more than {hours} h in the future: {ms}")))
}

fn check_length(path: &str, what: &str, text: &str, most: usize) -> Result<(), ApiError> {
    if (1..=most).contains(&text.len()) {
        return Ok(());
    }
    Err(field(path, format!("{what} must be 1 to {most} bytes long, got {}", text.len())))
}

fn same(name: &str, given: Option<&str>, path: &str) -> Result<(), ApiError> {
    match given {
        Some(given) if given != path => Err(field(name, format!("must be the `{path}` of the path, got `{given}`"))),
        _ => Ok(()),
    }
}

fn field(path: impl Into<String>, message: impl Into<String>) -> ApiError {
    ApiError::field(Code::InvalidField, path, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_767_225_600_000;

    fn one(text: &str) -> Result<Value, ApiError> {
        read(text.as_bytes(), "s1", "u1", NOW).map(|text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn what_is_left_out_is_empty() {
        assert_eq!(
            one("{}").unwrap(),
            json!({"user_id": "u1", "scenario_id": "s1", "features": {}, "preferences": {}, "recent_items": [],
                   "preferences_at_ms": NOW})
        );
    }

    #[test]
    fn what_was_read_can_be_written_back() {
        let text = json!({
            "user_id": "u1", "scenario_id": "s1",
            "features": {"age": "25-34", "total_watch_count": 100, "favorite_categories": ["a"]},
            "preferences": {"category_scores": {"a": 0.8, "b": -1}, "tag_scores": {"t": 1.5}, "author_scores": {}},
            "recent_items": [{"item_id": "i1", "action_type": "view", "at": 1_767_000_000},
                             {"item_id": "i2", "action_type": "like", "at": "2025-12-31T00:00:00Z"}],
            "embedding": [0.5, -1.0], "preferences_at_ms": NOW - 5,
            "created_at": "2025-01-01T00:00:00.000Z", "updated_at": "2025-01-01T00:00:00.000Z"
        });
        let stored = one(&text.to_string()).unwrap();
        assert_eq!(
            stored["recent_items"][0],
            json!({"item_id": "i2", "action_type": "like", "at": "2025-12-31T00:00:00.000Z"})
        );
        assert_eq!(stored["preferences"]["category_scores"], json!({"a": 0.8, "b": -1.0}));
        assert_eq!(stored["preferences_at_ms"], NOW - 5);
        assert!(stored.get("updated_at").is_none());
        assert_eq!(one(&stored.to_string()).unwrap(), stored);
    }

    #[test]
    fn every_fault_names_its_field() {
        let many = |count: usize, entry: &dyn Fn(usize) -> String| (0..count).map(entry).collect::<Vec<_>>().join(",");
        let scores = format!(r#"{{"preferences":{{"tag_scores":{{{}}}}}}}"#, many(129, &|at| format!("\"t{at}\":1")));
        let recent = format!(
            r#"{{"recent_items":[{}]}}"#,
            many(101, &|at| format!(r#"{{"item_id":"i{at}","action_type":"view","at":1}}"#))
        );
        let item = |fields: &str| {
            format!(r#"{{"recent_items":[{{"item_id":"i","action_type":"view","at":1}},{{{fields}}}]}}"#)
        };
        for (text, name) in [
            (r#"{"user_id":"u2"}"#.to_owned(), "user_id"),
            (r#"{"user_id":2}"#.to_owned(), "user_id"),
            (r#"{"scenario_id":"s2"}"#.to_owned(), "scenario_id"),
            (r#"{"features":[]}"#.to_owned(), "features"),
            (r#"{"features":{"":1}}"#.to_owned(), "features"),
            (r#"{"features":{"a":1e999}}"#.to_owned(), "features.a"),
            (r#"{"preferences":[]}"#.to_owned(), "preferences"),
            (r#"{"preferences":{"categories":{}}}"#.to_owned(), "preferences.categories"),
            (r#"{"preferences":{"tag_scores":[1]}}"#.to_owned(), "preferences.tag_scores"),
            (r#"{"preferences":{"tag_scores":{"a":"b"}}}"#.to_owned(), "preferences.tag_scores.a"),
            (r#"{"preferences":{"tag_scores":{"a":2e6}}}"#.to_owned(), "preferences.tag_scores.a"),
            (r#"{"preferences":{"tag_scores":{"":1}}}"#.to_owned(), "preferences.tag_scores"),
            (scores, "preferences.tag_scores"),
            (recent, "recent_items"),
            (r#"{"recent_items":{}}"#.to_owned(), "recent_items"),
            (item(""), "recent_items[1].item_id"),
            (item(r#""item_id":"a/b","action_type":"view","at":1"#), "recent_items[1].item_id"),
            (item(r#""item_id":"i","action_type":"view","at":1"#), "recent_items[1].item_id"),
            (item(r#""item_id":"j","at":1"#), "recent_items[1].action_type"),
            (item(r#""item_id":"j","action_type":"","at":1"#), "recent_items[1].action_type"),
            (item(r#""item_id":"j","action_type":"view""#), "recent_items[1].at"),
            (item(r#""item_id":"j","action_type":"view","at":"x""#), "recent_items[1].at"),
            (item(r#""item_id":"j","action_type":"view","at":"2027-01-01""#), "recent_items[1].at"),
            (item(r#""item_id":"j","action_type":"view","at":1,"x":1"#), "recent_items[1].x"),
            (r#"{"embedding":[]}"#.to_owned(), "embedding"),
            (r#"{"embedding":[1,1e39]}"#.to_owned(), "embedding[1]"),
            (r#"{"embedding":[1,"x"]}"#.to_owned(), "embedding[1]"),
            (format!(r#"{{"embedding":[{}]}}"#, many(1025, &|_| "1".to_owned())), "embedding"),
            (r#"{"preferences_at_ms":-1}"#.to_owned(), "preferences_at_ms"),
            (r#"{"preferences_at_ms":9999999999999}"#.to_owned(), "preferences_at_ms"),
            (r#"{"age":7}"#.to_owned(), "age"),
        ] {
            let error = one(&text).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (Code::InvalidField, Some(name)), "{text}: {error:?}");
        }
        assert_eq!(one("{").unwrap_err().code, Code::InvalidJson);
        assert_eq!(one("[]").unwrap_err().code, Code::InvalidField);
    }
}
