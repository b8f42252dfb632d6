//! The files of models: blobs that are named by their content.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Instant,
};

use async_trait::async_trait;
use funnelweb_blob_store::store::{Blobs, Bytes, Error, StoreError, Tenant};
use funnelweb_core::limits;
use funnelweb_factor_documents::store::{Collection, Dependent, Documents, Key, Precondition, Query, WriteError};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, MutexGuard};

use crate::record::Record;

/// Below which all files of models are.
const FOLDER: &str = "models";
/// Content has one version.
const VERSION: u64 = 1;

/// A model's files.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// Empty when it stands in the ONNX file.
    pub(crate) manifest: String,
    pub(crate) onnx: Bytes,
}

impl Files {
    /// The name of their folder: `models/` and the digest of both.
    pub(crate) fn name(&self) -> String {
        let mut digest = Sha256::new();
        // No JSON text has a zero byte, so that the two cannot be parted elsewhere.
        digest.update(self.manifest.as_bytes());
        digest.update([0]);
        digest.update(&self.onnx);
        format!("{FOLDER}/{}", hex(&digest.finalize()))
    }

    /// The digest of the ONNX file.
    pub(crate) fn sha256(&self) -> String {
        hex(&Sha256::digest(&self.onnx))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files and records of all tenants' models.
pub struct ModelFiles {
    documents: Arc<dyn Documents>,
    blobs: Arc<dyn Blobs>,
    /// Held while files have no record yet, and while those without one are deleted. Of
    /// what other processes do, the age of files says enough.
    changing: Mutex<()>,
    /// Names of files that were deleted, until somebody asks.
    gone: std::sync::Mutex<Vec<(Tenant, String)>>,
    /// Whose files to look through again, and when: those without a record may be of an
    /// upload to another process.
    later: std::sync::Mutex<HashMap<Tenant, Instant>>,
}

impl ModelFiles {
    /// Over these stores.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>, blobs: Arc<dyn Blobs>) -> Self {
        Self {
            documents,
            blobs,
            changing: Mutex::default(),
            gone: std::sync::Mutex::default(),
            later: std::sync::Mutex::default(),
        }
    }

    /// No files are deleted for as long as this is held.
    pub(crate) async fn hold(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// The records of a scenario, or of all, the newest first.
    pub(crate) async fn records(&self, tenant: &Tenant, scenario_id: Option<&str>) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        self.read(tenant, scenario_id, |page| {
            records.extend(page);
            true
        })
        .await?;
        Ok(records)
    }

    /// Whether it holds of a record of any scenario. No more are read than it takes.
    pub(crate) async fn any(&self, tenant: &Tenant, holds: impl Fn(&Record) -> bool) -> Result<bool, StoreError> {
        let mut found = false;
        self.read(tenant, None, |page| {
            found = page.iter().any(&holds);
            !found
        })
        .await?;
        Ok(found)
    }

    /// Reads page by page for as long as `goes_on`.
    async fn read(
        &self,
        tenant: &Tenant,
        scenario_id: Option<&str>,
        mut goes_on: impl FnMut(Vec<Record>) -> bool,
    ) -> Result<(), StoreError> {
        let mut cursor = None;
        loop {
            let query = Query {
                scenario_id: scenario_id.map(str::to_owned),
                cursor,
                limit: limits::PAGE_DOCUMENTS,
                ..Query::default()
            };
            let page = self.documents.query(tenant, Collection::ModelConfigs, query).await?;
            cursor = page.next;
            if !goes_on(page.documents.iter().filter_map(Record::read).collect()) || cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Deletes the files that no record is of any more. Where other processes write as
    /// well, those that are young stay: another process may be about to write a record.
    pub(crate) async fn sweep(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let _held = self.hold().await;
        let names = self.names(tenant).await?;
        if names.is_empty() {
            return Ok(());
        }
        let used = self.records(tenant, None).await?;
        let age = self.blobs.on_the_way();
        for name in names.iter().filter(|name| !used.iter().any(|record| record.file() == **name)) {
            if self.blobs.delete_unused(tenant, name, age).await? {
                self.gone.lock().unwrap_or_else(PoisonError::into_inner).push((tenant.clone(), name.clone()));
            } else {
                self.later.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), Instant::now() + age);
            }
        }
        Ok(())
    }

    /// Looks through the files again whose time has come.
    pub(crate) async fn sweep_again(&self, now: Instant) {
        let due: Vec<Tenant> = {
            let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
            later.extract_if(|_, due| *due <= now).map(|(tenant, _)| tenant).collect()
        };
        for tenant in due {
            if let Err(error) = self.sweep(&tenant).await {
                tracing::warn!(%tenant, %error, "files of deleted models stay for now");
                let age = self.blobs.on_the_way();
                self.later.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant, now + age);
            }
        }
    }

    /// Whose files, and which, were deleted since this was called last.
    pub(crate) fn take_gone(&self) -> Vec<(Tenant, String)> {
        std::mem::take(&mut self.gone.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes what is not there. For as long as an upload may take nobody deletes it.
    pub(crate) async fn put(&self, tenant: &Tenant, files: &Files) -> Result<(), StoreError> {
        let name = files.name();
        let parts = [("manifest", Bytes::from(files.manifest.clone())), ("onnx", files.onnx.clone())];
        for (part, bytes) in parts {
            let name = format!("{name}/{part}");
            if self.blobs.touch(tenant, &name, VERSION).await? {
                continue;
            }
            match self.blobs.put(tenant, &name, VERSION, bytes).await {
                // It has the same content.
                Ok(()) | Err(Error::Stale { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The files of that name; none when one is not there.
    pub(crate) async fn get(&self, tenant: &Tenant, name: &str) -> Result<Option<Files>, StoreError> {
        let part = async |part: &str| self.blobs.get(tenant, &format!("{name}/{part}"), VERSION).await;
        let (Some(manifest), Some(onnx)) = (part("manifest").await?, part("onnx").await?) else { return Ok(None) };
        let manifest = String::from_utf8(manifest.into())
            .map_err(|_| StoreError::Unavailable(format!("{name}: the manifest is damaged")))?;
        Ok(Some(Files { manifest, onnx }))
    }

    /// The names of all files of a tenant.
    async fn names(&self, tenant: &Tenant) -> Result<Vec<String>, StoreError> {
        let blobs = self.blobs.list(tenant, FOLDER).await?;
        let mut names: Vec<String> =
            blobs.into_iter().filter_map(|blob| Some(blob.name.rsplit_once('/')?.0.to_owned())).collect();
        names.dedup();
        Ok(names)
    }
}

/// The files of a scenario's models go with it.
#[async_trait]
impl Dependent for ModelFiles {
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), StoreError> {
        let key = Key::new(scenario_id, scenario_id);
        if self.documents.get(tenant, Collection::Scenarios, key).await?.is_none() {
            // Written while the scenario was deleted, step by step.
            for record in self.records(tenant, Some(scenario_id)).await? {
                let deleted = self.documents.delete(tenant, Collection::ModelConfigs, record.key(), Precondition::None);
                if let Err(WriteError::Store(error)) = deleted.await {
                    return Err(error);
                }
            }
        }
        self.sweep(tenant).await
    }

    /// A model holds no user.
    async fn forget_user(&self, _: &Tenant, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use funnelweb_blob_store::{FileBlobs, store::Blob};
    use funnelweb_factor_documents::{SqliteDocuments, store::NewDocument};
    use funnelweb_tenant_store::TenantStores;

    use super::*;
    use crate::record::tests::record;

    #[tokio::test]
    async fn files_are_named_by_their_content_and_live_with_their_records() {
        let folder = tempfile::tempdir().unwrap();
        let documents = SqliteDocuments::new(Arc::new(TenantStores::new(folder.path()).unwrap())).unwrap();
        let documents: Arc<dyn Documents> = Arc::new(documents);
        let store = ModelFiles::new(Arc::clone(&documents), Arc::new(FileBlobs::new(folder.path()).unwrap()));
        let acme = Tenant::new("acme").unwrap();
        let files = Files { manifest: "{}".to_owned(), onnx: Bytes::from_static(b"onnx") };
        let name = files.name();
        assert_eq!(store.get(&acme, &name).await.unwrap().map(|files| files.onnx), None);
        for _ in 0..2 {
            store.put(&acme, &files).await.unwrap();
        }
        let other = Files { manifest: String::new(), onnx: files.onnx.clone() };
        assert_ne!(other.name(), name);
        store.put(&acme, &other).await.unwrap();
        let found = store.get(&acme, &name).await.unwrap().unwrap();
        assert_eq!((found.name(), found.manifest, found.onnx), (name.clone(), files.manifest, files.onnx));

        let mut record = record("deepfm", "v1", 0);
        record.model_path = format!("blob:{name}");
        let new = NewDocument { key: record.key(), body: record.body() };
        documents.insert_many(&acme, Collection::ModelConfigs, vec![new], false).await.unwrap();
        store.sweep(&acme).await.unwrap();
        assert_eq!(store.names(&acme).await.unwrap(), std::slice::from_ref(&name));
        documents.delete_scenario(&acme, "feed".to_owned()).await.unwrap();
        // Written between the steps of that, where it has any.
        let late = NewDocument { key: record.key(), body: record.body() };
        documents.insert_many(&acme, Collection::ModelConfigs, vec![late], false).await.unwrap();
        store.forget_scenario(&acme, "feed").await.unwrap();
        assert!(store.names(&acme).await.unwrap().is_empty());
        assert_eq!(store.take_gone(), [(acme.clone(), other.name()), (acme, name)]);
        assert!(store.take_gone().is_empty());
    }

    /// A store that other processes write to as well.
    struct Shared(FileBlobs);

    #[async_trait]
    impl Blobs for Shared {
        async fn put(&self, tenant: &Tenant, name: &str, version: u64, bytes: Bytes) -> Result<(), Error> {
            self.0.put(tenant, name, version, bytes).await
        }

        async fn latest(&self, tenant: &Tenant, name: &str) -> Result<Option<u64>, Error> {
            self.0.latest(tenant, name).await
        }

        async fn get(&self, tenant: &Tenant, name: &str, version: u64) -> Result<Option<Bytes>, Error> {
            self.0.get(tenant, name, version).await
        }

        async fn list(&self, tenant: &Tenant, prefix: &str) -> Result<Vec<Blob>, Error> {
            self.0.list(tenant, prefix).await
        }

        async fn delete(&self, tenant: &Tenant, name: &str, version: u64) -> Result<bool, Error> {
            self.0.delete(tenant, name, version).await
        }

        async fn delete_prefix(&self, tenant: &Tenant, prefix: &str) -> Result<(), Error> {
            self.0.delete_prefix(tenant, prefix).await
        }

        async fn touch(&self, tenant: &Tenant, name: &str, version: u64) -> Result<bool, Error> {
            self.0.touch(tenant, name, version).await
        }

        async fn delete_unused(&self, tenant: &Tenant, prefix: &str, unused: Duration) -> Result<bool, Error> {
            self.0.delete_unused(tenant, prefix, unused).await
        }

        fn on_the_way(&self) -> Duration {
            Duration::from_millis(500)
        }
    }

    #[tokio::test]
    async fn files_of_an_upload_to_another_process_are_not_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let documents = SqliteDocuments::new(Arc::new(TenantStores::new(folder.path()).unwrap())).unwrap();
        let blobs = Arc::new(Shared(FileBlobs::new(folder.path()).unwrap()));
        let of_process = |documents: &Arc<dyn Documents>| ModelFiles::new(Arc::clone(documents), blobs.clone());
        let documents: Arc<dyn Documents> = Arc::new(documents);
        let (one, other) = (of_process(&documents), of_process(&documents));
        let acme = Tenant::new("acme").unwrap();
        let files = Files { manifest: "{}".to_owned(), onnx: Bytes::from_static(b"onnx") };
        let there = async || one.get(&acme, &files.name()).await.unwrap().is_some();
        one.put(&acme, &files).await.unwrap();
        other.sweep(&acme).await.unwrap();
        assert!(there().await && other.take_gone().is_empty());
        // Nor when they are of a version that was deleted long ago, and are uploaded anew.
        tokio::time::sleep(blobs.on_the_way()).await;
        one.put(&acme, &files).await.unwrap();
        other.sweep(&acme).await.unwrap();
        assert!(there().await);
        // Nobody said what they are for.
        other.sweep_again(Instant::now()).await;
        assert!(there().await);
        tokio::time::sleep(blobs.on_the_way()).await;
        other.sweep_again(Instant::now()).await;
        assert!(!there().await);
        assert_eq!(other.take_gone(), [(acme, files.name())]);
    }
}
