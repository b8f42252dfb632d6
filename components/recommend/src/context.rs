//! The request's `context` object as attributes: `{"geo":{"city":"Oslo"}}`
//! becomes `geo.city`, an array an attribute with several values.

use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use funnelweb_guest::{profile::values, types::Attribute};
use serde_json::{Map, Value};

/// Flattens a context.
pub(crate) fn flatten(context: &Map<String, Value>) -> Result<Vec<Attribute>, ApiError> {
    if context.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = serde_json::to_vec(context).map_or(usize::MAX, |json| json.len());
    if bytes > limits::CONTEXT_BYTES {
        return Err(invalid(
            "context",
            format!("must be at most {} bytes of JSON, got {bytes}", limits::CONTEXT_BYTES),
        ));
    }
    let mut attributes = Vec::new();
    object(context, "", &mut attributes)?;
    if attributes.len() > limits::CONTEXT_FIELDS {
        let message = format!("must have at most {} fields, got {}", limits::CONTEXT_FIELDS, attributes.len());
        return Err(invalid("context", message));
    }
    Ok(attributes)
}

fn object(fields: &Map<String, Value>, prefix: &str, out: &mut Vec<Attribute>) -> Result<(), ApiError> {
    for (name, value) in fields {
        let name = format!("{prefix}{name}");
        match value {
            Value::Object(inner) => object(inner, &format!("{name}."), out)?,
            Value::Null => {}
            _ => {
                let values = values(value)
                    .ok_or_else(|| invalid(&format!("context.{name}"), "an array here holds no arrays or objects"))?;
                out.push(Attribute { name, values });
            }
        }
    }
    Ok(())
}

fn invalid(field: &str, message: impl Into<String>) -> ApiError {
    ApiError::field(Code::InvalidField, field, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: Value) -> Result<Vec<(String, Vec<String>)>, Option<String>> {
        let Value::Object(context) = value else { panic!("an object") };
        let attributes = flatten(&context).map_err(|error| error.field)?;
        Ok(attributes.into_iter().map(|attribute| (attribute.name, attribute.values)).collect())
    }

    #[test]
    fn objects_and_arrays_are_flattened() {
        let flat = of(
            json!({"device_type": "mobile", "geo": {"city": "Oslo", "zip": 150}, "tags": ["a", true], "none": null}),
        );
        let expected = [
            ("device_type", vec!["mobile"]),
            ("geo.city", vec!["Oslo"]),
            ("geo.zip", vec!["150"]),
            ("tags", vec!["a", "true"]),
        ];
        assert_eq!(
            flat.unwrap(),
            expected.map(|(name, values)| (name.to_owned(), values.into_iter().map(str::to_owned).collect()))
        );
    }

    #[test]
    fn what_has_no_place_is_named() {
        assert_eq!(of(json!({"a": {"b": [[1]]}})), Err(Some("context.a.b".to_owned())));
        let bytes = |bytes: usize| of(json!({"a": "x".repeat(bytes - r#"{"a":""}"#.len())}));
        assert!(bytes(limits::CONTEXT_BYTES).is_ok());
        assert_eq!(bytes(limits::CONTEXT_BYTES + 1), Err(Some("context".to_owned())));
        let fields = |count: usize| of(Value::Object((0..count).map(|at| (format!("f{at}"), json!(1))).collect()));
        assert!(fields(limits::CONTEXT_FIELDS).is_ok());
        assert_eq!(fields(limits::CONTEXT_FIELDS + 1), Err(Some("context".to_owned())));
    }
}
