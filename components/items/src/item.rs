//! One item: read, checked field by field, and put together again as the store
//! keeps it. What it carries (`metadata`, `embedding`) goes through as it was
//! written: it is read once to be checked, and never written anew.

use std::borrow::Cow;

use funnelweb_core::{
    error::{ApiError, Code},
    id, limits, time,
};
use funnelweb_guest::http::json;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An item ready to be stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) id: String,
    /// A JSON object.
    pub(crate) body: String,
}

/// Where an item goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) scenario_id: &'a str,
    /// Of the path; none where the body says it.
    pub(crate) item_id: Option<&'a str>,
}

/// An item as a client writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written<'a> {
    pub(crate) item_id: Option<String>,
    pub(crate) scenario_id: Option<String>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    embedding: Option<&'a RawValue>,
    status: Option<Status>,
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
    /// Set by the store; may stand here, so that what was read can be written
    /// back.
    #[serde(rename = "updated_at")]
    _updated_at: Option<serde::de::IgnoredAny>,
}

/// Whether an item is recommended.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    #[default]
    Active,
    Inactive,
}

/// The fields of `metadata` that the product itself reads.
#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    category: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tags: Option<Vec<Cow<'a, str>>>,
}

/// Reads an item and checks all of it.
pub(crate) fn read(text: &[u8], place: Place<'_>) -> Result<Item, ApiError> {
    let written: Written<'_> = crate::document(text)?;
    let id = written.id(place)?;
    let metadata = written.metadata.map_or("{}", RawValue::get);
    if let Some(raw) = written.metadata {
        check_metadata(raw)?;
    }
    if let Some(raw) = written.embedding {
        check_embedding(raw)?;
    }
    let status = match written.status.unwrap_or_default() {
        Status::Active => "active",
        Status::Inactive => "inactive",
    };
    let scenario_id = place.scenario_id;
    // Ids hold nothing that JSON escapes.
    let mut body = String::with_capacity(text.len() + 2 * limits::ID_BYTES);
    for part in [r#"{"item_id":""#, &id, r#"","scenario_id":""#, scenario_id, r#"","metadata":"#, metadata] {
        body.push_str(part);
    }
    if let Some(embedding) = written.embedding {
        body.push_str(r#","embedding":"#);
        body.push_str(embedding.get());
    }
    for part in [r#","status":""#, status, "\""] {
        body.push_str(part);
    }
    if let Some(raw) = written.created_at {
        for part in [r#","created_at":""#, &time::format_ms(read_time("created_at", raw)?), "\""] {
            body.push_str(part);
        }
    }
    body.push('}');
    if body.len() > limits::DOCUMENT_BYTES {
        let message = format!("the item has {} bytes, more than the limit of {}", body.len(), limits::DOCUMENT_BYTES);
        return Err(ApiError::new(Code::BodyTooLarge, message));
    }
    Ok(Item { id, body })
}

impl Written<'_> {
    /// The item's id, which the path or the body says, or both alike.
    fn id(&self, place: Place<'_>) -> Result<String, ApiError> {
        same("scenario_id", self.scenario_id.as_deref(), place.scenario_id)?;
        if let Some(item_id) = place.item_id {
            same("item_id", self.item_id.as_deref(), item_id)?;
            return Ok(item_id.to_owned());
        }
        let item_id = self.item_id.as_deref().ok_or_else(|| field("item_id", "missing field `item_id`"))?;
        id::check(item_id).map_err(|error| field("item_id", error.to_string()))?;
        Ok(item_id.to_owned())
    }
}

/// Refuses an id that differs from the path's.
pub(crate) fn same(name: &str, given: Option<&str>, path: &str) -> Result<(), ApiError> {
    match given {
        Some(given) if given != path => Err(field(name, format!("must be the `{path}` of the path, got `{given}`"))),
        _ => Ok(()),
    }
}

/// `metadata` is an object; `category` in it a string, `tags` a list of strings.
pub(crate) fn check_metadata(raw: &RawValue) -> Result<(), ApiError> {
    // A derived struct would also be read from an array.
    if !raw.get().starts_with('{') {
        return Err(field("metadata", "must be an object"));
    }
    let metadata: Metadata<'_> = json::part("metadata", raw)?;
    if let Some(category) = &metadata.category {
        check_term("metadata.category", category)?;
    }
    let tags = metadata.tags.unwrap_or_default();
    if tags.len() > limits::ITEM_TAGS {
        let message = format!("must hold at most {} tags, got {}", limits::ITEM_TAGS, tags.len());
        return Err(field("metadata.tags", message));
    }
    for (at, tag) in tags.iter().enumerate() {
        check_term(&format!("metadata.tags[{at}]"), tag)?;
    }
    Ok(())
}

fn check_term(name: &str, term: &str) -> Result<(), ApiError> {
    if (1..=limits::TERM_BYTES).contains(&term.len()) {
        return Ok(());
    }
    Err(field(name, format!("must be 1 to {} bytes long, got {}", limits::TERM_BYTES, term.len())))
}

/// `embedding` is a list of 1 to [`limits::EMBEDDING_VALUES`] numbers that `f32`
/// holds.
pub(crate) fn check_embedding(raw: &RawValue) -> Result<(), ApiError> {
    let values: Vec<f32> = json::part("embedding", raw)?;
    if !(1..=limits::EMBEDDING_VALUES).contains(&values.len()) {
        let message = format!("must hold 1 to {} numbers, got {}", limits::EMBEDDING_VALUES, values.len());
        return Err(field("embedding", message));
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(field(&format!("embedding[{at}]"), "is too large for a 32-bit float")),
    }
}

fn read_time(name: &str, raw: &RawValue) -> Result<u64, ApiError> {
    let ms = match serde_json::from_str(raw.get()) {
        Ok(serde_json::Value::String(text)) => time::parse_ms(&text),
        Ok(serde_json::Value::Number(number)) => number.as_f64().and_then(time::from_number),
        _ => None,
    };
    ms.ok_or_else(|| field(name, format!("must be RFC 3339 or seconds or milliseconds since 1970, got {}", raw.get())))
}

pub(crate) fn field(name: &str, message: impl Into<String>) -> ApiError {
    ApiError::field(Code::InvalidField, name, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Item, ApiError> {
        read(text.as_bytes(), Place { scenario_id: "s1", item_id: None })
    }

    #[test]
    fn what_it_carries_goes_through_as_written() {
        let item = one(r#"{"item_id":"i1","metadata":{"title":"é \n","n":1.50,"tags":["a"],"category":"c"},
                "embedding":[0.1, -2e-3],"status":"inactive","created_at":1767225600,"updated_at":"x"}"#)
        .unwrap();
        assert_eq!(item.id, "i1");
        assert_eq!(
            item.body,
            r#"{"item_id":"i1","scenario_id":"s1","metadata":{"title":"é \n","n":1.50,"tags":["a"],"category":"c"},"embedding":[0.1, -2e-3],"status":"inactive","created_at":"2026-01-01T00:00:00.000Z"}"#
        );
        let least = one(r#"{"item_id":"i1"}"#).unwrap();
        assert_eq!(least.body, r#"{"item_id":"i1","scenario_id":"s1","metadata":{},"status":"active"}"#);
    }

    #[test]
    fn every_fault_names_its_field() {
        let tags =
            |count: usize| format!(r#"{{"item_id":"i","metadata":{{"tags":["{}"]}}}}"#, vec!["t"; count].join("\",\""));
        let embedding = |count: usize| format!(r#"{{"item_id":"i","embedding":[{}]}}"#, vec!["1"; count].join(","));
        for (text, name) in [
            (r"{}".to_owned(), "item_id"),
            (r#"{"item_id":null}"#.to_owned(), "item_id"),
            (r#"{"item_id":7}"#.to_owned(), "item_id"),
            (r#"{"item_id":""}"#.to_owned(), "item_id"),
            (r#"{"item_id":"a/b"}"#.to_owned(), "item_id"),
            (r#"{"item_id":"a\u0000"}"#.to_owned(), "item_id"),
            (r#"{"item_id":".."}"#.to_owned(), "item_id"),
            (format!(r#"{{"item_id":"{}"}}"#, "x".repeat(129)), "item_id"),
            (r#"{"item_id":"i","title":"x"}"#.to_owned(), "title"),
            (r#"{"item_id":"i","scenario_id":"s2"}"#.to_owned(), "scenario_id"),
            (r#"{"item_id":"i","scenario_id":2}"#.to_owned(), "scenario_id"),
            (r#"{"item_id":"i","metadata":[]}"#.to_owned(), "metadata"),
            (r#"{"item_id":"i","metadata":"x"}"#.to_owned(), "metadata"),
            (r#"{"item_id":"i","metadata":{"category":7}}"#.to_owned(), "metadata.category"),
            (r#"{"item_id":"i","metadata":{"category":""}}"#.to_owned(), "metadata.category"),
            (format!(r#"{{"item_id":"i","metadata":{{"category":"{}"}}}}"#, "x".repeat(257)), "metadata.category"),
            (r#"{"item_id":"i","metadata":{"tags":"a"}}"#.to_owned(), "metadata.tags"),
            (r#"{"item_id":"i","metadata":{"tags":["a",1]}}"#.to_owned(), "metadata.tags[1]"),
            (r#"{"item_id":"i","metadata":{"tags":["a",""]}}"#.to_owned(), "metadata.tags[1]"),
            (tags(65), "metadata.tags"),
            (r#"{"item_id":"i","metadata":{"a":{"b":1e999}}}"#.to_owned(), "metadata.a.b"),
            (r#"{"item_id":"i","embedding":"x"}"#.to_owned(), "embedding"),
            (r#"{"item_id":"i","embedding":[]}"#.to_owned(), "embedding"),
            (r#"{"item_id":"i","embedding":[1,"2"]}"#.to_owned(), "embedding[1]"),
            (r#"{"item_id":"i","embedding":[1,null]}"#.to_owned(), "embedding[1]"),
            (r#"{"item_id":"i","embedding":[1,1e39]}"#.to_owned(), "embedding[1]"),
            (r#"{"item_id":"i","embedding":[1,1e999]}"#.to_owned(), "embedding[1]"),
            (embedding(1025), "embedding"),
            (r#"{"item_id":"i","status":"gone"}"#.to_owned(), "status"),
            (r#"{"item_id":"i","status":1}"#.to_owned(), "status"),
            (r#"{"item_id":"i","created_at":"soon"}"#.to_owned(), "created_at"),
            (r#"{"item_id":"i","created_at":-1}"#.to_owned(), "created_at"),
            (r#"{"item_id":"i","created_at":[]}"#.to_owned(), "created_at"),
        ] {
            let error = one(&text).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (Code::InvalidField, Some(name)), "{text}: {error:?}");
        }
        assert!(one(&tags(64)).is_ok());
        assert!(one(&embedding(1024)).is_ok());
    }

    #[test]
    fn what_is_no_item_at_all() {
        for text in ["", "{", r#"{"item_id":"i","metadata":{"a":NaN}}"#, r#"{"item_id":"i"} {}"#] {
            assert_eq!(one(text).unwrap_err().code, Code::InvalidJson, "{text}");
        }
        for text in ["1", "null", "\"x\"", "[\"i\",null,null,null,null,null,null]", r#"{"item_id":"i","item_id":"j"}"#]
        {
            assert_eq!(one(text).unwrap_err().code, Code::InvalidField, "{text}");
        }
        let large = format!(r#"{{"item_id":"i","metadata":{{"t":"{}"}}}}"#, "x".repeat(limits::DOCUMENT_BYTES));
        assert_eq!(one(&large).unwrap_err().code, Code::BodyTooLarge);
        let deep = format!(r#"{{"item_id":"i","metadata":{{"t":{}{}}}}}"#, "[".repeat(31), "]".repeat(31));
        assert_eq!(one(&deep).unwrap_err().code, Code::InvalidField);
    }

    #[test]
    fn the_path_s_id_counts() {
        let put = |text: &str| read(text.as_bytes(), Place { scenario_id: "s1", item_id: Some("i1") });
        assert_eq!(put("{}").unwrap().id, "i1");
        assert_eq!(put(r#"{"item_id":"i1","scenario_id":"s1"}"#).unwrap().id, "i1");
        assert_eq!(put(r#"{"item_id":"i2"}"#).unwrap_err().field.as_deref(), Some("item_id"));
    }
}
