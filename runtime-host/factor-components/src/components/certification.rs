//! Certification of a version: by requests of a scenario, or by events where it is an operator.

use std::sync::Arc;

use funnelweb_admission::World;
use funnelweb_bindings::{Recorded, dispatch::Allowance, parts::allowed};
use funnelweb_core::{
    limits,
    scenario::{Components as Shown, Scenario},
};
use funnelweb_factor_documents::store::ColumnSpec;
use funnelweb_recording::Tape;
use funnelweb_tenant_store::Tenant;
use serde_json::{Map, Value};

use super::Components;
use crate::{
    Catalogue, Refusal,
    catalogue::Stored,
    certificate::{Certificate, Source},
    certify::{Subject, Trial},
    record::{Version, columns, personal},
    serving::Ready,
};

/// Recorded requests that a scenario must have for a certification to be with them.
pub(crate) const RECORDED: usize = 10;

impl Components {
    /// Replays requests of a scenario through a version and keeps the report with it.
    ///
    /// # Errors
    /// When there is no such version or scenario.
    pub async fn certify(
        &self,
        tenant: &Tenant,
        name: &str,
        version: &str,
        scenario_id: &str,
        params: Option<Map<String, Value>>,
    ) -> Result<Version, Refusal> {
        let version = self.stored(tenant, name, version).await?;
        let scenario = self.scenario(tenant, scenario_id).await?;
        let certificate = if version.world == World::Aggregate {
            if params.is_some_and(|params| !params.is_empty()) {
                return Err(Refusal::invalid("params", "a stream operator takes none".to_owned()));
            }
            self.try_operator(tenant, &version, scenario_id).await?
        } else {
            let params = params.unwrap_or_else(|| params_in(&scenario, tenant, &version));
            let ready = self.ready_now(tenant, &version).await?;
            self.replay(tenant, &version, &ready, &scenario, &params).await
        };
        self.change_version(tenant, name, &version.version, |stored| {
            stored.passed |= certificate.passed;
            stored.certificate = Some(certificate.clone());
        })
        .await
    }

    async fn replay(
        &self,
        tenant: &Tenant,
        version: &Version,
        ready: &Ready,
        scenario: &Scenario,
        params: &Map<String, Value>,
    ) -> Certificate {
        let scenario_id = scenario.scenario_id.as_str();
        let allowance = allowance(&scenario.config.components);
        let payer = self.payer(tenant);
        let subject = Subject {
            sandbox: &self.serving.sandbox,
            stage: &ready.stage,
            version,
            params,
            weight: 1.0,
            limit: limits::RECALL_LIMIT,
            allowance: &allowance,
            pays: Some(&payer),
        };
        let mut requests = self.recorder.recent(tenant, scenario_id);
        let source = if requests.len() < RECORDED { Source::Samples } else { Source::Recorded };
        match source {
            Source::Samples => requests = crate::samples::requests(),
            // Only what rules asked for then is in their tables.
            Source::Recorded => self.complete(tenant, version, scenario_id, &mut requests).await,
        }
        let now_ms = requests.first().map_or(0, |request| request.context.now_ms);
        let catalogue = (source == Source::Recorded).then(|| {
            Arc::new(Stored {
                sources: self.sources.clone(),
                tenant: tenant.clone(),
                scenario_id: scenario_id.to_owned(),
                now_ms,
                allowed: allowed(&columns(&version.reads.columns), &allowance),
                tape: Tape::default(),
            }) as Arc<dyn Catalogue>
        });
        subject.certify(&Trial { scenario_id, source, requests: &requests, catalogue }).await
    }

    /// Gives requests the columns that a version reads and that they do not have.
    async fn complete(&self, tenant: &Tenant, version: &Version, scenario_id: &str, requests: &mut [Arc<Recorded>]) {
        let reads = columns(&version.reads.columns);
        for request in requests {
            let names = request.items.columns();
            let missing = reads.iter().filter(|column| !names.contains(&column.name.as_str()));
            let missing: Vec<ColumnSpec> =
                missing.map(|column| ColumnSpec { name: column.name.clone(), kind: column.kind.into() }).collect();
            if missing.is_empty() {
                continue;
            }
            let (handles, now_ms) = (request.candidates.handles.clone(), request.context.now_ms);
            let found =
                self.sources.documents.item_columns(tenant, scenario_id.to_owned(), handles, missing, now_ms).await;
            if let Ok(found) = found {
                let mut completed = Recorded::clone(request);
                completed.items.join(&found.table.into(), &found.found);
                *request = Arc::new(completed);
            }
        }
    }
}

/// What a scenario lets components see.
fn allowance(components: &Shown) -> Allowance {
    Allowance { personal: personal(&components.user), fields: components.fields.clone() }
}

/// The params that a scenario gives a component.
fn params_in(scenario: &Scenario, tenant: &Tenant, version: &Version) -> Map<String, Value> {
    let stage = format!("{tenant}/{}", version.name);
    let pinned = format!("{stage}@{}", version.version);
    let is_it = |name: &str| name == stage || name == pinned;
    let config = &scenario.config;
    let rank = &config.rank;
    let found = match version.world {
        World::Recall => config.recall.strategies.iter().find(|of| is_it(&of.name)).map(|of| &of.params),
        World::Rank => is_it(&rank.model).then_some(&rank.params),
        World::Rerank => config.rerank.rules.iter().find(|of| is_it(&of.name)).map(|of| &of.params),
        World::Aggregate => None,
    };
    found.cloned().unwrap_or_default()
}
