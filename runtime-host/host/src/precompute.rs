//! The job `precompute`: slates ahead of time, made by the component that makes them in
//! a request, through the same dispatch.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::available_parallelism,
};

use async_trait::async_trait;
use funnelweb_core::{id::handle, scenario::Offline};
use funnelweb_dispatch::{Dispatcher, Role};
use funnelweb_jobs::work::{Failure, ParamError, Task, Work};
use funnelweb_tenant_store::Error as StoreError;
use funnelweb_training::{Ask, Context, Error, Funnel, Made, PrecomputeParams, precompute};
use funnelweb_trigger_http::Endpoint;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    inside::{self, Call, Endpoints, JSON},
    works::{failure, following, refused, target},
};

/// The endpoint that makes slates, and the path that no route leads to.
const ENDPOINT: &str = "recommend";
const PATH: &str = "/internal/slate";
/// A slate is at work for each so many cores, one at least: requests, of which there
/// are many at once when it matters, take their turns with it.
const CORES_A_SLATE: usize = 4;

/// The work.
pub(crate) struct Precompute {
    pub(crate) context: Context,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) endpoints: Arc<Endpoints>,
}

#[async_trait]
impl Work for Precompute {
    fn check(&self, params: &Value) -> Result<(), ParamError> {
        check_names(&PrecomputeParams::parse(params)?.funnel, &self.dispatcher)
    }

    async fn run(&self, task: Task) -> Result<Value, Failure> {
        let params = PrecomputeParams::parse(&task.params).map_err(refused)?;
        let recommend = self.endpoints.get(ENDPOINT)?;
        let funnel = Component { recommend, run_id: task.run_id.clone(), requests: AtomicU64::new(0) };
        precompute(&self.context, &target(&task), &params, Arc::new(funnel), following(&task)).await.map_err(failure)
    }
}

/// That the stages of a funnel of the job's own exist; what they make of their params,
/// they say when they run.
fn check_names(funnel: &Offline, dispatcher: &Dispatcher) -> Result<(), ParamError> {
    let strategies = funnel.recall.iter().flat_map(|recall| &recall.strategies).enumerate();
    let recall = strategies.map(|(at, one)| (Role::Recall, format!("/funnel/recall/strategies/{at}/name"), &one.name));
    let rank = funnel.rank.iter().map(|rank| (Role::Rank, "/funnel/rank/model".to_owned(), &rank.model));
    let rules = funnel.rerank.iter().flat_map(|rerank| &rerank.rules).enumerate();
    let rerank = rules.map(|(at, one)| (Role::Rerank, format!("/funnel/rerank/rules/{at}/name"), &one.name));
    for (role, pointer, name) in recall.chain(rank).chain(rerank) {
        let known = dispatcher.names(role);
        if !known.contains(name) {
            return Err((pointer, format!("no stage is called `{name}`; known: {}", known.join(", "))));
        }
    }
    Ok(())
}

/// The component that recommends.
struct Component {
    recommend: Arc<Endpoint>,
    run_id: String,
    /// Each request has an id, and with it a seed, of its own.
    requests: AtomicU64,
}

#[async_trait]
impl Funnel for Component {
    fn at_once(&self) -> usize {
        (available_parallelism().map_or(1, usize::from) / CORES_A_SLATE).max(1)
    }

    async fn slate(&self, ask: &Ask<'_>) -> Result<Made, Error> {
        let request_id = format!("{}-{}", self.run_id, self.requests.fetch_add(1, Ordering::Relaxed));
        let body = body(ask).map_err(|error| Error::Data(error.to_string()))?;
        let call = Call { method: Method::POST, path: PATH, user_id: Some(ask.user_id), media: JSON, body };
        let answer = inside::ask(&self.recommend, &ask.target.tenant, &request_id, call).await;
        let answer = answer.map_err(|refusal| match refusal.is_transient() {
            true => Error::Store(StoreError::Unavailable(refusal.to_string())),
            false => Error::Data(refusal.to_string()),
        })?;
        read(&answer).map_err(|error| Error::Data(format!("{ENDPOINT}: {error}")))
    }
}

fn body(ask: &Ask<'_>) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct Body<'a> {
        scenario_id: &'a str,
        count: u32,
        config: &'a RawValue,
    }
    let Ask { target, count, config, .. } = *ask;
    serde_json::to_vec(&Body { scenario_id: &target.scenario_id, count, config: serde_json::from_str(config)? })
}

fn read(answer: &[u8]) -> Result<Made, serde_json::Error> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        items: Vec<Item<'a>>,
        failed: Vec<Degraded>,
    }
    #[derive(Deserialize)]
    struct Item<'a> {
        item_id: &'a str,
        score: f32,
    }
    #[derive(Deserialize)]
    struct Degraded {
        stage: String,
        reason: String,
    }
    let Answer { items, failed } = serde_json::from_slice(answer)?;
    let mut reasons = String::new();
    for Degraded { stage, reason } in &failed {
        let separator = if reasons.is_empty() { "" } else { "; " };
        // A string takes everything.
        let _ = write!(reasons, "{separator}{stage}: {reason}");
    }
    let (handles, scores) = items.iter().map(|item| (handle(item.item_id), item.score)).unzip();
    Ok(Made { handles, scores, failed: (!failed.is_empty()).then_some(reasons) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let item = r#"{"item_id":"a","rank":1,"score":0.5,"sources":["latest"]}"#;
        let made = read(format!(r#"{{"items":[{item}],"failed":[]}}"#).as_bytes()).unwrap();
        assert_eq!(made, Made { handles: vec![handle("a")], scores: vec![0.5], failed: None });
        let failed = r#"{"items":[],"failed":[{"stage":"a","reason":"late"},{"stage":"b","reason":"no"}]}"#;
        assert_eq!(read(failed.as_bytes()).unwrap().failed.as_deref(), Some("a: late; b: no"));
        assert!(read(b"{}").is_err());
    }
}
