//! The files and documents of components.

use std::sync::Arc;

use bytes::Bytes;
use funnelweb_blob_store::store::{Blobs, Error, StoreError, Tenant};
use funnelweb_core::limits;
use funnelweb_factor_documents::store::{Collection, Documents, Key, Query};
use tokio::sync::{Mutex, MutexGuard};

use crate::record::{Head, Record, Version};

/// Below which all files of components are.
const FOLDER: &str = "uploads";
/// Content has one version.
const VERSION: u64 = 1;

/// The files and documents of all tenants' components.
pub struct ComponentFiles {
    pub(crate) documents: Arc<dyn Documents>,
    blobs: Arc<dyn Blobs>,
    /// Held while a file has no document yet, and while those without one are deleted. Of
    /// what other processes do, the age of files says enough.
    changing: Mutex<()>,
}

impl ComponentFiles {
    /// Over these stores.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>, blobs: Arc<dyn Blobs>) -> Self {
        Self { documents, blobs, changing: Mutex::default() }
    }

    /// No files are deleted for as long as this is held.
    pub(crate) async fn hold(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// Every component and every version, the newest first.
    pub(crate) async fn records(&self, tenant: &Tenant) -> Result<(Vec<Head>, Vec<Version>), StoreError> {
        let (mut heads, mut versions) = (Vec::new(), Vec::new());
        let mut cursor = None;
        loop {
            let query = Query { cursor, limit: limits::PAGE_DOCUMENTS, ..Query::default() };
            let page = self.documents.query(tenant, Collection::Components, query).await?;
            for record in page.documents.iter().filter_map(Record::read) {
                match record {
                    Record::Head(head) => heads.push(*head),
                    Record::Version(version) => versions.push(*version),
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok((heads, versions));
            }
        }
    }

    pub(crate) async fn head(&self, tenant: &Tenant, name: &str) -> Result<Option<Head>, StoreError> {
        Ok(match self.record(tenant, Key::of_tenant(name)).await? {
            Some(Record::Head(head)) => Some(*head),
            _ => None,
        })
    }

    pub(crate) async fn version(
        &self,
        tenant: &Tenant,
        name: &str,
        version: &str,
    ) -> Result<Option<Version>, StoreError> {
        Ok(match self.record(tenant, crate::record::version_key(name, version)).await? {
            Some(Record::Version(version)) => Some(*version),
            _ => None,
        })
    }

    async fn record(&self, tenant: &Tenant, key: Key) -> Result<Option<Record>, StoreError> {
        // Whatever a config names may be asked for.
        if funnelweb_core::id::check(&key.id).is_err() {
            return Ok(None);
        }
        let found = self.documents.get(tenant, Collection::Components, key).await?;
        Ok(found.as_ref().and_then(Record::read))
    }

    /// Writes a file that is not there. For as long as an upload may take nobody deletes it.
    pub(crate) async fn put(&self, tenant: &Tenant, sha256: &str, wasm: Bytes) -> Result<(), StoreError> {
        let name = name(sha256);
        if self.blobs.touch(tenant, &name, VERSION).await? {
            return Ok(());
        }
        match self.blobs.put(tenant, &name, VERSION, wasm).await {
            // It has the same content.
            Ok(()) | Err(Error::Stale { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn get(&self, tenant: &Tenant, sha256: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.blobs.get(tenant, &name(sha256), VERSION).await?)
    }

    /// Deletes the files that no document is of any more. Where other processes write as
    /// well, those that are young stay until the next time: another process may be about to
    /// write a document.
    pub(crate) async fn sweep(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let _held = self.hold().await;
        let blobs = self.blobs.list(tenant, FOLDER).await?;
        if blobs.is_empty() {
            return Ok(());
        }
        let (_, versions) = self.records(tenant).await?;
        let age = self.blobs.on_the_way();
        for blob in blobs.iter().filter(|blob| !versions.iter().any(|version| name(&version.sha256) == blob.name)) {
            self.blobs.delete_unused(tenant, &blob.name, age).await?;
        }
        Ok(())
    }
}

fn name(sha256: &str) -> String {
    format!("{FOLDER}/{sha256}")
}
