//! A stage's params: JSON in, a checked type out, errors with a JSON pointer.

use std::{fmt::Display, ops::RangeInclusive};

use funnelweb_core::{limits, scenario::UserPart, wording};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use crate::types::{ColumnKind, ColumnSpec, ParamError, Personal, Requirements, StageError, StageErrorCode};

/// Reads params into a type (use `#[serde(deny_unknown_fields, default)]`).
///
/// # Errors
/// With the JSON pointer of what does not fit.
pub fn parse<T: DeserializeOwned>(params: &str) -> Result<T, ParamError> {
    let reader = &mut serde_json::Deserializer::from_str(if params.is_empty() { "{}" } else { params });
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path: String = error
            .path()
            .iter()
            .map(|segment| match segment {
                Segment::Seq { index } => format!("/{index}"),
                Segment::Map { key } => pointer(key),
                Segment::Enum { .. } | Segment::Unknown => String::new(),
            })
            .collect();
        ParamError { path, message: wording::in_plain_words(&error.inner().to_string()) }
    })
}

/// The segment of a JSON pointer for an object's key (RFC 6901).
#[must_use]
pub fn pointer(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// A JSON pointer (RFC 6901) as a path that errors name: `/list/1/a~1b` is
/// `.list[1].a/b`.
#[must_use]
pub fn path_of_pointer(pointer: &str) -> String {
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push_str(&format!("[{segment}]"));
        } else {
            path.push('.');
            path.push_str(&segment.replace("~1", "/").replace("~0", "~"));
        }
    }
    path
}

/// Parts of a user, as stages ask for them.
#[must_use]
pub fn personal(parts: &[UserPart]) -> Personal {
    let part = |part: &UserPart| match part {
        UserPart::Id => Personal::ID,
        UserPart::Attributes => Personal::ATTRIBUTES,
        UserPart::Preferences => Personal::PREFERENCES,
        UserPart::Recent => Personal::RECENT,
        UserPart::Context => Personal::SITUATION,
    };
    parts.iter().map(part).fold(Personal::empty(), |all, part| all | part)
}

/// A refusal of one param.
pub fn refuse(path: impl Into<String>, message: impl Into<String>) -> ParamError {
    ParamError { path: path.into(), message: message.into() }
}

/// Refuses a number outside a range (and NaN).
///
/// # Errors
/// With the path and the range.
pub fn check_range<T: PartialOrd + Display>(path: &str, value: T, range: RangeInclusive<T>) -> Result<(), ParamError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(refuse(path, format!("must be {} to {}, got {value}", range.start(), range.end())))
}

/// Refuses the name of an item field that is empty or longer than an id may be.
///
/// # Errors
/// With the path and the limit.
pub fn check_field(path: &str, name: &str) -> Result<(), ParamError> {
    if (1..=limits::ID_BYTES).contains(&name.len()) {
        return Ok(());
    }
    Err(refuse(path, format!("must be 1 to {} bytes long, got {}", limits::ID_BYTES, name.len())))
}

impl Requirements {
    /// Nothing at all.
    #[must_use]
    pub fn none() -> Self {
        Self { columns: Vec::new(), items: Vec::new(), personal: Personal::empty() }
    }

    /// Columns by name and kind, and nothing else.
    #[must_use]
    pub fn columns<'a>(columns: impl IntoIterator<Item = (&'a str, ColumnKind)>) -> Self {
        let columns = columns.into_iter().map(|(name, kind)| ColumnSpec { name: name.to_owned(), kind }).collect();
        Self { columns, ..Self::none() }
    }

    /// These, and parts of the request's context.
    #[must_use]
    pub fn with_personal(self, personal: Personal) -> Self {
        Self { personal, ..self }
    }
}

/// Params that a stage is called with were checked when the scenario was
/// written; if they do not fit all the same, the call is invalid.
impl From<ParamError> for StageError {
    fn from(error: ParamError) -> Self {
        Self { code: StageErrorCode::InvalidInput, message: format!("params{}: {}", error.path, error.message) }
    }
}

/// A capability that did not answer is reported as such.
impl From<crate::errors::Error> for StageError {
    fn from(error: crate::errors::Error) -> Self {
        use crate::errors::Error;
        match error {
            Error::Invalid(message) => Self { code: StageErrorCode::InvalidInput, message },
            Error::Unavailable(message) => Self { code: StageErrorCode::Unavailable, message },
            Error::Denied(message) => Self { code: StageErrorCode::Internal, message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Params {
        list: Vec<u32>,
    }

    impl Default for Params {
        fn default() -> Self {
            Self { list: vec![7] }
        }
    }

    #[test]
    fn defaults_and_pointers() {
        assert_eq!(parse::<Params>("").unwrap().list, [7]);
        assert_eq!(parse::<Params>(r#"{"list":[1,2]}"#).unwrap().list, [1, 2]);
        assert_eq!(parse::<Params>(r#"{"list":[1,"x"]}"#).unwrap_err().path, "/list/1");
        assert_eq!(pointer("a/b~"), "/a~1b~0");
        assert_eq!(path_of_pointer("/list/1/a~1b~0"), ".list[1].a/b~");
        let unknown = parse::<Params>(r#"{"lists":[]}"#).unwrap_err();
        assert!(unknown.message.contains("lists"), "{}", unknown.message);
    }

    #[test]
    fn ranges_and_fields_name_their_limit() {
        assert!(check_range("/a", 1.0_f32, 0.0..=1.0).is_ok());
        assert_eq!(check_range("/a", f32::NAN, 0.0..=1.0).unwrap_err().message, "must be 0 to 1, got NaN");
        assert_eq!(check_range("/a", 17, 1..=16).unwrap_err().path, "/a");
        assert!(check_field("/f", "tags").is_ok());
        assert_eq!(check_field("/f", "").unwrap_err().message, "must be 1 to 128 bytes long, got 0");
        assert!(check_field("/f", &"x".repeat(129)).is_err());
    }
}
