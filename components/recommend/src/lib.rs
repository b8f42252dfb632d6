//! `POST /api/v1/recommend`: the funnel. It loads the scenario and the profile,
//! and runs the stages that the config names, in the order of the design
//! (§2.3): see [`funnel::recommend`], which reads like it.
//!
//! No stage can fail a request: one that gives no answer is left out, and the
//! response says so under `degraded`.

pub mod capabilities;
mod context;
mod explain;
pub mod funnel;
mod merge;
mod plan;
mod request;

pub use request::Request;

use funnelweb_core::{error::ApiError, id, limits};
use funnelweb_guest::http::{self as web, Body, Head, Outgoing, Reply, json};
use http::StatusCode;

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
            let call = funnel::Call {
                request_id: &head.request_id,
                user_id: &user,
                explain,
                now_ms: now_ms(),
                seed: id::handle(&head.request_id),
            };
            Reply::json(StatusCode::OK, &funnel::recommend(&capabilities::Imports, &call, &request)?)
        }
        (["api", "v1", "recommend"], _) => Ok(Reply::method_not_allowed("POST")),
        _ => Err(web::no_route(&head)),
    }
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
