//! From a request to its component and back: routing, turns, errors.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use funnelweb_core::error::{ApiError, Code};
use funnelweb_manifest::{Match, Request as SpinRequest, Router, spin_headers};
use funnelweb_tenant_store::Tenant;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    body::{self, Unread},
    endpoint::Endpoint,
    identity::{self, Identity},
    listener,
    metrics::Requests,
    queue::Queue,
};

/// What `/metrics` answers, in the text format of OpenMetrics.
pub type Exposition = Box<dyn Fn() -> Pin<Box<dyn Future<Output = String> + Send>> + Send + Sync>;

type Body = UnsyncBoxBody<Bytes, wasmtime_wasi_http::Error>;

/// An application that can be served.
pub struct Server {
    router: Router,
    endpoints: BTreeMap<String, Arc<Endpoint>>,
    queue: Queue,
    requests: Requests,
    exposition: Option<Exposition>,
    /// For the ids of requests that came without one.
    sequence: AtomicU64,
}

/// A server that listens.
pub struct ServerHandle {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl ServerHandle {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connection, lets requests in flight finish, and returns
    /// when they have or [`DRAIN_TIMEOUT`](funnelweb_core::limits::DRAIN_TIMEOUT)
    /// is over.
    pub async fn drain(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

impl Server {
    /// A server of these endpoints; every component of a route must be among
    /// them.
    #[must_use]
    pub fn new(router: Router, endpoints: Vec<Arc<Endpoint>>) -> Self {
        let endpoints = endpoints.into_iter().map(|endpoint| (endpoint.id().to_owned(), endpoint)).collect();
        Self {
            router,
            endpoints,
            queue: Queue::default(),
            requests: Requests::default(),
            exposition: None,
            sequence: AtomicU64::new(0),
        }
    }

    /// Counts requests there, and answers `/metrics` with this.
    #[must_use]
    pub fn with_metrics(self, requests: Requests, exposition: Exposition) -> Self {
        Self { requests, exposition: Some(exposition), ..self }
    }

    /// Begins to serve.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn listen(self, address: SocketAddr) -> io::Result<ServerHandle> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let server = Arc::new(self);
        let answer = move |request, client| Arc::clone(&server).answer(request, client);
        let task = tokio::spawn(listener::serve(listener, listener::Limits::default(), stopped, answer));
        Ok(ServerHandle { address, stop, task })
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, client: SocketAddr) -> Response<Body> {
        let start = Instant::now();
        let request_id: Arc<str> = match identity::request_id(request.headers()) {
            Some(given) => given.into(),
            None => self.new_request_id().into(),
        };
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let request = request.map(Unread::new);
        let _at_work = self.requests.begin();
        let mut component = String::new();
        let mut response = match self.route(request, client, &request_id, &mut component).await {
            Ok(response) => response,
            Err(error) => error_response(&error, &request_id),
        };
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(identity::REQUEST, value);
        }
        let (status, elapsed) = (response.status().as_u16(), start.elapsed());
        self.requests.count(&component, status, elapsed);
        let elapsed_us = elapsed.as_micros();
        tracing::debug!(%request_id, %method, path, status, elapsed_us, "request");
        response
    }

    async fn route(
        &self,
        request: Request<Unread>,
        client: SocketAddr,
        request_id: &Arc<str>,
        component: &mut String,
    ) -> Result<Response<Body>, ApiError> {
        match (request.uri().path(), &self.exposition) {
            ("/healthz", _) => {
                return Ok(json_response(StatusCode::OK, Bytes::from_static(br#"{"status":"ok"}"#)));
            }
            ("/metrics", Some(exposition)) => return Ok(text_response(OPEN_METRICS, exposition().await.into())),
            _ => {}
        }
        let path = request.uri().path().to_owned();
        let found = self.router.find(&path).and_then(|found| Some((self.endpoints.get(found.component)?, found)));
        let (endpoint, found) =
            found.ok_or_else(|| ApiError::new(Code::RouteNotFound, format!("no route leads to {path}")))?;
        found.component.clone_into(component);
        let tenant = if endpoint.is_public() {
            None
        } else {
            let Identity { tenant, .. } = identity::read(request.headers(), endpoint.user_header())?;
            // Its shape was checked when it was read.
            Some(Tenant::new(&tenant).map_err(|error| ApiError::new(Code::InvalidHeader, error.to_string()))?)
        };
        let limit = endpoint.body_limit();
        if declared_length(&request).is_some_and(|length| length > limit) {
            return Err(ApiError::new(Code::BodyTooLarge, format!("the body may have {limit} bytes at most")));
        }
        let _turn = self.queue.turn().await?;
        let request = prepare(request, &found, client, limit)?;
        let response = endpoint.handle(tenant, Arc::clone(request_id), request).await?;
        Ok(response)
    }

    fn new_request_id(&self) -> String {
        let started = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_micros());
        format!("gen-{started:x}-{:x}", self.sequence.fetch_add(1, Ordering::Relaxed))
    }
}

/// The media type of [`Exposition`].
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn declared_length(request: &Request<Unread>) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The request as a component sees it: an absolute URI, Spin's headers in place
/// of any that the client made up, a bounded body.
fn prepare(
    request: Request<Unread>,
    found: &Match<'_>,
    client: SocketAddr,
    limit: u64,
) -> Result<Request<wasmtime_wasi_http::WasiBody>, ApiError> {
    let (mut parts, incoming) = request.into_parts();
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let host =
        host.or_else(|| parts.uri.authority().map(ToString::to_string)).unwrap_or_else(|| "localhost".to_owned());
    let path_and_query = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
    let made_up: Vec<HeaderName> =
        parts.headers.keys().filter(|name| name.as_str().starts_with("spin-")).cloned().collect();
    for name in made_up {
        parts.headers.remove(name);
    }
    let spin = SpinRequest { scheme: "http", host: &host, path_and_query: &path_and_query, client };
    for (name, value) in spin_headers(found, spin) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_ref()), HeaderValue::try_from(value.as_ref())) {
            parts.headers.insert(name, value);
        }
    }
    parts.uri = Uri::builder()
        .scheme("http")
        .authority(host)
        .path_and_query(path_and_query)
        .build()
        .map_err(|_| ApiError::field(Code::InvalidHeader, "Host", "the header Host is not a host"))?;
    Ok(Request::from_parts(parts, body::bounded(incoming, limit)))
}

fn error_response(error: &ApiError, request_id: &str) -> Response<Body> {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_response(status, error.body(request_id).into());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn text_response(media: &'static str, body: Bytes) -> Response<Body> {
    let mut response = json_response(StatusCode::OK, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

fn json_response(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
