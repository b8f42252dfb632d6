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
        return Err(missing(name, None));
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
    models::list(scenario_id)?.into_iter().find(is_it).ok_or_else(|| missing(name, version))
}

fn missing(name: &str, version: Option<&str>) -> ApiError {
    match version {
        Some(version) => {
            ApiError::field(Code::ModelNotFound, "version", format!("no version `{version}` of a model `{name}`"))
        }
        None => ApiError::field(Code::ModelNotFound, "name", format!("no version of a model `{name}` is active")),
    }
}
