//! Lists beside the funnel, each one stage or structure asked alone:
//!
//! - `/api/v1/items/{scenario_id}/{item_id}/similar`: what is like an item;
//! - `/api/v1/profiles/{scenario_id}/{user_id}/similar-users/items`: what the users
//!   most like this one acted on;
//! - `/api/v1/popular/{scenario_id}`: what is hot;
//! - `/api/v1/latest/{scenario_id}`: what is new.
//!
//! Nothing is ranked, noted as shown, or left out because it was shown. The first
//! two run recall channels through `dispatch`, so that there is one implementation
//! of each.

mod answer;
mod asked;
mod lists;
mod similar;
mod sources;

pub use answer::Response;

use funnelweb_core::error::ApiError;
use funnelweb_guest::http::{self as web, Body, Head, Outgoing, Reply};
use http::StatusCode;

use crate::{
    answer::respond,
    asked::Asked,
    sources::{Imports, Sources},
};

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, async |head: Head, _: Body| route(&head)).await
}

fn route(head: &Head) -> Result<Reply, ApiError> {
    let segments = head.segments();
    let Some(list) = List::of(&segments) else { return Err(web::no_route(head)) };
    if head.method != "GET" {
        return Ok(Reply::method_not_allowed("GET"));
    }
    Reply::json(StatusCode::OK, &answer(&Imports, head, &list)?)
}

/// What a path asks for.
enum List<'a> {
    SimilarItems { scenario: &'a str, item: &'a str },
    SimilarUsers { scenario: &'a str, user: &'a str },
    Popular { scenario: &'a str },
    Latest { scenario: &'a str },
}

impl<'a> List<'a> {
    fn of(segments: &[&'a str]) -> Option<Self> {
        match *segments {
            ["api", "v1", "items", scenario, item, "similar"] => Some(Self::SimilarItems { scenario, item }),
            ["api", "v1", "profiles", scenario, user, "similar-users", "items"] => {
                Some(Self::SimilarUsers { scenario, user })
            }
            ["api", "v1", "popular", scenario] => Some(Self::Popular { scenario }),
            ["api", "v1", "latest", scenario] => Some(Self::Latest { scenario }),
            _ => None,
        }
    }
}

fn answer(host: &impl Sources, head: &Head, list: &List<'_>) -> Result<Response, ApiError> {
    let (List::SimilarItems { scenario, .. }
    | List::SimilarUsers { scenario, .. }
    | List::Popular { scenario }
    | List::Latest { scenario }) = list;
    let scenario_id = head.id("scenario_id", scenario)?;
    let asked = Asked::read(head, matches!(list, List::Popular { .. } | List::Latest { .. }))?;
    let found = match list {
        List::SimilarItems { item, .. } => {
            let item_id = head.id("item_id", item)?;
            sources::config(host, scenario_id)?;
            similar::items(host, scenario_id, item_id, &asked)?
        }
        List::SimilarUsers { user, .. } => {
            let user_id = head.id("user_id", user)?;
            let config = sources::config(host, scenario_id)?;
            similar::users_items(host, scenario_id, user_id, &config, &asked)?
        }
        List::Popular { .. } => {
            sources::config(host, scenario_id)?;
            lists::popular(host, scenario_id, &asked)?
        }
        List::Latest { .. } => {
            sources::config(host, scenario_id)?;
            lists::latest(host, scenario_id, &asked)?
        }
    };
    respond(host, &head.request_id, scenario_id, found, &asked)
}

#[cfg(test)]
mod tests;
