//! `/api/v1/jobs`: long work for a scenario, to begin, to look at and to stop.

mod call;
mod view;

use funnelweb_core::{
    error::{ApiError, Code},
    job::{Kind, State},
    limits,
};
use funnelweb_guest::{
    http::{self as web, Body, Head, Outgoing, Reply},
    jobs::{self, RunsQuery},
};
use http::{StatusCode, header};

use self::call::Call;

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, route).await
}

async fn route(head: Head, body: Body) -> Result<Reply, ApiError> {
    match (head.segments().as_slice(), head.method.as_str()) {
        (["api", "v1", "jobs"], "GET") => list(&head),
        (["api", "v1", "jobs"], "POST") => start(&head, body).await,
        (["api", "v1", "jobs"], _) => Ok(Reply::method_not_allowed("GET, POST")),
        (["api", "v1", "jobs", id], method) => {
            let id = head.id("run_id", id)?;
            match method {
                "GET" => read(&head, id),
                "DELETE" => cancel(&head, id),
                _ => Ok(Reply::method_not_allowed("GET, DELETE")),
            }
        }
        _ => Err(web::no_route(&head)),
    }
}

async fn start(head: &Head, body: Body) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let call = Call::read(&body.json(head, limits::BODY_BYTES).await?)?;
    match jobs::start(&call.scenario_id, call.kind.into(), &call.params) {
        Ok(run) => Ok(at(view::run(StatusCode::ACCEPTED, &run)?, &run.id)),
        Err(error) => call.refused(error),
    }
}

fn list(head: &Head) -> Result<Reply, ApiError> {
    let query = query(head)?;
    view::page(&jobs::list(&query)?, query.limit)
}

fn query(head: &Head) -> Result<RunsQuery, ApiError> {
    let query = head.query(&["cursor", "kind", "limit", "scenario_id", "state"])?;
    Ok(RunsQuery {
        scenario_id: query.id("scenario_id")?.map(str::to_owned),
        kind: query.choice("kind", &Kind::NAMES)?.map(Into::into),
        state: query.choice("state", &State::NAMES)?.map(Into::into),
        before: query.id("cursor")?.map(str::to_owned),
        limit: query.number("limit", 1..=limits::PAGE_DOCUMENTS)?.unwrap_or(limits::DEFAULT_PAGE_DOCUMENTS),
    })
}

fn read(head: &Head, id: &str) -> Result<Reply, ApiError> {
    head.query(&[])?;
    view::run(StatusCode::OK, &jobs::get(id)?.ok_or_else(|| missing(id))?)
}

/// A run at work stops soon: it is asked for again then.
fn cancel(head: &Head, id: &str) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let run = jobs::cancel(id)?.ok_or_else(|| missing(id))?;
    let over = State::from(run.state).is_over();
    view::run(if over { StatusCode::OK } else { StatusCode::ACCEPTED }, &run)
}

fn at(reply: Reply, id: &str) -> Reply {
    reply.header(header::LOCATION, &format!("/api/v1/jobs/{id}"))
}

fn missing(id: &str) -> ApiError {
    ApiError::field(Code::JobNotFound, "run_id", format!("no run `{id}`; old ones are forgotten"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str) -> Head {
        Head::new(http::Request::get(uri).body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_query_is_read_strictly() {
        let all = query(&head("/api/v1/jobs?scenario_id=feed&kind=sync&state=failed&cursor=x-1&limit=1000")).unwrap();
        assert_eq!((all.scenario_id.as_deref(), all.before.as_deref(), all.limit), (Some("feed"), Some("x-1"), 1000));
        assert_eq!((all.kind, all.state), (Some(jobs::Kind::Sync), Some(jobs::State::Failed)));
        let none = query(&head("/api/v1/jobs")).unwrap();
        assert_eq!((none.scenario_id, none.kind, none.state, none.before), (None, None, None, None));
        assert_eq!(none.limit, limits::DEFAULT_PAGE_DOCUMENTS);
        for (wrong, name) in [
            ("kind=training", "kind"),
            ("state=done", "state"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("scenario_id=a%2Fb", "scenario_id"),
            ("cursor=a%2Fb", "cursor"),
            ("trigger=api", "trigger"),
        ] {
            let error = query(&head(&format!("/api/v1/jobs?{wrong}"))).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (Code::InvalidParameter, Some(name)), "{wrong}");
        }
    }
}
