//! `/api/v1/models`: rankers that are files; to upload, look at, activate, roll back,
//! delete, and ask.

mod answer;
mod predict;
mod upload;

use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use funnelweb_guest::{
    http::{self as web, Body, Head, Outgoing, Reply, store},
    models::{self, Version},
};
use http::StatusCode;

use crate::answer::refused;

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, route).await
}

async fn route(head: Head, body: Body) -> Result<Reply, ApiError> {
    match (head.segments().as_slice(), head.method.as_str()) {
        (["api", "v1", "models"], "GET") => list(&head),
        (["api", "v1", "models"], "POST") => upload::add(&head, body).await,
        (["api", "v1", "models"], _) => Ok(Reply::method_not_allowed("GET, POST")),
        (["api", "v1", "models", name], "POST") if name.ends_with(":predict") => {
            let name = name.strip_suffix(":predict").unwrap_or(name);
            predict::predict(&head, name, &body.json(&head, limits::BEHAVIORS_BODY_BYTES).await?)
        }
        (["api", "v1", "models", name], "GET") => one(&head, name),
        (["api", "v1", "models", _], _) => Ok(Reply::method_not_allowed("GET")),
        (["api", "v1", "models", name, "rollback"], "POST") => {
            let version = models::roll_back(&scenario(&head)?, name).map_err(refused)?;
            Ok(answer::version(StatusCode::OK, &version))
        }
        (["api", "v1", "models", _, "rollback"], _) => Ok(Reply::method_not_allowed("POST")),
        (["api", "v1", "models", name, "versions", version], "GET") => read(&head, name, version),
        (["api", "v1", "models", name, "versions", version], "DELETE") => {
            models::delete(&scenario(&head)?, name, version).map_err(refused)?;
            Ok(Reply::no_content())
        }
        (["api", "v1", "models", _, "versions", _], _) => Ok(Reply::method_not_allowed("DELETE, GET")),
        (["api", "v1", "models", name, "versions", version, "activate"], "POST") => {
            let version = models::activate(&scenario(&head)?, name, version).map_err(refused)?;
            Ok(answer::version(StatusCode::OK, &version))
        }
        (["api", "v1", "models", _, "versions", _, "activate"], _) => Ok(Reply::method_not_allowed("POST")),
        _ => Err(web::no_route(&head)),
    }
}

/// The scenario that the query names, which must be there.
fn scenario(head: &Head) -> Result<String, ApiError> {
    let query = head.query(&["scenario_id"])?;
    required(query.id("scenario_id")?)
}

fn required(scenario_id: Option<&str>) -> Result<String, ApiError> {
    let scenario_id = scenario_id.ok_or_else(|| {
        ApiError::field(Code::InvalidParameter, "scenario_id", "the parameter scenario_id is required")
    })?;
    store::scenario(scenario_id)?;
    Ok(scenario_id.to_owned())
}

fn list(head: &Head) -> Result<Reply, ApiError> {
    let versions = models::list(&scenario(head)?)?;
    Ok(answer::list(&versions))
}

/// The versions of one model.
fn one(head: &Head, name: &str) -> Result<Reply, ApiError> {
    let mut versions = models::list(&scenario(head)?)?;
    versions.retain(|version| version.name == name);
    if versions.is_empty() {
        return Err(missing(&versions, name, None));
    }
    Ok(answer::list(&versions))
}

fn read(head: &Head, name: &str, version: &str) -> Result<Reply, ApiError> {
    let scenario_id = scenario(head)?;
    let found = find(&scenario_id, name, Some(version))?;
    answer::with_usage(&found, models::usage_of(&scenario_id, name, version)?)
}

/// A version, or the active one.
fn find(scenario_id: &str, name: &str, version: Option<&str>) -> Result<Version, ApiError> {
    let is_it = |found: &Version| {
        found.name == name
            && match version {
                Some(version) => found.version == version,
                None => found.active,
            }
    };
    let mut versions = models::list(scenario_id)?;
    match versions.iter().position(is_it) {
        Some(at) => Ok(versions.swap_remove(at)),
        None => Err(missing(&versions, name, version)),
    }
}

/// Which of it is not among the scenario's versions.
fn missing(versions: &[Version], name: &str, version: Option<&str>) -> ApiError {
    let missing = |field: &str, message: String| ApiError::field(Code::ModelNotFound, field, message);
    match version {
        _ if !versions.iter().any(|known| known.name == name) => missing("name", format!("no model `{name}`")),
        Some(version) => missing("version", format!("no version `{version}` of the model `{name}`")),
        None => missing("version", format!("no version of the model `{name}` is active")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let known = Version {
            scenario_id: "feed".to_owned(),
            name: "deepfm".to_owned(),
            version: "v1".to_owned(),
            active: false,
            document: String::new(),
            features: Vec::new(),
        };
        let said = |name: &str, version: Option<&str>| {
            let error = missing(std::slice::from_ref(&known), name, version);
            assert_eq!(error.code, Code::ModelNotFound);
            (error.field.unwrap_or_default(), error.message)
        };
        let expected = |field: &str, message: &str| (field.to_owned(), message.to_owned());
        assert_eq!(said("other", None), expected("name", "no model `other`"));
        assert_eq!(said("other", Some("v1")), expected("name", "no model `other`"));
        assert_eq!(said("deepfm", Some("v2")), expected("version", "no version `v2` of the model `deepfm`"));
        assert_eq!(said("deepfm", None), expected("version", "no version of the model `deepfm` is active"));
    }
}
