//! The backends of all capabilities, as the configuration chooses them.

use std::{
    path::Path,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use async_trait::async_trait;
use funnelweb_blob_store::{FileBlobs, store::Blobs};
use funnelweb_exposure_log::{SqliteExposureLog, store::ExposureLog};
use funnelweb_factor_components::{ComponentFiles, Recorder, Sources};
use funnelweb_factor_documents::{
    SqliteDocuments,
    store::{Dependent, Documents},
};
use funnelweb_factor_events::{SqliteEvents, store::Events};
use funnelweb_factor_key_value::{SqliteKeyValues, store::KeyValues};
use funnelweb_factor_learned::{LearnedModels, store::Learned};
use funnelweb_factor_live::{SqliteLive, store::Live};
use funnelweb_factor_models::ModelFiles;
use funnelweb_factor_results::{MemoryResults, Results, store::ResultStore};
use funnelweb_factor_vectors::{EmbeddedVectors, WithEmbeddings, store::Vectors};
use funnelweb_jobs::{SqliteJobs, store::JobStore};
use funnelweb_log_kafka::{KafkaLog, KafkaPublisher, KafkaSettings};
use funnelweb_migration::TenantStores;
use funnelweb_recording::{Recorder as RequestRecorder, SqliteRecordings, store::Recordings};
use funnelweb_store_milvus::MilvusVectors;
use funnelweb_store_mongodb::{
    MongoBlobs, MongoDocuments, MongoEvents, MongoExposureLog, MongoRecordings, MongoSettings, MongoStore, MongoStreams,
};
use funnelweb_store_redis::{CachedDocuments, RedisJobs, RedisKeyValues, RedisLive, RedisResults, RedisStore};
use funnelweb_stream::{Grown, SqliteStreams, Watched, store::StreamStore};
use funnelweb_stream_kafka::KafkaShards;
use funnelweb_tenant_store::{DataDirLock, Error, Tenant, TenantStores as TenantFiles};

use crate::{
    replay::Shadows,
    reports::States,
    runtime_config::{LiveBackend, RuntimeConfig},
};

const DAY_MS: u64 = 24 * 3_600_000;
/// Between two sweeps of what was shown, or done, long ago: each opens the files of all
/// tenants.
const SWEEP_EVERY: Duration = Duration::from_secs(6 * 3600);

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
    /// What users were shown, and with which features.
    pub exposures: Arc<dyn ExposureLog>,
    /// Requests with all that they were given, and what records them.
    pub recordings: Arc<RequestRecorder>,
    /// What came of configs that were tried on requests.
    pub(crate) shadows: Arc<Shadows>,
    /// Vectors of items and users.
    pub vectors: Arc<dyn Vectors>,
    /// What training wrote.
    pub blobs: Arc<dyn Blobs>,
    /// What training wrote, served.
    pub learned: Arc<dyn Learned>,
    /// Answers that may be given again.
    pub results: Results,
    /// Models: their files and what is said of them.
    pub models: Arc<ModelFiles>,
    /// Components of tenants: their files and what is said of them.
    pub components: Arc<ComponentFiles>,
    /// Requests of scenarios, now and then one.
    pub recorder: Arc<Recorder>,
    /// Runs of jobs.
    pub jobs: Arc<dyn JobStore>,
    /// What operators have made of the logs; none where another program follows them.
    pub streams: Option<StreamStores>,
    /// When something is embedded: no other process may write to the folder.
    _lock: Option<Arc<DataDirLock>>,
}

/// Where stream operators keep what they need, and which logs they are to follow.
#[derive(Clone)]
pub struct StreamStores {
    /// Their state.
    pub state: Arc<dyn StreamStore>,
    /// Told by [`Stores::events`].
    pub grown: Arc<Grown>,
    /// Where events are read from, and how far it goes, if not from the logs themselves.
    pub kafka: Option<(KafkaLog, Arc<KafkaShards>)>,
}

/// The backends before they know of each other.
struct Backends {
    documents: Arc<dyn Documents>,
    live: Arc<dyn Live>,
    events: Arc<dyn Events>,
    key_values: Arc<dyn KeyValues>,
    exposures: Arc<dyn ExposureLog>,
    recordings: Arc<dyn Recordings>,
    vectors: Arc<dyn Vectors>,
    blobs: Arc<dyn Blobs>,
    results: Arc<dyn ResultStore>,
    jobs: Arc<dyn JobStore>,
    streams: Option<StreamStores>,
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
        let mut backends = Backends::embedded(data_dir)?;
        backends.connect_all(config).await?;
        let stores = backends.together(lock);
        tokio::spawn(keep_sweeping(Arc::downgrade(&stores.exposures), Arc::downgrade(&stores.recordings)));
        if let (Some(days), Some(streams)) = (config.embedded.behaviors_retention_days, &stores.streams) {
            let (events, state) = (Arc::downgrade(&stores.events), Arc::downgrade(&streams.state));
            tokio::spawn(keep_expiring(events, state, u64::from(days) * DAY_MS));
        }
        Ok(stores)
    }

    /// What holds something of a tenant.
    #[must_use]
    pub fn of<'a>(&'a self, tenant: &'a Tenant) -> TenantStores<'a> {
        let Self { documents, live, events, key_values, .. } = self;
        let (documents, live) = (documents.as_ref(), live.as_ref());
        TenantStores { tenant, documents, events: events.as_ref(), live, key_values: key_values.as_ref() }
    }

    /// What recall channels of tenants' own read.
    #[must_use]
    pub fn sources(&self) -> Sources {
        Sources {
            documents: Arc::clone(&self.documents),
            live: Arc::clone(&self.live),
            learned: Arc::clone(&self.learned),
        }
    }

    /// The embedded backends: one SQLite file per tenant below `data_dir`, which no
    /// other process may use.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn embedded(data_dir: &Path) -> anyhow::Result<Self> {
        Ok(Backends::embedded(data_dir)?.together(None))
    }
}

impl Backends {
    /// Puts servers in the places of embedded backends.
    async fn connect_all(&mut self, config: &RuntimeConfig) -> anyhow::Result<()> {
        if let Some(settings) = &config.milvus {
            self.vectors = Arc::new(MilvusVectors::connect(settings.clone()).await.context("milvus")?);
        }
        let Some(settings) = &config.redis else { return Ok(()) };
        let redis = RedisStore::connect(settings).await.context("redis")?;
        if config.stores.key_value == LiveBackend::Redis {
            self.key_values = Arc::new(RedisKeyValues::new(redis.clone()));
        }
        if let Some(settings) = &config.mongodb {
            let kafka = match &config.kafka {
                Some(settings) => Some(Kafka::open(settings).await.context("kafka")?),
                None => None,
            };
            self.connect(settings, redis, kafka).await.context("mongodb")?;
        }
        Ok(())
    }

    /// Puts documents and events into a MongoDB, with live structures and caches
    /// in Redis.
    async fn connect(
        &mut self,
        settings: &MongoSettings,
        redis: RedisStore,
        kafka: Option<Kafka>,
    ) -> anyhow::Result<()> {
        let mongo = MongoStore::connect(settings.clone()).await?;
        // Of the documents it asks for ids only.
        let live = RedisLive::new(redis.clone(), Arc::new(MongoDocuments::new(Arc::clone(&mongo), None)));
        let documents = MongoDocuments::new(Arc::clone(&mongo), Some(Arc::new(live.clone())));
        let documents = Arc::new(CachedDocuments::with_live(Arc::new(documents), redis.clone(), live.clone()));
        self.blobs = Arc::new(MongoBlobs::new(Arc::clone(&mongo)));
        self.exposures = Arc::new(MongoExposureLog::new(Arc::clone(&mongo)));
        self.recordings = Arc::new(MongoRecordings::new(Arc::clone(&mongo)));
        self.results = Arc::new(RedisResults::new(redis.clone()));
        self.jobs = Arc::new(RedisJobs::new(redis));
        let events = MongoEvents::new(mongo, Arc::new(live.clone())).watched_by(documents.clone());
        let (events, state) = match &kafka {
            Some(Kafka { publisher, patience, .. }) => {
                let events = events.published_by(publisher.clone(), *patience);
                let state = MongoStreams::sharded(&events, publisher.clone()).await?;
                (events, state)
            }
            None => {
                let state = MongoStreams::open(&events).await?;
                (events, state)
            }
        };
        let sweeper = events.clone();
        // For as long as the process runs.
        tokio::spawn(async move { sweeper.keep_sweeping().await });
        self.documents = documents;
        self.live = Arc::new(live);
        (self.events, self.streams) = followed(Arc::new(events), state, kafka);
        Ok(())
    }

    /// Everything in files below `data_dir`.
    fn embedded(data_dir: &Path) -> anyhow::Result<Self> {
        let open = || {
            let files = Arc::new(TenantFiles::new(data_dir)?);
            let documents = SqliteDocuments::new(Arc::clone(&files))?;
            let live = SqliteLive::new(Arc::clone(&files))?;
            let events = SqliteEvents::new(Arc::clone(&files), &documents, &live)?;
            let key_values = SqliteKeyValues::new(Arc::clone(&files))?;
            let exposures = SqliteExposureLog::new(Arc::clone(&files))?;
            let recordings = SqliteRecordings::new(Arc::clone(&files))?;
            let state: Arc<dyn StreamStore> = Arc::new(SqliteStreams::new(Arc::clone(&files), &events)?);
            let jobs = SqliteJobs::new(files)?;
            let (events, streams) = followed(Arc::new(events), state, None);
            Ok::<_, Error>(Self {
                documents: Arc::new(documents),
                live: Arc::new(live),
                events,
                key_values: Arc::new(key_values),
                exposures: Arc::new(exposures),
                recordings: Arc::new(recordings),
                vectors: Arc::new(EmbeddedVectors::new(data_dir)),
                blobs: Arc::new(FileBlobs::new(data_dir)?),
                results: Arc::new(MemoryResults::new()),
                jobs: Arc::new(jobs),
                streams,
            })
        };
        open().with_context(|| format!("data directory {}", data_dir.display()))
    }

    /// Has what was learned be served from where it is, and what is kept of items and
    /// scenarios follow their documents.
    fn together(self, lock: Option<Arc<DataDirLock>>) -> Stores {
        let Self { documents, live, events, key_values, exposures, recordings, vectors, blobs, results, jobs, streams } =
            self;
        let learned: Arc<dyn Learned> = Arc::new(LearnedModels::new(Arc::clone(&blobs), Arc::clone(&vectors)));
        let models = Arc::new(ModelFiles::new(Arc::clone(&documents), Arc::clone(&blobs)));
        let components = Arc::new(ComponentFiles::new(Arc::clone(&documents), Arc::clone(&blobs)));
        let recorder = Arc::new(Recorder::default());
        let recordings = Arc::new(RequestRecorder::new(recordings));
        let shadows = Arc::new(Shadows::default());
        let results = Results::new(results);
        let dependents = vec![
            // First: what was shown to a user is gone by now, and reports are to know why.
            Arc::new(States::new(Arc::clone(&blobs))) as Arc<dyn Dependent>,
            Arc::new(OfLearned(Arc::clone(&learned))),
            Arc::new(OfJobs(Arc::clone(&jobs))),
            Arc::new(OfExposures(Arc::clone(&exposures))),
            Arc::new(OfRecordings(Arc::clone(&recordings))),
            Arc::clone(&shadows) as Arc<dyn Dependent>,
            Arc::new(OfResults(results.clone())),
            Arc::clone(&models) as Arc<dyn Dependent>,
            Arc::clone(&recorder) as Arc<dyn Dependent>,
        ];
        let documents = Arc::new(WithEmbeddings::new(documents, Arc::clone(&vectors)).with_dependents(dependents));
        Stores {
            documents,
            live,
            events,
            key_values,
            exposures,
            recordings,
            shadows,
            vectors,
            blobs,
            learned,
            results,
            models,
            components,
            recorder,
            jobs,
            streams,
            _lock: lock,
        }
    }
}

/// A log that says when it has grown, and what follows it.
fn followed(
    log: Arc<dyn Events>,
    state: Arc<dyn StreamStore>,
    kafka: Option<Kafka>,
) -> (Arc<dyn Events>, Option<StreamStores>) {
    let grown = Arc::new(Grown::default());
    let events = Watched::new(log, Arc::clone(&state), Arc::clone(&grown));
    let (events, kafka) = match kafka {
        Some(Kafka { log, shards, .. }) => (events.with_shards(shards.clone()), Some((log, shards))),
        None => (events, None),
    };
    (Arc::new(events), Some(StreamStores { state, grown, kafka }))
}

/// Where events are published, and operators read them.
struct Kafka {
    log: KafkaLog,
    publisher: Arc<KafkaPublisher>,
    /// How long appends wait for it.
    patience: Duration,
    shards: Arc<KafkaShards>,
}

impl Kafka {
    /// A Kafka that does not answer now may later: what is accepted meanwhile waits for it.
    async fn open(settings: &KafkaSettings) -> anyhow::Result<Self> {
        let log = KafkaLog::new(settings.clone())?;
        match log.ask().await {
            Err(funnelweb_log_kafka::Error::Unavailable(reason)) => {
                tracing::warn!(reason, "kafka does not answer, events wait to be published");
            }
            answer => answer?,
        }
        let publisher = Arc::new(KafkaPublisher::new(log.clone())?);
        let shards = Arc::new(KafkaShards::new(&log)?);
        Ok(Self { log, publisher, patience: settings.publish_timeout(), shards })
    }
}

/// What was learned of a scenario, or a user, goes with it.
struct OfLearned(Arc<dyn Learned>);

#[async_trait]
impl Dependent for OfLearned {
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.0.forget_scenario(tenant, scenario_id).await
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        self.0.forget_user(tenant, user_id).await
    }
}

/// And so does what waits to be logged as shown.
struct OfExposures(Arc<dyn ExposureLog>);

#[async_trait]
impl Dependent for OfExposures {
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.0.forget_scenario(tenant, scenario_id).await
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        self.0.forget_user(tenant, user_id).await
    }
}

/// And what is recorded of it, or of them.
struct OfRecordings(Arc<RequestRecorder>);

#[async_trait]
impl Dependent for OfRecordings {
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.0.forget_scenario(tenant, scenario_id).await
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        self.0.forget_user(tenant, user_id).await
    }
}

/// And so does what was answered.
struct OfResults(Results);

#[async_trait]
impl Dependent for OfResults {
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.0.forget_scenario(tenant, scenario_id).await
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        self.0.forget_user(tenant, user_id).await
    }
}

/// Sweeps the log of slates and the recordings now and then, for as long as somebody has them.
async fn keep_sweeping(log: Weak<dyn ExposureLog>, recordings: Weak<RequestRecorder>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let (Some(log), Some(recordings)) = (log.upgrade(), recordings.upgrade()) else { return };
        if let Err(error) = log.sweep().await {
            tracing::warn!(%error, "old slates could not be removed");
        }
        if let Err(error) = recordings.sweep().await {
            tracing::warn!(%error, "old recordings could not be removed");
        }
    }
}

/// Removes behaviours that are too old from time to time, in pieces, so that others can write
/// in between.
async fn keep_expiring(events: Weak<dyn Events>, state: Weak<dyn StreamStore>, age_ms: u64) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let (Some(events), Some(state)) = (events.upgrade(), state.upgrade()) else { return };
        let expire = async {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let before_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_sub(age_ms);
            for tenant in state.tenants().await? {
                while events.expire(&tenant, before_ms, u64::MAX).await? > 0 {}
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = expire.await {
            tracing::warn!(%error, "old behaviours could not be removed");
        }
    }
}

/// And so do a scenario's runs of jobs.
struct OfJobs(Arc<dyn JobStore>);

#[async_trait]
impl Dependent for OfJobs {
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.0.forget_scenario(tenant, scenario_id).await
    }

    /// Runs are nobody's.
    async fn forget_user(&self, _: &Tenant, _: &str) -> Result<(), Error> {
        Ok(())
    }
}
