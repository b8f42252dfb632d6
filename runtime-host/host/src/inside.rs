//! Asking an endpoint from inside the process, as a gateway would: what answers is the
//! real component, only the listener is missing.

use bytes::Bytes;
use funnelweb_core::error::ApiError;
use funnelweb_tenant_store::Tenant;
use funnelweb_trigger_http::Endpoint;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde::Deserialize;

pub(crate) const JSON: &str = "application/json";
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// A request.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) user_id: &'a str,
    pub(crate) media: &'a str,
    pub(crate) body: Vec<u8>,
}

/// Why an endpoint did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint}: {message}")]
pub(crate) struct Refusal {
    endpoint: String,
    status: u16,
    message: String,
}

impl Refusal {
    /// Whether it may do it later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.status, 503 | 504)
    }
}

/// Asks, and returns the body of the answer.
pub(crate) async fn ask(
    endpoint: &Endpoint,
    tenant: &Tenant,
    request_id: &str,
    call: Call<'_>,
) -> Result<Bytes, Refusal> {
    let refusal = |status, message| Refusal { endpoint: endpoint.id().to_owned(), status, message };
    let internal = |message| refusal(500, message);
    let Call { method, path, user_id, media, body } = call;
    let request = Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .header("content-type", media)
        .header("content-length", body.len())
        .header("x-tenant-id", tenant.as_str())
        .header("x-user-id", user_id)
        .header("x-request-id", request_id)
        .header("authorization", "Bearer inside")
        .body(Full::from(body).map_err(|never| match never {}).boxed_unsync())
        .map_err(|error| internal(error.to_string()))?;
    let answer = endpoint.handle(Some(tenant.clone()), request_id.into(), request).await;
    let answer = answer.map_err(|ApiError { code, message, .. }| refusal(code.status(), message))?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(|error| internal(error.to_string()))?.to_bytes();
    if parts.status.is_success() { Ok(body) } else { Err(refusal(parts.status.as_u16(), said(&body))) }
}

/// Field and message of an endpoint's error.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        field: Option<String>,
        message: String,
    }
    match serde_json::from_slice::<Answer>(body) {
        Ok(Answer { error: Error { field: Some(field), message } }) => format!("{field}: {message}"),
        Ok(Answer { error }) => error.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}
