//! HTTP for endpoint components: what a request says, strictly read; what goes
//! back, in one shape; and readers for bodies that are too large to hold.
//!
//! An endpoint is one function from a [`Head`] and a [`Body`] to a [`Reply`]:
//!
//! ```ignore
//! // Not natively, where tests link it: the name of the export is no ELF symbol.
//! #[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
//! pub async fn handle(request: spin_sdk::http::Request) -> http::Outgoing {
//!     http::serve(request, route).await
//! }
//!
//! async fn route(head: Head, body: Body) -> Result<Reply, ApiError> {
//!     match (head.segments().as_slice(), head.method.as_str()) {
//!         (["api", "v1", "things"], "POST") => {
//!             head.query(&[])?;
//!             let thing: Thing = json::parse(&body.json(&head, limits::BODY_BYTES).await?)?;
//!             Reply::json(StatusCode::CREATED, &thing)
//!         }
//!         (["api", "v1", "things"], _) => Ok(Reply::method_not_allowed("POST")),
//!         _ => Err(http::no_route(&head)),
//!     }
//! }
//! ```
//!
//! The host has checked the gateway headers before a component runs, and sets
//! `x-request-id` on every response.

mod body;
pub mod config;
pub mod csv;
pub mod elements;
pub mod json;
pub mod lines;
mod query;
mod reply;
pub mod report;
mod request;
pub mod store;
pub mod version;

pub use body::Body;
pub use query::Query;
pub use reply::{Outgoing, Reply};
pub use request::{Head, Media};

use funnelweb_core::error::{ApiError, Code};
use http_body_util::BodyExt;

/// The clock, in milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Reads the request's head, runs the handler, and writes its reply or error.
pub async fn serve<F>(request: spin_sdk::http::Request, handler: F) -> Outgoing
where
    F: AsyncFnOnce(Head, Body) -> Result<Reply, ApiError>,
{
    let (parts, incoming) = request.into_parts();
    let head = Head::new(parts);
    let request_id = head.request_id.clone();
    let declared = head.content_length();
    let body = Body::new(incoming.map_err(body::broken).boxed_unsync(), declared);
    handler(head, body).await.unwrap_or_else(Reply::error).into_response(&request_id)
}

/// The answer to a path that this component does not serve.
#[must_use]
pub fn no_route(head: &Head) -> ApiError {
    ApiError::new(Code::RouteNotFound, format!("no such route: {}", head.path()))
}

/// A capability's failure as a client sees it.
impl From<crate::errors::Error> for ApiError {
    fn from(error: crate::errors::Error) -> Self {
        use crate::errors::Error;
        match error {
            Error::Invalid(message) => Self::new(Code::InvalidField, message),
            Error::Unavailable(message) => Self::new(Code::StoreUnavailable, message),
            Error::Denied(message) => Self::new(Code::Internal, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::Error;

    #[test]
    fn capability_failures_keep_their_kind() {
        let status = |error: Error| ApiError::from(error).code.status();
        assert_eq!(status(Error::Invalid("x".into())), 400);
        assert_eq!(status(Error::Unavailable("x".into())), 503);
        assert_eq!(status(Error::Denied("x".into())), 500);
    }
}
