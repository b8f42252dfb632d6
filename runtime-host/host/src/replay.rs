//! Requests that were recorded, run again by the component that answered them: nothing is
//! written, and no user sees what comes of it.

mod changes;
mod clicks;
mod job;
mod shadow;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use funnelweb_core::time;
use funnelweb_factor_documents::store::{Collection, Documents, Key};
use funnelweb_factor_events::store::Events;
use funnelweb_recording::{
    Changes, Recorder, Recording, Session,
    host::{Refusal, Replay},
    store::Recordings as _,
};
use funnelweb_replay::{Compared, Comparison, Slate};
use funnelweb_tenant_store::Tenant;
use http::Method;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

use self::changes::Changed;
pub(crate) use self::{
    job::Replays,
    shadow::{Shadows, register, waiting},
};
use crate::{
    inside::{self, Call, Endpoints},
    stores::Stores,
};

/// How often a request is tried to be the same that was hindered, not other.
const ATTEMPTS: usize = 3;

/// What runs requests again.
pub(crate) struct Replayer {
    endpoints: Arc<Endpoints>,
    recordings: Arc<Recorder>,
    documents: Arc<dyn Documents>,
    events: Arc<dyn Events>,
    shadows: Arc<Shadows>,
}

/// What came of running a request again.
struct Again {
    status: u16,
    body: Bytes,
    elapsed: Duration,
    /// In what it was other than it was recorded.
    differences: Vec<String>,
    /// Versions that were to run, and nothing of theirs did.
    unused: Vec<String>,
    is_hindered: bool,
}

/// A request's slates, of the same stores: as it was, and as it would be.
struct Both {
    compared: Compared,
    then: Again,
    now: Again,
}

impl Replayer {
    pub(crate) fn new(stores: &Stores, endpoints: Arc<Endpoints>) -> Self {
        Self {
            endpoints,
            recordings: Arc::clone(&stores.recordings),
            documents: Arc::clone(&stores.documents),
            events: Arc::clone(&stores.events),
            shadows: Arc::clone(&stores.shadows),
        }
    }

    async fn recording(&self, tenant: &Tenant, request_id: &str) -> Result<Arc<Recording>, Refusal> {
        let found = self.recordings.get(tenant, request_id).await.map_err(|error| Refusal::Store(error.into()))?;
        found.map(Arc::new).ok_or(Refusal::NoRecording)
    }

    /// As it was; with what explains the answer where that is wanted.
    async fn same(&self, tenant: &Tenant, recording: &Arc<Recording>, explain: bool) -> Result<Again, Refusal> {
        let mut attempt = 1;
        loop {
            let session = Session::again(Arc::clone(recording), Changes::default());
            let again = self.run(tenant, recording, session, explain).await?;
            if !again.is_hindered || attempt == ATTEMPTS {
                return Ok(again);
            }
            attempt += 1;
        }
    }

    /// With something changed.
    async fn changed(&self, tenant: &Tenant, recording: &Recording, changed: &Changed) -> Result<Again, Refusal> {
        let recording = Arc::new(changed.patched(recording)?);
        let changes = Changes { versions: changed.versions.clone(), is_changed: !changed.config.is_empty() };
        let session = Session::again(Arc::clone(&recording), changes);
        self.run(tenant, &recording, session, false).await
    }

    async fn run(
        &self,
        tenant: &Tenant,
        recording: &Recording,
        session: Arc<Session>,
        explain: bool,
    ) -> Result<Again, Refusal> {
        let failed = |reason: String| Refusal::Failed(reason);
        let endpoint = self.endpoints.get(&recording.component).map_err(|refusal| failed(refusal.to_string()))?;
        let asked = &recording.asked;
        let path = if explain { explaining(&asked.path) } else { asked.path.clone() };
        let call = Call {
            method: Method::from_bytes(asked.method.as_bytes()).map_err(|error| failed(error.to_string()))?,
            path: &path,
            user_id: Some(&asked.user_id),
            media: &asked.content_type,
            body: asked.body.clone(),
        };
        let request = inside::request(tenant, &asked.request_id, call).map_err(|error| failed(error.to_string()))?;
        let start = Instant::now();
        let id: Arc<str> = asked.request_id.as_str().into();
        let answer = endpoint.again(tenant.clone(), id, request, Arc::clone(&session)).await;
        let (status, body) = match answer {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let body = body.collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
                (parts.status.as_u16(), body)
            }
            Err(error) => (error.code.status(), error.body(&asked.request_id).into()),
        };
        let mut differences = session.differences();
        if let Some(now) = endpoint.digest().filter(|now| *now != recording.digest) {
            let short = |digest: &str| digest.get(..12).unwrap_or_default().to_owned();
            let component = &recording.component;
            let what =
                format!("the endpoint ran `{component}` {}, which was {} then", short(now), short(&recording.digest));
            differences.insert(0, what);
        }
        let (unused, is_hindered) = (session.unused(), session.is_hindered());
        Ok(Again { status, body, elapsed: start.elapsed(), differences, unused, is_hindered })
    }

    /// A slate with its items' categories; none of an answer that is none.
    async fn slate(
        &self,
        tenant: &Tenant,
        recording: &Recording,
        answer: &[u8],
        elapsed: Duration,
    ) -> Result<Option<Slate>, Refusal> {
        #[derive(Deserialize)]
        struct Answer {
            items: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            item_id: String,
        }
        #[derive(Deserialize)]
        struct Document {
            #[serde(default)]
            metadata: Metadata,
        }
        #[derive(Default, Deserialize)]
        struct Metadata {
            #[serde(default)]
            category: Option<Value>,
        }
        let Ok(Answer { items }) = serde_json::from_slice(answer) else { return Ok(None) };
        let keys = items.iter().map(|item| Key::new(&recording.scenario_id, &item.item_id)).collect();
        let found = self.documents.get_many(tenant, Collection::Items, keys).await;
        let found = found.map_err(|error| Refusal::Store(error.into()))?;
        let category = |document: Option<funnelweb_factor_documents::store::Document>| {
            let document: Document = serde_json::from_str(&document?.body).ok()?;
            document.metadata.category?.as_str().map(str::to_owned)
        };
        Ok(Some(Slate {
            items: items.into_iter().map(|item| item.item_id).collect(),
            categories: found.into_iter().map(category).collect(),
            elapsed_us: u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX),
        }))
    }

    /// Both slates of a request, run one after the other; none when it has no slate.
    async fn compared(&self, tenant: &Tenant, recording: &Arc<Recording>, changed: &Changed) -> Result<Both, Refusal> {
        let then = self.same(tenant, recording, false).await?;
        let now = self.changed(tenant, recording, changed).await?;
        let shown = self.slate(tenant, recording, &then.body, then.elapsed).await?;
        let made = self.slate(tenant, recording, &now.body, now.elapsed).await?;
        let (Some(shown), Some(made)) = (shown, made) else {
            let statuses = format!("{} then, {} now", then.status, now.status);
            return Err(Refusal::Failed(format!("it is not answered with a slate ({statuses})")));
        };
        let asked = &recording.asked;
        // A session is nobody's: each is by itself.
        let user_id = if asked.user_id.is_empty() { &asked.request_id } else { &asked.user_id };
        let compared = Compared { user_id: user_id.clone(), then: shown, now: made, clicked: Vec::new() };
        Ok(Both { compared, then, now })
    }
}

impl Again {
    fn is_same(&self, recording: &Recording) -> bool {
        self.status == recording.answer.status && *self.body == *recording.answer.body
    }

    /// The stages that did not do their part, as the answer tells of them.
    fn degraded(&self) -> usize {
        let answer: Option<Value> = serde_json::from_slice(&self.body).ok();
        answer.and_then(|answer| answer.get("degraded")?.as_array().map(Vec::len)).unwrap_or_default()
    }
}

/// A path with its query, that asks for an explanation.
fn explaining(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let others = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("explain="));
    let query: Vec<&str> = others.chain(["explain=true"]).collect();
    format!("{path}?{}", query.join("&"))
}

#[async_trait]
impl Replay for Replayer {
    async fn explain(&self, tenant: &Tenant, request_id: &str) -> Result<String, Refusal> {
        let recording = self.recording(tenant, request_id).await?;
        let again = self.same(tenant, &recording, true).await?;
        Ok(explained(&recording, &again).to_string())
    }

    async fn replay(&self, tenant: &Tenant, request_id: &str, changes: &str) -> Result<String, Refusal> {
        let changed = Changed::read(changes)?;
        let recording = self.recording(tenant, request_id).await?;
        if changed.is_nothing() {
            let again = self.same(tenant, &recording, false).await?;
            let report = json!({
                "request_id": request_id,
                "identical": again.is_same(&recording),
                "differences": again.differences,
                "then": recorded_answer(&recording),
                "now": {"status": again.status, "body": text(&again.body)},
            });
            return Ok(report.to_string());
        }
        let Both { compared, then, now } = self.compared(tenant, &recording, &changed).await?;
        if let Some(name) = now.unused.first() {
            return Err(changed.unused(name));
        }
        let mut comparison = Comparison::default();
        let report = comparison.add(&compared).and_then(|()| comparison.report());
        let report = report.map_err(|error| Refusal::Failed(error.to_string()))?;
        let report = json!({
            "request_id": request_id,
            // Without the change it is not what it was: what differs is not the change alone.
            "identical": then.is_same(&recording),
            "differences": then.differences,
            "then": {"status": then.status, "elapsed_us": recording.answer.elapsed_us, "body": text(&then.body)},
            "now": {"status": now.status, "body": text(&now.body)},
            "comparison": report,
        });
        Ok(report.to_string())
    }

    fn shadow(&self, tenant: &Tenant, scenario_id: &str) -> Option<String> {
        self.shadows.report(tenant, scenario_id)
    }
}

/// A recording as a client sees it.
fn explained(recording: &Recording, again: &Again) -> Value {
    let asked = &recording.asked;
    let stages: Vec<Value> = recording
        .stages
        .iter()
        .map(|stage| {
            json!({
                "role": stage.role, "stage": stage.name, "component": stage.outcome.component,
                "version": stage.outcome.version, "digest": stage.outcome.digest, "status": stage.outcome.status,
                "reason": stage.outcome.reason, "elapsed_us": stage.outcome.elapsed_us,
                "calls": stage.calls.iter().map(|call| &call.name).collect::<Vec<_>>(),
            })
        })
        .collect();
    let mut answer = text(&again.body);
    let explain = answer.as_object_mut().and_then(|answer| answer.remove("explain"));
    let mut shown = text(&recording.answer.body);
    if let Some(shown) = shown.as_object_mut() {
        shown.remove("explain");
    }
    json!({
        "request_id": asked.request_id,
        "scenario_id": recording.scenario_id,
        "user_id": asked.user_id,
        "at": time::format_ms(recording.at_ms),
        "expires_at": time::format_ms(recording.expires_ms),
        "reason": recording.reason,
        "component": recording.component,
        "digest": recording.digest,
        "asked": {"method": asked.method, "path": asked.path, "body": text(&asked.body)},
        "answer": recorded_answer(recording),
        "calls": recording.calls.iter().map(|call| &call.name).collect::<Vec<_>>(),
        "stages": stages,
        // Whether what is explained is what was answered.
        "identical": answer == shown,
        "explain": explain,
    })
}

fn recorded_answer(recording: &Recording) -> Value {
    let answer = &recording.answer;
    json!({"status": answer.status, "elapsed_us": answer.elapsed_us, "body": text(&answer.body)})
}

/// A body as JSON, if it is that.
fn text(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_asked_for_whatever_was() {
        assert_eq!(explaining("/a"), "/a?explain=true");
        assert_eq!(explaining("/a?explain=false"), "/a?explain=true");
        assert_eq!(explaining("/a?b=1&explain=true&c=2"), "/a?b=1&c=2&explain=true");
    }
}
