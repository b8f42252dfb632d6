//! Asking an endpoint from inside the process, as a gateway would: what answers is the
//! real component, only the listener is missing.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, Weak},
};

use bytes::Bytes;
use funnelweb_core::error::ApiError;
use funnelweb_jobs::work::Failure;
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
    pub(crate) user_id: Option<&'a str>,
    pub(crate) media: &'a str,
    pub(crate) body: Vec<u8>,
}

/// Why an endpoint did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint}: {message}")]
pub(crate) struct Refusal {
    endpoint: String,
    /// Of the answer.
    pub(crate) status: u16,
    /// Its field and message.
    pub(crate) message: String,
}

impl Refusal {
    /// Whether it may do it later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.status, 429 | 502 | 503 | 504)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        if refusal.is_transient() { Self::Transient(message) } else { Self::Permanent(message) }
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
    let request = request(tenant, request_id, call).map_err(|error| internal(error.to_string()))?;
    let answer = endpoint.handle(Some(tenant.clone()), request_id.into(), request).await;
    let answer = answer.map_err(|ApiError { code, message, .. }| refusal(code.status(), message))?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(|error| internal(error.to_string()))?.to_bytes();
    if parts.status.is_success() { Ok(body) } else { Err(refusal(parts.status.as_u16(), said(&body))) }
}

/// A call as a gateway would make it.
pub(crate) fn request(
    tenant: &Tenant,
    request_id: &str,
    call: Call<'_>,
) -> Result<Request<funnelweb_trigger_http::Body>, http::Error> {
    let Call { method, path, user_id, media, body } = call;
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .header("content-length", body.len())
        .header("x-tenant-id", tenant.as_str())
        .header("x-request-id", request_id)
        .header("authorization", "Bearer inside");
    for (name, value) in [("content-type", media), ("x-user-id", user_id.unwrap_or_default())] {
        if !value.is_empty() {
            request = request.header(name, value);
        }
    }
    request.body(Full::from(body).map_err(|never| match never {}).boxed_unsync())
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

/// The endpoints for jobs, which are there before them. They know of the jobs, so that
/// these must not keep them: they end with the application, whatever a job still holds.
#[derive(Default)]
pub(crate) struct Endpoints(OnceLock<BTreeMap<String, Weak<Endpoint>>>);

impl Endpoints {
    /// Once, when the endpoints are there.
    pub(crate) fn set(&self, endpoints: &[Arc<Endpoint>]) {
        let by_id = || endpoints.iter().map(|endpoint| (endpoint.id().to_owned(), Arc::downgrade(endpoint))).collect();
        self.0.get_or_init(by_id);
    }

    /// The one of this component.
    ///
    /// # Errors
    /// 404 when the manifest has none, 503 when the application ends.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<Endpoint>, Refusal> {
        let refusal = |status, message: &str| Refusal { endpoint: id.to_owned(), status, message: message.to_owned() };
        let known = self.0.get().and_then(|known| known.get(id));
        let known = known.ok_or_else(|| refusal(404, "the manifest has no such endpoint"))?;
        known.upgrade().ok_or_else(|| refusal(503, "the application ends"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_put_in_words() {
        assert_eq!(said(br#"{"error":{"message":"unknown","field":"item_id"}}"#), "item_id: unknown");
        assert_eq!(said(br#"{"error":{"message":"unknown"}}"#), "unknown");
        assert_eq!(said(b"<html>"), "<html>");
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let passes =
            |status: u16| Refusal { endpoint: "items".to_owned(), status, message: String::new() }.is_transient();
        assert!([429, 502, 503, 504].into_iter().all(passes));
        assert!(![400, 404, 422, 500].into_iter().any(passes));
    }

    #[test]
    fn an_endpoint_that_is_not_there_is_missed() {
        let endpoints = Endpoints::default();
        assert_eq!(endpoints.get("items").err().map(|refusal| refusal.status), Some(404));
    }
}
