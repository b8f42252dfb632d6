//! The models of all tenants.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use funnelweb_bindings::stages::model::Loaded;
use funnelweb_core::{
    limits,
    scenario::{FeatureKind, Scenario},
    time,
};
use funnelweb_factor_documents::store::{Collection, Documents, Key, NewDocument, Precondition, WriteError};
use funnelweb_tenant_store::{Error as StoreError, Tenant};
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Refusal,
    check::{check_count, check_features, check_names, feature_kind, refused},
    files::{Files, ModelFiles},
    record::{self, Config, Feature, Record},
    sandbox::{Image, Sandbox},
    serving::{Missing, Ranker, Serving},
    trial,
    usage::Usage,
};

/// Scenarios whose models are remembered.
const SCENARIOS: usize = 10_000;
/// Names of which is remembered whether there is such a model.
const NAMES: usize = 10_000;
/// Tenants whose uploads are kept apart. One that is forgotten during an upload may begin
/// another; there are far fewer at once.
const TENANTS: usize = 10_000;
/// How long an upload waits for those before it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a model's metrics, which are read with everything else that is known of it.
const METRICS_BYTES: usize = 16 * 1024;
/// How long what another process activated may be unknown here.
const STALE: Duration = Duration::from_secs(1);

/// Everything about models.
#[derive(Clone)]
pub struct Models {
    documents: Arc<dyn Documents>,
    files: Arc<ModelFiles>,
    serving: Arc<Serving>,
    known: Arc<Cache<(Tenant, String), Known>>,
    /// Names of models, whether a tenant has one of them, and since when that is known.
    names: Arc<Cache<(Tenant, String), (bool, Instant)>>,
    /// An upload is checked after the other: each takes a core and memory.
    checking: Arc<Semaphore>,
    /// Of all tenants together.
    uploads: Arc<Semaphore>,
    /// A tenant has one upload at a time.
    of_tenants: Arc<Cache<Tenant, Arc<Semaphore>>>,
}

/// Room for one upload; it is given back when this goes.
pub struct Place {
    _held: Vec<OwnedSemaphorePermit>,
}

#[derive(Clone)]
struct Known {
    records: Arc<[Arc<Record>]>,
    since: Instant,
}

/// A scenario, and which one of that name it is: it may be deleted and made anew.
struct StoredScenario {
    config: Scenario,
    created_at: String,
}

#[derive(Deserialize)]
struct Created {
    created_at: String,
}

impl Models {
    /// Over these stores, with models run in `sandbox`.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>, files: Arc<ModelFiles>, sandbox: Arc<Sandbox>) -> Self {
        Self {
            documents,
            serving: Serving::new(sandbox, Arc::clone(&files)),
            files,
            known: Arc::new(Cache::new(SCENARIOS)),
            names: Arc::new(Cache::new(NAMES)),
            checking: Arc::new(Semaphore::new(1)),
            uploads: Arc::new(Semaphore::new(limits::MODEL_UPLOADS)),
            of_tenants: Arc::new(Cache::new(TENANTS)),
        }
    }

    /// Waits until the tenant has no other upload, and there is room for one more; not
    /// for long, since a request that waits is one that others cannot make.
    pub async fn place(&self, tenant: &Tenant) -> Option<Place> {
        tokio::time::timeout(PATIENCE, self.place_some_time(tenant)).await.ok()
    }

    async fn place_some_time(&self, tenant: &Tenant) -> Place {
        let own = || Ok::<_, Infallible>(Arc::new(Semaphore::new(1)));
        let Ok(own) = self.of_tenants.get_or_insert_with(tenant, own);
        let mut held = Vec::with_capacity(2);
        for semaphore in [own, Arc::clone(&self.uploads)] {
            // They are never closed.
            held.extend(semaphore.acquire_owned().await.ok());
        }
        Place { _held: held }
    }

    /// Takes an upload through its checks. The same content again is what is there
    /// already. `manifest` is empty when it stands in the ONNX file.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub async fn add(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        manifest: String,
        onnx: Bytes,
    ) -> Result<Record, Refusal> {
        let scenario = self.scenario(tenant, scenario_id).await?;
        let files = Files { manifest, onnx };
        let name = files.name();
        // It is never closed.
        let _turn = self.checking.acquire().await;
        let loaded = self.serving.sandbox().load(&name, &files.manifest, &files.onnx).await;
        let (loaded, image) = loaded.map_err(refused)?;
        let kept = match self.checked(tenant, &scenario.config, &files, &loaded, &image).await {
            Ok(record) => self.keep(tenant, &scenario, &files, record).await,
            Err(refusal) => Err(refusal),
        };
        match kept {
            Ok(record) => {
                self.serving.put((tenant.clone(), name), image);
                self.serving.trim_disk();
                Ok(record)
            }
            Err(refusal) => {
                self.serving.forget(&name).await;
                Err(refusal)
            }
        }
    }

    /// Writes down a model that was checked for a scenario.
    async fn keep(
        &self,
        tenant: &Tenant,
        scenario: &StoredScenario,
        files: &Files,
        record: Record,
    ) -> Result<Record, Refusal> {
        let held = self.files.hold().await;
        // Also where the record is there already: its files may have been lost.
        self.files.put(tenant, files).await?;
        if let Some(same) = self.there_already(tenant, &record).await? {
            return Ok(same);
        }
        let new = NewDocument { key: record.key(), body: record.body() };
        self.documents.insert_many(tenant, Collection::ModelConfigs, vec![new], false).await?;
        drop(held);
        self.forget(tenant, &record.scenario_id);
        self.names.remove(&(tenant.clone(), record.model_name.clone()));
        let written = self.there_already(tenant, &record).await?;
        // The checks took their time. Whoever deletes the scenario from now on finds the
        // record; whoever did before has not.
        let now = self.scenario(tenant, &record.scenario_id).await;
        if !now.as_ref().is_ok_and(|now| now.created_at == scenario.created_at) {
            if let Some(written) = written {
                self.remove(tenant, &written).await?;
            }
            self.files.sweep(tenant).await?;
            return Err(now.err().unwrap_or(Refusal::NoScenario(record.scenario_id)));
        }
        Ok(written.ok_or_else(|| StoreError::Unavailable("the model that was written is not there".to_owned()))?)
    }

    /// What is recorded of a model that may rank.
    async fn checked(
        &self,
        tenant: &Tenant,
        scenario: &Scenario,
        files: &Files,
        loaded: &Loaded,
        image: &Image,
    ) -> Result<Record, Refusal> {
        check_names(loaded)?;
        check_features(loaded, scenario)?;
        let trial = trial::run(image, loaded).await?;
        let record = record_of(&scenario.scenario_id, loaded, files, trial)?;
        if self.there_already(tenant, &record).await?.is_none() {
            check_count(self.read(tenant, &scenario.scenario_id).await?.len())?;
        }
        Ok(record)
    }

    /// All versions of a scenario's models, the newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, tenant: &Tenant, scenario_id: &str) -> Result<Vec<Record>, StoreError> {
        self.read(tenant, scenario_id).await
    }

    /// What a version did in this process.
    #[must_use]
    pub fn usage(&self, tenant: &Tenant, record: &Record) -> Usage {
        self.serving.usage(tenant, record.file())
    }

    /// Has a version rank where none is asked for. Requests under way end with the one
    /// they began with.
    ///
    /// # Errors
    /// When there is no such version, or another call activated one at the same moment.
    pub async fn activate(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        name: &str,
        version: &str,
    ) -> Result<Record, Refusal> {
        let records = self.read(tenant, scenario_id).await?;
        let of_name = || records.iter().filter(|record| record.model_name == name);
        let found = of_name().find(|record| record.model_version == version);
        let mut record = found.ok_or_else(|| no_version(name, version))?.clone();
        if record.status == record::Status::Active {
            return Ok(record);
        }
        let active = of_name().find(|record| record.status == record::Status::Active);
        record.previous = active.map(|active| active.model_version.clone());
        self.switch_to(tenant, record, &records).await
    }

    /// Has the version rank that did before the active one.
    ///
    /// # Errors
    /// When none is active or none was before, or it is gone.
    pub async fn roll_back(&self, tenant: &Tenant, scenario_id: &str, name: &str) -> Result<Record, Refusal> {
        let records = self.read(tenant, scenario_id).await?;
        let of_name = || records.iter().filter(|record| record.model_name == name);
        of_name().next().ok_or_else(|| Refusal::NoModel(name.to_owned()))?;
        let active = of_name().find(|record| record.status == record::Status::Active);
        let active = active.ok_or_else(|| Refusal::InUse(format!("no version of `{name}` is active")))?;
        let previous = active.previous.as_deref().ok_or_else(|| {
            Refusal::InUse(format!("no version of `{name}` was active before `{}`", active.model_version))
        })?;
        let found = of_name().find(|record| record.model_version == previous);
        // Its own predecessor stays: rolling back again goes back further.
        let record = found.ok_or_else(|| no_version(name, previous))?.clone();
        self.switch_to(tenant, record, &records).await
    }

    /// Deletes a version that is not active.
    ///
    /// # Errors
    /// When there is none, or it is active.
    pub async fn delete(&self, tenant: &Tenant, scenario_id: &str, name: &str, version: &str) -> Result<(), Refusal> {
        let record = self.inactive(tenant, scenario_id, name, version).await?;
        self.remove(tenant, &record).await?;
        self.files.sweep(tenant).await?;
        self.serving.forget_gone().await;
        Ok(())
    }

    /// A version that may be deleted, as it is now.
    async fn inactive(&self, tenant: &Tenant, scenario_id: &str, name: &str, version: &str) -> Result<Record, Refusal> {
        let records = self.read(tenant, scenario_id).await?;
        let is_it = |record: &Record| record.model_name == name && record.model_version == version;
        let record = records.into_iter().find(is_it).ok_or_else(|| no_version(name, version))?;
        if record.status == record::Status::Active {
            return Err(Refusal::InUse(format!(
                "version `{version}` of `{name}` is active; activate another one first"
            )));
        }
        Ok(record)
    }

    /// Deletes a record, unless it was written since it was read: it may be active now.
    async fn remove(&self, tenant: &Tenant, record: &Record) -> Result<(), Refusal> {
        let as_read = Precondition::Version(record.document_version);
        self.documents.delete(tenant, Collection::ModelConfigs, record.key(), as_read).await.map_err(conflict)?;
        self.forget(tenant, &record.scenario_id);
        Ok(())
    }

    /// The ranker of a scenario's model: of the version asked for, or else of the
    /// active one. It costs a look into a table once it is ready.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn ranker(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        name: &str,
        version: &str,
    ) -> Result<Ranker, Missing> {
        let records = self.recent(tenant, scenario_id).await.map_err(Missing::Store)?;
        let record = chosen(&records, name, version)?;
        let served = self.serving.get(tenant, record.file()).await?;
        Ok(Ranker::new(Arc::clone(record), served))
    }

    /// Which version a request would be ranked by, and the SHA-256 of its file; whether it
    /// is ready is not asked.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn choice(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        name: &str,
        version: &str,
    ) -> Result<(String, String), Missing> {
        let records = self.recent(tenant, scenario_id).await.map_err(Missing::Store)?;
        let record = chosen(&records, name, version)?;
        Ok((record.model_version.clone(), record.config.sha256.clone()))
    }

    /// Whether the tenant has a model of that name in any scenario. What is uploaded here
    /// is known at once, anything else soon.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn has(&self, tenant: &Tenant, name: &str) -> Result<bool, StoreError> {
        let of = (tenant.clone(), name.to_owned());
        if let Some((has, _)) = self.names.get(&of).filter(|(_, since)| since.elapsed() < STALE) {
            return Ok(has);
        }
        let since = Instant::now();
        let has = self.files.any(tenant, |record| record.model_name == name).await?;
        self.names.insert(of, (has, since));
        Ok(has)
    }

    /// What is written is known at once; what another process writes, soon.
    async fn recent(&self, tenant: &Tenant, scenario_id: &str) -> Result<Arc<[Arc<Record>]>, StoreError> {
        let of = (tenant.clone(), scenario_id.to_owned());
        if let Some(known) = self.known.get(&of).filter(|known| known.since.elapsed() < STALE) {
            return Ok(known.records);
        }
        let since = Instant::now();
        let records: Arc<[Arc<Record>]> = self.read(tenant, scenario_id).await?.into_iter().map(Arc::new).collect();
        self.known.insert(of, Known { records: Arc::clone(&records), since });
        Ok(records)
    }

    async fn read(&self, tenant: &Tenant, scenario_id: &str) -> Result<Vec<Record>, StoreError> {
        let mut records = self.files.records(tenant, Some(scenario_id)).await?;
        record::mark_active(&mut records);
        Ok(records)
    }

    fn forget(&self, tenant: &Tenant, scenario_id: &str) {
        self.known.remove(&(tenant.clone(), scenario_id.to_owned()));
    }

    async fn switch_to(&self, tenant: &Tenant, mut record: Record, all: &[Record]) -> Result<Record, Refusal> {
        let of_name = all.iter().filter(|other| other.model_name == record.model_name);
        record.activation = of_name.map(|other| other.activation).max().unwrap_or_default() + 1;
        record.activated_at = Some(time::format_ms(now_ms()));
        record.status = record::Status::Active;
        // One write: whoever reads before it finds the other version active. A version that
        // was deleted and uploaded anew meanwhile is another one.
        let as_read = Precondition::Version(record.document_version);
        self.documents
            .replace(tenant, Collection::ModelConfigs, record.key(), record.body(), as_read)
            .await
            .map_err(conflict)?;
        self.forget(tenant, &record.scenario_id);
        // Ready before the next request asks, if it can be.
        if let Err(Missing::NotReady(reason) | Missing::Broken(reason)) = self.serving.get(tenant, record.file()).await
        {
            tracing::info!(%tenant, model = %record.model_name, version = %record.model_version, %reason, "model is activated");
        }
        Ok(record)
    }

    async fn scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<StoredScenario, Refusal> {
        let key = Key::new(scenario_id, scenario_id);
        let found = self.documents.get(tenant, Collection::Scenarios, key).await?;
        let found = found.ok_or_else(|| Refusal::NoScenario(scenario_id.to_owned()))?;
        let unreadable = |error: serde_json::Error| StoreError::Unavailable(format!("the stored scenario: {error}"));
        let Created { created_at } = serde_json::from_str(&found.body).map_err(unreadable)?;
        Ok(StoredScenario { config: serde_json::from_str(&found.body).map_err(unreadable)?, created_at })
    }

    async fn there_already(&self, tenant: &Tenant, record: &Record) -> Result<Option<Record>, Refusal> {
        let records = self.read(tenant, &record.scenario_id).await?;
        let same =
            |other: &&Record| other.model_name == record.model_name && other.model_version == record.model_version;
        match records.iter().find(same) {
            None => Ok(None),
            Some(other) if other.model_path == record.model_path => Ok(Some(other.clone())),
            Some(_) => Err(Refusal::Exists { name: record.model_name.clone(), version: record.model_version.clone() }),
        }
    }
}

fn record_of(scenario_id: &str, loaded: &Loaded, files: &Files, trial: record::Trial) -> Result<Record, Refusal> {
    if loaded.metrics.len() > METRICS_BYTES {
        let message = format!("must be at most {METRICS_BYTES} bytes, got {}", loaded.metrics.len());
        return Err(Refusal::invalid("manifest.metrics", message));
    }
    let metrics: Map<String, Value> = serde_json::from_str(&loaded.metrics)
        .map_err(|error| Refusal::invalid("manifest.metrics", error.to_string()))?;
    let feature = |feature: &funnelweb_bindings::stages::model::ModelFeature| Feature {
        name: feature.name.clone(),
        kind: feature_kind(feature.kind).map_or("embedding", FeatureKind::as_str).to_owned(),
    };
    Ok(Record {
        scenario_id: scenario_id.to_owned(),
        model_type: "rank".to_owned(),
        model_name: loaded.name.clone(),
        model_version: loaded.version.clone(),
        model_path: format!("blob:{}", files.name()),
        config: Config {
            kind: loaded.kind.clone(),
            objective: loaded.objective.clone(),
            features: loaded.features.iter().map(feature).collect(),
            schema_hash: loaded.schema_hash.clone(),
            sha256: files.sha256(),
            bytes: files.onnx.len() as u64,
            operators: loaded.operators,
            trial,
        },
        metrics,
        status: record::Status::Ready,
        activation: 0,
        previous: None,
        activated_at: None,
        created_at: None,
        updated_at: None,
        document_version: 0,
    })
}

/// The version asked for, or else the active one.
fn chosen<'a>(records: &'a [Arc<Record>], name: &str, version: &str) -> Result<&'a Arc<Record>, Missing> {
    let mut of_name = records.iter().filter(|record| record.model_name == name).peekable();
    of_name.peek().ok_or(Missing::NoModel)?;
    if version.is_empty() {
        of_name.find(|record| record.status == record::Status::Active).ok_or(Missing::NoneActive)
    } else {
        of_name.find(|record| record.model_version == version).ok_or(Missing::NoVersion)
    }
}

fn no_version(name: &str, version: &str) -> Refusal {
    Refusal::NoVersion { name: name.to_owned(), version: version.to_owned() }
}

fn conflict(error: WriteError) -> Refusal {
    match error {
        WriteError::Store(error) => error.into(),
        WriteError::Conflict(_) | WriteError::Collision => {
            Refusal::InUse("another call changed the model at the same moment".to_owned())
        }
    }
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use funnelweb_blob_store::FileBlobs;
    use funnelweb_engine::{ComponentCache, Engines};
    use funnelweb_factor_documents::{SqliteDocuments, store::Dependent as _};
    use funnelweb_tenant_store::TenantStores;

    use super::*;

    fn models(folder: &std::path::Path) -> (Arc<dyn Documents>, Models) {
        let documents = SqliteDocuments::new(Arc::new(TenantStores::new(folder).unwrap())).unwrap();
        let documents: Arc<dyn Documents> = Arc::new(documents);
        let files = ModelFiles::new(Arc::clone(&documents), Arc::new(FileBlobs::new(folder).unwrap()));
        let cache = Arc::new(ComponentCache::new(folder.join("components")).unwrap());
        let sandbox = Sandbox::new(&Engines::new().unwrap(), cache, None).unwrap();
        (Arc::clone(&documents), Models::new(documents, Arc::new(files), Arc::new(sandbox)))
    }

    async fn write(documents: &dyn Documents, tenant: &Tenant, record: &Record) {
        let new = NewDocument { key: record.key(), body: record.body() };
        documents.insert_many(tenant, Collection::ModelConfigs, vec![new], false).await.unwrap();
    }

    async fn scenario(documents: &dyn Documents, tenant: &Tenant) {
        let body =
            r#"{"scenario_id":"feed","scenario_type":"news","config":{"recall":{"strategies":[{"name":"latest"}]}}}"#;
        let new = NewDocument { key: Key::new("feed", "feed"), body: body.to_owned() };
        documents.insert_many(tenant, Collection::Scenarios, vec![new], false).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_activated_meanwhile_is_not_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let (documents, models) = models(folder.path());
        let acme = Tenant::new("acme").unwrap();
        for (version, activation) in [("v1", 0), ("v2", 1)] {
            write(documents.as_ref(), &acme, &record::tests::record("deepfm", version, activation)).await;
        }
        let inactive = models.inactive(&acme, "feed", "deepfm", "v1").await.unwrap();
        models.activate(&acme, "feed", "deepfm", "v1").await.unwrap();
        assert!(matches!(models.remove(&acme, &inactive).await, Err(Refusal::InUse(_))));
        assert_eq!(models.list(&acme, "feed").await.unwrap().len(), 2);
        // Nor is what was uploaded anew meanwhile activated as what it was.
        let read = models.inactive(&acme, "feed", "deepfm", "v2").await.unwrap();
        models.delete(&acme, "feed", "deepfm", "v2").await.unwrap();
        write(documents.as_ref(), &acme, &record::tests::record("deepfm", "v2", 0)).await;
        assert!(matches!(models.switch_to(&acme, read, &[]).await, Err(Refusal::InUse(_))));
    }

    #[tokio::test]
    async fn an_upload_that_outlasts_its_scenario_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (documents, models) = models(folder.path());
        let acme = Tenant::new("acme").unwrap();
        let files = Files { manifest: "{}".to_owned(), onnx: Bytes::from_static(b"onnx") };
        let record =
            Record { model_path: format!("blob:{}", files.name()), ..record::tests::record("deepfm", "v1", 0) };
        let left = async || {
            let records = models.list(&acme, "feed").await.unwrap();
            (records.len(), models.files.get(&acme, &files.name()).await.unwrap().is_some())
        };
        scenario(documents.as_ref(), &acme).await;
        let begun = models.scenario(&acme, "feed").await.unwrap();
        models.keep(&acme, &begun, &files, record.clone()).await.unwrap();
        assert_eq!(left().await, (1, true));

        documents.delete_scenario(&acme, "feed".to_owned()).await.unwrap();
        models.files.forget_scenario(&acme, "feed").await.unwrap();
        let refused = models.keep(&acme, &begun, &files, record.clone()).await;
        assert_eq!(refused, Err(Refusal::NoScenario("feed".to_owned())));
        assert_eq!(left().await, (0, false));
        // One of the same name was made since.
        tokio::time::sleep(Duration::from_millis(2)).await;
        scenario(documents.as_ref(), &acme).await;
        let refused = models.keep(&acme, &begun, &files, record).await;
        assert_eq!(refused, Err(Refusal::NoScenario("feed".to_owned())));
        assert_eq!(left().await, (0, false));
    }

    #[tokio::test]
    async fn a_store_that_does_not_say_is_not_a_model_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let (documents, models) = models(folder.path());
        let acme = Tenant::new("acme").unwrap();
        for at in 0..=limits::PAGE_DOCUMENTS {
            write(documents.as_ref(), &acme, &record::tests::record("deepfm", &format!("v{at}"), 0)).await;
        }
        write(documents.as_ref(), &acme, &record::tests::record("other", "v1", 0)).await;
        assert_eq!(models.has(&acme, "deepfm").await, Ok(true), "on a further page");
        assert_eq!(models.has(&acme, "nobody_s").await, Ok(false));
        // Answers are remembered for a moment, and not those that the store did not give.
        std::fs::remove_dir_all(folder.path().join("tenants")).unwrap();
        let other = Tenant::new("other").unwrap();
        assert!(matches!(models.has(&other, "deepfm").await, Err(StoreError::Unavailable(_))));
        let missing = models.ranker(&other, "feed", "deepfm", "").await.err();
        assert!(matches!(missing, Some(Missing::Store(_))), "{missing:?}");
        std::fs::create_dir(folder.path().join("tenants")).unwrap();
        assert_eq!(models.has(&other, "deepfm").await, Ok(false));
    }
}
