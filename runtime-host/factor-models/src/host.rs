//! The WIT interface `models` over [`Models`]: conversions, limits, and the tenant,
//! which no call names.

use std::sync::Arc;

use funnelweb_bindings::{
    ModelUpload,
    capabilities::{
        errors,
        models::{self as wit, Host, HostUpload},
    },
    stages::rank::RankRequest,
    types::{Candidates, ColumnKind, RequestContext, Table, User},
};
use funnelweb_core::limits;
use funnelweb_engine::{Failure, bounded};
use funnelweb_tenant_store::{Error as StoreError, Tenant, host::bound};
use tokio::sync::Semaphore;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::{
    Missing, Models, Place, Refusal, in_turn,
    record::{Record, Status},
};

/// Uploads that one instance has under way: it serves one request at a time.
const UPLOADS: usize = 1;

/// What one instance may do: have models of one tenant, or of none.
pub struct ModelsCtx {
    models: Models,
    tenant: Option<Tenant>,
    /// What the tenant may have at work at once.
    share: Arc<Semaphore>,
    uploads: ResourceTable,
    /// Held while there is an upload.
    place: Option<Place>,
}

impl ModelsCtx {
    /// Without a tenant every call is denied. Of `share`, which is the tenant's stages',
    /// what ranks takes a place.
    #[must_use]
    pub fn new(models: Models, tenant: Option<Tenant>, share: Arc<Semaphore>) -> Self {
        let mut uploads = ResourceTable::new();
        uploads.set_max_capacity(UPLOADS);
        Self { models, tenant, share, uploads, place: None }
    }

    fn tenant(&self) -> Result<&Tenant, errors::Error> {
        bound(self.tenant.as_ref())
    }

    /// The tenant, when there is room for the upload.
    fn has_place(&self) -> Result<&Tenant, wit::Refusal> {
        let tenant = self.tenant().map_err(wit::Refusal::Store)?;
        match self.place {
            Some(_) => Ok(tenant),
            None => Err(wit::Refusal::Busy("other uploads of models are under way; try again later".to_owned())),
        }
    }
}

struct HasModels;

impl HasData for HasModels {
    type Data<'a> = &'a mut ModelsCtx;
}

/// Offers `funnelweb:capabilities/models` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut ModelsCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasModels>(linker, ctx)
}

impl HostUpload for ModelsCtx {
    async fn new(&mut self, scenario_id: String) -> wasmtime::Result<Resource<ModelUpload>> {
        // Before a byte of it is taken. Without a tenant, `finish` says so.
        if let Some(tenant) = &self.tenant {
            self.place = self.models.place(tenant).await;
        }
        Ok(self.uploads.push(ModelUpload { scenario_id, ..ModelUpload::default() })?)
    }

    async fn manifest(
        &mut self,
        upload: Resource<ModelUpload>,
        text: String,
    ) -> wasmtime::Result<Result<(), wit::Refusal>> {
        if let Err(refusal) = self.has_place() {
            return Ok(Err(refusal));
        }
        if text.len() > limits::MODEL_MANIFEST_BYTES {
            return Ok(Err(too_large("manifest", limits::MODEL_MANIFEST_BYTES)));
        }
        self.uploads.get_mut(&upload)?.manifest = text;
        Ok(Ok(()))
    }

    async fn write(
        &mut self,
        upload: Resource<ModelUpload>,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), wit::Refusal>> {
        if let Err(refusal) = self.has_place() {
            return Ok(Err(refusal));
        }
        let upload = self.uploads.get_mut(&upload)?;
        if upload.onnx.len() + bytes.len() > limits::MODEL_BYTES {
            return Ok(Err(too_large("onnx", limits::MODEL_BYTES)));
        }
        upload.onnx.extend_from_slice(&bytes);
        Ok(Ok(()))
    }

    async fn finish(&mut self, upload: Resource<ModelUpload>) -> wasmtime::Result<Result<wit::Version, wit::Refusal>> {
        let ModelUpload { scenario_id, manifest, onnx } = std::mem::take(self.uploads.get_mut(&upload)?);
        let tenant = match self.has_place() {
            Ok(tenant) => tenant,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let added = self.models.add(tenant, &scenario_id, manifest, onnx.into()).await;
        self.place = None;
        Ok(added.map(version).map_err(refusal))
    }

    async fn drop(&mut self, upload: Resource<ModelUpload>) -> wasmtime::Result<()> {
        self.uploads.delete(upload)?;
        self.place = None;
        Ok(())
    }
}

impl Host for ModelsCtx {
    async fn list(&mut self, scenario_id: String) -> wasmtime::Result<Result<Vec<wit::Version>, errors::Error>> {
        Ok(match self.tenant() {
            Ok(tenant) => {
                let records = self.models.list(tenant, &scenario_id).await;
                records.map(|records| records.into_iter().map(version).collect()).map_err(Into::into)
            }
            Err(error) => Err(error),
        })
    }

    async fn usage_of(
        &mut self,
        scenario_id: String,
        name: String,
        version: String,
    ) -> wasmtime::Result<Result<wit::Usage, errors::Error>> {
        Ok(match self.tenant() {
            Ok(tenant) => usage(&self.models, tenant, &scenario_id, &name, &version).await,
            Err(error) => Err(error),
        })
    }

    async fn activate(
        &mut self,
        scenario_id: String,
        name: String,
        version_name: String,
    ) -> wasmtime::Result<Result<wit::Version, wit::Refusal>> {
        Ok(match self.tenant() {
            Ok(tenant) => {
                let record = self.models.activate(tenant, &scenario_id, &name, &version_name).await;
                record.map(version).map_err(refusal)
            }
            Err(error) => Err(wit::Refusal::Store(error)),
        })
    }

    async fn roll_back(
        &mut self,
        scenario_id: String,
        name: String,
    ) -> wasmtime::Result<Result<wit::Version, wit::Refusal>> {
        Ok(match self.tenant() {
            Ok(tenant) => self.models.roll_back(tenant, &scenario_id, &name).await.map(version).map_err(refusal),
            Err(error) => Err(wit::Refusal::Store(error)),
        })
    }

    async fn delete(
        &mut self,
        scenario_id: String,
        name: String,
        version: String,
    ) -> wasmtime::Result<Result<(), wit::Refusal>> {
        Ok(match self.tenant() {
            Ok(tenant) => self.models.delete(tenant, &scenario_id, &name, &version).await.map_err(refusal),
            Err(error) => Err(wit::Refusal::Store(error)),
        })
    }

    async fn predict(
        &mut self,
        scenario_id: String,
        name: String,
        version: Option<String>,
        items: Table,
        user: Table,
    ) -> wasmtime::Result<Result<wit::Predicted, wit::Refusal>> {
        let version = version.unwrap_or_default();
        Ok(match self.tenant() {
            Ok(tenant) => {
                let asked = Asked { tenant, scenario_id: &scenario_id, name: &name, version: &version };
                in_turn(&self.share, scores(&self.models, asked, items, user))
                    .await
                    .unwrap_or_else(|late| Err(failed(late)))
            }
            Err(error) => Err(wit::Refusal::Store(error)),
        })
    }
}

async fn usage(
    models: &Models,
    tenant: &Tenant,
    scenario_id: &str,
    name: &str,
    version: &str,
) -> Result<wit::Usage, errors::Error> {
    let records = models.list(tenant, scenario_id).await?;
    let found = records.iter().find(|record| record.model_name == name && record.model_version == version);
    let usage = found.map(|record| models.usage(tenant, record)).unwrap_or_default();
    let crate::usage::Usage { calls, failures, rows, p50_us, p99_us } = usage;
    Ok(wit::Usage { calls, failures, rows, p50_us, p99_us })
}

/// Which model.
struct Asked<'a> {
    tenant: &'a Tenant,
    scenario_id: &'a str,
    name: &'a str,
    version: &'a str,
}

async fn scores(models: &Models, asked: Asked<'_>, items: Table, user: Table) -> Result<wit::Predicted, wit::Refusal> {
    let Asked { tenant, scenario_id, name, version } = asked;
    if items.rows as usize > limits::PREDICT_ROWS {
        let message = format!("must be at most {}, got {}", limits::PREDICT_ROWS, items.rows);
        return Err(wit::Refusal::Invalid(("rows".to_owned(), message)));
    }
    let ranker = models.ranker(tenant, scenario_id, name, version).await;
    let ranker = ranker.map_err(|missing| unready(missing, name, version))?;
    let request = request(scenario_id, items, user);
    let scores = ranker.rank(&request).await.map_err(failed)?;
    let scores = scores.map_err(|error| wit::Refusal::Invalid(("rows".to_owned(), bounded(error.message))))?;
    check(&scores, request.candidates.handles.len())?;
    Ok(wit::Predicted { version: ranker.version().to_owned(), scores })
}

/// Why there is no ranker.
fn unready(missing: Missing, name: &str, version: &str) -> wit::Refusal {
    match missing {
        Missing::NoModel => wit::Refusal::NoModel(format!("no model `{name}`")),
        Missing::NoneActive => wit::Refusal::NoVersion(format!("no version of the model `{name}` is active")),
        Missing::NoVersion => wit::Refusal::NoVersion(format!("no version `{version}` of the model `{name}`")),
        Missing::NotReady(reason) => wit::Refusal::NotReady(reason),
        Missing::Broken(reason) => wit::Refusal::Invalid(("onnx".to_owned(), reason)),
        Missing::Store(error) => wit::Refusal::Store(error.into()),
    }
}

/// A model that gives no answer is its tenant's fault, and no store's.
fn failed(failure: Failure) -> wit::Refusal {
    if failure.is_late() {
        wit::Refusal::Late(failure.reason)
    } else {
        wit::Refusal::Invalid(("onnx".to_owned(), failure.reason))
    }
}

/// As of a stage: a number for each row, which JSON can say.
fn check(scores: &[f32], rows: usize) -> Result<(), wit::Refusal> {
    let broken = |message| Err(wit::Refusal::Invalid(("onnx".to_owned(), message)));
    if scores.len() != rows {
        return broken(format!("gave {} scores for {rows} rows", scores.len()));
    }
    match scores.iter().position(|score| !score.is_finite()) {
        Some(row) => broken(format!("gave a score that is not finite for row {row}")),
        None => Ok(()),
    }
}

fn request(scenario_id: &str, items: Table, user: Table) -> RankRequest {
    let rows = items.rows as usize;
    let candidates =
        Candidates { handles: (0..u64::from(items.rows)).collect(), scores: vec![0.0; rows], sources: vec![1; rows] };
    let nobody = User {
        id: String::new(),
        attributes: Vec::new(),
        preferences: Vec::new(),
        recent: Vec::new(),
        recent_weights: Vec::new(),
    };
    RankRequest {
        context: RequestContext {
            scenario_id: scenario_id.to_owned(),
            user: nobody,
            context: Vec::new(),
            now_ms: 0,
            count: items.rows,
            seed: 0,
        },
        candidates,
        items,
        user,
        item_features: Vec::new(),
        objective: String::new(),
        params: "{}".to_owned(),
    }
}

fn version(record: Record) -> wit::Version {
    let kind = |kind: &str| match kind {
        "categorical" => ColumnKind::Categorical,
        "multi_categorical" => ColumnKind::MultiCategorical,
        "timestamp" => ColumnKind::Timestamp,
        _ => ColumnKind::Numeric,
    };
    let features = record.config.features.iter();
    wit::Version {
        document: record.body(),
        active: record.status == Status::Active,
        features: features
            .map(|feature| wit::Feature { name: feature.name.clone(), kind: kind(&feature.kind) })
            .collect(),
        scenario_id: record.scenario_id,
        name: record.model_name,
        version: record.model_version,
    }
}

fn refusal(refusal: Refusal) -> wit::Refusal {
    let text = refusal.to_string();
    match refusal {
        Refusal::Store(error) => wit::Refusal::Store(error.into()),
        Refusal::NoScenario(_) => wit::Refusal::NoScenario,
        Refusal::NoModel(_) => wit::Refusal::NoModel(text),
        Refusal::NoVersion { .. } => wit::Refusal::NoVersion(text),
        Refusal::Exists { .. } => wit::Refusal::Exists(text),
        Refusal::InUse(_) => wit::Refusal::InUse(text),
        Refusal::TooMany(_) => wit::Refusal::TooMany(text),
        Refusal::Invalid { field, message } => wit::Refusal::Invalid((field, message)),
    }
}

fn too_large(field: &str, limit: usize) -> wit::Refusal {
    let error = StoreError::invalid(field, format_args!("must be at most {limit} bytes"));
    wit::Refusal::Invalid((field.to_owned(), error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_model_does_not_rank_is_no_store_s_fault() {
        assert!(matches!(failed(Failure::timed_out(limits::STAGE_TIMEOUT)), wit::Refusal::Late(_)));
        assert!(matches!(failed(Failure::failed("trap")), wit::Refusal::Invalid((field, _)) if field == "onnx"));
        let of = |missing| unready(missing, "deepfm", "v1");
        assert!(matches!(of(Missing::NoModel), wit::Refusal::NoModel(said) if said.contains("deepfm")));
        assert!(matches!(of(Missing::NoVersion), wit::Refusal::NoVersion(said) if said.contains("v1")));
        assert!(matches!(of(Missing::NotReady(String::new())), wit::Refusal::NotReady(_)));
        assert!(matches!(of(Missing::Broken(String::new())), wit::Refusal::Invalid(_)));
        let store = StoreError::Unavailable(String::new());
        assert!(matches!(of(Missing::Store(store)), wit::Refusal::Store(errors::Error::Unavailable(_))));
    }

    #[test]
    fn a_score_for_each_row_is_a_number() {
        assert!(check(&[0.0, -1.5], 2).is_ok());
        for scores in [&[0.0][..], &[0.0; 3], &[f32::NAN, 0.0], &[0.0, f32::INFINITY]] {
            assert!(matches!(check(scores, 2), Err(wit::Refusal::Invalid(_))), "{scores:?}");
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_place_longer_than_a_stage_may_take() {
        let share = Semaphore::new(1);
        assert_eq!(in_turn(&share, async { 7 }).await, Ok(7));
        let held = share.acquire().await;
        let late = in_turn(&share, async { 7 }).await;
        assert!(late.is_err_and(|failure| failure.is_late()));
        drop(held);
        assert!(in_turn(&share, std::future::pending::<()>()).await.is_err());
        assert_eq!(share.available_permits(), 1);
    }
}
