//! The backends of all capabilities, as the configuration chooses them.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use funnelweb_factor_documents::{SqliteDocuments, store::Documents};
use funnelweb_factor_events::{SqliteEvents, store::Events};
use funnelweb_factor_key_value::{SqliteKeyValues, store::KeyValues};
use funnelweb_factor_live::{SqliteLive, store::Live};
use funnelweb_tenant_store::TenantStores;

/// One backend per capability.
#[derive(Clone)]
pub struct Stores {
    /// Collections.
    pub documents: Arc<dyn Documents>,
    /// Hot lists, exposures, counters.
    pub live: Arc<dyn Live>,
    /// Behaviour logs.
    pub events: Arc<dyn Events>,
    /// `spin:key-value`.
    pub key_values: Arc<dyn KeyValues>,
}

impl Stores {
    /// The embedded backends: one SQLite file per tenant below `data_dir`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn embedded(data_dir: &Path) -> anyhow::Result<Self> {
        let open = || {
            let files = Arc::new(TenantStores::new(data_dir)?);
            let documents = SqliteDocuments::new(Arc::clone(&files))?;
            let live = SqliteLive::new(Arc::clone(&files))?;
            let events = SqliteEvents::new(Arc::clone(&files), &documents, &live)?;
            let key_values = SqliteKeyValues::new(files)?;
            Ok::<_, funnelweb_tenant_store::Error>(Self {
                documents: Arc::new(documents),
                live: Arc::new(live),
                events: Arc::new(events),
                key_values: Arc::new(key_values),
            })
        };
        open().with_context(|| format!("data directory {}", data_dir.display()))
    }
}
