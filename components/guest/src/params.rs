//! A stage's params: JSON in, a checked type out, errors with a JSON pointer.

use serde::de::DeserializeOwned;

use crate::types::{ParamError, StageError, StageErrorCode};

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
            .map(|segment| format!("/{segment}").replace(['[', ']'], ""))
            .filter(|segment| segment != "/.")
            .collect();
        let text = error.inner().to_string();
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned();
        ParamError { path, message }
    })
}

/// A refusal of one param.
pub fn refuse(path: impl Into<String>, message: impl Into<String>) -> ParamError {
    ParamError { path: path.into(), message: message.into() }
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
        let unknown = parse::<Params>(r#"{"lists":[]}"#).unwrap_err();
        assert!(unknown.message.contains("lists"), "{}", unknown.message);
    }
}
