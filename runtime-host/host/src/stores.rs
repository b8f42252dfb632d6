//! The backends of all capabilities, as the configuration chooses them.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use funnelweb_factor_documents::{SqliteDocuments, store::Documents};
use funnelweb_factor_events::{SqliteEvents, store::Events};
use funnelweb_factor_key_value::{SqliteKeyValues, store::KeyValues};
use funnelweb_factor_live::{SqliteLive, store::Live};
use funnelweb_migration::TenantStores;
use funnelweb_store_mongodb::{MongoDocuments, MongoEvents, MongoSettings, MongoStore};
use funnelweb_store_redis::{CachedDocuments, RedisKeyValues, RedisLive, RedisStore};
use funnelweb_tenant_store::{DataDirLock, Tenant, TenantStores as TenantFiles};

use crate::runtime_config::{LiveBackend, RuntimeConfig};

/// One backend per capability.
#[derive(Clone)]
pub struct Stores {
    /// Collections.
    pub documents: Arc<dyn Documents>,
    /// Hot lists, exposures, counters.
    pub live: Arc<dyn Live>,
    /// Behaviour logs.
    pub events: Arc<dyn Events>,
    /// `spin:key-value` and `wasi:keyvalue`.
    pub key_values: Arc<dyn KeyValues>,
    /// When something is embedded: no other process may write to the folder.
    _lock: Option<Arc<DataDirLock>>,
}

impl Stores {
    /// The backends that `config` names, each server asked whether it is there.
    ///
    /// # Errors
    /// When the folder cannot be made or is in use by another process, or a server
    /// does not answer as it should.
    pub async fn open(config: &RuntimeConfig, data_dir: &Path) -> anyhow::Result<Self> {
        let lock = match config.stores.any_embedded() {
            true => Some(Arc::new(DataDirLock::take(data_dir).context("data directory")?)),
            false => None,
        };
        let mut stores = Self { _lock: lock, ..Self::embedded(data_dir)? };
        let Some(settings) = &config.redis else { return Ok(stores) };
        let redis = RedisStore::connect(settings).await.context("redis")?;
        if config.stores.key_value == LiveBackend::Redis {
            stores.key_values = Arc::new(RedisKeyValues::new(redis.clone()));
        }
        if let Some(settings) = &config.mongodb {
            stores.connect(settings, redis).await.context("mongodb")?;
        }
        Ok(stores)
    }

    /// Puts documents and events into a MongoDB, with live structures and caches
    /// in Redis.
    async fn connect(&mut self, settings: &MongoSettings, redis: RedisStore) -> anyhow::Result<()> {
        let mongo = MongoStore::connect(settings.clone()).await?;
        // Of the documents it asks for ids only.
        let live = RedisLive::new(redis.clone(), Arc::new(MongoDocuments::new(Arc::clone(&mongo), None)));
        let documents = MongoDocuments::new(Arc::clone(&mongo), Some(Arc::new(live.clone())));
        let documents = Arc::new(CachedDocuments::with_live(Arc::new(documents), redis, live.clone()));
        let events = MongoEvents::new(mongo, Arc::new(live.clone())).watched_by(documents.clone());
        let sweeper = events.clone();
        // For as long as the process runs.
        tokio::spawn(async move { sweeper.keep_sweeping().await });
        self.documents = documents;
        self.live = Arc::new(live);
        self.events = Arc::new(events);
        Ok(())
    }

    /// What holds something of a tenant.
    #[must_use]
    pub fn of<'a>(&'a self, tenant: &'a Tenant) -> TenantStores<'a> {
        let Self { documents, live, events, key_values, _lock } = self;
        let (documents, live) = (documents.as_ref(), live.as_ref());
        TenantStores { tenant, documents, events: events.as_ref(), live, key_values: key_values.as_ref() }
    }

    /// The embedded backends: one SQLite file per tenant below `data_dir`, which no
    /// other process may use.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn embedded(data_dir: &Path) -> anyhow::Result<Self> {
        let open = || {
            let files = Arc::new(TenantFiles::new(data_dir)?);
            let documents = SqliteDocuments::new(Arc::clone(&files))?;
            let live = SqliteLive::new(Arc::clone(&files))?;
            let events = SqliteEvents::new(Arc::clone(&files), &documents, &live)?;
            let key_values = SqliteKeyValues::new(files)?;
            Ok::<_, funnelweb_tenant_store::Error>(Self {
                documents: Arc::new(documents),
                live: Arc::new(live),
                events: Arc::new(events),
                key_values: Arc::new(key_values),
                _lock: None,
            })
        };
        open().with_context(|| format!("data directory {}", data_dir.display()))
    }
}
