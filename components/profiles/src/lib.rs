//! `/api/v1/profiles/{scenario_id}/{user_id}`: what is known of a user, to read,
//! to replace and to delete; `/api/v1/users/{user_id}`: to delete all of it, in
//! every scenario.

mod profile;

use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use funnelweb_guest::{
    documents::{self, Collection, Key},
    http::{self as web, Body, Head, Outgoing, Reply, store, version},
};
use http::StatusCode;
use serde_json::json;

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, route).await
}

async fn route(head: Head, body: Body) -> Result<Reply, ApiError> {
    match (head.segments().as_slice(), head.method.as_str()) {
        (["api", "v1", "profiles", scenario_id, user_id], method) => {
            let key = Key {
                scenario_id: head.id("scenario_id", scenario_id)?.to_owned(),
                id: head.id("user_id", user_id)?.to_owned(),
            };
            match method {
                "GET" => read(&head, &key),
                "PUT" => put(&head, &key, body).await,
                "DELETE" => delete(&head, &key),
                _ => Ok(Reply::method_not_allowed("GET, PUT, DELETE")),
            }
        }
        (["api", "v1", "users", user_id], "DELETE") => forget(&head, head.id("user_id", user_id)?),
        (["api", "v1", "users", _], _) => Ok(Reply::method_not_allowed("DELETE")),
        _ => Err(web::no_route(&head)),
    }
}

fn read(head: &Head, key: &Key) -> Result<Reply, ApiError> {
    head.query(&[])?;
    store::scenario(&key.scenario_id)?;
    let document = documents::get(Collection::UserProfiles, key)?.ok_or_else(|| missing(key))?;
    if version::is_known(head, document.version) {
        return Ok(Reply::not_modified().version(document.version));
    }
    Ok(Reply::json_text(StatusCode::OK, document.body).version(document.version))
}

async fn put(head: &Head, key: &Key, body: Body) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let when = version::precondition(head)?;
    let text = body.json(head, limits::DOCUMENT_BYTES).await?;
    let profile = profile::read(&text, &key.scenario_id, &key.id, web::now_ms())?;
    store::scenario(&key.scenario_id)?;
    let created = store::put(Collection::UserProfiles, key, &profile, when)?;
    let document = documents::get(Collection::UserProfiles, key)?.ok_or_else(|| missing(key))?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Reply::json_text(status, document.body).version(document.version))
}

fn delete(head: &Head, key: &Key) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let when = version::precondition(head)?;
    store::scenario(&key.scenario_id)?;
    let existed = documents::delete(Collection::UserProfiles, key, when)
        .map_err(|error| version::write_error(error, || missing(key)))?;
    if existed { Ok(Reply::no_content()) } else { Err(missing(key)) }
}

/// Deletes everything of a user. A user of whom nothing is known is deleted
/// already.
fn forget(head: &Head, user_id: &str) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let deleted = documents::delete_user(user_id)?;
    Reply::json(StatusCode::OK, &json!({ "deleted": deleted }))
}

fn missing(key: &Key) -> ApiError {
    let message = format!("the user `{}` has no profile in `{}`", key.id, key.scenario_id);
    ApiError::field(Code::ProfileNotFound, "user_id", message)
}
