//! The application's own endpoints, asked in process: the components and the checks
//! that a request from outside meets, without a listener.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use funnelweb_core::error::{ApiError, Code};
use funnelweb_import::{Batch, Error, Result as Imported, Sink};
use funnelweb_jobs::work::Task;
use funnelweb_sync::Intake;
use funnelweb_tenant_store::Tenant;
use funnelweb_trigger_http::Endpoint;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde::Deserialize;
use tokio::runtime::Handle;

pub(crate) const JSON: &str = "application/json";
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// A request to an endpoint.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) media: &'a str,
    pub(crate) body: Vec<u8>,
}

impl Call<'_> {
    /// Status and body of the answer.
    pub(crate) async fn ask(
        self,
        endpoint: &Endpoint,
        tenant: &Tenant,
        request_id: &str,
    ) -> Result<(StatusCode, Bytes), ApiError> {
        let Call { method, path, user_id, media, body } = self;
        let internal = |error: &dyn std::fmt::Display| ApiError::new(Code::Internal, error.to_string());
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://localhost{path}"))
            .header("content-type", media)
            .header("content-length", body.len())
            .header("x-tenant-id", tenant.as_str())
            .header("x-request-id", request_id)
            .header("authorization", "Bearer own");
        if let Some(user_id) = user_id {
            request = request.header("x-user-id", user_id);
        }
        let body = Full::from(body).map_err(|never| match never {}).boxed_unsync();
        let request = request.body(body).map_err(|error| internal(&error))?;
        let answer = endpoint.handle(Some(tenant.clone()), request_id.into(), request).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| internal(&error))?.to_bytes();
        Ok((parts.status, body))
    }
}

/// Field and message of an endpoint's error.
pub(crate) fn refusal(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        error: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        field: Option<String>,
        message: String,
    }
    match serde_json::from_slice::<Answer>(body) {
        Ok(Answer { error: Inner { field: Some(field), message } }) => format!("{field}: {message}"),
        Ok(Answer { error }) => error.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

/// The endpoints for jobs, which are there before them. They end with the application,
/// whatever a job still holds.
#[derive(Default)]
pub(crate) struct OwnEndpoints(OnceLock<BTreeMap<String, Weak<Endpoint>>>);

impl OwnEndpoints {
    /// Once, when the endpoints are there.
    pub(crate) fn set(&self, endpoints: &[Arc<Endpoint>]) {
        let by_id = || endpoints.iter().map(|endpoint| (endpoint.id().to_owned(), Arc::downgrade(endpoint))).collect();
        self.0.get_or_init(by_id);
    }
}

impl Intake for OwnEndpoints {
    fn sink(&self, task: &Task) -> Box<dyn Sink + Send + Sync> {
        Box::new(OwnSink {
            endpoints: self.0.get().cloned().unwrap_or_default(),
            tenant: task.tenant.clone(),
            run_id: task.run_id.clone(),
            requests: AtomicU64::new(0),
            runtime: Handle::current(),
        })
    }
}

/// Posts the lines of a run.
struct OwnSink {
    endpoints: BTreeMap<String, Weak<Endpoint>>,
    tenant: Tenant,
    run_id: String,
    requests: AtomicU64,
    runtime: Handle,
}

impl Sink for OwnSink {
    fn send(&self, path: &str, body: &[u8]) -> Imported<Batch> {
        // A component is named as what it serves.
        let name = path.split(['/', '?']).nth(3).unwrap_or_default();
        let Some(endpoint) = self.endpoints.get(name) else {
            return Err(refused(path, StatusCode::NOT_FOUND, format!("the manifest has no endpoint `{name}`")));
        };
        let Some(endpoint) = endpoint.upgrade() else {
            return Err(refused(path, StatusCode::SERVICE_UNAVAILABLE, "the application ends".to_owned()));
        };
        let request_id = format!("{}-{}", self.run_id, self.requests.fetch_add(1, Ordering::Relaxed));
        let call = Call { method: Method::POST, path, user_id: None, media: NDJSON, body: body.to_vec() };
        let (status, answer) =
            self.runtime.block_on(call.ask(&endpoint, &self.tenant, &request_id)).map_err(|error| {
                let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                refused(path, status, error.message.to_string())
            })?;
        if !status.is_success() {
            return Err(refused(path, status, refusal(&answer)));
        }
        serde_json::from_slice(&answer)
            .map_err(|error| Error::Answer { url: path.to_owned(), reason: error.to_string() })
    }
}

/// What may pass is told from what will not, as by a client from outside.
fn refused(path: &str, status: StatusCode, message: String) -> Error {
    let url = path.to_owned();
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Error::Unreachable { url, attempts: 1, reason: message },
        status => Error::Refused { url, status: status.as_u16(), message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let passes = |status: u16| {
            matches!(refused("/x", StatusCode::from_u16(status).unwrap(), String::new()), Error::Unreachable { .. })
        };
        assert!([429, 502, 503, 504].into_iter().all(passes));
        assert!(![400, 404, 422, 500].into_iter().any(passes));
    }

    #[test]
    fn a_refusal_is_put_in_words() {
        assert_eq!(refusal(br#"{"error":{"message":"unknown","field":"item_id"}}"#), "item_id: unknown");
        assert_eq!(refusal(br#"{"error":{"message":"unknown"}}"#), "unknown");
        assert_eq!(refusal(b"<html>"), "<html>");
    }
}
