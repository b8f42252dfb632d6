//! Experiments and their scenarios in the store of documents.

use std::cell::Cell;

use funnelweb_core::{
    error::{ApiError, Code},
    experiment::Status,
    scenario::Scenario,
};
use funnelweb_guest::{
    documents::{self, Collection, Document, Key, Precondition, WriteError},
    http::{
        store::{self, no_scenario, scenario_key},
        version,
    },
};

use crate::{document, running};

/// The scenario's document, and what it says.
pub(crate) fn scenario(scenario_id: &str) -> Result<(String, Scenario), ApiError> {
    let body = store::scenario(scenario_id)?.body;
    let read = running::read(&body)?;
    Ok((body, read))
}

pub(crate) fn read(key: &Key) -> Result<Document, ApiError> {
    documents::get(Collection::Experiments, key)?.ok_or_else(|| missing(key))
}

pub(crate) fn missing(key: &Key) -> ApiError {
    let message = format!("no experiment `{}` in `{}`", key.id, key.scenario_id);
    ApiError::field(Code::ExperimentNotFound, "experiment_id", message)
}

pub(crate) fn create(key: &Key, text: &str) -> Result<(), ApiError> {
    match documents::replace(Collection::Experiments, key, text, Precondition::Absent) {
        Ok(_) => Ok(()),
        Err(WriteError::Conflict(_)) => {
            let message = format!("the experiment `{}` exists; PUT replaces it", key.id);
            Err(ApiError::field(Code::AlreadyExists, "experiment_id", message))
        }
        Err(other) => Err(version::write_error(other, || missing(key))),
    }
}

/// The scenario of an experiment that is being written.
pub(crate) struct Beside<'a> {
    scenario_id: &'a str,
    /// Whether it was changed.
    changed: Cell<bool>,
}

impl Beside<'_> {
    /// Changes the scenario; `change` gets its text and gives the new one, or none for no change.
    pub(crate) fn update(&self, change: impl Fn(&str) -> Result<Option<String>, ApiError>) -> Result<(), ApiError> {
        update_scenario(self.scenario_id, |body| {
            let text = change(body)?;
            self.changed.set(self.changed.get() || text.is_some());
            Ok(text)
        })
    }
}

/// Writes the experiment, whether it exists or not; see [`store::rewrite`].
pub(crate) fn write(
    key: &Key,
    when: Precondition,
    make: impl Fn(Option<&str>, &Beside<'_>) -> Result<String, ApiError>,
) -> Result<bool, ApiError> {
    let beside = Beside { scenario_id: &key.scenario_id, changed: Cell::new(false) };
    let written = store::rewrite(Collection::Experiments, key, when, |found| make(found, &beside).map(Some));
    written.inspect_err(|_| {
        // What this made of the scenario is not to stay. Where that fails too, the next call does it.
        if beside.changed.get() {
            let _ = agree(key);
        }
    })
}

/// Has the scenario say of an experiment what its document says, which is written after it:
/// where that was refused, or was cut off, nothing is half done.
pub(crate) fn agree(key: &Key) -> Result<(), ApiError> {
    let found = documents::get(Collection::Experiments, key)?.map(|found| document::read(&found.body)).transpose()?;
    update_scenario(&key.scenario_id, |body| match &found {
        Some(experiment) if experiment.status == Status::Running => running::as_written(body, experiment),
        _ => running::stopped(body, &key.id),
    })
}

/// Changes the scenario; `change` gets its text and gives the new one, or none for no change.
pub(crate) fn update_scenario(
    scenario_id: &str,
    change: impl Fn(&str) -> Result<Option<String>, ApiError>,
) -> Result<(), ApiError> {
    let key = scenario_key(scenario_id);
    let change = |found: Option<&str>| change(found.ok_or_else(|| no_scenario(scenario_id))?);
    store::rewrite(Collection::Scenarios, &key, Precondition::None, change).map(|_| ())
}

pub(crate) fn delete(key: &Key, when: Precondition) -> Result<(), ApiError> {
    let existed = documents::delete(Collection::Experiments, key, when);
    if existed.map_err(|error| version::write_error(error, || missing(key)))? { Ok(()) } else { Err(missing(key)) }
}
