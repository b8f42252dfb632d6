//! Merge patches (RFC 7386) of an item. The store merges; each rule of an item
//! is about one field, so a patch that keeps them leaves an item that does.

use funnelweb_core::error::ApiError;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::item::{Status, check_embedding, check_metadata, field, same};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch<'a> {
    item_id: Option<String>,
    scenario_id: Option<String>,
    #[serde(borrow, default, deserialize_with = "given")]
    metadata: Option<&'a RawValue>,
    /// Null takes it away.
    #[serde(borrow)]
    embedding: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "given")]
    status: Option<Status>,
}

/// A field that may be absent, but not null: it cannot be taken away.
fn given<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(reader: D) -> Result<Option<T>, D::Error> {
    T::deserialize(reader).map(Some)
}

/// Checks a patch of the item at this place; its text.
pub(crate) fn check<'a>(text: &'a [u8], scenario_id: &str, item_id: &str) -> Result<&'a str, ApiError> {
    let patch: Patch<'_> = crate::document(text)?;
    same("scenario_id", patch.scenario_id.as_deref(), scenario_id)?;
    same("item_id", patch.item_id.as_deref(), item_id)?;
    if let Some(metadata) = patch.metadata {
        check_metadata(metadata)?;
    }
    if let Some(embedding) = patch.embedding {
        check_embedding(embedding)?;
    }
    let _: Option<Status> = patch.status;
    std::str::from_utf8(text).map_err(|_| field("", "the body is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use funnelweb_core::error::Code;

    use super::*;

    #[test]
    fn patches_are_checked_field_by_field() {
        let check = |text: &'static str| check(text.as_bytes(), "s1", "i1");
        for fine in [
            "{}",
            r#"{"item_id":"i1","scenario_id":"s1"}"#,
            r#"{"metadata":{"category":null,"tags":null,"title":null,"x":{"y":1}}}"#,
            r#"{"embedding":null,"status":"inactive"}"#,
        ] {
            assert_eq!(check(fine), Ok(fine));
        }
        for (text, name) in [
            (r#"{"item_id":"i2"}"#, "item_id"),
            (r#"{"scenario_id":"s2"}"#, "scenario_id"),
            (r#"{"metadata":null}"#, "metadata"),
            (r#"{"metadata":[]}"#, "metadata"),
            (r#"{"metadata":{"tags":[1]}}"#, "metadata.tags[0]"),
            (r#"{"embedding":[]}"#, "embedding"),
            (r#"{"status":null}"#, "status"),
            (r#"{"status":"gone"}"#, "status"),
            (r#"{"created_at":"2026-01-01"}"#, "created_at"),
            (r#"{"title":"x"}"#, "title"),
        ] {
            let error = check(text).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (Code::InvalidField, Some(name)), "{text}: {error:?}");
        }
        assert_eq!(check("[]").unwrap_err().code, Code::InvalidField);
        assert_eq!(check("{").unwrap_err().code, Code::InvalidJson);
    }
}
