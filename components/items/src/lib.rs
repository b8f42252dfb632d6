//! `/api/v1/items/{scenario_id}`: the catalogue, one by one, in lists, or as a
//! stream of any length that is imported in bounded memory.

mod import;
mod item;
mod list;
mod patch;
mod row;

use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use funnelweb_guest::{
    documents::{self, Collection, Key, Precondition, WriteError},
    http::{self as web, Body, Head, Media, Outgoing, Reply, json, store, version},
};
use http::{StatusCode, header};

use crate::{import::Import, item::Place};

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, route).await
}

async fn route(head: Head, body: Body) -> Result<Reply, ApiError> {
    match (head.segments().as_slice(), head.method.as_str()) {
        (["api", "v1", "items", scenario_id], method) => {
            let scenario_id = head.id("scenario_id", scenario_id)?;
            match method {
                "GET" => list::list(&head, scenario_id),
                "POST" => add(&head, scenario_id, body).await,
                _ => Ok(Reply::method_not_allowed("GET, POST")),
            }
        }
        (["api", "v1", "items", scenario_id, item_id], method) => {
            let key = Key {
                scenario_id: head.id("scenario_id", scenario_id)?.to_owned(),
                id: head.id("item_id", item_id)?.to_owned(),
            };
            match method {
                "GET" => read(&head, &key),
                "PUT" => put(&head, &key, body).await,
                "PATCH" => patch(&head, &key, body).await,
                "DELETE" => delete(&head, &key),
                _ => Ok(Reply::method_not_allowed("GET, PUT, PATCH, DELETE")),
            }
        }
        _ => Err(web::no_route(&head)),
    }
}

/// One item, or a stream of them.
async fn add(head: &Head, scenario_id: &str, mut body: Body) -> Result<Reply, ApiError> {
    let query = head.query(&["on_duplicate"])?;
    let media = head.media(&[Media::Json, Media::Ndjson, Media::Csv])?;
    let one = media == Media::Json && !body.is_array(limits::IMPORT_BODY_BYTES).await?;
    if one && query.get("on_duplicate").is_some() {
        return Err(ApiError::field(Code::InvalidParameter, "on_duplicate", "`on_duplicate` is for imports only"));
    }
    let on_duplicate = query.choice("on_duplicate", &import::ON_DUPLICATE)?.unwrap_or_default();
    store::scenario(scenario_id)?;
    if one {
        return create(scenario_id, body).await;
    }
    let insert = |documents: &[_], replace| {
        let insertion = documents::insert_many(Collection::Items, documents, replace)?;
        Ok(move || Ok(insertion.finish()?))
    };
    let mut import = Import::new(scenario_id, on_duplicate, media, insert);
    while let Some(chunk) = body.chunk(limits::IMPORT_BODY_BYTES).await.map_err(|error| import.so_far(error))? {
        import.push(&chunk)?;
    }
    Reply::json(StatusCode::OK, &import.finish()?)
}

async fn create(scenario_id: &str, body: Body) -> Result<Reply, ApiError> {
    let text = body.bytes(limits::DOCUMENT_BYTES).await?;
    let item = item::read(&text, Place { scenario_id, item_id: None })?;
    let key = Key { scenario_id: scenario_id.to_owned(), id: item.id };
    match documents::replace(Collection::Items, &key, &item.body, Precondition::Absent) {
        Ok(_) => {}
        Err(WriteError::Conflict(_)) => return Err(import::exists(&key.id)),
        Err(other) => return Err(version::write_error(other, || missing(&key))),
    }
    let location = format!("/api/v1/items/{}/{}", key.scenario_id, key.id);
    Ok(written(StatusCode::CREATED, &key)?.header(header::LOCATION, &location))
}

fn read(head: &Head, key: &Key) -> Result<Reply, ApiError> {
    head.query(&[])?;
    store::scenario(&key.scenario_id)?;
    let document = documents::get(Collection::Items, key)?.ok_or_else(|| missing(key))?;
    if version::is_known(head, document.version) {
        return Ok(Reply::not_modified().version(document.version));
    }
    Ok(Reply::json_text(StatusCode::OK, document.body).version(document.version))
}

async fn put(head: &Head, key: &Key, body: Body) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let when = version::precondition(head)?;
    let text = body.json(head, limits::DOCUMENT_BYTES).await?;
    let item = item::read(&text, Place { scenario_id: &key.scenario_id, item_id: Some(&key.id) })?;
    store::scenario(&key.scenario_id)?;
    let created = store::put(Collection::Items, key, &item.body, when)?;
    written(if created { StatusCode::CREATED } else { StatusCode::OK }, key)
}

async fn patch(head: &Head, key: &Key, body: Body) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let when = match version::precondition(head)? {
        Precondition::None => Precondition::Exists,
        other => other,
    };
    let text = body.json(head, limits::DOCUMENT_BYTES).await?;
    let patch = patch::check(&text, &key.scenario_id, &key.id)?;
    store::scenario(&key.scenario_id)?;
    let document = documents::patch(Collection::Items, key, patch, when)
        .map_err(|error| version::write_error(error, || missing(key)))?;
    Ok(Reply::json_text(StatusCode::OK, document.body).version(document.version))
}

fn delete(head: &Head, key: &Key) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let when = version::precondition(head)?;
    store::scenario(&key.scenario_id)?;
    let existed = documents::delete(Collection::Items, key, when)
        .map_err(|error| version::write_error(error, || missing(key)))?;
    if existed { Ok(Reply::no_content()) } else { Err(missing(key)) }
}

/// The document as it is stored now, with the times that the store set.
fn written(status: StatusCode, key: &Key) -> Result<Reply, ApiError> {
    let document = documents::get(Collection::Items, key)?.ok_or_else(|| missing(key))?;
    Ok(Reply::json_text(status, document.body).version(document.version))
}

fn missing(key: &Key) -> ApiError {
    ApiError::field(Code::ItemNotFound, "item_id", format!("no item `{}` in `{}`", key.id, key.scenario_id))
}

/// Parses and checks a text before its parts are looked at.
fn document<'de, T: serde::Deserialize<'de>>(text: &'de [u8]) -> Result<T, ApiError> {
    if text.len() > limits::DOCUMENT_BYTES {
        let message = format!("the item has {} bytes, more than the limit of {}", text.len(), limits::DOCUMENT_BYTES);
        return Err(ApiError::new(Code::BodyTooLarge, message));
    }
    json::object(text)
}
