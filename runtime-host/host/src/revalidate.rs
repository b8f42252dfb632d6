//! Stale answers computed anew: by the component that gives them, in the background.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use funnelweb_factor_results::{Revalidate, store::Key};
use funnelweb_tenant_store::Tenant;
use http::Method;

use crate::inside::{self, Call, Endpoints, JSON};

/// The endpoint, and the paths that no route leads to.
const ENDPOINT: &str = "recommend";
const USER: &str = "/internal/revalidate";
const SESSION: &str = "/internal/revalidate/session";

/// The component that recommends.
pub(crate) struct Recommend {
    endpoints: Arc<Endpoints>,
    /// Each request has an id, and with it a seed, of its own.
    requests: AtomicU64,
}

impl Recommend {
    pub(crate) fn new(endpoints: Arc<Endpoints>) -> Self {
        Self { endpoints, requests: AtomicU64::new(0) }
    }
}

#[async_trait]
impl Revalidate for Recommend {
    async fn revalidate(&self, tenant: &Tenant, key: &Key, request: String) -> Result<(), String> {
        let recommend = self.endpoints.get(ENDPOINT).map_err(|refusal| refusal.to_string())?;
        let request_id = format!("revalidate-{}-{}", key.hash, self.requests.fetch_add(1, Ordering::Relaxed));
        let user_id = Some(key.user_id.as_str()).filter(|user_id| !user_id.is_empty());
        let path = if user_id.is_some() { USER } else { SESSION };
        let call = Call { method: Method::POST, path, user_id, media: JSON, body: request.into_bytes() };
        let answer = inside::ask(&recommend, tenant, &request_id, call).await;
        answer.map(drop).map_err(|refusal| refusal.to_string())
    }
}
