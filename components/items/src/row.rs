//! A CSV record as an item. The columns `item_id`, `scenario_id`, `status`,
//! `created_at`, `updated_at` and `embedding` are the item's own; every other one
//! is a field of its `metadata`:
//!
//! - an empty cell is left out;
//! - `tags` is split at `|`; `category` and `title` are text, whatever they hold;
//! - `true` and `false` are booleans, a number in JSON's spelling is a number
//!   (`007`, `+1`, `1.` and `NaN` are text), anything else is text;
//! - `embedding` is numbers between spaces, `|` or `;`, or a JSON array.

use funnelweb_guest::http::csv::Fields;
use serde_json::{Map, Value};

/// Metadata that is text even where it looks like a number.
const TEXT: [&str; 2] = ["category", "title"];

/// The item, as JSON, of a record under these column names. It is checked where
/// every item is.
pub(crate) fn to_json(names: &[String], fields: Fields<'_>) -> String {
    let mut item = Map::new();
    let mut metadata = Map::new();
    for (name, cell) in names.iter().zip(fields.iter()) {
        let cell = cell.trim();
        if cell.is_empty() {
            continue;
        }
        match name.as_str() {
            "item_id" | "scenario_id" | "status" | "created_at" | "updated_at" => {
                item.insert(name.clone(), cell.into());
            }
            "embedding" => {
                item.insert(name.clone(), embedding(cell));
            }
            "tags" => {
                let tags = cell.split('|').map(str::trim).filter(|tag| !tag.is_empty());
                metadata.insert(name.clone(), tags.map(Value::from).collect());
            }
            text if TEXT.contains(&text) => {
                metadata.insert(name.clone(), cell.into());
            }
            _ => {
                metadata.insert(name.clone(), value(cell));
            }
        }
    }
    item.insert("metadata".to_owned(), metadata.into());
    Value::Object(item).to_string()
}

fn value(cell: &str) -> Value {
    match cell {
        "true" => true.into(),
        "false" => false.into(),
        _ if cell.starts_with(|first: char| first.is_ascii_digit() || first == '-') => {
            serde_json::from_str(cell).map_or_else(|_| cell.into(), Value::Number)
        }
        _ => cell.into(),
    }
}

/// A value that is no number stays text, for the item's check to refuse.
fn embedding(cell: &str) -> Value {
    if cell.starts_with('[') {
        return serde_json::from_str(cell).unwrap_or_else(|_| cell.into());
    }
    cell.split([' ', '|', ';']).filter(|part| !part.is_empty()).map(value).collect()
}

#[cfg(test)]
mod tests {
    use funnelweb_guest::http::csv::{Record, Records};
    use serde_json::json;

    use super::*;

    fn items(text: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let mut each = |_: u64, record: Record<'_>| {
            if let Record::Fields(names, fields) = record {
                found.push(serde_json::from_str(&to_json(names, fields)).unwrap());
            }
            Ok(())
        };
        let mut records = Records::new(1000, 20);
        records.push(text.as_bytes(), &mut each).unwrap();
        records.finish(&mut each).unwrap();
        found
    }

    #[test]
    fn columns_are_the_item_s_own_or_metadata() {
        let found = items(
            "item_id,status,created_at,embedding,tags,category,title,year,ok,code\n\
             i1,inactive,2026-01-01,0.5 -1|2,a| b |,7,1984,1999,true,007\n\
             i2,,,\"[1,2]\",,,\"x, y\",-1.5e3,,\n",
        );
        assert_eq!(
            found,
            [
                json!({"item_id": "i1", "status": "inactive", "created_at": "2026-01-01", "embedding": [0.5, -1, 2],
                       "metadata": {"tags": ["a", "b"], "category": "7", "title": "1984", "year": 1999, "ok": true,
                                    "code": "007"}}),
                json!({"item_id": "i2", "embedding": [1, 2], "metadata": {"title": "x, y", "year": -1500.0}}),
            ]
        );
    }

    #[test]
    fn what_looks_like_a_number_and_is_none_is_text() {
        for text in ["1.", "+1", "01", "NaN", "inf", "1e999", "-", "1 2", "0x1", ".5"] {
            assert_eq!(value(text), json!(text));
        }
        assert_eq!(value("9007199254740993"), json!(9_007_199_254_740_993_u64));
        assert_eq!(embedding("1 x"), json!([1, "x"]));
        assert_eq!(embedding("[1"), json!("[1"));
    }
}
