//! What came of a run, as its outcome tells it.

use funnelweb_core::limits;
use funnelweb_import::{Batch, Kind, LineError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{known::Version, params::Source};

/// Bytes of a message, of which there may be many.
const MESSAGE_BYTES: usize = 160;
/// Bytes of a field's name in one.
const FIELD_BYTES: usize = 64;

/// What became of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It was read to its end; some lines may have been refused.
    Imported,
    /// It is as it was when it was imported last.
    Unchanged,
    /// It was not, or not wholly, read, or every line was refused.
    Failed,
}

/// What became of a source, and of its lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    from: String,
    kind: Kind,
    pub(crate) state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lines: Option<Lines>,
    /// The first that were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    errors: Vec<LineError>,
    /// What a later run knows the source by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
}

/// Lines, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Lines {
    all: u64,
    created: u64,
    replaced: u64,
    skipped: u64,
    accepted: u64,
    duplicates: u64,
    refused: u64,
}

impl Report {
    fn new(source: &Source, state: State) -> Self {
        let (from, kind) = (source.from.clone(), source.mapping.kind);
        Self { from, kind, state, error: None, lines: None, errors: Vec::new(), version: None }
    }

    pub(crate) fn unchanged(source: &Source, version: Version) -> Self {
        Self { version: Some(version), ..Self::new(source, State::Unchanged) }
    }

    pub(crate) fn failed(source: &Source, error: &str) -> Self {
        Self { error: Some(cut(error, MESSAGE_BYTES)), ..Self::new(source, State::Failed) }
    }

    /// Of a source that was read to its end.
    pub(crate) fn imported(source: &Source, batch: &Batch, version: Version) -> Self {
        let &Batch { lines: all, created, replaced, skipped, accepted, duplicates, failed: refused, .. } = batch;
        let shown = batch.errors.iter().take(limits::SYNC_ERRORS).map(|error| LineError {
            line: error.line,
            code: error.code.clone(),
            field: error.field.as_deref().map(|field| cut(field, FIELD_BYTES)),
            message: cut(&error.message, MESSAGE_BYTES),
        });
        let errors: Vec<LineError> = shown.collect();
        let counted = Self {
            lines: Some(Lines { all, created, replaced, skipped, accepted, duplicates, refused }),
            errors,
            ..Self::new(source, State::Imported)
        };
        match counted.errors.first().filter(|_| refused == all) {
            None => Self { version: Some(version), ..counted },
            Some(first) => {
                let error = format!("all {all} lines were refused; line {}: {}", first.line, first.message);
                Self { state: State::Failed, error: Some(cut(&error, MESSAGE_BYTES)), ..counted }
            }
        }
    }

    /// What went wrong, and where.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.error.as_ref().map(|error| format!("{}: {error}", self.from))
    }
}

/// The outcome of a run: as many of the refused lines as there is room for.
pub(crate) fn outcome(mut reports: Vec<Report>) -> Value {
    loop {
        let outcome = json!({"sources": reports});
        let longest = reports.iter_mut().max_by_key(|report| report.errors.len());
        match longest.filter(|report| !report.errors.is_empty()) {
            Some(report) if outcome.to_string().len() > limits::JOB_OUTCOME_BYTES => drop(report.errors.pop()),
            _ => return outcome,
        }
    }
}

fn cut(text: &str, bytes: usize) -> String {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::SyncParams;

    fn version() -> Version {
        let all = json!({"read_as": "0".repeat(16), "bytes": u64::MAX, "hash": "0".repeat(32),
                         "stamp": "0".repeat(32), "etag": "\"".repeat(128), "last_modified": "\"".repeat(128)});
        Version::deserialize(all).unwrap()
    }

    fn sources(from: &str) -> Vec<Source> {
        let source = json!({"from": from, "kind": "behaviors"});
        SyncParams::parse(&json!({"sources": vec![source; limits::SYNC_SOURCES]})).unwrap().0
    }

    fn batch(lines: u64, refused: u64) -> Batch {
        let error = |line| LineError {
            line,
            code: "invalid_field".to_owned(),
            field: Some("f".repeat(1000)),
            message: "\"é\"".repeat(1000),
        };
        let errors = (1..=refused.min(1000)).map(error).collect();
        Batch { lines, accepted: lines - refused, failed: refused, errors, ..Batch::default() }
    }

    #[test]
    fn the_first_lines_that_were_refused_are_shown() {
        let source = &sources("a.csv")[0];
        let report = Report::imported(source, &batch(1000, 500), version());
        assert_eq!((report.state, report.errors.len()), (State::Imported, limits::SYNC_ERRORS));
        assert!(report.errors[0].message.len() <= MESSAGE_BYTES && report.version.is_some());
        let report = Report::imported(source, &batch(7, 7), version());
        assert_eq!((report.state, report.version.as_ref()), (State::Failed, None));
        assert!(report.complaint().unwrap().starts_with("a.csv: all 7 lines were refused; line 1: "));
        assert_eq!(Report::imported(source, &batch(0, 0), version()).state, State::Imported, "an empty one");
    }

    #[test]
    fn the_largest_outcome_has_its_place() {
        let sources = sources(&"é".repeat(limits::SYNC_FROM_BYTES / 2));
        let large = |source| Report::imported(source, &batch(u64::MAX, u64::MAX - 1), version());
        let whole = outcome(sources.iter().map(large).collect());
        assert!(whole.to_string().len() <= limits::JOB_OUTCOME_BYTES, "{}", whole.to_string().len());
        assert_eq!(whole["sources"].as_array().unwrap().len(), limits::SYNC_SOURCES);
        let read: Report = Report::deserialize(&whole["sources"][0]).unwrap();
        assert_eq!(read.version, Some(version()));
        let failed = outcome(sources.iter().map(|source| Report::failed(source, &"\"".repeat(999))).collect());
        assert!(failed.to_string().len() <= limits::JOB_OUTCOME_BYTES);
    }
}
