//! `/api/v1/experiments/{scenario_id}`: to compare configs of a scenario on its users.
//!
//! What an experiment is stands in a document of its own; that it splits, in its scenario's
//! ([`funnelweb_core::experiment`]): whatever a crash leaves between the two writes, the scenario
//! tells what runs.
//!
//! `POST /internal/experiments/{scenario_id}/{experiment_id}/stop` is of the job that reports on
//! them: a guardrail stops one.

mod document;
mod running;
mod store;

use funnelweb_core::{
    error::ApiError,
    experiment::{Status, StoppedBy},
    limits, time,
};
use funnelweb_guest::{
    documents::{Collection, Key, Precondition, Query, Range, Sort},
    http::{self as web, Body, Head, Outgoing, Reply, config, json, version},
};
use http::{StatusCode, header};

use crate::{
    document::{Change, View},
    running::Step,
    store::Beside,
};

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, route).await
}

async fn route(head: Head, body: Body) -> Result<Reply, ApiError> {
    match (head.segments().as_slice(), head.method.as_str()) {
        (["api", "v1", "experiments", scenario_id], method) => {
            let scenario_id = head.id("scenario_id", scenario_id)?;
            match method {
                "GET" => list(&head, scenario_id),
                "POST" => create(&head, scenario_id, body).await,
                _ => Ok(Reply::method_not_allowed("GET, POST")),
            }
        }
        (["api", "v1", "experiments", scenario_id, id], method) => {
            let key = key(&head, scenario_id, id)?;
            match method {
                "GET" => read(&head, &key),
                "PUT" => put(&head, &key, body).await,
                "PATCH" => patch(&head, &key, body).await,
                "DELETE" => delete(&head, &key),
                _ => Ok(Reply::method_not_allowed("GET, PUT, PATCH, DELETE")),
            }
        }
        (["api", "v1", "experiments", scenario_id, id, "start"], "POST") => start(&head, &key(&head, scenario_id, id)?),
        (["api", "v1", "experiments", scenario_id, id, "stop"], "POST") => stop(&head, &key(&head, scenario_id, id)?),
        (["api", "v1", "experiments", scenario_id, id, "report"], "GET") => {
            report(&head, &key(&head, scenario_id, id)?)
        }
        (["internal", "experiments", scenario_id, id, "stop"], "POST") => {
            stop_by(&head, &key(&head, scenario_id, id)?, body).await
        }
        (["api", "v1", "experiments", _, _, "start" | "stop"], _) => Ok(Reply::method_not_allowed("POST")),
        (["api", "v1", "experiments", _, _, "report"], _) => Ok(Reply::method_not_allowed("GET")),
        _ => Err(web::no_route(&head)),
    }
}

fn key(head: &Head, scenario_id: &str, id: &str) -> Result<Key, ApiError> {
    Ok(Key {
        scenario_id: head.id("scenario_id", scenario_id)?.to_owned(),
        id: head.id("experiment_id", id)?.to_owned(),
    })
}

fn list(head: &Head, scenario_id: &str) -> Result<Reply, ApiError> {
    let query = head.query(&["cursor", "limit"])?;
    let limit = query.number("limit", 1..=limits::PAGE_DOCUMENTS)?.unwrap_or(limits::DEFAULT_PAGE_DOCUMENTS);
    let view = View::new(store::scenario(scenario_id)?.1, web::now_ms());
    let query = Query {
        scenario_id: Some(scenario_id.to_owned()),
        status: None,
        category: None,
        tag: None,
        created: Range { from_ms: None, to_ms: None },
        sort: Sort::Newest,
        cursor: query.get("cursor").map(str::to_owned),
        limit,
    };
    let page = web::store::page(Collection::Experiments, &query)?;
    let shown = page.documents.iter().map(|document| view.of(&document.body));
    let shown = shown.collect::<Result<Vec<_>, _>>()?;
    Ok(Reply::page("experiments", shown.iter().map(String::as_str), page.next.as_deref()))
}

fn read(head: &Head, key: &Key) -> Result<Reply, ApiError> {
    head.query(&[])?;
    shown(StatusCode::OK, key)
}

async fn create(head: &Head, scenario_id: &str, body: Body) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let body = body.json(head, limits::DOCUMENT_BYTES).await?;
    let (text, experiment) = document::new(&body, scenario_id, None)?;
    let (scenario, _) = store::scenario(scenario_id)?;
    running::check(&scenario, &experiment, &config::Host)?;
    let key = Key { scenario_id: scenario_id.to_owned(), id: experiment.experiment_id };
    store::create(&key, &text)?;
    let location = format!("/api/v1/experiments/{scenario_id}/{}", key.id);
    Ok(shown(StatusCode::CREATED, &key)?.header(header::LOCATION, &location))
}

async fn put(head: &Head, key: &Key, body: Body) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let when = version::precondition(head)?;
    let body = body.json(head, limits::DOCUMENT_BYTES).await?;
    let created = store::write(key, when, |found, beside| written(key, found, &Change::Whole(&body), beside))?;
    shown(if created { StatusCode::CREATED } else { StatusCode::OK }, key)
}

async fn patch(head: &Head, key: &Key, body: Body) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let when = version::precondition(head)?;
    let body = body.json(head, limits::DOCUMENT_BYTES).await?;
    store::read(key)?;
    store::write(key, when, |found, beside| {
        found.ok_or_else(|| store::missing(key))?;
        written(key, found, &Change::Patch(&body), beside)
    })?;
    shown(StatusCode::OK, key)
}

/// What is written: an experiment that was started keeps what it splits by, and its scenario
/// learns of another end.
fn written(key: &Key, found: Option<&str>, change: &Change<'_>, beside: &Beside<'_>) -> Result<String, ApiError> {
    let now_ms = web::now_ms();
    let (body, scenario) = store::scenario(&key.scenario_id)?;
    let status = View::new(scenario, now_ms).status(&key.id, found)?;
    let (text, experiment) = match (found, change) {
        (Some(stored), _) => document::changed(stored, key, change, status)?,
        // One that is being deleted, or started, at this moment.
        (None, _) => {
            document::check_deleted(key, status)?;
            let (Change::Whole(body) | Change::Patch(body)) = change;
            document::new(body, &key.scenario_id, Some(&key.id))?
        }
    };
    if let Some(stored) = found {
        document::check_change(stored, &experiment, status)?;
    }
    if status == Status::Draft {
        running::check(&body, &experiment, &config::Host)?;
    } else {
        beside.update(|body| running::until(body, &experiment, now_ms))?;
    }
    Ok(text)
}

fn delete(head: &Head, key: &Key) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let when = version::precondition(head)?;
    let found = store::read(key)?;
    let (_, scenario) = store::scenario(&key.scenario_id)?;
    document::check_deleted(key, View::new(scenario, web::now_ms()).status(&key.id, Some(&found.body))?)?;
    // As it was looked at: one that is started meanwhile stays.
    let as_found = if matches!(when, Precondition::None) { Precondition::Version(found.version) } else { when };
    store::delete(key, as_found)?;
    store::agree(key)?;
    Ok(Reply::no_content())
}

fn start(head: &Head, key: &Key) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let now_ms = web::now_ms();
    let when = version::precondition(head)?;
    store::write(key, when, |found, beside| {
        let stored = found.ok_or_else(|| store::missing(key))?;
        let experiment = document::read(stored)?;
        document::check_draft(&experiment)?;
        beside.update(|body| running::started(body, &experiment, now_ms, &config::Host).map(Some))?;
        document::stepped(stored, Step::Started, &time::format_ms(now_ms))
    })?;
    shown(StatusCode::OK, key)
}

fn stop(head: &Head, key: &Key) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let now_ms = web::now_ms();
    let when = version::precondition(head)?;
    store::write(key, when, |found, _| {
        let stored = found.ok_or_else(|| store::missing(key))?;
        let (_, scenario) = store::scenario(&key.scenario_id)?;
        let status = View::new(scenario, now_ms).status(&key.id, Some(stored))?;
        document::check_running(&document::read(stored)?, status)?;
        document::stepped(stored, Step::Stopped, &time::format_ms(now_ms))
    })?;
    // Last: while that fails it is shown to run, as it does, and can be stopped.
    store::update_scenario(&key.scenario_id, |body| running::stopped(body, &key.id))?;
    shown(StatusCode::OK, key)
}

/// Stops one by a guardrail, which the body tells, or `null`. One that was stopped already, and is
/// in its scenario still, is taken out of it: what was cut off is done.
async fn stop_by(head: &Head, key: &Key, body: Body) -> Result<Reply, ApiError> {
    let by: Option<StoppedBy> = json::parse(&body.json(head, limits::DOCUMENT_BYTES).await?)?;
    let now = time::format_ms(web::now_ms());
    store::write(key, Precondition::None, |found, _| {
        document::stopped_by(found.ok_or_else(|| store::missing(key))?, by.as_ref(), &now)
    })?;
    store::agree(key)?;
    Ok(Reply::no_content())
}

fn report(head: &Head, key: &Key) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let (_, scenario) = store::scenario(&key.scenario_id)?;
    let document = store::read(key)?;
    Ok(Reply::json_text(StatusCode::OK, View::new(scenario, web::now_ms()).report(&document.body)?))
}

/// The experiment as it stands now.
fn shown(status: StatusCode, key: &Key) -> Result<Reply, ApiError> {
    let (_, scenario) = store::scenario(&key.scenario_id)?;
    let document = store::read(key)?;
    let text = View::new(scenario, web::now_ms()).of(&document.body)?;
    Ok(Reply::json_text(status, text).version(document.version))
}
