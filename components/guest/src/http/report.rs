//! The errors of a streamed body, line by line, as many as a report may list.

use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use serde::Serialize;

/// What is wrong with one line (record, element).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineError {
    /// From 1; for an array the element's number.
    pub line: u64,
    /// As for a whole request.
    pub code: Code,
    /// The field at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// For a person.
    pub message: String,
}

/// The errors of a body; part of a report.
#[derive(Debug, Default, Serialize)]
pub struct LineErrors {
    /// How many there were.
    pub failed: u64,
    /// The first [`limits::IMPORT_ERRORS`] of them.
    pub errors: Vec<LineError>,
    /// Whether there were more.
    pub errors_truncated: bool,
}

impl LineErrors {
    /// Adds an error.
    pub fn push(&mut self, line: u64, error: ApiError) {
        self.failed += 1;
        if self.errors.len() >= limits::IMPORT_ERRORS {
            self.errors_truncated = true;
            return;
        }
        let ApiError { code, message, field, .. } = error;
        // The reader saw one line only; its number stands beside.
        let message = message.replace(" at line 1 column ", " at column ");
        self.errors.push(LineError { line, code, field, message });
    }

    /// Puts the errors in the order of their lines.
    pub fn sort(&mut self) {
        self.errors.sort_by_key(|error| error.line);
    }
}

/// A line that is longer than its limit.
#[must_use]
pub fn line_too_long() -> ApiError {
    let message = format!("it is longer than the limit of {} bytes", limits::LINE_BYTES);
    ApiError::new(Code::BodyTooLarge, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let mut errors = LineErrors::default();
        for line in (1..=limits::IMPORT_ERRORS as u64 + 5).rev() {
            errors.push(line, ApiError::new(Code::InvalidJson, "expected value at line 1 column 7"));
        }
        errors.sort();
        assert_eq!(errors.failed, limits::IMPORT_ERRORS as u64 + 5);
        assert_eq!(errors.errors.len(), limits::IMPORT_ERRORS);
        assert!(errors.errors_truncated);
        assert_eq!(errors.errors[0].line, 6);
        assert_eq!(errors.errors[0].message, "expected value at column 7");
    }
}
