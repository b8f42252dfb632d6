//! An item as ranking reads it: the fields of its document, hashed and typed
//! once, so that a request for 500 candidates touches no JSON.
//!
//! A row is derived from the document and can always be derived again; stored
//! rows begin with [`VERSION`], and one of another version is derived anew.

use bincode::{Decode, Encode};
use serde_json::Value;

use crate::{id::value_hash, limits, time};

/// The first byte of an encoded row.
pub const VERSION: u8 = 1;

/// The hash under which a row keeps a field: `category`, `author.name`.
#[must_use]
pub fn field_hash(name: &str) -> u32 {
    value_hash(name)
}

/// One field of an item.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Cell {
    /// A number or boolean (0, 1), and the hash of its JSON spelling.
    Number {
        /// As in the document.
        value: f64,
        /// For use as a categorical value.
        hash: u32,
    },
    /// A string: its hash, and its time when it reads as one.
    Text {
        /// For use as a categorical value.
        hash: u32,
        /// Milliseconds since 1970.
        time_ms: Option<u64>,
    },
    /// An array of strings, numbers and booleans.
    Many(Vec<u32>),
}

/// The row of one item.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct ItemRow {
    /// The item's id.
    pub id: String,
    /// Whether its status is `active`.
    pub active: bool,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970.
    pub updated_ms: u64,
    /// By field hash, ascending.
    pub fields: Vec<(u32, Cell)>,
    /// Empty when the item has none.
    pub embedding: Vec<f32>,
}

impl ItemRow {
    /// The row of an item document (design §3.1: `item_id`, `metadata`,
    /// `embedding`, `status`, `created_at`, `updated_at`). What has no place in
    /// a row (null, nested arrays) is passed over.
    #[must_use]
    pub fn from_document(document: &Value) -> Self {
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut fields = Vec::new();
        if let Some(metadata) = document.get("metadata") {
            flatten(metadata, &mut String::new(), 0, &mut fields);
        }
        fields.sort_by_key(|(hash, _)| *hash);
        fields.dedup_by_key(|(hash, _)| *hash);
        let embedding = document.get("embedding").and_then(Value::as_array).map_or_else(Vec::new, |values| {
            values.iter().filter_map(Value::as_f64).map(|value| value as f32).collect()
        });
        Self {
            id: text("item_id").to_owned(),
            active: text("status") == "active",
            created_ms: time::parse_ms(text("created_at")).unwrap_or(0),
            updated_ms: time::parse_ms(text("updated_at")).unwrap_or(0),
            fields,
            embedding,
        }
    }

    /// The field whose [`field_hash`] is given.
    #[must_use]
    pub fn field(&self, hash: u32) -> Option<&Cell> {
        let at = self.fields.binary_search_by_key(&hash, |(hash, _)| *hash).ok()?;
        self.fields.get(at).map(|(_, cell)| cell)
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        // Encoding into memory fails for no value of this type.
        let _ = bincode::encode_into_std_write(self, &mut bytes, bincode::config::standard());
        bytes
    }

    /// Reads the stored form; None when it is of another version or damaged.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let config = bincode::config::standard().with_limit::<{ 4 * limits::DOCUMENT_BYTES }>();
        bincode::decode_from_slice(rest, config).ok().map(|(row, _)| row)
    }

    /// Bytes in memory, for bounding a cache.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let many: usize = self
            .fields
            .iter()
            .map(|(_, cell)| if let Cell::Many(values) = cell { 4 * values.capacity() } else { 0 })
            .sum();
        size_of::<Self>()
            + self.id.capacity()
            + self.fields.capacity() * size_of::<(u32, Cell)>()
            + many
            + 4 * self.embedding.capacity()
    }
}

impl Cell {
    /// As a numeric column has it; NaN when it is no number.
    #[must_use]
    pub fn number(&self) -> f32 {
        match self {
            Self::Number { value, .. } => *value as f32,
            Self::Text { .. } | Self::Many(_) => f32::NAN,
        }
    }

    /// As a categorical column has it: of several values the first, 0 for none.
    #[must_use]
    pub fn category(&self) -> u32 {
        self.values().first().copied().unwrap_or(0)
    }

    /// As a multi-categorical column has it.
    #[must_use]
    pub fn values(&self) -> &[u32] {
        match self {
            Self::Number { hash, .. } | Self::Text { hash, .. } => std::slice::from_ref(hash),
            Self::Many(hashes) => hashes,
        }
    }

    /// As a timestamp, in milliseconds since 1970.
    #[must_use]
    pub fn time_ms(&self) -> Option<u64> {
        match self {
            Self::Number { value, .. } => time::from_number(*value),
            Self::Text { time_ms, .. } => *time_ms,
            Self::Many(_) => None,
        }
    }
}

fn flatten(value: &Value, path: &mut String, depth: usize, out: &mut Vec<(u32, Cell)>) {
    if depth > limits::DOCUMENT_DEPTH {
        return;
    }
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                let length = path.len();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                flatten(inner, path, depth + 1, out);
                path.truncate(length);
            }
        }
        Value::Array(values) => {
            let hashes: Vec<u32> = values.iter().filter_map(scalar_hash).collect();
            if !hashes.is_empty() {
                out.push((field_hash(path), Cell::Many(hashes)));
            }
        }
        Value::String(text) => {
            // Only what begins as a date does is tried as one: a title is not.
            let time_ms =
                if text.len() >= 10 && text.as_bytes().get(4) == Some(&b'-') { time::parse_ms(text) } else { None };
            out.push((field_hash(path), Cell::Text { hash: value_hash(text), time_ms }));
        }
        Value::Number(number) => {
            if let (Some(value), Some(hash)) = (number.as_f64(), scalar_hash(value)) {
                out.push((field_hash(path), Cell::Number { value, hash }));
            }
        }
        Value::Bool(yes) => {
            let hash = value_hash(if *yes { "true" } else { "false" });
            out.push((field_hash(path), Cell::Number { value: f64::from(u8::from(*yes)), hash }));
        }
        Value::Null => {}
    }
}

fn scalar_hash(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => Some(value_hash(text)),
        Value::Number(number) => Some(value_hash(&number.to_string())),
        Value::Bool(yes) => Some(value_hash(if *yes { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row() -> ItemRow {
        ItemRow::from_document(&json!({
            "item_id": "v1", "status": "active",
            "created_at": "2026-01-01T00:00:00.000Z", "updated_at": "2026-01-02T00:00:00.000Z",
            "metadata": {
                "title": "Cats", "duration": 120, "category": "fun", "tags": ["a", "b"], "hd": true,
                "publish_time": "2026-01-01T06:00:00Z", "author": {"name": "Ann"}, "none": null
            },
            "embedding": [0.5, -1]
        }))
    }

    #[test]
    fn every_kind_of_field_has_its_cell() {
        let row = row();
        assert!(row.active);
        assert_eq!(row.field(field_hash("duration")).unwrap().number(), 120.0);
        assert_eq!(row.field(field_hash("category")).unwrap().category(), value_hash("fun"));
        assert_eq!(row.field(field_hash("author.name")).unwrap().category(), value_hash("Ann"));
        assert_eq!(row.field(field_hash("tags")).unwrap().values(), [value_hash("a"), value_hash("b")]);
        assert_eq!(row.field(field_hash("hd")).unwrap().number(), 1.0);
        assert_eq!(row.field(field_hash("publish_time")).unwrap().time_ms(), Some(row.created_ms + 6 * 3_600_000));
        assert!(row.field(field_hash("title")).unwrap().number().is_nan());
        assert_eq!(row.field(field_hash("none")), None);
        assert_eq!(row.embedding, [0.5, -1.0]);
    }

    #[test]
    fn reads_back_and_refuses_other_versions() {
        let encoded = row().encode();
        assert_eq!(ItemRow::decode(&encoded), Some(row()));
        assert_eq!(ItemRow::decode(&encoded[..encoded.len() - 1]), None);
        let mut other = encoded;
        other[0] = VERSION + 1;
        assert_eq!(ItemRow::decode(&other), None);
        assert_eq!(ItemRow::decode(&[]), None);
    }
}
