//! `POST /api/v1/recommend`: the funnel. It loads the scenario and the profile,
//! and runs the stages that the config names, in the order of the design
//! (§2.3): see [`funnel`]. `POST /api/v1/recommend/session` runs it for a user that
//! is made of the behaviours it is sent. `POST /internal/slate` makes a slate ahead of
//! time ([`offline`]), `POST /internal/revalidate` and `…/revalidate/session` an answer anew
//! that was given before ([`cache`]): no route of `spin.toml` leads there, the host asks.
//!
//! No stage can fail a request: one that gives no answer is left out, and the
//! response says so under `degraded`.

mod answer;
mod cache;
pub mod capabilities;
mod context;
mod cursor;
mod draft;
mod evidence;
mod explain;
mod exploration;
#[cfg(test)]
mod fixtures;
pub mod funnel;
mod fusion;
mod interleaving;
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

pub use answer::{Answer, CacheStatus};
pub use offline::OfflineRequest;
pub use request::Request;
pub use session::SessionRequest;

use funnelweb_core::{error::ApiError, id, limits};
use funnelweb_guest::http::{self as web, Body, Head, Outgoing, Reply, json};
use http::{HeaderName, StatusCode};

use crate::{capabilities::Imports, funnel::Call};

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, route).await
}

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

async fn route(head: Head, body: Body) -> Result<Reply, ApiError> {
    match (head.segments().as_slice(), head.method.as_str()) {
        (["api", "v1", "recommend"], "POST") => {
            let explain = head.query(&["explain"])?.flag("explain")?;
            let (user, body) = (head.require_user()?.to_owned(), body.json(&head, limits::BODY_BYTES).await?);
            let call = Call { explain, user_id: &user, ..call(&head, &body) };
            Ok(answer(funnel::recommend(&Imports, &call, &json::object(&body)?)?))
        }
        (["api", "v1", "recommend", "session"], "POST") => {
            let explain = head.query(&["explain"])?.flag("explain")?;
            let body = body.json(&head, limits::BODY_BYTES).await?;
            let call = Call { explain, ..call(&head, &body) };
            Ok(answer(funnel::recommend_to_session(&Imports, &call, json::object(&body)?)?))
        }
        (["internal", "revalidate"], "POST") => {
            let (user, body) = (head.require_user()?.to_owned(), body.json(&head, limits::BODY_BYTES).await?);
            let call = Call { revalidates: true, user_id: &user, ..call(&head, &body) };
            Ok(answer(funnel::recommend(&Imports, &call, &json::object(&body)?)?))
        }
        (["internal", "revalidate", "session"], "POST") => {
            let body = body.json(&head, limits::BODY_BYTES).await?;
            let call = Call { revalidates: true, ..call(&head, &body) };
            Ok(answer(funnel::recommend_to_session(&Imports, &call, json::object(&body)?)?))
        }
        (["internal", "slate"], "POST") => {
            let (user, body) = (head.require_user()?.to_owned(), body.json(&head, limits::BODY_BYTES).await?);
            let request: OfflineRequest = json::object(&body)?;
            let call = Call { user_id: &user, ..call(&head, &body) };
            Reply::json(StatusCode::OK, &offline::slate(&Imports, &call, request)?)
        }
        (
            ["api", "v1", "recommend"]
            | ["api", "v1", "recommend", "session"]
            | ["internal", "slate" | "revalidate"]
            | ["internal", "revalidate", "session"],
            _,
        ) => Ok(Reply::method_not_allowed("POST")),
        _ => Err(web::no_route(&head)),
    }
}

/// Of nobody, until it is said of whom.
fn call<'a>(head: &'a Head, body: &'a [u8]) -> Call<'a> {
    let seed = id::handle(&head.request_id);
    Call { now_ms: web::now_ms(), seed, body, ..Call::of(&head.request_id, "") }
}

fn answer(answer: Answer) -> Reply {
    let cache = answer.cache().to_string();
    Reply::json_text(StatusCode::OK, answer.into_text()).header(CACHE_STATUS, &cache)
}
