//! What a key and a body must be, and what is derived from a body.

use funnelweb_core::{limits, row::ItemRow, time};
use serde_json::{Map, Value};

use crate::store::{Collection, Error, Key};

/// Bytes that the store's own fields may add to a body.
pub const OWN_FIELDS_BYTES: usize = 256;

/// Checks a key; `name` is how the call names it.
///
/// # Errors
/// `invalid`, naming the key and the rule.
pub fn check_key(name: impl std::fmt::Display, collection: Collection, key: &Key) -> Result<(), Error> {
    Error::check_id(format_args!("{name}.scenario-id"), &key.scenario_id)?;
    Error::check_id(format_args!("{name}.id"), &key.id)?;
    if collection == Collection::Scenarios && key.scenario_id != key.id {
        return Err(Error::invalid(name, "scenario-id and id of a scenario must be the same"));
    }
    Ok(())
}

/// A body that was checked, and what is derived from it.
#[derive(Debug, Clone)]
pub struct Body {
    /// The document itself.
    pub object: Map<String, Value>,
    /// Empty when there is none.
    pub status: String,
    /// Items only: the time of creation that the body gives, if it is one.
    pub created_ms: Option<u64>,
    /// Items only: what ranking reads of it.
    pub row: Option<ItemRow>,
    /// Items only: under which terms it is found.
    pub terms: Vec<IndexTerm>,
}

/// One entry of an item in the index of terms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexTerm {
    /// Of which field.
    pub field: Field,
    /// The value.
    pub value: String,
}

/// A field that has an index; the number is the stored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Every item has this one, with an empty value.
    All = 0,
    /// `metadata.category`.
    Category = 1,
    /// `metadata.tags`.
    Tags = 2,
}

/// Reads a body's text.
///
/// # Errors
/// `invalid` when it is too long or no JSON.
pub fn parse(name: impl std::fmt::Display, text: &str) -> Result<Value, Error> {
    parse_within(name, text, limits::DOCUMENT_BYTES)
}

/// Reads the text of a body that a store has given, its own fields among it.
///
/// # Errors
/// `invalid` when it is too long or no JSON.
pub(crate) fn parse_walked(name: impl std::fmt::Display, text: &str) -> Result<Value, Error> {
    parse_within(name, text, limits::DOCUMENT_BYTES + OWN_FIELDS_BYTES)
}

fn parse_within(name: impl std::fmt::Display, text: &str, most: usize) -> Result<Value, Error> {
    if text.len() > most {
        return Err(Error::invalid(name, format_args!("must be at most {most} bytes, got {}", text.len())));
    }
    serde_json::from_str(text).map_err(|error| Error::invalid(name, error))
}

/// Reads a body that was checked when it was stored.
pub(crate) fn parse_stored(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

impl Body {
    /// Checks a document's content and derives what goes with it.
    ///
    /// # Errors
    /// `invalid`, naming the field and the rule.
    pub fn new(
        name: impl std::fmt::Display + Copy,
        collection: Collection,
        key: &Key,
        value: Value,
    ) -> Result<Self, Error> {
        if !depth_is_within(&value, limits::DOCUMENT_DEPTH) {
            return Err(Error::invalid(name, format_args!("must nest at most {} deep", limits::DOCUMENT_DEPTH)));
        }
        if !value.is_object() {
            return Err(Error::invalid(name, "must be a JSON object"));
        }
        let mut value = value;
        if collection == Collection::Items {
            if let Some(object) = value.as_object_mut() {
                object.entry("status").or_insert_with(|| "active".into());
            }
            check_item(name, &value)?;
        }
        let row = (collection == Collection::Items).then(|| {
            let mut row = ItemRow::from_document(&value);
            row.id.clone_from(&key.id);
            row
        });
        let terms = if row.is_some() { terms(&value) } else { Vec::new() };
        let Value::Object(object) = value else {
            return Err(Error::invalid(name, "must be a JSON object"));
        };
        let status = object.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
        let created_ms = if row.is_some() { object.get("created_at").and_then(to_ms) } else { None };
        Ok(Self { object, status, created_ms, row, terms })
    }

    /// Sets the store's own fields and gives the text to store.
    ///
    /// # Errors
    /// `invalid` when the document is too long.
    pub fn finish(&mut self, name: &str, created_ms: u64, updated_ms: u64) -> Result<String, Error> {
        self.object.insert("created_at".to_owned(), time::format_ms(created_ms).into());
        self.object.insert("updated_at".to_owned(), time::format_ms(updated_ms).into());
        if let Some(row) = &mut self.row {
            row.created_ms = created_ms;
            row.updated_ms = updated_ms;
        }
        let text = serde_json::to_string(&self.object).map_err(|error| Error::invalid(name, error))?;
        if text.len() > limits::DOCUMENT_BYTES + OWN_FIELDS_BYTES {
            let rule = format_args!("must be at most {} bytes, got {}", limits::DOCUMENT_BYTES, text.len());
            return Err(Error::invalid(name, rule));
        }
        Ok(text)
    }
}

/// A time as text or number.
fn to_ms(value: &Value) -> Option<u64> {
    value.as_str().and_then(time::parse_ms).or_else(|| value.as_f64().and_then(time::from_number))
}

fn check_item(name: impl std::fmt::Display, item: &Value) -> Result<(), Error> {
    let metadata = |field: &str| item.get("metadata").and_then(|metadata| metadata.get(field));
    if !item.get("status").is_none_or(Value::is_string) {
        return Err(Error::invalid(name, "`status` must be a string"));
    }
    let tags = metadata("tags").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if tags.len() > limits::ITEM_TAGS {
        let rule = format_args!("`metadata.tags` may hold {}, got {}", limits::ITEM_TAGS, tags.len());
        return Err(Error::invalid(name, rule));
    }
    let longest = tags.iter().chain(metadata("category")).filter_map(Value::as_str).map(str::len).max();
    if let Some(bytes) = longest.filter(|bytes| *bytes > limits::TERM_BYTES) {
        let rule = format_args!("a category or tag must be at most {} bytes, got {bytes}", limits::TERM_BYTES);
        return Err(Error::invalid(name, rule));
    }
    let values = item.get("embedding").and_then(Value::as_array).map_or(0, Vec::len);
    if values > limits::EMBEDDING_VALUES {
        let rule = format_args!("`embedding` may hold {} values, got {values}", limits::EMBEDDING_VALUES);
        return Err(Error::invalid(name, rule));
    }
    Ok(())
}

/// The terms under which an item is found, each once.
pub(crate) fn terms(item: &Value) -> Vec<IndexTerm> {
    let metadata = item.get("metadata");
    let category = metadata.and_then(|metadata| metadata.get("category")).into_iter();
    let tags = metadata.and_then(|metadata| metadata.get("tags"));
    let tags = tags.into_iter().flat_map(|tags| tags.as_array().map_or(std::slice::from_ref(tags), Vec::as_slice));
    let mut terms = vec![IndexTerm { field: Field::All, value: String::new() }];
    let texts = category.map(|value| (Field::Category, value)).chain(tags.map(|value| (Field::Tags, value)));
    terms.extend(texts.filter_map(|(field, value)| Some(IndexTerm { field, value: value.as_str()?.to_owned() })));
    terms.sort_unstable();
    terms.dedup();
    terms
}

fn depth_is_within(value: &Value, depth: usize) -> bool {
    let Some(below) = depth.checked_sub(1) else { return !(value.is_array() || value.is_object()) };
    match value {
        Value::Array(values) => values.iter().all(|value| depth_is_within(value, below)),
        Value::Object(object) => object.values().all(|value| depth_is_within(value, below)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn depth_counts_containers() {
        assert!(depth_is_within(&json!({"a": [1]}), 2));
        assert!(!depth_is_within(&json!({"a": [[1]]}), 2));
        assert!(depth_is_within(&json!(1), 0));
    }

    #[test]
    fn terms_are_strings_and_stand_once() {
        let term = |field, value: &str| IndexTerm { field, value: value.to_owned() };
        let item = json!({"metadata": {"category": "fun", "tags": ["b", "a", "b", 7]}});
        let all = [term(Field::All, ""), term(Field::Category, "fun"), term(Field::Tags, "a"), term(Field::Tags, "b")];
        assert_eq!(terms(&item), all);
        assert_eq!(terms(&json!({"metadata": 3})), [term(Field::All, "")]);
    }
}
