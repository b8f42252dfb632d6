//! `/api/v1/scenarios`: what a tenant recommends, and how. A config is checked
//! as a whole before it is written, the stages and jobs it names by
//! themselves, so that what is stored can run; it takes effect at once.

mod document;
mod store;

use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use funnelweb_guest::http::{self as web, Body, Head, Outgoing, Reply, config, version};
use http::{StatusCode, header};

use crate::document::Stored;

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, route).await
}

async fn route(head: Head, body: Body) -> Result<Reply, ApiError> {
    match (head.segments().as_slice(), head.method.as_str()) {
        (["api", "v1", "scenarios"], "GET") => list(&head),
        (["api", "v1", "scenarios"], "POST") => create(&head, body).await,
        (["api", "v1", "scenarios"], _) => Ok(Reply::method_not_allowed("GET, POST")),
        (["api", "v1", "scenarios", id], method) => {
            let id = head.id("scenario_id", id)?;
            match method {
                "GET" => read(&head, id),
                "PUT" => put(&head, id, body).await,
                "PATCH" => patch(&head, id, body).await,
                "DELETE" => delete(&head, id),
                _ => Ok(Reply::method_not_allowed("GET, PUT, PATCH, DELETE")),
            }
        }
        _ => Err(web::no_route(&head)),
    }
}

fn list(head: &Head) -> Result<Reply, ApiError> {
    let query = head.query(&["cursor", "limit", "status"])?;
    let status = query.choice("status", &[("active", "active"), ("inactive", "inactive")])?;
    let limit = query.number("limit", 1..=limits::PAGE_DOCUMENTS)?.unwrap_or(limits::DEFAULT_PAGE_DOCUMENTS);
    let page = store::page(status, query.get("cursor"), limit)?;
    let documents = page.documents.iter().map(|document| document.body.as_str());
    Ok(Reply::page("scenarios", documents, page.next.as_deref()))
}

fn read(head: &Head, id: &str) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let document = web::store::scenario(id)?;
    if version::is_known(head, document.version) {
        return Ok(Reply::not_modified().version(document.version));
    }
    Ok(Reply::json_text(StatusCode::OK, document.body).version(document.version))
}

async fn create(head: &Head, body: Body) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let text = document::complete(&body.json(head, limits::DOCUMENT_BYTES).await?, None, None)?;
    let scenario = document::checked(&text, None, &config::Host)?;
    let id = scenario.scenario_id.as_str();
    if !store::create(id, text)? {
        let message = format!("the scenario `{id}` exists; PUT replaces it");
        return Err(ApiError::field(Code::AlreadyExists, "scenario_id", message));
    }
    Ok(written(StatusCode::CREATED, id)?.header(header::LOCATION, &format!("/api/v1/scenarios/{id}")))
}

async fn put(head: &Head, id: &str, body: Body) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let when = version::precondition(head)?;
    let body = body.json(head, limits::DOCUMENT_BYTES).await?;
    let created = store::put(id, when, |found| {
        let stored = found.map(|text| Stored { text, now_ms: web::now_ms() });
        let text = document::complete(&body, Some(id), stored)?;
        document::checked(&text, stored, &config::Host)?;
        Ok(text)
    })?;
    written(if created { StatusCode::CREATED } else { StatusCode::OK }, id)
}

async fn patch(head: &Head, id: &str, body: Body) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let when = version::precondition(head)?;
    let patch = document::patch(&body.json(head, limits::DOCUMENT_BYTES).await?, id)?;
    store::update(id, when, |found| {
        let stored = Stored { text: found, now_ms: web::now_ms() };
        let text = document::merged(stored, &patch, id)?;
        document::checked(&text, Some(stored), &config::Host)?;
        Ok(text)
    })?;
    written(StatusCode::OK, id)
}

fn delete(head: &Head, id: &str) -> Result<Reply, ApiError> {
    head.query(&[])?;
    store::delete(id, version::precondition(head)?)?;
    Ok(Reply::no_content())
}

/// The document as it is stored now, with the times that the store set.
fn written(status: StatusCode, id: &str) -> Result<Reply, ApiError> {
    let document = web::store::scenario(id)?;
    Ok(Reply::json_text(status, document.body).version(document.version))
}
