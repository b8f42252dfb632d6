//! Optimistic concurrency: a document's version is its `ETag`, and `If-Match`
//! makes a write conditional on it.

use funnelweb_core::error::{ApiError, Code};

use super::Head;
use crate::documents::{Precondition, WriteError};

/// The entity tag of a version.
#[must_use]
pub fn tag(version: u64) -> String {
    format!("\"{version}\"")
}

/// What `If-Match` and `If-None-Match` ask of a write: nothing when absent, that
/// the document exists (`If-Match: *`), is at a version (`If-Match: "7"`), or
/// does not exist (`If-None-Match: *`).
///
/// # Errors
/// `invalid_header` for what is not one tag or `*`.
pub fn precondition(head: &Head) -> Result<Precondition, ApiError> {
    match (head.header("if-match"), head.header("if-none-match")) {
        (None, None) => Ok(Precondition::None),
        (Some("*"), None) => Ok(Precondition::Exists),
        (None, Some("*")) => Ok(Precondition::Absent),
        (Some(text), None) => match read(text) {
            Some(version) => Ok(Precondition::Version(version)),
            None => Err(refuse("If-Match", "must be `*` or one quoted entity tag")),
        },
        (None, Some(_)) => Err(refuse("If-None-Match", "must be `*` here")),
        (Some(_), Some(_)) => Err(refuse("If-Match", "must not be given together with If-None-Match")),
    }
}

/// Whether the client has this version already (`If-None-Match` on a read).
#[must_use]
pub fn is_known(head: &Head, version: u64) -> bool {
    let Some(text) = head.header("if-none-match") else { return false };
    // The comparison is weak here (RFC 9110, 13.1.2).
    text == "*" || text.split(',').any(|tag| read(tag.trim().trim_start_matches("W/")) == Some(version))
}

/// The version of a tag: 0, which no document has, for a tag that is not ours
/// (such a condition never holds); none for what is no tag.
fn read(text: &str) -> Option<u64> {
    let opaque = text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?.strip_suffix('"')?;
    if opaque.contains('"') {
        return None;
    }
    // `If-Match` compares strongly: a weak tag never matches.
    Some(if text.starts_with("W/") { 0 } else { opaque.parse().unwrap_or(0) })
}

fn refuse(header: &str, message: &str) -> ApiError {
    ApiError::field(Code::InvalidHeader, header, format!("{header} {message}"))
}

/// The error of a write: `missing` when the document is not there.
#[must_use]
pub fn write_error(error: WriteError, missing: impl FnOnce() -> ApiError) -> ApiError {
    match error {
        WriteError::Store(error) => error.into(),
        WriteError::Conflict(0) => missing(),
        WriteError::Conflict(found) => conflict(found),
        WriteError::Collision => ApiError::new(
            Code::IdCollision,
            "the id has the same 64-bit handle as another item; choose a different one",
        ),
    }
}

/// 412, telling the version found; 0 for none.
#[must_use]
pub fn conflict(found: u64) -> ApiError {
    let message = match found {
        0 => "the document does not exist".to_owned(),
        _ => format!("the document is at version {found}"),
    };
    ApiError::new(Code::VersionConflict, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> Head {
        let mut request = http::Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Head::new(request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn conditions_are_read() {
        let read = |headers: &[(&str, &str)]| precondition(&head(headers));
        assert!(matches!(read(&[]), Ok(Precondition::None)));
        assert!(matches!(read(&[("if-match", "*")]), Ok(Precondition::Exists)));
        assert!(matches!(read(&[("if-match", "\"7\"")]), Ok(Precondition::Version(7))));
        assert!(matches!(read(&[("if-match", "\"abc\"")]), Ok(Precondition::Version(0))));
        assert!(matches!(read(&[("if-match", "W/\"7\"")]), Ok(Precondition::Version(0))));
        assert!(matches!(read(&[("if-none-match", "*")]), Ok(Precondition::Absent)));
        for wrong in [&[("if-match", "7")][..], &[("if-match", "\"1\", \"2\"")], &[("if-none-match", "\"1\"")]] {
            assert_eq!(read(wrong).unwrap_err().code, Code::InvalidHeader, "{wrong:?}");
        }
    }

    #[test]
    fn a_known_version_is_not_sent_again() {
        assert!(is_known(&head(&[("if-none-match", "\"1\", W/\"7\"")]), 7));
        assert!(is_known(&head(&[("if-none-match", "*")]), 7));
        assert!(!is_known(&head(&[("if-none-match", "\"8\"")]), 7));
        assert!(!is_known(&head(&[]), 7));
    }

    #[test]
    fn conflicts_tell_the_version() {
        let missing = || ApiError::new(Code::ItemNotFound, "x");
        assert_eq!(write_error(WriteError::Conflict(0), missing).code, Code::ItemNotFound);
        let conflict = write_error(WriteError::Conflict(9), missing);
        assert_eq!((conflict.code, conflict.code.status()), (Code::VersionConflict, 412));
        assert!(conflict.message.contains('9'));
        assert_eq!(write_error(WriteError::Collision, missing).code, Code::IdCollision);
    }
}
