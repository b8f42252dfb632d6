//! Scenarios in the store of documents.

use funnelweb_core::error::{ApiError, Code};
use funnelweb_guest::{
    documents::{self, Collection, Page, Precondition, Query, Range, Sort, WriteError},
    http::{
        store::{self, no_scenario, scenario_key},
        version,
    },
};

/// How often a change is tried again that another one came before.
const ATTEMPTS: usize = 5;

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

/// Changes the scenario; `change` gets its text and gives the new one, and is
/// called again when another write came between.
pub(crate) fn update(
    id: &str,
    when: Precondition,
    change: impl Fn(&str) -> Result<String, ApiError>,
) -> Result<(), ApiError> {
    for _ in 0..ATTEMPTS {
        let found = store::scenario(id)?;
        let holds = match when {
            Precondition::Version(version) => version == found.version,
            Precondition::Absent => false,
            Precondition::None | Precondition::Exists => true,
        };
        if !holds {
            return Err(version::conflict(found.version));
        }
        let text = change(&found.body)?;
        match documents::replace(Collection::Scenarios, &scenario_key(id), &text, Precondition::Version(found.version))
        {
            Ok(_) => return Ok(()),
            Err(WriteError::Conflict(_)) => {}
            Err(other) => return Err(version::write_error(other, || no_scenario(id))),
        }
    }
    Err(ApiError::new(Code::StoreUnavailable, "the scenario is being changed by others; try again"))
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
