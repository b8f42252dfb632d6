//! The funnel in components: the endpoint through the host, without TCP, and
//! each stage through dispatch.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use funnelweb::app::App;
use funnelweb_bindings::{
    Funnel,
    dispatch::{self as host, HostFunnel as _},
    types as host_types,
};
use funnelweb_dispatch::DispatchCtx;
use funnelweb_factor_documents::store::Tenant;
use funnelweb_guest::{
    dispatch::{FeaturesCall, RankCall, RecallCall, RerankCall, StageStatus},
    types::{Attribute, Candidates, ColumnKind, ColumnSpec, FeatureSpec, RequestContext},
};
use funnelweb_recording::Journal;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::runtime::Runtime;
use wasmtime::component::Resource;

/// The application, for one tenant.
#[derive(Clone)]
pub struct Components {
    app: Arc<App>,
    tenant: Tenant,
}

/// What one stage is asked.
#[derive(Clone)]
pub enum Ask {
    Recall(RecallCall),
    Features(FeaturesCall),
    Rank(RankCall),
    Rerank(Candidates, Vec<u32>, RerankCall),
}

impl Components {
    pub fn new(app: App, tenant: &Tenant) -> Self {
        Self { app: Arc::new(app), tenant: tenant.clone() }
    }

    /// The application.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// One request to an endpoint; the status and the body of its answer.
    pub async fn call(
        &self,
        endpoint: &str,
        path: &str,
        user_id: &str,
        media: &str,
        body: Vec<u8>,
    ) -> (StatusCode, Vec<u8>) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let request_id = format!("r{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let request = Request::post(format!("http://localhost{path}"))
            .header("content-type", media)
            .header("content-length", body.len())
            .header("x-tenant-id", self.tenant.as_str())
            .header("x-user-id", user_id)
            .header("x-request-id", &request_id)
            .header("authorization", "Bearer bench")
            .body(Full::from(body).map_err(|never| match never {}).boxed_unsync())
            .unwrap();
        let endpoint = self.app.endpoint(endpoint).unwrap();
        let response = endpoint.handle(Some(self.tenant.clone()), request_id.into(), request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, body.collect().await.unwrap().to_bytes().to_vec())
    }

    /// `POST /api/v1/recommend`.
    pub async fn recommend(&self, user_id: &str, body: &[u8]) -> Vec<u8> {
        let answer = self.call("recommend", "/api/v1/recommend", user_id, "application/json", body.to_vec()).await;
        assert_eq!(answer.0, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.1));
        answer.1
    }

    /// How long each of `count` requests for these users takes, one after the
    /// other, in a task as that of a connection.
    pub fn time_requests(&self, runtime: &Runtime, users: &[String], body: &[u8], count: u64) -> Vec<Duration> {
        let (this, users, body) = (self.clone(), users.to_vec(), body.to_vec());
        let task = async move {
            let mut times = Vec::new();
            for user in users.iter().cycle().take(count as usize) {
                let start = Instant::now();
                std::hint::black_box(this.recommend(user, &body).await);
                times.push(start.elapsed());
            }
            times
        };
        runtime.block_on(runtime.spawn(task)).unwrap()
    }

    /// How long each of `count` requests takes that the endpoint refuses by its
    /// path.
    pub fn time_empty(&self, runtime: &Runtime, count: u64) -> Vec<Duration> {
        let this = self.clone();
        let task = async move {
            let mut times = Vec::new();
            for _ in 0..count {
                let start = Instant::now();
                let answer = this.call("recommend", "/api/v1/nothing", "u", "application/json", Vec::new()).await;
                times.push(start.elapsed());
                assert_eq!(answer.0, StatusCode::NOT_FOUND);
            }
            times
        };
        runtime.block_on(runtime.spawn(task)).unwrap()
    }

    /// How long each of `count` calls of one stage takes, in a new instance;
    /// `features` makes the table that the stage is given.
    pub fn time_stage(
        &self,
        runtime: &Runtime,
        context: &RequestContext,
        features: &FeaturesCall,
        ask: &Ask,
        count: u64,
    ) -> Vec<Duration> {
        let (this, context, features, ask) = (self.clone(), to_context(context), features.clone(), ask.clone());
        let task = async move {
            let mut dispatch =
                DispatchCtx::new(Arc::clone(&this.app.dispatcher), Some(this.tenant.clone()), Journal::default());
            let allowance = host::Allowance { personal: host_types::Personal::empty(), fields: None };
            let funnel = dispatch.new(context, allowance).await.unwrap();
            dispatch.features(again(&funnel), to_features(&features)).await.unwrap();
            let mut times = Vec::new();
            for _ in 0..count {
                times.push(time_once(&mut dispatch, &funnel, &ask).await);
            }
            times
        };
        runtime.block_on(runtime.spawn(task)).unwrap()
    }
}

/// One call. The arguments are made before the clock runs.
async fn time_once(dispatch: &mut DispatchCtx, funnel: &Resource<Funnel>, ask: &Ask) -> Duration {
    let funnel = again(funnel);
    match ask {
        Ask::Recall(call) => {
            let call = host::RecallCall { stage: call.stage.clone(), limit: call.limit, params: call.params.clone() };
            let start = Instant::now();
            let outcomes = dispatch.recall(funnel, Vec::new(), vec![call]).await.unwrap();
            let spent = start.elapsed();
            outcomes.iter().for_each(|outcome| ok(&outcome.report));
            spent
        }
        Ask::Features(call) => {
            let call = to_features(call);
            let start = Instant::now();
            let outcome = dispatch.features(funnel, call).await.unwrap();
            let spent = start.elapsed();
            ok(&outcome.report);
            spent
        }
        Ask::Rank(call) => {
            let call = host::RankCall {
                stage: call.stage.clone(),
                version: call.version.clone(),
                objective: call.objective.clone(),
                params: call.params.clone(),
                candidates: to_candidates(&call.candidates),
                item_features: call.item_features.iter().map(to_feature).collect(),
            };
            let start = Instant::now();
            let outcome = dispatch.rank(funnel, call).await.unwrap();
            let spent = start.elapsed();
            outcome.reports.iter().for_each(ok);
            spent
        }
        Ask::Rerank(candidates, rows, call) => {
            let call = host::RerankCall { stage: call.stage.clone(), weight: call.weight, params: call.params.clone() };
            let (candidates, rows) = (to_candidates(candidates), rows.clone());
            let start = Instant::now();
            let outcome = dispatch.rerank(funnel, candidates, rows, vec![call], false).await.unwrap();
            let spent = start.elapsed();
            outcome.reports.iter().for_each(ok);
            spent
        }
    }
}

fn ok(report: &host::StageReport) {
    assert_eq!(report.status as u8, StageStatus::Ok as u8, "{}: {}", report.stage, report.reason);
}

fn again(funnel: &Resource<Funnel>) -> Resource<Funnel> {
    Resource::new_own(funnel.rep())
}

fn to_context(context: &RequestContext) -> host_types::RequestContext {
    let attribute = |attribute: &Attribute| host_types::Attribute {
        name: attribute.name.clone(),
        values: attribute.values.clone(),
    };
    let user = &context.user;
    let preferences = user.preferences.iter().map(|preference| host_types::Preference {
        field: preference.field.clone(),
        value: preference.value.clone(),
        score: preference.score,
    });
    host_types::RequestContext {
        scenario_id: context.scenario_id.clone(),
        user: host_types::User {
            id: user.id.clone(),
            attributes: user.attributes.iter().map(attribute).collect(),
            preferences: preferences.collect(),
            recent: user.recent.clone(),
            recent_weights: user.recent_weights.clone(),
        },
        context: context.context.iter().map(attribute).collect(),
        now_ms: context.now_ms,
        count: context.count,
        seed: context.seed,
    }
}

fn to_candidates(candidates: &Candidates) -> host_types::Candidates {
    host_types::Candidates {
        handles: candidates.handles.clone(),
        scores: candidates.scores.clone(),
        sources: candidates.sources.clone(),
    }
}

fn to_features(call: &FeaturesCall) -> host::FeaturesCall {
    let column = |spec: &ColumnSpec| host_types::ColumnSpec { name: spec.name.clone(), kind: to_kind(spec.kind) };
    host::FeaturesCall {
        candidates: to_candidates(&call.candidates),
        item_features: call.item_features.iter().map(to_feature).collect(),
        user_features: call.user_features.iter().map(to_feature).collect(),
        context_features: call.context_features.iter().map(to_feature).collect(),
        derived_features: call.derived_features.clone(),
        evidence: host_types::NumericColumns { names: call.evidence.names.clone(), cells: call.evidence.cells.clone() },
        columns: call.columns.iter().map(column).collect(),
    }
}

fn to_feature(spec: &FeatureSpec) -> host_types::FeatureSpec {
    host_types::FeatureSpec { name: spec.name.clone(), kind: to_kind(spec.kind), weight: spec.weight }
}

fn to_kind(kind: ColumnKind) -> host_types::ColumnKind {
    match kind {
        ColumnKind::Numeric => host_types::ColumnKind::Numeric,
        ColumnKind::Categorical => host_types::ColumnKind::Categorical,
        ColumnKind::MultiCategorical => host_types::ColumnKind::MultiCategorical,
        ColumnKind::Timestamp => host_types::ColumnKind::Timestamp,
        ColumnKind::Embedding => host_types::ColumnKind::Embedding,
    }
}
