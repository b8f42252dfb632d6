//! The funnel under evaluation: an application in process, on stores of its own,
//! that is given the part of the data to learn from and then asked for slates. What
//! answers are the real components, by the real dispatch; only the listener is
//! missing.

mod ask;
mod variants;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use funnelweb_core::{
    job::{Kind, State},
    limits,
    scenario::Scenario,
};
use funnelweb_tenant_store::Tenant;
use http::Method;
use serde::Deserialize;

pub use ask::{Answers, Question, ask};
pub use variants::{FUNNEL, Variant, variants};

use crate::{
    app::{App, Options},
    follower::Following,
    inside::{self, Call, JSON, NDJSON},
    stores::Stores,
};

/// Whose data they are, within stores that hold nobody else's.
const TENANT: &str = "evaluation";
/// Time for instances to end, beyond what they are kept for.
const END_GRACE: Duration = Duration::from_millis(200);
/// The jobs that collaborative channels stand on.
const LEARNING: [Kind; 2] = [Kind::Similarity, Kind::Embeddings];
/// Between two looks at a job.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Bytes of lines that are sent at once.
const CHUNK_BYTES: usize = 1024 * 1024;

/// An application on stores of its own, which go when it is dropped.
pub struct Trial {
    app: App,
    tenant: Tenant,
    scenario_id: String,
    requests: AtomicU64,
    /// Operators, which follow the log.
    streams: Option<Following>,
    _folder: tempfile::TempDir,
}

/// What a trial is started with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The manifest file.
    pub manifest: PathBuf,
    /// Where compiled components are kept.
    pub data_dir: PathBuf,
    /// Values of application variables.
    pub variables: BTreeMap<String, String>,
    /// Everything is loaded into and asked of this scenario.
    pub scenario_id: String,
}

impl Trial {
    /// Makes every component ready, with empty stores. Takes all cores for a while.
    ///
    /// # Errors
    /// What is wrong with the manifest, a component, or the folders.
    pub async fn start(setup: Setup) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a scratch folder")?;
        let stores = Stores::embedded(folder.path())?;
        let Setup { manifest, data_dir, variables, scenario_id } = setup;
        let options = Options { manifest, data_dir, variables, sync: None, components: Default::default() };
        let app = tokio::task::block_in_place(|| App::load(&options, stores))?;
        app.jobs.spawn();
        let streams = app.streams().await?.map(|streams| streams.spawn());
        let tenant = Tenant::new(TENANT).context("the tenant of an evaluation")?;
        Ok(Self { app, tenant, scenario_id, requests: AtomicU64::new(0), streams, _folder: folder })
    }

    /// Ends it. Instances are kept for a while when they are idle; a runtime that is
    /// gone before them has them fail, and say so.
    pub async fn end(mut self) {
        self.app.jobs.drain().await;
        if let Some(streams) = self.streams.take() {
            streams.stop().await;
        }
        drop(self);
        tokio::time::sleep(limits::INSTANCE_IDLE + END_GRACE).await;
    }

    /// Makes this the scenario's config; it is checked as any other.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn configure(&self, scenario: &Scenario) -> anyhow::Result<()> {
        let path = format!("/api/v1/scenarios/{}", self.scenario_id);
        let body = serde_json::to_vec(scenario)?;
        self.call("scenarios", Call { method: Method::PUT, path: &path, user_id: Some(TENANT), media: JSON, body })
            .await?;
        Ok(())
    }

    /// Adds items, as they are posted; `progress` is told how many are there.
    ///
    /// # Errors
    /// When one of them is refused, or a store does not answer.
    pub async fn add_items(&self, lines: &[&str], progress: &mut dyn FnMut(usize)) -> anyhow::Result<()> {
        let path = format!("/api/v1/items/{}?on_duplicate=replace", self.scenario_id);
        self.add("items", &path, lines, progress).await
    }

    /// Adds behaviours, as they are posted, with all that they change: heat,
    /// counters, profiles.
    ///
    /// # Errors
    /// When one of them is refused, or a store does not answer.
    pub async fn add_behaviors(&self, lines: &[&str], progress: &mut dyn FnMut(usize)) -> anyhow::Result<()> {
        self.add("behaviors", "/api/v1/behaviors", lines, progress).await?;
        self.app.stores.events.settle(&self.tenant).await.context("aggregating behaviours")
    }

    /// Has the scenario's jobs learn from what was added, with the params of its config;
    /// `progress` is told which is at work and to how many percent.
    ///
    /// # Errors
    /// When one of them fails.
    pub async fn learn(&self, progress: &mut dyn FnMut(Kind, usize)) -> anyhow::Result<()> {
        let jobs = &self.app.jobs;
        for kind in LEARNING {
            let name = kind.as_str();
            let begun = jobs.start(&self.tenant, &self.scenario_id, kind, "{}").await;
            let mut run = begun.with_context(|| format!("the job `{name}`"))?;
            while !run.state.is_over() {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(now) = jobs.get(&self.tenant, &run.id).await? else { bail!("the job `{name}` is gone") };
                run = now;
                progress(kind, run.percent as usize);
            }
            if run.state != State::Succeeded {
                bail!("the job `{name}` {}: {}", run.state.as_str(), run.error);
            }
        }
        Ok(())
    }

    async fn add(
        &self,
        endpoint: &str,
        path: &str,
        lines: &[&str],
        progress: &mut dyn FnMut(usize),
    ) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        struct Report {
            failed: u64,
            errors: Vec<LineError>,
        }
        #[derive(Deserialize)]
        struct LineError {
            line: usize,
            field: Option<String>,
            message: String,
        }
        let mut sent = 0;
        while sent < lines.len() {
            let mut body = Vec::with_capacity(CHUNK_BYTES);
            let mut next = sent;
            while let Some(line) = lines.get(next).filter(|_| body.len() < CHUNK_BYTES) {
                body.extend_from_slice(line.as_bytes());
                body.push(b'\n');
                next += 1;
            }
            let call = Call { method: Method::POST, path, user_id: Some(TENANT), media: NDJSON, body };
            let report: Report = serde_json::from_slice(&self.call(endpoint, call).await?)?;
            if let Some(error) = report.errors.first() {
                let line = lines.get((sent + error.line).saturating_sub(1)).copied().unwrap_or_default();
                let field = error.field.as_deref().map(|field| format!("{field}: ")).unwrap_or_default();
                bail!("{} of the {endpoint} were refused: {field}{} in {line}", report.failed, error.message);
            }
            sent = next;
            progress(sent);
        }
        Ok(())
    }

    /// Asks an endpoint and returns the body of its answer.
    async fn call(&self, endpoint: &str, call: Call<'_>) -> anyhow::Result<Bytes> {
        let request_id = format!("evaluate-{}", self.requests.fetch_add(1, Ordering::Relaxed));
        let found = self.app.endpoint(endpoint);
        let endpoint = found.with_context(|| format!("the manifest has no endpoint `{endpoint}`"))?;
        Ok(inside::ask(endpoint, &self.tenant, &request_id, call).await?)
    }
}
