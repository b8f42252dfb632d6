//! A behaviour as a record of `user-behaviors-{tenant}`: JSON, described in the README.

use funnelweb_core::limits;
use funnelweb_factor_events::{
    check,
    publish::Accepted,
    store::{Error, Event, Signal, Tenant},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::producer::Record;

/// Hexadecimal digits of a batch.
const BATCH_DIGITS: usize = 32;
/// Characters of a reason: it may quote what is wrong, which may be long.
const REASON_CHARACTERS: usize = 200;

/// A behaviour of the log, and the append that brought it: batch and index together are
/// one event's alone, and the same each time that it is published.
#[derive(Debug, Clone, PartialEq)]
pub struct Behavior {
    /// The append. Its first 48 bits are its time in milliseconds since 1970.
    pub batch: u128,
    /// The event and its places in the append and in the tenant's log.
    pub accepted: Accepted,
}

/// Why a record is not a behaviour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Unreadable {
    pub(crate) fn new(reason: impl ToString) -> Self {
        Self(reason.to_string().chars().take(REASON_CHARACTERS).collect())
    }
}

/// In the order in which it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    tenant_id: String,
    event_id: String,
    scenario_id: String,
    user_id: String,
    item_id: String,
    action_type: String,
    timestamp_ms: u64,
    body: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signal: Option<Signal>,
    batch: String,
    index: u32,
    offset: u64,
}

impl Behavior {
    /// As a record, keyed by the user.
    ///
    /// # Errors
    /// `invalid` when the event's body is no JSON object.
    pub fn encode(self, tenant: &Tenant) -> Result<Record, Error> {
        let Self { batch, accepted: Accepted { index, offset, event } } = self;
        let Event { event_id, scenario_id, user_id, item_id, action_type, timestamp_ms, body, signal } = event;
        // A store may give a body back with other spaces or another order: the record is
        // the same.
        let body = serde_json::from_str::<Map<String, Value>>(&body).and_then(|body| serde_json::to_string(&body));
        let body = body.and_then(RawValue::from_string).map_err(|error| Error::invalid("body", error))?;
        let (tenant_id, batch, key) = (tenant.to_string(), format!("{batch:032x}"), user_id.clone());
        let written = Written {
            tenant_id,
            event_id,
            scenario_id,
            user_id,
            item_id,
            action_type,
            timestamp_ms,
            body,
            signal,
            batch,
            index,
            offset,
        };
        let payload = serde_json::to_vec(&written).map_err(|error| Error::invalid("event", error))?;
        Ok(Record::new(key, payload))
    }

    /// Reads a record of the tenant's topic. Fields that are not known are passed over.
    ///
    /// # Errors
    /// What is wrong with it: what does not read as a behaviour, or would not have been
    /// accepted as one at `now_ms`.
    pub fn decode(tenant: &Tenant, payload: &[u8], now_ms: u64) -> Result<Self, Unreadable> {
        let written: Written = serde_json::from_slice(payload).map_err(Unreadable::new)?;
        if written.tenant_id != tenant.as_str() {
            return Err(Unreadable::new("tenant_id: is not the topic's"));
        }
        let batch = batch(&written.batch)
            .ok_or_else(|| Unreadable::new(format_args!("batch: must be {BATCH_DIGITS} hexadecimal digits")))?;
        let index = written.index;
        if index as usize >= limits::EVENTS {
            return Err(Unreadable::new(format_args!("index: must be below {}, got {index}", limits::EVENTS)));
        }
        let event = Event {
            event_id: written.event_id,
            scenario_id: written.scenario_id,
            user_id: written.user_id,
            item_id: written.item_id,
            action_type: written.action_type,
            timestamp_ms: written.timestamp_ms,
            body: Box::<str>::from(written.body).into_string(),
            signal: written.signal,
        };
        let events = std::slice::from_ref(&event);
        check::check(events, &[Vec::new()], now_ms).map_err(|error| {
            let reason = error.to_string();
            Unreadable::new(reason.strip_prefix("events[0].").unwrap_or(&reason))
        })?;
        Ok(Self { batch, accepted: Accepted { index, offset: written.offset, event } })
    }
}

/// None for what [`Behavior::encode`] does not write.
fn batch(text: &str) -> Option<u128> {
    let digits = text.len() == BATCH_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    digits.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn tenant() -> Tenant {
        Tenant::new("acme").unwrap()
    }

    fn behavior(signal: Option<Signal>) -> Behavior {
        let event = Event {
            event_id: "e-1".to_owned(),
            scenario_id: "feed".to_owned(),
            user_id: "ann".to_owned(),
            item_id: "item_7".to_owned(),
            action_type: "like".to_owned(),
            timestamp_ms: NOW_MS,
            body: r#"{ "event_id": "e-1", "context": {"device_type": "möbile"} }"#.to_owned(),
            signal,
        };
        Behavior { batch: u128::from(NOW_MS) << 80 | 0xff, accepted: Accepted { index: 3, offset: 42, event } }
    }

    fn signal() -> Signal {
        Signal {
            weight: 3.0,
            hot_half_life_s: 86_400,
            profile_half_life_s: 1_209_600,
            known: true,
            preferences: vec![("category".to_owned(), "food".to_owned(), 0.1)],
        }
    }

    /// What other programs read: a change of it is a change of theirs.
    const GOLDEN: &str = concat!(
        r#"{"tenant_id":"acme","event_id":"e-1","scenario_id":"feed","user_id":"ann","item_id":"item_7","#,
        r#""action_type":"like","timestamp_ms":1700000000000,"#,
        r#""body":{"context":{"device_type":"möbile"},"event_id":"e-1"},"#,
        r#""signal":{"weight":3.0,"hot_half_life_s":86400,"profile_half_life_s":1209600,"known":true,"#,
        r#""preferences":[["category","food",0.1]]},"#,
        r#""batch":"018bcfe56800000000000000000000ff","index":3,"offset":42}"#
    );

    #[test]
    fn the_bytes_are_those_that_others_read() {
        let record = behavior(Some(signal())).encode(&tenant()).unwrap();
        assert_eq!(std::str::from_utf8(&record.payload).unwrap(), GOLDEN);
        assert_eq!((record.key, record.headers), (b"ann".to_vec(), vec![]));
        // The README shows the same.
        let readme = include_str!("../README.md");
        let shown = readme.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(shown), value(GOLDEN));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for signal in [None, Some(signal())] {
            let mut expected = behavior(signal);
            let record = expected.clone().encode(&tenant()).unwrap();
            assert_eq!(record.payload.windows(8).any(|bytes| bytes == b"\"signal\""), expected.has_signal());
            expected.accepted.event.body = r#"{"context":{"device_type":"möbile"},"event_id":"e-1"}"#.to_owned();
            assert_eq!(Behavior::decode(&tenant(), &record.payload, NOW_MS), Ok(expected.clone()));
            // From a later version, which says more.
            let more = String::from_utf8(record.payload).unwrap().replacen('{', r#"{"new":[1],"#, 1);
            assert_eq!(Behavior::decode(&tenant(), more.as_bytes(), NOW_MS), Ok(expected));
        }
    }

    impl Behavior {
        fn has_signal(&self) -> bool {
            self.accepted.event.signal.is_some()
        }
    }

    #[test]
    fn what_is_no_behaviour_is_refused_with_the_reason() {
        let refused = |payload: &[u8]| Behavior::decode(&tenant(), payload, NOW_MS).unwrap_err().to_string();
        let with = |from: &str, to: &str| {
            let changed = GOLDEN.replacen(from, to, 1);
            assert_ne!(changed, GOLDEN);
            refused(changed.as_bytes())
        };
        assert!(refused(b"").starts_with("EOF"));
        assert!(refused(b"\xff\xfe").contains("expected value"));
        assert!(refused(b"[]").contains("invalid length 0"), "{}", refused(b"[]"));
        assert!(refused(GOLDEN.get(..200).unwrap().as_bytes()).starts_with("EOF"));
        assert!(refused("[".repeat(1 << 20).as_bytes()).len() < 200);
        assert!(with(r#""user_id":"ann","#, "").starts_with("missing field `user_id`"));
        assert!(with(r#""user_id":"ann""#, r#""user_id":7"#).starts_with("invalid type: integer `7`"));
        let long = with(r#""index":3"#, &format!(r#""index":"{}""#, "x".repeat(1 << 20)));
        assert_eq!(long.len(), REASON_CHARACTERS);
        assert!(with(r#""offset":42"#, r#""offset":-1"#).starts_with("invalid value: integer `-1`"));
        assert!(with(r#""index":3"#, r#""index":3,"index":4"#).starts_with("duplicate field `index`"));
        assert!(with(r#""user_id":"ann""#, r#""user_id":"a b""#).starts_with("user-id: may hold"));
        assert!(with(r#""like""#, r#""""#).starts_with("action-type: must be 1 to"));
        assert!(with("1700000000000", "1800000000000").starts_with("timestamp-ms: lies more than"));
        assert!(with(r#"{"context":{"device_type":"möbile"},"event_id":"e-1"}"#, "[1]").starts_with("body: must be a"));
        let weight = with(r#""weight":3.0"#, r#""weight":1e13"#);
        assert!(weight.starts_with("signal: weight must be within"), "{weight}");
        assert!(with("86400", "0").starts_with("signal: half-life-s must be"));
        assert!(with("\"acme\"", "\"other\"").starts_with("tenant_id: is not"));
        assert!(with("018bcfe5", "018BCFE5").starts_with("batch: must be 32"));
        assert!(with("018bcfe5", "+18bcfe5").starts_with("batch: must be 32"));
        assert!(with("018bcfe5", "").starts_with("batch: must be 32"));
        assert!(with(r#""index":3"#, r#""index":1000"#).starts_with("index: must be below 1000"));
    }
}
