//! The runtime configuration (`--runtime-config FILE`): what stands behind each
//! capability. The manifest says what an application is; this file says what the
//! deployment gives it.
//!
//! ```toml
//! [stores]
//! documents = "mongodb"    # or "embedded", the default; events go with them
//! live = "redis"           # or "embedded"
//! key_value = "redis"      # or "embedded"
//! vectors = "milvus"       # or "embedded"
//!
//! [mongodb]
//! url = { env = "FUNNELWEB_MONGODB_URL" }
//! database = "funnelweb"
//!
//! [redis]
//! urls = [{ env = "FUNNELWEB_REDIS_URL" }]
//!
//! [milvus]
//! url = { env = "FUNNELWEB_MILVUS_URL" }
//!
//! [kafka]                  # without it, events are in MongoDB only
//! bootstrap_servers = ["kafka-1.internal:9092"]
//!
//! [components]             # what tenants upload
//! upload_bytes = 8388608
//!
//! [sync]                   # without it, `sync` jobs read nothing
//! folder = "/srv/exports"
//! ```
//!
//! Any text may be `{ env = "NAME" }`, and is that variable of the environment
//! then: secrets need not stand in the file.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use funnelweb_core::limits;
use funnelweb_log_kafka::KafkaSettings;
use funnelweb_store_milvus::MilvusSettings;
use funnelweb_store_mongodb::MongoSettings;
use funnelweb_store_redis::RedisSettings;
use funnelweb_sync::SyncSettings;
use serde::Deserialize;
use toml::{Table, Value};

/// What stands behind each capability.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeConfig {
    /// Which backend each capability has.
    pub stores: Backends,
    /// The MongoDB, for whoever asks for `mongodb`.
    pub mongodb: Option<MongoSettings>,
    /// The Redis, for whoever asks for `redis`.
    pub redis: Option<RedisSettings>,
    /// The Milvus, for whoever asks for `milvus`.
    pub milvus: Option<MilvusSettings>,
    /// The Kafka that the events of a MongoDB are published to: without it, nowhere.
    pub kafka: Option<KafkaSettings>,
    /// What `sync` jobs may read: without it, nothing.
    pub sync: Option<SyncSettings>,
    /// What is kept in files of the data directory.
    pub embedded: EmbeddedSettings,
    /// What components that tenants upload may be and take.
    pub components: ComponentSettings,
}

/// Of components that tenants upload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComponentSettings {
    /// Bytes of an upload; JavaScript with SpiderMonkey takes 13,000,000, Python 19,000,000.
    pub upload_bytes: usize,
    /// Time of a processor that one tenant's components may take a second, in milliseconds.
    pub processor_ms_a_second: u32,
    /// Whoever says it with `X-Operator-Token` may have a version run that did not pass
    /// certification; without it nobody may.
    pub operator_token: Option<String>,
}

impl Default for ComponentSettings {
    fn default() -> Self {
        Self {
            upload_bytes: limits::COMPONENT_BYTES,
            processor_ms_a_second: limits::TENANT_COMPONENT_TIME.as_millis() as u32,
            operator_token: None,
        }
    }
}

impl ComponentSettings {
    fn check(&self) -> anyhow::Result<()> {
        let most = limits::COMPONENT_BYTES_MOST;
        if !(1..=most).contains(&self.upload_bytes) {
            bail!("upload_bytes: must be 1 to {most}, got {}", self.upload_bytes);
        }
        if !(1..=PROCESSOR_MS).contains(&self.processor_ms_a_second) {
            bail!("processor_ms_a_second: must be 1 to {PROCESSOR_MS}, got {}", self.processor_ms_a_second);
        }
        if self.operator_token.as_ref().is_some_and(|token| token.len() < TOKEN_BYTES) {
            bail!("operator_token: must be at least {TOKEN_BYTES} bytes: whoever guesses it is an operator");
        }
        Ok(())
    }
}

impl From<ComponentSettings> for funnelweb_factor_components::Settings {
    fn from(settings: ComponentSettings) -> Self {
        Self {
            upload_bytes: settings.upload_bytes,
            tenant_time: Duration::from_millis(settings.processor_ms_a_second.into()),
            operator_token: settings.operator_token,
        }
    }
}

/// The most that one tenant's components can be said to take: that of 64 processors.
const PROCESSOR_MS: u32 = 64_000;
/// Bytes that a secret has at least.
const TOKEN_BYTES: usize = 16;

/// Of embedded stores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddedSettings {
    /// Days after which behaviours are deleted that all operators have taken; without it they
    /// are kept. What is learned is learned of those that are there.
    pub behaviors_retention_days: Option<u32>,
}

/// The most days that behaviours can be said to be kept.
const RETENTION_DAYS: u32 = 3650;

/// Which backend each capability has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backends {
    /// Scenarios, items, profiles, models, experiments; and the behaviour log.
    pub documents: DocumentsBackend,
    /// Hot lists, exposures, counters. Stands with `documents`: events change
    /// both, so both are embedded or neither is.
    pub live: LiveBackend,
    /// The stores of `spin:key-value` and `wasi:keyvalue`.
    pub key_value: LiveBackend,
    /// Vectors of items and users.
    pub vectors: VectorsBackend,
}

impl Backends {
    /// Whether anything is in files of the data directory.
    #[must_use]
    pub fn any_embedded(&self) -> bool {
        self.documents == DocumentsBackend::Embedded
            || [self.live, self.key_value].contains(&LiveBackend::Embedded)
            || self.vectors == VectorsBackend::Embedded
    }
}

/// Behind `documents` and `events`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentsBackend {
    /// One SQLite file per tenant.
    #[default]
    Embedded,
    /// A MongoDB.
    MongoDb,
}

/// Behind `live` and the key-value stores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LiveBackend {
    /// One SQLite file per tenant.
    #[default]
    Embedded,
    /// A Redis, Valkey or Redis Cluster.
    Redis,
}

/// Behind `vectors`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VectorsBackend {
    /// Files of the data directory. Of items' own vectors a process then sees what it
    /// wrote itself: for one process.
    #[default]
    Embedded,
    /// A Milvus.
    Milvus,
}

impl RuntimeConfig {
    /// [`RuntimeConfig::load`], or everything embedded without a file.
    ///
    /// # Errors
    /// As there.
    pub fn load_or_default(file: Option<&Path>) -> anyhow::Result<Self> {
        file.map_or_else(|| Ok(Self::default()), Self::load)
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file and the key, and what is wrong with it.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let environment = |name: &str| std::env::var(name).ok();
        Self::parse(&text, &environment).with_context(|| file.display().to_string())
    }

    /// Reads and checks a text; `environment` gives variables their values.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub fn parse(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let mut table: Table = text.parse()?;
        for (key, value) in &mut table {
            fill_in(value, key, environment)?;
        }
        let config: Self = serde_path_to_error::deserialize(table).map_err(|error| {
            let path = error.path().to_string();
            anyhow!("{path}: {}", error.into_inner().message())
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        if let Some(sync) = &self.sync {
            sync.check().map_err(|error| anyhow!("sync.{error}"))?;
        }
        self.components.check().map_err(|error| anyhow!("components.{error}"))?;
        let Backends { documents, live, key_value, vectors } = self.stores;
        if let Some(days) = self.embedded.behaviors_retention_days {
            if !(1..=RETENTION_DAYS).contains(&days) {
                bail!("embedded.behaviors_retention_days: must be 1 to {RETENTION_DAYS}, got {days}");
            }
            if documents != DocumentsBackend::Embedded {
                bail!(
                    "embedded.behaviors_retention_days: behaviours are in MongoDB: say mongodb.interactions_ttl_days"
                );
            }
        }
        if (documents == DocumentsBackend::Embedded) != (live == LiveBackend::Embedded) {
            bail!(
                "stores.live: events change documents and live structures together, so \
                 `documents` and `live` are both embedded or both on servers"
            );
        }
        let needs = |wanted: bool, there: bool, key: &str, of: &str| match (wanted, there) {
            (true, false) => Err(anyhow!("{key}: missing; stores.{of} needs it")),
            (false, true) => Err(anyhow!("{key}: no store uses it")),
            _ => Ok(()),
        };
        needs(documents == DocumentsBackend::MongoDb, self.mongodb.is_some(), "mongodb", "documents")?;
        needs(vectors == VectorsBackend::Milvus, self.milvus.is_some(), "milvus", "vectors")?;
        if let Some(kafka) = &self.kafka {
            if self.mongodb.is_none() {
                bail!("kafka: needs [mongodb]: the events that are published are those of `documents = \"mongodb\"`");
            }
            kafka.check().map_err(|error| anyhow!("kafka.{error}"))?;
        }
        let redis = live == LiveBackend::Redis || key_value == LiveBackend::Redis;
        needs(redis, self.redis.is_some(), "redis", if live == LiveBackend::Redis { "live" } else { "key_value" })
    }
}

/// Puts variables in the place of every `{ env = "NAME" }` within `value`.
fn fill_in(value: &mut Value, at: &str, environment: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    match value {
        Value::Table(table) => {
            if let (1, Some(name)) = (table.len(), table.get("env").and_then(Value::as_str)) {
                let found = environment(name).filter(|text| !text.is_empty());
                let text = found.with_context(|| format!("{at}: the environment variable {name} is not set"))?;
                *value = Value::String(text);
                return Ok(());
            }
            table.iter_mut().try_for_each(|(key, value)| fill_in(value, &format!("{at}.{key}"), environment))
        }
        Value::Array(values) => {
            let mut values = values.iter_mut().enumerate();
            values.try_for_each(|(index, value)| fill_in(value, &format!("{at}[{index}]"), environment))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<RuntimeConfig> {
        RuntimeConfig::parse(text, &|name| (name == "SECRET").then(|| "redis://:pw@cache:6379".to_owned()))
    }

    fn error(text: &str) -> String {
        format!("{:#}", parse(text).err().unwrap())
    }

    #[test]
    fn nothing_said_is_all_embedded() {
        assert_eq!(parse("").unwrap().stores, Backends::default());
    }

    #[test]
    fn shipped_files_are_read() {
        let shipped = |name: &str| {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(name);
            RuntimeConfig::parse(&std::fs::read_to_string(file).unwrap(), &|name| Some(format!("{name}://x"))).unwrap()
        };
        assert_eq!(shipped("embedded.toml").stores, Backends::default());
        let remote = shipped("remote.toml");
        assert_eq!(remote.stores.documents, DocumentsBackend::MongoDb);
        assert_eq!((remote.stores.live, remote.stores.key_value), (LiveBackend::Redis, LiveBackend::Redis));
        assert_eq!(remote.mongodb.unwrap().url, "FUNNELWEB_MONGODB_URL://x");
    }

    /// What stands behind `#` there is right as well, and every key is.
    #[test]
    fn the_shipped_file_shows_all_of_kafka() {
        let text = include_str!("../../config/remote.toml");
        let is_setting = |line: &&str| {
            let key = line.split_once(" = ").map_or("", |(key, _)| key);
            line.starts_with('[')
                || !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        let section = text.lines().skip_while(|line| *line != "# [kafka]").take_while(|line| !line.is_empty());
        let section: Vec<&str> = section.filter_map(|line| line.strip_prefix("# ")).filter(is_setting).collect();
        let both = "stores = { documents = 'mongodb', live = 'redis' }\nredis.urls = ['redis://a']\n";
        let all = format!("{both}mongodb = {{ url = 'mongodb://a', database = 'b' }}\n{}", section.join("\n"));
        // Its files are not there; they are looked at last.
        let error = format!("{:#}", RuntimeConfig::parse(&all, &|_| Some("x".to_owned())).err().unwrap());
        assert!(error.starts_with("kafka.tls.ca_file: cannot read ca.pem"), "{error}");
        for line in format!("{:#?}", KafkaSettings::of("a:1")).lines() {
            let field = line.strip_prefix("    ").and_then(|line| line.split_once(": "));
            let Some((name, _)) = field.filter(|(name, _)| !name.contains(' ')) else { continue };
            assert!(section.iter().any(|line| line.starts_with(&format!("{name} = "))), "{name} is not shown");
        }
    }

    #[test]
    fn secrets_come_from_the_environment() {
        let config = parse("stores.key_value = 'redis'\nredis.urls = [{ env = 'SECRET' }]").unwrap();
        assert_eq!(config.redis.unwrap().urls, ["redis://:pw@cache:6379"]);
        let unset = error("stores.key_value = 'redis'\nredis.urls = [{ env = 'NOT_SET' }]");
        assert_eq!(unset, "redis.urls[0]: the environment variable NOT_SET is not set");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(error("store.documents = 'mongodb'").contains("unknown field `store`"));
        assert!(error("stores.documents = 'mongo'").starts_with("stores.documents: unknown variant `mongo`"));
        assert!(error("stores.documents = 'mongodb'").starts_with("stores.live: events change"));
        let both = "stores = { documents = 'mongodb', live = 'redis' }\n";
        assert_eq!(error(both), "mongodb: missing; stores.documents needs it");
        let mongodb = "mongodb = { url = 'mongodb://a', database = 'b' }\n";
        assert_eq!(error(&format!("{both}{mongodb}")), "redis: missing; stores.live needs it");
        assert_eq!(error(mongodb), "mongodb: no store uses it");
        let wrong = format!("{both}{mongodb}redis = {{ urls = ['redis://a'], pool = 3 }}");
        assert!(error(&wrong).contains("unknown field `pool`"), "{}", error(&wrong));
        let rest = format!("{both}{mongodb}redis = {{ urls = ['redis://a'] }}\n");
        let days = "embedded.behaviors_retention_days";
        assert_eq!(error(&format!("{days} = 0")), format!("{days}: must be 1 to 3650, got 0"));
        assert!(error(&format!("{rest}{days} = 7")).contains("say mongodb.interactions_ttl_days"));
        assert_eq!(parse(&format!("{days} = 7")).unwrap().embedded.behaviors_retention_days, Some(7));
        let most = limits::COMPONENT_BYTES_MOST;
        assert!(parse(&format!("components.upload_bytes = {most}")).is_ok());
        for (wrong, said) in [
            (format!("upload_bytes = {}", most + 1), format!("upload_bytes: must be 1 to {most}, got {}", most + 1)),
            ("processor_ms_a_second = 0".to_owned(), "processor_ms_a_second: must be 1 to".to_owned()),
            ("operator_token = 'short'".to_owned(), "operator_token: must be at least 16 bytes".to_owned()),
        ] {
            assert!(error(&format!("components.{wrong}")).starts_with(&format!("components.{said}")), "{wrong}");
        }
        assert!(error("kafka.bootstrap_servers = ['a:9092']").starts_with("kafka: needs [mongodb]"));
        assert!(error(&format!("{rest}[kafka]")).starts_with("kafka: missing field `bootstrap_servers`"));
        let kafka = |more: &str| error(&format!("{rest}[kafka]\nbootstrap_servers = ['a:9092']\n{more}"));
        assert!(kafka("partitions = 0").starts_with("kafka.partitions: must be 1 to 1000, got 0"));
        assert!(kafka("sasl = { mechanism = 'NONE' }").starts_with("kafka.sasl.mechanism: unknown variant"));
        assert!(kafka("tls = { ca_file = '/nowhere' }").starts_with("kafka.tls.ca_file: cannot read /nowhere"));
        assert!(kafka("acks = 1").contains("unknown field `acks`"));
        assert!(error("[sync]").starts_with("sync.folder, urls: one of them must be set"));
        assert!(error("sync.urls = ['https://u:p@a']").starts_with("sync.urls[0]: must hold no credentials"));
        assert!(error("sync.paths = []").contains("unknown field `paths`"));
    }
}
