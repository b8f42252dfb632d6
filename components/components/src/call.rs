//! What a client asks for in a body.

use funnelweb_core::{
    error::{ApiError, Code},
    id, limits,
};
use funnelweb_guest::{
    components::{Canary, ShareOf},
    http::{Head, Media, json},
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The header with what an operator shows, to activate a version that did not pass
/// certification.
const OPERATOR_TOKEN: &str = "X-Operator-Token";

/// Which requests a version is replayed through.
#[derive(Debug)]
pub(crate) struct Certification {
    pub(crate) scenario_id: String,
    /// A JSON object.
    pub(crate) params: Option<String>,
}

impl Certification {
    /// Reads a body.
    pub(crate) fn read(body: &[u8]) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            scenario_id: String,
            params: Option<Map<String, Value>>,
        }
        let Written { scenario_id, params } = json::object(body)?;
        let invalid = |name: &str, message: String| ApiError::field(Code::InvalidField, name, message);
        id::check(&scenario_id).map_err(|error| invalid("scenario_id", error.to_string()))?;
        let params = params.map(|params| Value::Object(params).to_string());
        if let Some(bytes) = params.as_ref().map(String::len).filter(|bytes| *bytes > limits::PARAMS_BYTES) {
            let message = format!("must be at most {} bytes of JSON, got {bytes}", limits::PARAMS_BYTES);
            return Err(invalid("params", message));
        }
        Ok(Self { scenario_id, params })
    }
}

/// Reads the body of an activation, which may be empty: the token of an operator who has
/// the version activated whether or not it passed certification.
pub(crate) fn override_by(head: &Head, body: &[u8]) -> Result<Option<String>, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        #[serde(default, rename = "override")]
        is_override: bool,
    }
    if body.is_empty() {
        return Ok(None);
    }
    head.media(&[Media::Json])?;
    let Written { is_override } = json::object(body)?;
    if !is_override {
        return Ok(None);
    }
    let token = head.header(OPERATOR_TOKEN).ok_or_else(|| {
        let message = format!("only an operator may override certification: the header {OPERATOR_TOKEN} is required");
        ApiError::field(Code::NotPermitted, OPERATOR_TOKEN, message)
    })?;
    Ok(Some(token.to_owned()))
}

/// Reads a canary.
pub(crate) fn canary(body: &[u8]) -> Result<Canary, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        version: String,
        percent: f64,
        of: Of,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Of {
        Users,
        Requests,
    }
    let Written { version, percent, of } = json::object(body)?;
    if !(percent > 0.0 && percent <= 100.0) {
        let message = format!("must be above 0 and at most 100, got {percent}");
        return Err(ApiError::field(Code::InvalidField, "percent", message));
    }
    let of = match of {
        Of::Users => ShareOf::Users,
        Of::Requests => ShareOf::Requests,
    };
    Ok(Canary { version, percent, of })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault<T: std::fmt::Debug>(read: Result<T, ApiError>) -> (Code, String) {
        let error = read.unwrap_err();
        (error.code, error.field.unwrap_or_default())
    }

    #[test]
    fn certifications_are_read_strictly() {
        let read = |body: &str| Certification::read(body.as_bytes());
        assert_eq!(read(r#"{"scenario_id": "feed"}"#).unwrap().params, None);
        assert_eq!(read(r#"{"scenario_id": "feed", "params": null}"#).unwrap().params, None);
        let asked = read(r#"{"scenario_id": "feed", "params": {"boost": 1.5}}"#).unwrap();
        assert_eq!((asked.scenario_id.as_str(), asked.params.as_deref()), ("feed", Some(r#"{"boost":1.5}"#)));
        for (body, field) in [
            ("{}", "scenario_id"),
            (r#"{"scenario_id": "a/b"}"#, "scenario_id"),
            (r#"{"scenario_id": "feed", "params": []}"#, "params"),
            (r#"{"scenario_id": "feed", "requests": 5}"#, "requests"),
            ("[]", ""),
        ] {
            assert_eq!(fault(read(body)), (Code::InvalidField, field.to_owned()), "{body}");
        }
        let params = |bytes: usize| format!(r#"{{"scenario_id":"feed","params":{{"a":"{}"}}}}"#, "x".repeat(bytes - 8));
        assert!(read(&params(limits::PARAMS_BYTES)).is_ok());
        assert_eq!(fault(read(&params(limits::PARAMS_BYTES + 1))), (Code::InvalidField, "params".to_owned()));
    }

    #[test]
    fn an_override_needs_the_header_of_an_operator() {
        let read = |token: Option<&str>, body: &str| {
            let mut request = http::Request::post("/");
            if let Some(token) = token {
                request = request.header("x-operator-token", token);
            }
            override_by(&Head::new(request.body(()).unwrap().into_parts().0), body.as_bytes())
        };
        assert_eq!(read(None, "").unwrap(), None);
        // A token alone overrides nothing.
        assert_eq!(read(Some("secret"), "{}").unwrap(), None);
        assert_eq!(read(Some("secret"), r#"{"override": false}"#).unwrap(), None);
        assert_eq!(read(Some("secret"), r#"{"override": true}"#).unwrap().as_deref(), Some("secret"));
        let expected = (Code::NotPermitted, OPERATOR_TOKEN.to_owned());
        assert_eq!(fault(read(None, r#"{"override": true}"#)), expected);
        assert_eq!(fault(read(None, r#"{"overide": true}"#)), (Code::InvalidField, "overide".to_owned()));
        assert_eq!(fault(read(None, r#"{"override": "yes"}"#)), (Code::InvalidField, "override".to_owned()));
        assert_eq!(fault(read(None, "x")).0, Code::InvalidJson);
    }

    #[test]
    fn canaries_are_read_strictly() {
        let read = |body: &str| canary(body.as_bytes());
        let known = read(r#"{"version": "1.1.0", "percent": 0.5, "of": "users"}"#).unwrap();
        assert_eq!((known.version.as_str(), known.percent, known.of), ("1.1.0", 0.5, ShareOf::Users));
        assert_eq!(read(r#"{"version": "1", "percent": 100, "of": "requests"}"#).unwrap().of, ShareOf::Requests);
        for (body, field) in [
            (r#"{"percent": 5, "of": "users"}"#, "version"),
            (r#"{"version": "1", "of": "users"}"#, "percent"),
            (r#"{"version": "1", "percent": 5}"#, "of"),
            (r#"{"version": "1", "percent": 0, "of": "users"}"#, "percent"),
            (r#"{"version": "1", "percent": 100.5, "of": "users"}"#, "percent"),
            (r#"{"version": "1", "percent": 5, "of": "items"}"#, "of"),
            (r#"{"version": "1", "percent": 5, "of": "users", "until": 1}"#, "until"),
        ] {
            assert_eq!(fault(read(body)), (Code::InvalidField, field.to_owned()), "{body}");
        }
    }
}
