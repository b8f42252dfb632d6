//! Writing a result, and having it served.

use funnelweb_core::limits::BLOB_BYTES;
use funnelweb_factor_learned::names;

use crate::{
    context::{Context, Error, Target},
    limits,
};

impl Context {
    /// That no later run has written `name`: before much work is done for nothing.
    pub(crate) async fn check_version(&self, target: &Target, name: &str) -> Result<(), Error> {
        match self.blobs.latest(&target.tenant, name).await? {
            Some(latest) if latest >= target.version => Err(Error::Superseded),
            _ => Ok(()),
        }
    }

    /// Writes a result, with the time from which on it may lack what was deleted, and
    /// removes all but the last before it.
    pub(crate) async fn put(&self, target: &Target, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        check_bytes(bytes.len())?;
        let began = names::began(name);
        let began_ms = target.began_ms.to_le_bytes().to_vec();
        // First: a result without it counts as old as can be.
        self.blobs.put(&target.tenant, &began, target.version, began_ms.into()).await?;
        self.blobs.put(&target.tenant, name, target.version, bytes.into()).await?;
        self.keep_newest(target, name).await?;
        self.keep_newest(target, &began).await
    }

    async fn keep_newest(&self, target: &Target, name: &str) -> Result<(), Error> {
        let mut versions: Vec<u64> =
            self.blobs.list(&target.tenant, name).await?.into_iter().map(|blob| blob.version).collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        for version in versions.into_iter().skip(limits::VERSIONS) {
            self.blobs.delete(&target.tenant, name, version).await?;
        }
        Ok(())
    }

    /// Has the result be served here. Whether it is: it was written in any case, and
    /// whoever cannot serve it now will try again.
    pub(crate) async fn serve(&self, target: &Target) -> bool {
        let Target { tenant, scenario_id, version, .. } = target;
        match self.learned.refresh(tenant, scenario_id).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%tenant, scenario_id, version, %error, "what was learned is not served yet");
                false
            }
        }
    }
}

/// That a result of so many bytes can be written.
pub(crate) fn check_bytes(bytes: usize) -> Result<(), Error> {
    if bytes <= BLOB_BYTES {
        return Ok(());
    }
    let message = format!("the result would have {bytes} bytes, more than the limit of {BLOB_BYTES}");
    Err(Error::Data(message))
}
