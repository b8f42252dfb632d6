//! A group's config over the scenario's.

use serde_json::{Map, Value};

use crate::{
    error::ApiError,
    scenario::{Config, config as invalid},
    wording,
};

/// A merge patch of a document: RFC 7386, section 2.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.as_str()).or_insert(Value::Null), change);
        }
    }
}

/// A config with these over it, checked as a whole, but for its stages' names and params.
///
/// # Errors
/// `invalid_config` with the path, which begins with `config`.
pub fn overlaid(config: &Value, overlays: &[&Map<String, Value>]) -> Result<Config, ApiError> {
    let mut whole = config.clone();
    for overlay in overlays {
        merge(&mut whole, &Value::Object((*overlay).clone()));
    }
    let config: Config = serde_path_to_error::deserialize(whole).map_err(|error| {
        let message = wording::in_plain_words(&error.inner().to_string());
        let within = Some(error.path().to_string()).filter(|path| path != ".");
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let path: Vec<&str> = std::iter::once("config").chain(within.as_deref()).chain(missing).collect();
        invalid(path.join("."), message)
    })?;
    config.check()?;
    Ok(config)
}
