//! `/api/v1/recordings`: requests that were recorded, to look at, to explain, and to run again,
//! as they were or with a change.

use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use funnelweb_guest::{
    http::{self as web, Body, Head, Outgoing, Reply, json},
    recordings::{self, Query, Refusal},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, route).await
}

async fn route(head: Head, body: Body) -> Result<Reply, ApiError> {
    match (head.segments().as_slice(), head.method.as_str()) {
        (["api", "v1", "recordings"], "GET") => list(&head),
        (["api", "v1", "recordings"], _) => Ok(Reply::method_not_allowed("GET")),
        (["api", "v1", "recordings", request_id], "GET") => {
            head.query(&[])?;
            answer(request_id, recordings::get(request_id))
        }
        (["api", "v1", "recordings", _], _) => Ok(Reply::method_not_allowed("GET")),
        (["api", "v1", "recordings", request_id, "replay"], "POST") => {
            head.query(&[])?;
            let changes: Changes = json::object(&body.json(&head, limits::BODY_BYTES).await?)?;
            answer(request_id, recordings::replay(request_id, &changes.text()?))
        }
        (["api", "v1", "recordings", _, "replay"], _) => Ok(Reply::method_not_allowed("POST")),
        (["api", "v1", "scenarios", scenario_id, "shadow"], "GET") => shadow(&head, scenario_id),
        (["api", "v1", "scenarios", _, "shadow"], _) => Ok(Reply::method_not_allowed("GET")),
        _ => Err(web::no_route(&head)),
    }
}

/// What is to be other than it was; nothing, to see whether it is the same.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    /// A merge patch (RFC 7386) of the scenario's `config` as it was.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    config: Map<String, Value>,
    /// `acme/boost@1.2.0`, `deepfm@v2`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    with: Vec<String>,
}

impl Changes {
    fn text(&self) -> Result<String, ApiError> {
        serde_json::to_string(self).map_err(|error| ApiError::new(Code::Internal, error.to_string()))
    }
}

fn list(head: &Head) -> Result<Reply, ApiError> {
    let query = head.query(&["cursor", "limit", "scenario_id"])?;
    let query = Query {
        scenario_id: query.id("scenario_id")?.map(str::to_owned),
        cursor: query.id("cursor")?.map(str::to_owned),
        limit: query.number("limit", 1..=limits::PAGE_DOCUMENTS)?.unwrap_or(limits::DEFAULT_PAGE_DOCUMENTS),
    };
    let page = recordings::list(&query).map_err(|error| match error {
        funnelweb_guest::errors::Error::Invalid(message) => ApiError::field(Code::InvalidParameter, "cursor", message),
        other => other.into(),
    })?;
    Ok(Reply::page("recordings", page.recordings.iter().map(String::as_str), page.next.as_deref()))
}

fn shadow(head: &Head, scenario_id: &str) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let scenario_id = head.id("scenario_id", scenario_id)?;
    let none = || {
        let message = format!("no config was tried on requests of `{scenario_id}`; `config.shadow` says which is");
        ApiError::field(Code::RecordingNotFound, "scenario_id", message)
    };
    let report = recordings::shadow(scenario_id)?.ok_or_else(none)?;
    Ok(Reply::json_text(StatusCode::OK, report))
}

fn answer(request_id: &str, answer: Result<String, Refusal>) -> Result<Reply, ApiError> {
    answer.map(|text| Reply::json_text(StatusCode::OK, text)).map_err(|refusal| refused(request_id, refusal))
}

fn refused(request_id: &str, refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Store(error) => error.into(),
        Refusal::NoRecording => {
            let message = format!("no request `{request_id}` is recorded, or not any more");
            ApiError::field(Code::RecordingNotFound, "request_id", message)
        }
        Refusal::Invalid((field, message)) => ApiError::field(Code::InvalidConfig, field, message),
        Refusal::Failed(reason) => ApiError::new(Code::Internal, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_strictly() {
        let read = |text: &str| json::object::<Changes>(text.as_bytes()).and_then(|changes| changes.text());
        assert_eq!(read("{}").unwrap(), "{}");
        let both = r#"{"config":{"rank":{"model":"linear"}},"with":["acme/boost@2.0.0"]}"#;
        assert_eq!(read(both).unwrap(), both);
        assert_eq!(read(r#"{"with":"acme/boost@2.0.0"}"#).unwrap_err().field.as_deref(), Some("with"));
        assert_eq!(read(r#"{"config":[]}"#).unwrap_err().field.as_deref(), Some("config"));
        assert_eq!(read(r#"{"patch":{}}"#).unwrap_err().code, Code::InvalidField);
    }

    #[test]
    fn a_refusal_names_what_it_is_about() {
        let of = |refusal| {
            let error = refused("r1", refusal);
            (error.code, error.field)
        };
        assert_eq!(of(Refusal::NoRecording), (Code::RecordingNotFound, Some("request_id".to_owned())));
        let invalid = Refusal::Invalid(("with[0]".to_owned(), "no version".to_owned()));
        assert_eq!(of(invalid), (Code::InvalidConfig, Some("with[0]".to_owned())));
        assert_eq!(of(Refusal::Failed("no".to_owned())), (Code::Internal, None));
    }
}
