//! One endpoint component: its settings, and for each tenant the pool of
//! instances that answer for it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use funnelweb_dispatch::Dispatcher;
use funnelweb_factor_components::Components;
use funnelweb_factor_documents::store::Documents;
use funnelweb_factor_events::store::Events;
use funnelweb_factor_key_value::store::KeyValues;
use funnelweb_factor_learned::store::Learned;
use funnelweb_factor_live::store::Live;
use funnelweb_factor_models::Models;
use funnelweb_factor_outbound_http::OutboundHttp;
use funnelweb_factor_outbound_redis::{Outbound, OutboundRedis};
use funnelweb_factor_results::Results;
use funnelweb_factor_variables::VariablesCtx;
use funnelweb_factor_vectors::store::Vectors;
use funnelweb_instance::State;
use funnelweb_jobs::Jobs;
use funnelweb_manifest::{Component as Entry, UserHeader, Values};
use funnelweb_recording::{Recorder, Session, host::Replay};
use funnelweb_tenant_store::Tenant;
use http::Method;
use quick_cache::sync::Cache;
use wasmtime::{Engine, component::Component};
use wasmtime_wasi_http::{
    handler::{ExpirationError, InstantiationError, ProxyHandler, Request, Response},
    p3::bindings::ServicePre,
};

use crate::{
    body,
    recorded::Recorded,
    state::linker,
    workers::{Task, Workers},
};

/// Tenants whose pools are remembered per endpoint; a pool without requests
/// holds no instance for longer than [`limits::INSTANCE_IDLE`].
const POOLS: usize = 4096;

/// What endpoints are given of the host.
#[derive(Clone)]
pub struct Services {
    /// Documents of all tenants.
    pub documents: Arc<dyn Documents>,
    /// Live structures of all tenants.
    pub live: Arc<dyn Live>,
    /// Behaviour logs of all tenants.
    pub events: Arc<dyn Events>,
    /// Vectors of all tenants.
    pub vectors: Arc<dyn Vectors>,
    /// What was learned, of all tenants.
    pub learned: Arc<dyn Learned>,
    /// Answers that may be given again, of all tenants.
    pub results: Results,
    /// Jobs of all tenants.
    pub jobs: Jobs,
    /// Models of all tenants.
    pub models: Models,
    /// Components of all tenants.
    pub components: Components,
    /// Recorded requests of all tenants, and what records them.
    pub recordings: Arc<Recorder>,
    /// What runs them again.
    pub replay: Arc<dyn Replay>,
    /// Key-value stores of all tenants.
    pub key_values: Arc<dyn KeyValues>,
    /// Connections of all components to Redis servers of their choice.
    pub redis: Outbound,
    /// The stages.
    pub dispatcher: Arc<Dispatcher>,
}

/// What the manifest says of one endpoint.
pub(crate) struct Settings {
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) key_value_stores: Arc<[String]>,
    pub(crate) variables: VariablesCtx,
    pub(crate) http: OutboundHttp,
    pub(crate) redis: OutboundRedis,
}

/// Why an endpoint cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The component does not fit its manifest entry.
    #[error("component `{id}`: {source:#}")]
    Component {
        /// Which.
        id: String,
        /// Why.
        source: wasmtime::Error,
    },
    /// A variable or an allowed host.
    #[error(transparent)]
    Manifest(#[from] funnelweb_manifest::Error),
    /// Its file, which recordings name by its digest.
    #[error("component `{id}`: {source}")]
    File {
        /// Which.
        id: String,
        /// Why.
        source: std::io::Error,
    },
}

/// An endpoint component, ready to answer.
pub struct Endpoint {
    id: Arc<str>,
    public: bool,
    streaming: bool,
    user_header: UserHeader,
    /// None where requests are not recorded.
    recorded: Option<Arc<Recorded>>,
    shared: Arc<Shared>,
    pools: Cache<Option<Tenant>, ProxyHandler<Workers>>,
}

/// What every instance of an endpoint is made from.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) pre: ServicePre<State>,
    pub(crate) services: Services,
    pub(crate) settings: Settings,
    pub(crate) id: Arc<str>,
}

impl Endpoint {
    /// An endpoint from its manifest entry and its compiled component; `engine`
    /// is that of endpoints.
    ///
    /// # Errors
    /// [`Error::Component`] when it imports what it was not granted or does not
    /// export `wasi:http/handler`; [`Error::Manifest`] for a variable or host
    /// that cannot be filled in.
    pub fn new(
        engine: &Engine,
        entry: &Entry,
        component: &Component,
        values: &Values,
        services: &Services,
    ) -> Result<Self, Error> {
        let id: Arc<str> = entry.id.as_str().into();
        let pre = || -> wasmtime::Result<_> {
            ServicePre::new(linker(engine, &entry.funnelweb.grants)?.instantiate_pre(component)?)
        };
        let pre = pre().map_err(|source| Error::Component { id: entry.id.clone(), source })?;
        let allowed = Arc::new(entry.resolve_outbound_hosts(values)?);
        let settings = Settings {
            environment: entry.environment.clone(),
            key_value_stores: entry.key_value_stores.clone().into(),
            variables: VariablesCtx::new(Arc::new(entry.resolve_variables(values)?)),
            http: OutboundHttp::new(Arc::clone(&allowed)),
            redis: OutboundRedis::new(services.redis.clone(), allowed),
        };
        let recorded = match entry.funnelweb.recorded {
            false => None,
            true => {
                let file = std::fs::read(&entry.source);
                let file = file.map_err(|source| Error::File { id: entry.id.clone(), source })?;
                let digest = funnelweb_engine::sha256(&file);
                let recorder = Arc::clone(&services.recordings);
                Some(Arc::new(Recorded { component: entry.id.clone(), digest, recorder }))
            }
        };
        let shared = Shared { engine: engine.clone(), pre, services: services.clone(), settings, id: Arc::clone(&id) };
        Ok(Self {
            id,
            public: entry.funnelweb.public,
            streaming: entry.funnelweb.streaming,
            user_header: entry.funnelweb.user_header,
            recorded,
            shared: Arc::new(shared),
            pools: Cache::new(POOLS),
        })
    }

    /// The component's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it answers without the gateway's headers.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.public
    }

    /// Whether a request must name a user.
    #[must_use]
    pub fn user_header(&self) -> UserHeader {
        self.user_header
    }

    /// The largest body it is sent, in bytes.
    #[must_use]
    pub fn body_limit(&self) -> u64 {
        body_limit(self.streaming)
    }

    /// SHA-256 of the component, where requests are recorded.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.recorded.as_ref().map(|recorded| recorded.digest.as_str())
    }

    /// Answers a request with an instance that is bound to `tenant`.
    ///
    /// # Errors
    /// `timeout`, `overloaded` (no instance to be had) or `internal` (it
    /// trapped).
    pub async fn handle(
        &self,
        tenant: Option<Tenant>,
        request_id: Arc<str>,
        request: Request,
    ) -> Result<Response, ApiError> {
        match (&self.recorded, tenant) {
            (Some(recorded), Some(tenant)) => {
                Arc::clone(recorded)
                    .record(tenant.clone(), &request_id, request, async |request, session| {
                        self.answer(Some(tenant), Arc::clone(&request_id), request, Some(session)).await
                    })
                    .await
            }
            (_, tenant) => self.answer(tenant, request_id, request, None).await,
        }
    }

    /// Answers a request that was answered before, with what `session` tells it.
    ///
    /// # Errors
    /// As [`Endpoint::handle`].
    pub async fn again(
        &self,
        tenant: Tenant,
        request_id: Arc<str>,
        request: Request,
        session: Arc<Session>,
    ) -> Result<Response, ApiError> {
        self.answer(Some(tenant), request_id, request, Some(session)).await
    }

    async fn answer(
        &self,
        tenant: Option<Tenant>,
        request_id: Arc<str>,
        request: Request,
        session: Option<Arc<Session>>,
    ) -> Result<Response, ApiError> {
        let make = || {
            Ok::<_, std::convert::Infallible>(ProxyHandler::new(Workers::new(Arc::clone(&self.shared), tenant.clone())))
        };
        let pool = match self.pools.get_or_insert_with(&tenant, make) {
            Ok(pool) => pool,
            Err(never) => match never {},
        };
        let limit = timeout(self.streaming, request.method());
        let task = Arc::new(Task::new(request_id, limit, session));
        // A guest that computes keeps its pool from seeing that the time is over.
        let answer = in_time(limit, pool.handle(Arc::clone(&task), request)).await.inspect_err(|_| {
            tracing::error!(component = %self.id, request_id = %task.id, "endpoint gave no answer in time");
        })?;
        let response = answer.map_err(|error| {
            tracing::error!(component = %self.id, request_id = %task.id, error = format!("{error:#}"), "endpoint gave no answer");
            if error.is::<ExpirationError>() {
                timed_out(limit)
            } else if error.is::<InstantiationError<Arc<Task>>>() {
                ApiError::new(Code::Overloaded, "no instance is free")
            } else {
                ApiError::new(Code::Internal, "the endpoint failed")
            }
        })?;
        Ok(response.map(|response| body::whole(response, task)))
    }
}

/// Time for one request of an endpoint: where it reads long bodies, a request that
/// brings one has longer.
fn timeout(streaming: bool, method: &Method) -> Duration {
    let brings_body = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    if streaming && brings_body { limits::IMPORT_TIMEOUT } else { limits::REQUEST_TIMEOUT }
}

/// Bytes of one request's body.
fn body_limit(streaming: bool) -> u64 {
    if streaming { limits::IMPORT_BODY_BYTES } else { limits::BODY_BYTES as u64 }
}

async fn in_time<T>(limit: Duration, answer: impl Future<Output = T>) -> Result<T, ApiError> {
    tokio::time::timeout(limit, answer).await.map_err(|_| timed_out(limit))
}

fn timed_out(limit: Duration) -> ApiError {
    ApiError::new(Code::Timeout, format!("no answer within {} s", limit.as_secs_f32()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_may_be_longer_than_another_request() {
        let post = |streaming| timeout(streaming, &Method::POST);
        assert_eq!((post(true), post(false)), (limits::IMPORT_TIMEOUT, limits::REQUEST_TIMEOUT));
        for method in [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS] {
            assert_eq!(timeout(true, &method), limits::REQUEST_TIMEOUT, "{method}");
        }
        assert_eq!((body_limit(true), body_limit(false)), (limits::IMPORT_BODY_BYTES, limits::BODY_BYTES as u64));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_a_timeout() {
        assert_eq!(in_time(limits::IMPORT_TIMEOUT, async { 7 }).await.ok(), Some(7));
        let error = in_time(Duration::from_millis(20), std::future::pending::<()>()).await.unwrap_err();
        assert_eq!((error.code, &*error.message), (Code::Timeout, "no answer within 0.02 s"));
    }
}
