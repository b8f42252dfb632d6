//! One behaviour: read, checked field by field, and put together again as the
//! log keeps it.

use funnelweb_core::{
    error::{ApiError, Code},
    id, limits, time,
};
use funnelweb_guest::{events, http::json};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Who sent events, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) request_id: &'a str,
    /// Of the gateway; events without a `user_id` are this user's.
    pub(crate) user_id: Option<&'a str>,
    /// Events without a `timestamp` happened now.
    pub(crate) now_ms: u64,
}

/// What of `extra` is counted by item, when it is there.
#[derive(Deserialize)]
struct Measures {
    /// The part of the item that was consumed; 1 is all of it once.
    completion_rate: Option<f64>,
    /// Seconds.
    watch_duration: Option<f64>,
}

/// An event as a client writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    event_id: Option<String>,
    scenario_id: Option<String>,
    user_id: Option<String>,
    item_id: Option<String>,
    action_type: Option<String>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    extra: Option<&'a RawValue>,
}

/// Reads the event that stands at `index` of its request; what it says of its item and
/// its user is for its scenario to tell.
pub(crate) fn read(text: &[u8], index: u64, sender: Sender<'_>) -> Result<events::Event, ApiError> {
    if text.len() > limits::DOCUMENT_BYTES {
        let message = format!("the event has {} bytes, more than the limit of {}", text.len(), limits::DOCUMENT_BYTES);
        return Err(ApiError::new(Code::BodyTooLarge, message));
    }
    let written: Written<'_> = json::object(text)?;
    let scenario_id = required("scenario_id", written.scenario_id)?;
    let item_id = required("item_id", written.item_id)?;
    let user_id = match (written.user_id, sender.user_id) {
        (Some(user_id), _) => checked("user_id", user_id)?,
        (None, Some(user_id)) => user_id.to_owned(),
        (None, None) => return Err(field("user_id", "is required where there is no header X-User-Id")),
    };
    let action_type = action_type(written.action_type)?;
    let timestamp_ms = match written.timestamp {
        None => sender.now_ms,
        Some(raw) => timestamp(raw, sender.now_ms)?,
    };
    if let Some(context) = written.context {
        object("context", context)?;
    }
    if let Some(extra) = written.extra {
        check_extra(extra)?;
    }
    let event_id = match written.event_id {
        Some(event_id) => checked("event_id", event_id)?,
        None => derived_id(sender.request_id, index, text),
    };
    // Ids and action types hold nothing that JSON escapes.
    let body = format!(
        concat!(
            r#"{{"event_id":"{}","scenario_id":"{}","user_id":"{}","item_id":"{}","action_type":"{}","#,
            r#""context":{},"extra":{},"timestamp":"{}"}}"#
        ),
        event_id,
        scenario_id,
        user_id,
        item_id,
        action_type,
        written.context.map_or("{}", RawValue::get),
        written.extra.map_or("{}", RawValue::get),
        time::format_ms(timestamp_ms),
    );
    Ok(events::Event { event_id, scenario_id, user_id, item_id, action_type, timestamp_ms, body, signal: None })
}

/// The id of an event that has none: the same whenever a gateway repeats the
/// request, another for another event, even under a request id used again.
fn derived_id(request_id: &str, index: u64, text: &[u8]) -> String {
    let content = String::from_utf8_lossy(text);
    let tail = format!("{index}:{:08x}", id::value_hash(&content));
    if request_id.len() + 1 + tail.len() <= limits::ID_BYTES && !request_id.is_empty() {
        format!("{request_id}:{tail}")
    } else {
        format!("{:016x}:{tail}", id::handle(request_id))
    }
}

fn required(name: &str, given: Option<String>) -> Result<String, ApiError> {
    checked(name, given.ok_or_else(|| field(name, format!("missing field `{name}`")))?)
}

fn checked(name: &str, given: String) -> Result<String, ApiError> {
    id::check(&given).map_err(|error| field(name, error.to_string()))?;
    Ok(given)
}

fn action_type(given: Option<String>) -> Result<String, ApiError> {
    const NAME: &str = "action_type";
    let given = given.ok_or_else(|| field(NAME, "missing field `action_type`"))?;
    let plain = given.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if plain && (1..=limits::ACTION_TYPE_BYTES).contains(&given.len()) {
        return Ok(given);
    }
    Err(field(NAME, format!("must be 1 to {} of `a-z 0-9 _`", limits::ACTION_TYPE_BYTES)))
}

fn timestamp(raw: &RawValue, now_ms: u64) -> Result<u64, ApiError> {
    const NAME: &str = "timestamp";
    let ms = match serde_json::from_str(raw.get()) {
        Ok(serde_json::Value::String(text)) => time::parse_ms(&text),
        Ok(serde_json::Value::Number(number)) => number.as_f64().and_then(time::from_number),
        _ => None,
    };
    let ms = ms.ok_or_else(|| {
        field(NAME, format!("must be RFC 3339 or seconds or milliseconds since 1970, got {}", shown(raw)))
    })?;
    if ms > now_ms.saturating_add(limits::EVENT_FUTURE_MS) {
        let hours = limits::EVENT_FUTURE_MS / 3_600_000;
        return Err(field(NAME, format!("lies more than {hours} h in the future: {}", shown(raw))));
    }
    Ok(ms)
}

/// `context` is an object of a bounded size.
fn object(name: &str, raw: &RawValue) -> Result<(), ApiError> {
    if !raw.get().starts_with('{') {
        return Err(field(name, "must be an object"));
    }
    let bytes = raw.get().len();
    if bytes > limits::CONTEXT_BYTES {
        return Err(field(name, format!("must be at most {} bytes of JSON, got {bytes}", limits::CONTEXT_BYTES)));
    }
    Ok(())
}

/// `extra` is an object of the same size; what is summed of it, not negative.
fn check_extra(raw: &RawValue) -> Result<(), ApiError> {
    object("extra", raw)?;
    let measures: Measures = json::part("extra", raw)?;
    for (name, value) in
        [("extra.completion_rate", measures.completion_rate), ("extra.watch_duration", measures.watch_duration)]
    {
        if value.is_some_and(|value| !(0.0..=MOST).contains(&value)) {
            return Err(field(name, format!("must be 0 to {MOST}")));
        }
    }
    Ok(())
}

/// The most that one event adds to a sum: 30 years in seconds.
const MOST: f64 = 1e9;

fn shown(raw: &RawValue) -> String {
    raw.get().chars().take(64).collect()
}

fn field(name: &str, message: impl Into<String>) -> ApiError {
    ApiError::field(Code::InvalidField, name, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_767_225_600_000;
    const SENDER: Sender<'_> = Sender { request_id: "r1", user_id: Some("u0"), now_ms: NOW };
    const FULL: &str = r#"{"event_id":"e1","scenario_id":"s1","user_id":"u1","item_id":"i1","action_type":"watch",
        "timestamp":"2025-12-31T23:00:00Z","context":{"device":"phone"},"extra":{"watch_duration":90,"x":[1]}}"#;

    #[test]
    fn the_log_has_every_field() {
        let event = read(FULL.as_bytes(), 0, SENDER).unwrap();
        assert_eq!(
            event.body,
            concat!(
                r#"{"event_id":"e1","scenario_id":"s1","user_id":"u1","item_id":"i1","action_type":"watch","#,
                r#""context":{"device":"phone"},"extra":{"watch_duration":90,"x":[1]},"#,
                r#""timestamp":"2025-12-31T23:00:00.000Z"}"#
            )
        );
        assert_eq!(event.timestamp_ms, NOW - 3_600_000);
    }

    #[test]
    fn what_is_not_said_is_the_sender_s() {
        let text = br#"{"scenario_id":"s1","item_id":"i1","action_type":"view"}"#;
        let first = read(text, 3, SENDER).unwrap();
        assert_eq!((first.user_id.as_str(), first.timestamp_ms), ("u0", NOW));
        assert!(first.event_id.starts_with("r1:3:"), "{}", first.event_id);
        // The same again; another at another place, or with other content.
        assert_eq!(read(text, 3, SENDER).unwrap().event_id, first.event_id);
        assert_ne!(read(text, 4, SENDER).unwrap().event_id, first.event_id);
        let other = br#"{"scenario_id":"s1","item_id":"i2","action_type":"view"}"#;
        assert_ne!(read(other, 3, SENDER).unwrap().event_id, first.event_id);
        let long = "r".repeat(128);
        let id = read(text, u64::MAX, Sender { request_id: &long, ..SENDER }).unwrap().event_id;
        assert_eq!(id::check(&id), Ok(()));
        let error = read(text, 0, Sender { user_id: None, ..SENDER }).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("user_id"));
    }

    #[test]
    fn every_fault_names_its_field() {
        let long = "x".repeat(129);
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(limits::CONTEXT_BYTES));
        for (name, values) in [
            ("event_id", &[r#""""#, r#""a/b""#, "7", "[]"][..]),
            ("scenario_id", &["null", r#"".""#, "{}"]),
            ("user_id", &[r#""a b""#, "false", &format!("\"{long}\"")]),
            ("item_id", &["null", r#""a\u0000b""#, r#"["i1"]"#]),
            ("action_type", &["null", r#""""#, r#""View""#, r#""a-b""#, &format!("\"{}\"", "x".repeat(65)), "1"]),
            ("timestamp", &[r#""soon""#, "-1", "true", "{}", "1e300", r#""2026-01-02T00:00:01Z""#]),
            ("context", &["[]", "1", &large]),
            ("extra", &["\"x\"", "[1]", &large]),
        ] {
            for value in values {
                let mut written: serde_json::Map<String, serde_json::Value> = serde_json::from_str(FULL).unwrap();
                written.insert(name.to_owned(), serde_json::from_str(value).unwrap());
                let error = read(&serde_json::to_vec(&written).unwrap(), 0, SENDER).unwrap_err();
                assert_eq!((error.code, error.field.as_deref()), (Code::InvalidField, Some(name)), "{name} {value}");
            }
        }
        let field = |from: &str, to: &str| read(FULL.replacen(from, to, 1).as_bytes(), 0, SENDER).unwrap_err().field;
        assert_eq!(field("\"event_id\"", "\"evt_id\"").as_deref(), Some("evt_id"));
        assert_eq!(field("90", "\"90\"").as_deref(), Some("extra.watch_duration"));
        assert_eq!(field("90", "-1").as_deref(), Some("extra.watch_duration"));
        assert_eq!(field("[1]", "[1e999]").as_deref(), Some("extra.x[0]"));
        assert_eq!(read(b"{", 0, SENDER).unwrap_err().code, Code::InvalidJson);
        assert_eq!(read(b"[]", 0, SENDER).unwrap_err().code, Code::InvalidField);
    }

    #[test]
    fn some_clock_skew_is_borne() {
        let at = |timestamp: &str| {
            let text = format!(r#"{{"scenario_id":"s","item_id":"i","action_type":"a","timestamp":{timestamp}}}"#);
            read(text.as_bytes(), 0, SENDER).map(|event| event.timestamp_ms)
        };
        assert_eq!(at("1767225600"), Ok(NOW));
        assert_eq!(at("1767225600000"), Ok(NOW));
        assert_eq!(at(&(NOW + limits::EVENT_FUTURE_MS).to_string()), Ok(NOW + limits::EVENT_FUTURE_MS));
        assert!(at(&(NOW + limits::EVENT_FUTURE_MS + 1).to_string()).is_err());
    }
}
