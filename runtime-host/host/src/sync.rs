//! Where the job `sync` has its lines go: the application's own endpoints, with the
//! checks that a request from outside meets.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use funnelweb_import::{Batch, Error, Result as Imported, Sink};
use funnelweb_jobs::work::Task;
use funnelweb_sync::Intake;
use funnelweb_tenant_store::Tenant;
use http::Method;
use tokio::runtime::Handle;

use crate::inside::{self, Call, Endpoints, NDJSON, Refusal};

/// Takes lines for the application.
pub(crate) struct OwnIntake(pub(crate) Arc<Endpoints>);

impl Intake for OwnIntake {
    fn sink(&self, task: &Task) -> Box<dyn Sink + Send + Sync> {
        Box::new(OwnSink {
            endpoints: Arc::clone(&self.0),
            tenant: task.tenant.clone(),
            run_id: task.run_id.clone(),
            requests: AtomicU64::new(0),
            runtime: Handle::current(),
        })
    }
}

/// Posts the lines of a run.
struct OwnSink {
    endpoints: Arc<Endpoints>,
    tenant: Tenant,
    run_id: String,
    requests: AtomicU64,
    runtime: Handle,
}

impl Sink for OwnSink {
    fn send(&self, path: &str, body: &[u8]) -> Imported<Batch> {
        // A component is named as what it serves.
        let name = path.split(['/', '?']).nth(3).unwrap_or_default();
        let request_id = format!("{}-{}", self.run_id, self.requests.fetch_add(1, Ordering::Relaxed));
        let call = Call { method: Method::POST, path, user_id: None, media: NDJSON, body: body.to_vec() };
        let answer = self
            .endpoints
            .get(name)
            .and_then(|endpoint| self.runtime.block_on(inside::ask(&endpoint, &self.tenant, &request_id, call)));
        let answer = answer.map_err(|refusal| refused(path, refusal))?;
        serde_json::from_slice(&answer)
            .map_err(|error| Error::Answer { url: path.to_owned(), reason: error.to_string() })
    }
}

/// What may pass is told from what will not, as by a client from outside.
fn refused(path: &str, refusal: Refusal) -> Error {
    let (url, passes) = (path.to_owned(), refusal.is_transient());
    let Refusal { status, message, .. } = refusal;
    if passes {
        Error::Unreachable { url, attempts: 1, reason: message }
    } else {
        Error::Refused { url, status, message }
    }
}
