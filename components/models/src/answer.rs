//! What a client is told of versions, and why something is not done.

use funnelweb_core::error::{ApiError, Code};
use funnelweb_guest::{
    http::Reply,
    models::{Refusal, Usage, Version},
};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// A version.
pub(crate) fn version(status: StatusCode, version: &Version) -> Reply {
    Reply::json_text(status, version.document.clone())
}

/// Versions.
pub(crate) fn list(versions: &[Version]) -> Reply {
    Reply::page("models", versions.iter().map(|version| version.document.as_str()), None)
}

/// A version and what it did in this process.
pub(crate) fn with_usage(version: &Version, usage: Usage) -> Result<Reply, ApiError> {
    let mut document: Map<String, Value> = serde_json::from_str(&version.document)
        .map_err(|error| ApiError::new(Code::Internal, format!("the stored model does not read: {error}")))?;
    let usage = json!({
        "calls": usage.calls, "failures": usage.failures, "rows": usage.rows,
        "p50_us": usage.p50_us, "p99_us": usage.p99_us,
    });
    document.insert("usage".to_owned(), usage);
    Reply::json(StatusCode::OK, &document)
}

/// Why something is not done.
pub(crate) fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Store(error) => error.into(),
        Refusal::NoScenario => ApiError::field(Code::ScenarioNotFound, "scenario_id", "the scenario does not exist"),
        Refusal::NoModel(message) => ApiError::field(Code::ModelNotFound, "name", message),
        Refusal::NoVersion(message) => ApiError::field(Code::ModelNotFound, "version", message),
        Refusal::Exists(message) => ApiError::field(Code::AlreadyExists, "version", message),
        Refusal::InUse(message) => ApiError::field(Code::ModelInUse, "version", message),
        Refusal::TooMany(message) => ApiError::new(Code::TooManyModels, message),
        Refusal::Busy(message) => ApiError::new(Code::Overloaded, message),
        Refusal::NotReady(message) => ApiError::new(Code::ModelNotReady, message),
        Refusal::Invalid((field, message)) => ApiError::field(Code::InvalidModel, field, message),
        Refusal::Late(message) => ApiError::new(Code::Timeout, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_told_with_what_it_did() {
        let version = Version {
            scenario_id: "feed".to_owned(),
            name: "deepfm".to_owned(),
            version: "v1".to_owned(),
            active: true,
            document: r#"{"model_name":"deepfm"}"#.to_owned(),
            features: Vec::new(),
        };
        let usage = Usage { calls: 3, failures: 1, rows: 20, p50_us: 400, p99_us: 900 };
        assert!(with_usage(&version, usage).is_ok());
        let broken = Version { document: "{".to_owned(), ..version };
        assert_eq!(with_usage(&broken, usage).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn refusals_have_their_codes() {
        let invalid = refused(Refusal::Invalid(("manifest.inputs[0]".to_owned(), "no".to_owned())));
        assert_eq!((invalid.code, invalid.field.as_deref()), (Code::InvalidModel, Some("manifest.inputs[0]")));
        assert_eq!(refused(Refusal::NoScenario).code, Code::ScenarioNotFound);
        assert_eq!(refused(Refusal::NoModel(String::new())).field.as_deref(), Some("name"));
        assert_eq!(refused(Refusal::NoVersion(String::new())).code, Code::ModelNotFound);
        assert_eq!(refused(Refusal::Exists(String::new())).code, Code::AlreadyExists);
        assert_eq!(refused(Refusal::InUse(String::new())).code, Code::ModelInUse);
        assert_eq!(refused(Refusal::TooMany(String::new())).code, Code::TooManyModels);
        assert_eq!(refused(Refusal::Busy(String::new())).code, Code::Overloaded);
        assert_eq!(refused(Refusal::NotReady(String::new())).code, Code::ModelNotReady);
        assert_eq!(refused(Refusal::Late(String::new())).code, Code::Timeout);
    }
}
