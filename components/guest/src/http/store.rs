//! What endpoints over documents do alike: write one under a condition, read a
//! page, find the scenario that a request is about.

use funnelweb_core::error::{ApiError, Code};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::version;
use crate::{
    documents::{self, Collection, Document, Key, Page, Precondition, Query, WriteError},
    errors::Error,
};

/// How often a change is tried again that another one came before.
const ATTEMPTS: usize = 5;

/// The key of a scenario's config.
#[must_use]
pub fn scenario_key(scenario_id: &str) -> Key {
    Key { scenario_id: scenario_id.to_owned(), id: scenario_id.to_owned() }
}

/// The config of a scenario, which must exist.
///
/// # Errors
/// `scenario_not_found`, or that of the store.
pub fn scenario(scenario_id: &str) -> Result<Document, ApiError> {
    documents::get(Collection::Scenarios, &scenario_key(scenario_id))?.ok_or_else(|| no_scenario(scenario_id))
}

/// The error that a scenario does not exist.
#[must_use]
pub fn no_scenario(scenario_id: &str) -> ApiError {
    ApiError::field(Code::ScenarioNotFound, "scenario_id", format!("no scenario `{scenario_id}`"))
}

/// Writes a document, whether it exists or not, if the condition holds; whether
/// it is new.
///
/// # Errors
/// `version_conflict`, or that of the store.
pub fn put(collection: Collection, key: &Key, text: &str, when: Precondition) -> Result<bool, ApiError> {
    let write = |when| documents::replace(collection, key, text, when);
    if matches!(when, Precondition::Absent | Precondition::None) {
        match write(Precondition::Absent) {
            Ok(_) => return Ok(true),
            Err(WriteError::Conflict(_)) if matches!(when, Precondition::None) => {}
            Err(other) => return Err(version::write_error(other, || version::conflict(0))),
        }
    }
    write(when).map_err(|error| version::write_error(error, || version::conflict(0)))?;
    Ok(false)
}

/// Writes a document, whether it exists or not, if the condition holds; whether it is new.
/// `make` gets its text and gives the new one, or none for no change, and is called again when
/// another write came between.
///
/// # Errors
/// That of `make`, `version_conflict`, or that of the store.
pub fn rewrite(
    collection: Collection,
    key: &Key,
    when: Precondition,
    make: impl Fn(Option<&str>) -> Result<Option<String>, ApiError>,
) -> Result<bool, ApiError> {
    for _ in 0..ATTEMPTS {
        let found = documents::get(collection, key)?;
        let version = found.as_ref().map_or(0, |found| found.version);
        let holds = match when {
            Precondition::Version(wanted) => wanted == version,
            Precondition::Absent => found.is_none(),
            Precondition::Exists => found.is_some(),
            Precondition::None => true,
        };
        if !holds {
            return Err(version::conflict(version));
        }
        let Some(text) = make(found.as_ref().map(|found| found.body.as_str()))? else { return Ok(false) };
        let as_found = if found.is_some() { Precondition::Version(version) } else { Precondition::Absent };
        match documents::replace(collection, key, &text, as_found) {
            Ok(_) => return Ok(found.is_none()),
            Err(WriteError::Conflict(_)) => {}
            Err(other) => return Err(version::write_error(other, || version::conflict(0))),
        }
    }
    Err(ApiError::new(Code::StoreUnavailable, "it is being changed by others; try again"))
}

/// The `metadata` of a stored item; None when it has none.
#[must_use]
pub fn metadata(body: &str) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Stored {
        metadata: Option<Box<RawValue>>,
    }
    serde_json::from_str::<Stored>(body).ok()?.metadata
}

/// A page of documents.
///
/// # Errors
/// `invalid_parameter` for a cursor that is none; that of the store.
pub fn page(collection: Collection, query: &Query) -> Result<Page, ApiError> {
    documents::find(collection, query).map_err(|error| match error {
        // All else was checked before.
        Error::Invalid(message) if query.cursor.is_some() => ApiError::field(Code::InvalidParameter, "cursor", message),
        other => other.into(),
    })
}
