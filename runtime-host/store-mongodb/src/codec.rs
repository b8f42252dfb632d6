//! JSON bodies as BSON documents and back.
//!
//! What the design shows is what is stored: numbers as numbers, the times that it
//! shows as ISODate as dates, the key beside the body's own fields. What BSON or
//! a server has no room for is written so that it can be told apart again:
//!
//! | in JSON | in BSON |
//! |---|---|
//! | a name with `.`, a leading `$`, a NUL, or `％` | each such character as `％` and two hex digits |
//! | a body's own `_id`, `_fw`, `tenant_id`, or a key field that is not the key's | the name behind `％_` |
//! | an integer above `i64::MAX` | `{"％u64": "18446744073709551615"}` |
//! | an array in an array, where the server takes none | `{"％list": […]}` |
//! | a date that is spelled differently | a date, and the spelling in `_fw.spelled` |
//!
//! `％` is the full-width percent sign, U+FF05, which no name has by accident.

use std::borrow::Cow;

use bson::{Bson, Document, doc};
use funnelweb_core::time;
use serde_json::{Map, Number, Value};

/// The one field that is the store's own.
pub(crate) const OWN: &str = "_fw";
/// Names that a document has beside its key and its body.
const RESERVED: [&str; 3] = ["_id", OWN, "tenant_id"];
const ESCAPE: char = '％';
const U64: &str = "％u64";
const LIST: &str = "％list";

/// Where a document goes: what stands in front of its body and which of its
/// fields are dates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// Key fields and their values; they are in the document whether the body has
    /// them or not.
    pub(crate) key: &'a [(&'a str, &'a str)],
    /// A date that is part of the document in the same way.
    pub(crate) at: Option<(&'a str, u64)>,
    /// Fields at the top that are stored as dates, when they are times.
    pub(crate) dates: &'a [&'a str],
    /// Whether the server takes arrays in arrays.
    pub(crate) nested_arrays: bool,
}

impl Frame<'_> {
    /// Adds the key and the body to `document`, and what it takes to read the
    /// body back to `own`.
    pub(crate) fn encode(&self, body: &Map<String, Value>, document: &mut Document, own: &mut Document) {
        let mut added = Vec::new();
        for (name, value) in self.key {
            document.insert(*name, *value);
            if body.get(*name).and_then(Value::as_str) != Some(*value) {
                added.push(Bson::String((*name).to_owned()));
            }
        }
        let mut spelled = Document::new();
        if let Some((name, ms)) = self.at {
            document.insert(name, date(ms));
            if body.get(name).and_then(to_ms) != Some(ms) {
                added.push(Bson::String(name.to_owned()));
            }
        }
        for (name, value) in body {
            let name = name.as_str();
            let of_key = self.key.iter().find(|(key, _)| *key == name);
            let taken = RESERVED.contains(&name) || of_key.is_some() || self.at.is_some_and(|(at, _)| at == name);
            if of_key.is_some_and(|(_, key)| value.as_str() == Some(*key)) {
                continue;
            }
            let time = to_ms(value).filter(|ms| match self.at {
                Some((at, own_ms)) if at == name => own_ms == *ms,
                _ => self.dates.contains(&name),
            });
            match time {
                Some(ms) => {
                    document.insert(name, date(ms));
                    if value.as_str() != Some(&time::format_ms(ms)) {
                        spelled.insert(name, self.to_bson(value));
                    }
                }
                None if taken => {
                    document.insert(format!("{ESCAPE}_{name}"), self.to_bson(value));
                }
                None => {
                    document.insert(escape(name), self.to_bson(value));
                }
            }
        }
        if !added.is_empty() {
            own.insert("added", added);
        }
        if !spelled.is_empty() {
            own.insert("spelled", spelled);
        }
    }

    fn to_bson(self, value: &Value) -> Bson {
        match value {
            Value::Null => Bson::Null,
            Value::Bool(yes) => Bson::Boolean(*yes),
            Value::Number(number) => number_to_bson(number),
            Value::String(text) => Bson::String(text.clone()),
            Value::Array(values) => Bson::Array(values.iter().map(|value| self.element(value)).collect()),
            Value::Object(object) => {
                let fields = object.iter().map(|(name, value)| (escape(name).into_owned(), self.to_bson(value)));
                Bson::Document(fields.collect())
            }
        }
    }

    fn element(self, value: &Value) -> Bson {
        match self.to_bson(value) {
            list @ Bson::Array(_) if !self.nested_arrays => Bson::Document(doc! { LIST: list }),
            other => other,
        }
    }
}

/// The body of a stored document.
pub(crate) fn decode(document: Document) -> Map<String, Value> {
    let own = document.get_document(OWN).ok();
    let added = own.and_then(|own| own.get_array("added").ok()).cloned().unwrap_or_default();
    let spelled = own.and_then(|own| own.get_document("spelled").ok()).cloned().unwrap_or_default();
    let mut body = Map::new();
    for (name, value) in document {
        if RESERVED.contains(&name.as_str()) || added.iter().any(|added| added.as_str() == Some(&name)) {
            continue;
        }
        let value = match (value, spelled.get(&name)) {
            // Unless something else changed the date since.
            (Bson::DateTime(at), Some(spelling)) => {
                let spelling = from_bson(spelling.clone());
                let same = to_ms(&spelling).and_then(|ms| i64::try_from(ms).ok()) == Some(at.timestamp_millis());
                if same { spelling } else { from_bson(Bson::DateTime(at)) }
            }
            (value, _) => from_bson(value),
        };
        body.insert(unescape(name), value);
    }
    body
}

/// A time as BSON has it.
pub(crate) fn date(ms: u64) -> Bson {
    Bson::DateTime(bson::DateTime::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)))
}

/// A time as text or number.
fn to_ms(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => time::parse_ms(text),
        Value::Number(number) => number.as_f64().and_then(time::from_number),
        _ => None,
    }
}

fn number_to_bson(number: &Number) -> Bson {
    if let Some(integer) = number.as_i64() {
        // `120` in the shell, not `Long(120)`.
        return i32::try_from(integer).map_or(Bson::Int64(integer), Bson::Int32);
    }
    if number.is_u64() {
        return Bson::Document(doc! { U64: number.to_string() });
    }
    Bson::Double(number.as_f64().unwrap_or(0.0))
}

fn from_bson(value: Bson) -> Value {
    match value {
        Bson::Null | Bson::Undefined => Value::Null,
        Bson::Boolean(yes) => Value::Bool(yes),
        Bson::Int32(number) => number.into(),
        Bson::Int64(number) => number.into(),
        Bson::Double(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Bson::String(text) | Bson::Symbol(text) => Value::String(text),
        Bson::DateTime(at) => time::format_ms(u64::try_from(at.timestamp_millis()).unwrap_or(0)).into(),
        Bson::Array(values) => Value::Array(values.into_iter().map(from_bson).collect()),
        Bson::Document(document) => from_document(document),
        // We write none of the rest; another program may have.
        Bson::ObjectId(id) => Value::String(id.to_hex()),
        other => Value::String(other.to_string()),
    }
}

fn from_document(mut document: Document) -> Value {
    if document.len() == 1 {
        if let Some(number) = document.get_str(U64).ok().and_then(|text| text.parse::<u64>().ok()) {
            return number.into();
        }
        if let Some(list @ Bson::Array(_)) = document.get_mut(LIST).map(std::mem::take) {
            return from_bson(list);
        }
    }
    Value::Object(document.into_iter().map(|(name, value)| (unescape(name), from_bson(value))).collect())
}

fn escape(name: &str) -> Cow<'_, str> {
    let is_special =
        |at: usize, character: char| matches!(character, '.' | '\0' | ESCAPE) || character == '$' && at == 0;
    if !name.char_indices().any(|(at, character)| is_special(at, character)) {
        return Cow::Borrowed(name);
    }
    let mut escaped = String::with_capacity(name.len() + 8);
    for (at, character) in name.char_indices() {
        match character {
            // Its low byte stands for it, as nothing else has that one.
            ESCAPE => escaped.push_str("％05"),
            _ if is_special(at, character) => escaped.push_str(&format!("{ESCAPE}{:02x}", character as u32)),
            _ => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

fn unescape(name: String) -> String {
    if !name.contains(ESCAPE) {
        return name;
    }
    if let Some(rest) = name.strip_prefix("％_") {
        return rest.to_owned();
    }
    let mut parts = name.split(ESCAPE);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match part.get(..2) {
            Some("2e") => ('.', part.get(2..)),
            Some("24") => ('$', part.get(2..)),
            Some("00") => ('\0', part.get(2..)),
            Some("05") => (ESCAPE, part.get(2..)),
            // Not one of ours.
            _ => (ESCAPE, Some(part)),
        };
        plain.push(character);
        plain.push_str(rest.unwrap_or_default());
    }
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &[(&str, &str)] = &[("scenario_id", "feed"), ("item_id", "i1")];

    fn there_and_back(body: &Value, nested_arrays: bool) -> Document {
        let frame = Frame { key: KEY, at: None, dates: &["created_at"], nested_arrays };
        let (mut document, mut own) = (doc! { "_id": 1, "tenant_id": "acme" }, Document::new());
        frame.encode(body.as_object().unwrap(), &mut document, &mut own);
        document.insert(OWN, own);
        // As a server would have it.
        let read = Document::from_reader(document.to_vec().unwrap().as_slice()).unwrap();
        let decoded = Value::Object(decode(read));
        assert_eq!(decoded.to_string(), body.to_string());
        document
    }

    #[test]
    fn every_json_value_comes_back_as_it_was() {
        for nested_arrays in [true, false] {
            let body = json!({
                "n": [0, -1, 2_147_483_648_i64, i64::MIN, i64::MAX, u64::MAX, 1.0, 0.1, 5e-324, 1.797e308, -2.5],
                "item_id": "i1", "scenario_id": "other", "tenant_id": 7, "_id": {"a": null}, "_fw": {"x": 1},
                "$set": {"a.b": 1, ".": 2, "$": 3, "％": 4, "％24": 5, "": 6, "a$": 7, "nul\0": "a\0b"},
                "％_id": true, "％u64": "5", "deep": {"％u64": "5", "％list": [1]}, "list": {"％list": 3},
                "arrays": [[1, [2, {}]], [], [[[]]]], "ünï": "🕷", "created_at": "2026-01-01T00:00:00.000Z",
            });
            there_and_back(&body, nested_arrays);
        }
    }

    #[test]
    fn it_looks_as_the_design_shows() {
        let body = json!({"item_id": "i1", "metadata": {"duration": 120}, "created_at": "2026-01-01T00:00:00.000Z"});
        let stored = there_and_back(&body, true);
        let expected = doc! {
            "_id": 1, "tenant_id": "acme", "scenario_id": "feed", "item_id": "i1",
            "created_at": date(1_767_225_600_000), "metadata": {"duration": 120},
            "_fw": {"added": ["scenario_id"]},
        };
        assert_eq!(stored, expected);
    }

    #[test]
    fn a_date_of_the_document_s_own_stands_beside_the_body_s() {
        let frame = Frame { key: &[], at: Some(("timestamp", 1000)), dates: &[], nested_arrays: true };
        for body in [json!({}), json!({"timestamp": 5}), json!({"timestamp": 1}), json!({"timestamp": "1970-01-02"})] {
            let (mut document, mut own) = (Document::new(), Document::new());
            frame.encode(body.as_object().unwrap(), &mut document, &mut own);
            assert_eq!(document.get("timestamp"), Some(&date(1000)));
            document.insert(OWN, own);
            assert_eq!(Value::Object(decode(document)), body);
        }
    }

    #[test]
    fn a_date_keeps_its_spelling_until_it_is_changed() {
        for spelling in [json!("2026-01-01"), json!(1_767_225_600), json!("2026-01-01T01:00:00+01:00")] {
            let mut stored = there_and_back(&json!({"created_at": spelling}), true);
            stored.insert("created_at", date(0));
            assert_eq!(decode(stored).get("created_at"), Some(&json!("1970-01-01T00:00:00.000Z")));
        }
        there_and_back(&json!({"created_at": "tomorrow"}), true);
    }
}
