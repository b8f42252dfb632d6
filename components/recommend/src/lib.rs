//! `POST /api/v1/recommend`: the funnel. It loads the scenario and the profile,
//! and runs the stages that the config names, in the order of the design
//! (§2.3): see [`funnel`]. `POST /api/v1/recommend/session` runs it for a user that
//! is made of the behaviours it is sent. `POST /internal/slate` makes a slate ahead of
//! time ([`offline`]): no route of `spin.toml` leads there, the host's job asks.
//!
//! No stage can fail a request: one that gives no answer is left out, and the
//! response says so under `degraded`.

pub mod capabilities;
mod context;
mod evidence;
mod explain;
mod exploration;
#[cfg(test)]
mod fixtures;
pub mod funnel;
mod fusion;
mod merge;
pub mod offline;
mod plan;
mod recording;
mod request;
mod session;
mod slate;
mod subject;
#[cfg(test)]
mod tests;

pub use offline::OfflineRequest;
pub use request::Request;
pub use session::SessionRequest;
pub use slate::Response;

use funnelweb_core::{error::ApiError, id, limits};
use funnelweb_guest::http::{self as web, Body, Head, Outgoing, Reply, json};
use http::StatusCode;

use crate::capabilities::Imports;

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, route).await
}

async fn route(head: Head, body: Body) -> Result<Reply, ApiError> {
    match (head.segments().as_slice(), head.method.as_str()) {
        (["api", "v1", "recommend"], "POST") => {
            let explain = head.query(&["explain"])?.flag("explain")?;
            let user = head.require_user()?.to_owned();
            let request: Request = json::object(&body.json(&head, limits::BODY_BYTES).await?)?;
            answer(&funnel::recommend(&Imports, &call(&head, &user, explain), &request)?)
        }
        (["api", "v1", "recommend", "session"], "POST") => {
            let explain = head.query(&["explain"])?.flag("explain")?;
            let request: SessionRequest = json::object(&body.json(&head, limits::BODY_BYTES).await?)?;
            answer(&funnel::recommend_to_session(&Imports, &call(&head, "", explain), request)?)
        }
        (["internal", "slate"], "POST") => {
            let user = head.require_user()?.to_owned();
            let request: OfflineRequest = json::object(&body.json(&head, limits::BODY_BYTES).await?)?;
            Reply::json(StatusCode::OK, &offline::slate(&Imports, &call(&head, &user, false), request)?)
        }
        (["api", "v1", "recommend"] | ["api", "v1", "recommend", "session"] | ["internal", "slate"], _) => {
            Ok(Reply::method_not_allowed("POST"))
        }
        _ => Err(web::no_route(&head)),
    }
}

fn call<'a>(head: &'a Head, user_id: &'a str, explain: bool) -> funnel::Call<'a> {
    let seed = id::handle(&head.request_id);
    funnel::Call { request_id: &head.request_id, user_id, explain, now_ms: web::now_ms(), seed }
}

fn answer(response: &Response) -> Result<Reply, ApiError> {
    Reply::json(StatusCode::OK, response)
}
