//! `/api/v1/behaviors`: what users did. An event is acknowledged when it is
//! durable, with what it says of its item and its user as its scenario weighs it. The
//! user's recent items are changed in the same transaction; heat, counters and
//! preferences follow within moments, as operators take the log. An event that is sent
//! twice counts once.

mod batch;
mod event;
mod history;
mod scenarios;
mod stream;

use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use funnelweb_guest::{
    documents::{self, Collection, Key},
    events,
    http::{self as web, Body, Head, Media, Outgoing, Reply, json, store},
};
use http::StatusCode;
use serde_json::value::RawValue;

use crate::{
    batch::{Batch, Counts, Stores},
    event::Sender,
    stream::Stream,
};

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, route).await
}

async fn route(head: Head, body: Body) -> Result<Reply, ApiError> {
    match (head.segments().as_slice(), head.method.as_str()) {
        (["api", "v1", "behaviors"], "GET") => history::list(&head),
        (["api", "v1", "behaviors"], "POST") => add(&head, body).await,
        (["api", "v1", "behaviors"], _) => Ok(Reply::method_not_allowed("GET, POST")),
        _ => Err(web::no_route(&head)),
    }
}

/// One event, some, or a stream of them.
async fn add(head: &Head, mut body: Body) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let sender = Sender { request_id: &head.request_id, user_id: head.user()?, now_ms: web::now_ms() };
    if head.media(&[Media::Json, Media::Ndjson])? == Media::Ndjson {
        let mut stream = Stream::new(sender, Host);
        while let Some(chunk) = body.chunk(limits::IMPORT_BODY_BYTES).await.map_err(|error| stream.so_far(error))? {
            stream.push(&chunk)?;
        }
        return Reply::json(StatusCode::ACCEPTED, &stream.finish()?);
    }
    let is_array = body.is_array(limits::BEHAVIORS_BODY_BYTES as u64).await?;
    let text = body.bytes(limits::BEHAVIORS_BODY_BYTES).await?;
    let counts = if is_array { many(&text, sender, Host)? } else { one(&text, sender, Host)? };
    Reply::json(StatusCode::ACCEPTED, &stream::Report::of_all(counts))
}

fn one(text: &[u8], sender: Sender<'_>, stores: impl Stores) -> Result<Counts, ApiError> {
    let mut batch = Batch::new(stores);
    batch.add(event::read(text, 0, sender)?)?;
    batch.flush()
}

/// All of them, or none: the first that is wrong is named.
fn many(text: &[u8], sender: Sender<'_>, stores: impl Stores) -> Result<Counts, ApiError> {
    let written: Vec<&RawValue> = json::parse(text)?;
    if !(1..=limits::EVENTS).contains(&written.len()) {
        let message = format!(
            "a list must hold 1 to {} events, got {}; NDJSON may hold any number",
            limits::EVENTS,
            written.len()
        );
        return Err(ApiError::new(Code::InvalidField, message));
    }
    let mut batch = Batch::new(stores);
    for (at, raw) in written.iter().enumerate() {
        let event = event::read(raw.get().as_bytes(), at as u64, sender);
        event.and_then(|event| batch.add(event)).map_err(|error| json::within(&format!("[{at}]"), error))?;
    }
    batch.flush()
}

/// The capabilities of the host.
struct Host;

impl Stores for Host {
    fn scenario(&mut self, scenario_id: &str) -> Result<Option<String>, ApiError> {
        let found = documents::get(Collection::Scenarios, &store::scenario_key(scenario_id))?;
        Ok(found.map(|document| document.body))
    }

    fn items(&mut self, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError> {
        let found = documents::get_many(Collection::Items, keys)?;
        Ok(found.into_iter().map(|document| document.map(|document| document.body)).collect())
    }

    fn append(&mut self, events: &[events::Event]) -> Result<Vec<events::AppendOutcome>, ApiError> {
        Ok(events::append(events)?)
    }
}

#[cfg(test)]
mod tests;
