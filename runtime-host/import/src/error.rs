//! Why an import, or a call of the client, did not succeed.

use std::path::PathBuf;

/// What can go wrong. A bad line of a source is none of these: it is counted and
/// listed in the [`crate::Report`], and the import goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The base URL is not one the client can use.
    #[error("`{0}` is no base url; it must look like http://127.0.0.1:3000 (https is for the gateway in front)")]
    BaseUrl(String),
    /// A header's value, or an id in a path, is not allowed.
    #[error("the {what} `{value}` is not valid: {reason}")]
    Identity {
        /// `tenant`, `user`, `token`, `scenario id`, …
        what: &'static str,
        /// As given.
        value: String,
        /// The rule it breaks.
        reason: String,
    },
    /// The server could not be reached, however often it was tried.
    #[error("{url} did not answer after {attempts} attempts: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// How often.
        attempts: u32,
        /// What happened at the last attempt.
        reason: String,
    },
    /// The server refused the request as a whole.
    #[error("{url} answered {status}: {message}")]
    Refused {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The server's code, field and message, or the beginning of its body.
        message: String,
    },
    /// The server's answer is not what the API documents.
    #[error("{url} answered with something unexpected: {reason}")]
    Answer {
        /// Where.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A scenario to be put has no readable `scenario_id`.
    #[error("the scenario is not valid: {0}")]
    Scenario(String),
    /// A mapping is wrong.
    #[error("mapping {file}: {key}: {message}")]
    Mapping {
        /// The mapping's file or shipped name.
        file: String,
        /// The key that is wrong: `fields.item_id.column`.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// The source, a joined table or the state file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The source is not of the form that its mapping says.
    #[error("{path}: {message}", path = path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Whoever was told of the progress ended it.
    #[error("it was told to stop")]
    Stopped,
    /// The state file cannot be written, so the import could not be resumed.
    #[error("cannot keep the state of the import in {path}: {source}; choose another folder for it", path = path.display())]
    State {
        /// The state file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
