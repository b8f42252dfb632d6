//! What a client asks for, and why it is not done.

use funnelweb_core::{
    error::{ApiError, Code},
    id,
    job::Kind,
    limits,
};
use funnelweb_guest::{
    http::{Reply, json, store::no_scenario},
    jobs::StartError,
    params::path_of_pointer,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A run to begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) scenario_id: String,
    pub(crate) kind: Kind,
    /// A JSON object.
    pub(crate) params: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    scenario_id: String,
    kind: Kind,
    #[serde(default)]
    params: Map<String, Value>,
}

impl Call {
    /// Reads a body.
    pub(crate) fn read(body: &[u8]) -> Result<Self, ApiError> {
        let Written { scenario_id, kind, params } = json::object(body)?;
        let invalid = |name: &str, message: String| ApiError::field(Code::InvalidField, name, message);
        id::check(&scenario_id).map_err(|error| invalid("scenario_id", error.to_string()))?;
        let params =
            serde_json::to_string(&params).map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
        if params.len() > limits::PARAMS_BYTES {
            let message = format!("must be at most {} bytes of JSON, got {}", limits::PARAMS_BYTES, params.len());
            return Err(invalid("params", message));
        }
        Ok(Self { scenario_id, kind, params })
    }

    /// The answer when it is not begun.
    pub(crate) fn refused(&self, error: StartError) -> Result<Reply, ApiError> {
        match error {
            StartError::Store(error) => Err(error.into()),
            StartError::NoScenario => Err(no_scenario(&self.scenario_id)),
            StartError::Params((pointer, message)) => {
                Err(ApiError::field(Code::InvalidField, format!("params{}", path_of_pointer(&pointer)), message))
            }
            StartError::Active(id) => {
                let message = format!("the run `{id}` of `{}` waits or is at work", self.kind.as_str());
                Ok(super::at(Reply::error(ApiError::field(Code::JobActive, "kind", message)), &id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_strictly() {
        let call = Call::read(br#"{"scenario_id":"feed","kind":"similarity"}"#).unwrap();
        let expected = Call { scenario_id: "feed".to_owned(), kind: Kind::Similarity, params: "{}".to_owned() };
        assert_eq!(call, expected);
        let call = Call::read(br#"{"scenario_id":"feed","kind":"sync","params":{"a": [1]}}"#).unwrap();
        assert_eq!(call.params, r#"{"a":[1]}"#);
        for (body, field) in [
            (r#"{"kind":"sync"}"#, Some("scenario_id")),
            (r#"{"scenario_id":"feed"}"#, Some("kind")),
            (r#"{"scenario_id":"a/b","kind":"sync"}"#, Some("scenario_id")),
            (r#"{"scenario_id":"feed","kind":"training"}"#, Some("kind")),
            (r#"{"scenario_id":"feed","kind":"sync","params":[]}"#, Some("params")),
            (r#"{"scenario_id":"feed","kind":"sync","wait":true}"#, Some("wait")),
            ("[]", None),
        ] {
            let error = Call::read(body.as_bytes()).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (Code::InvalidField, field), "{body}");
        }
        assert_eq!(Call::read(b"{").unwrap_err().code, Code::InvalidJson);
    }

    #[test]
    fn params_have_a_limit() {
        let read = |bytes: usize| {
            let text = "x".repeat(bytes - r#"{"x":""}"#.len());
            Call::read(format!(r#"{{"scenario_id":"feed","kind":"sync","params":{{"x":"{text}"}}}}"#).as_bytes())
        };
        assert!(read(limits::PARAMS_BYTES).is_ok());
        let error = read(limits::PARAMS_BYTES + 1).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("params"));
        assert!(error.message.contains(&limits::PARAMS_BYTES.to_string()));
    }

    #[test]
    fn refusals_have_their_codes() {
        let call = Call::read(br#"{"scenario_id":"feed","kind":"similarity"}"#).unwrap();
        let error = |error| call.refused(error).unwrap_err();
        assert_eq!(error(StartError::NoScenario).code, Code::ScenarioNotFound);
        let params = error(StartError::Params(("/weights/0".to_owned(), "no".to_owned())));
        assert_eq!((params.code, params.field.as_deref()), (Code::InvalidField, Some("params.weights[0]")));
        let active = call.refused(StartError::Active("run-1".to_owned())).unwrap().into_response("r1");
        assert_eq!(active.status(), 409);
        assert_eq!(active.headers()["location"], "/api/v1/jobs/run-1");
    }
}
