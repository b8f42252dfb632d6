//! Scenarios in the store of documents.

use funnelweb_core::error::ApiError;
use funnelweb_guest::{
    documents::{self, Collection, Page, Precondition, Query, Range, Sort, WriteError},
    http::{
        store::{self, no_scenario, scenario_key},
        version,
    },
};

pub(crate) fn page(status: Option<&str>, cursor: Option<&str>, limit: u32) -> Result<Page, ApiError> {
    let query = Query {
        scenario_id: None,
        status: status.map(str::to_owned),
        category: None,
        tag: None,
        created: Range { from_ms: None, to_ms: None },
        sort: Sort::Newest,
        cursor: cursor.map(str::to_owned),
        limit,
    };
    store::page(Collection::Scenarios, &query)
}

/// False when the scenario exists.
pub(crate) fn create(id: &str, text: String) -> Result<bool, ApiError> {
    match documents::replace(Collection::Scenarios, &scenario_key(id), &text, Precondition::Absent) {
        Ok(_) => Ok(true),
        Err(WriteError::Conflict(_)) => Ok(false),
        Err(other) => Err(version::write_error(other, || no_scenario(id))),
    }
}

/// Changes the scenario, which must exist; see [`put`].
pub(crate) fn update(
    id: &str,
    when: Precondition,
    change: impl Fn(&str) -> Result<String, ApiError>,
) -> Result<(), ApiError> {
    store::scenario(id)?;
    put(id, when, |found| change(found.ok_or_else(|| no_scenario(id))?)).map(|_| ())
}

/// Writes the scenario, whether it exists or not; see [`store::rewrite`].
pub(crate) fn put(
    id: &str,
    when: Precondition,
    make: impl Fn(Option<&str>) -> Result<String, ApiError>,
) -> Result<bool, ApiError> {
    store::rewrite(Collection::Scenarios, &scenario_key(id), when, |found| make(found).map(Some))
}

/// Deletes the scenario and everything of it, in one step. Where there is a
/// condition, its config goes first: nothing is added to the scenario then, and
/// what a crash leaves of it goes with the next call.
pub(crate) fn delete(id: &str, when: Precondition) -> Result<(), ApiError> {
    if !matches!(when, Precondition::None) {
        documents::delete(Collection::Scenarios, &scenario_key(id), when)
            .map_err(|error| version::write_error(error, || no_scenario(id)))?;
        documents::delete_scenario(id)?;
        return Ok(());
    }
    if documents::delete_scenario(id)? == 0 {
        return Err(no_scenario(id));
    }
    Ok(())
}
