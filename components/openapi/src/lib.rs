//! `/openapi.json`: the whole API as OpenAPI 3.1, for machines; `/docs`: the same
//! for people, one page that builds itself from the document in the browser and
//! loads nothing else. `/experiments`: what experiments come to, another such page, which asks
//! the API as whoever reads it may.

use bytes::Bytes;
use funnelweb_core::error::ApiError;
use funnelweb_guest::http::{self as web, Body, Head, Outgoing, Reply};
use http::{StatusCode, header};

/// The description of every endpoint.
pub const DOCUMENT: &str = include_str!("../openapi.json");

/// The page, its style and script inside.
pub const PAGE: &str = concat!(
    include_str!("../page/head.html"),
    "<style>\n",
    include_str!("../page/base.css"),
    include_str!("../page/page.css"),
    "</style>\n",
    include_str!("../page/body.html"),
    "<script>\n",
    include_str!("../page/common.js"),
    include_str!("../page/schema.js"),
    include_str!("../page/try.js"),
    include_str!("../page/page.js"),
    "</script>\n",
);

/// The page of experiments.
pub const EXPERIMENTS: &str = concat!(
    include_str!("../page/experiments/head.html"),
    "<style>\n",
    include_str!("../page/base.css"),
    include_str!("../page/experiments/style.css"),
    "</style>\n",
    include_str!("../page/experiments/body.html"),
    "<script>\n",
    include_str!("../page/common.js"),
    include_str!("../page/experiments/plot.js"),
    include_str!("../page/experiments/report.js"),
    include_str!("../page/experiments/votes.js"),
    include_str!("../page/experiments/page.js"),
    "</script>\n",
);

/// A page runs its own script and talks to its own server; nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, async |head: Head, _: Body| route(&head)).await
}

fn route(head: &Head) -> Result<Reply, ApiError> {
    match (head.segments().as_slice(), head.method.as_str()) {
        (["openapi.json"], "GET") => {
            head.query(&[])?;
            Ok(Reply::json_text(StatusCode::OK, Bytes::from_static(DOCUMENT.as_bytes())))
        }
        (["docs"], "GET") => page(head, PAGE),
        (["experiments"], "GET") => page(head, EXPERIMENTS),
        (["openapi.json" | "docs" | "experiments"], _) => Ok(Reply::method_not_allowed("GET")),
        _ => Err(web::no_route(head)),
    }
}

fn page(head: &Head, text: &'static str) -> Result<Reply, ApiError> {
    head.query(&[])?;
    let page = Reply::bytes(StatusCode::OK, "text/html; charset=utf-8", Bytes::from_static(text.as_bytes()));
    Ok(page.header(header::CONTENT_SECURITY_POLICY, POLICY).header(header::REFERRER_POLICY, "no-referrer"))
}

#[cfg(test)]
mod tests;
