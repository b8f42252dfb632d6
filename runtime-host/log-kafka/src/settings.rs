//! What a deployment says about its Kafka.

use std::{fmt, path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::error::Error;

/// Milliseconds that one call may be given.
const TIMEOUT_MS: u64 = 60_000;
/// Milliseconds that an append of events may wait: a request has 10 seconds in all.
const PUBLISH_TIMEOUT_MS: u64 = 5000;
/// Milliseconds that waiting for others may be given.
const LONG_TIMEOUT_MS: u64 = 600_000;
/// Bytes of a buffer: less would not hold what a broker sends at once.
const BUFFER_BYTES: (u64, u64) = (8 << 20, 2 << 30);
/// Characters of a prefix: with the rest of a topic's name they are at most 249.
const PREFIX_BYTES: usize = 64;

/// A Kafka cluster.
///
/// ```
/// use funnelweb_log_kafka::KafkaSettings;
///
/// let settings: KafkaSettings = toml::from_str(r#"
///     bootstrap_servers = ["kafka-1.internal:9093", "kafka-2.internal:9093"]
///     replication_factor = 3
///     tls = { ca_file = "ca.pem" }
///     sasl = { mechanism = "SCRAM-SHA-512", username = "funnelweb", password = "secret" }
/// "#)?;
/// assert_eq!(settings.partitions, 12);
/// # Ok::<_, toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// `host:port` of one broker or more; the others are found from there.
    pub bootstrap_servers: Vec<String>,
    /// Begins the name of every topic and consumer group, so that deployments can share
    /// a cluster: up to 64 of `[A-Za-z0-9_.-]`. Default empty: the topics are exactly
    /// the documented ones.
    #[serde(default)]
    pub topic_prefix: String,
    /// Partitions of a topic that is created, 1 to 1000: as many processes can share its
    /// aggregation. A topic that is there keeps those it has. Default 12.
    #[serde(default = "defaults::partitions")]
    pub partitions: u32,
    /// Copies of a topic that is created, 1 to 15. Default: as the cluster says.
    #[serde(default)]
    pub replication_factor: Option<u16>,
    /// Days for which a topic that is created keeps its records, 1 to 3650. Default 7.
    #[serde(default = "defaults::retention_days")]
    pub retention_days: u32,
    /// Encrypted connections; `tls = {}` with the operating system's authorities.
    /// Default: none.
    #[serde(default)]
    pub tls: Option<TlsSettings>,
    /// Who we are. Default: nobody.
    #[serde(default)]
    pub sasl: Option<SaslSettings>,
    /// Time to establish a connection to a broker, in milliseconds, 1000 to 60,000.
    /// Default 3000.
    #[serde(default = "defaults::connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Time for a question to the cluster, such as for a topic to be created, in
    /// milliseconds, 1000 to 60,000. Default 10,000.
    #[serde(default = "defaults::operation_timeout_ms")]
    pub operation_timeout_ms: u64,
    /// Time for records to be acknowledged, with all that is tried again, in
    /// milliseconds, 1000 to 600,000. Shorter than a broker's restart, appends fail by
    /// one. Default 30,000.
    #[serde(default = "defaults::append_timeout_ms")]
    pub append_timeout_ms: u64,
    /// Time that an append of events waits for them to be published, in milliseconds, 10
    /// to 5000; those that are not by then are later. Default 1000.
    #[serde(default = "defaults::publish_timeout_ms")]
    pub publish_timeout_ms: u64,
    /// Memory for records that are on their way to brokers, in bytes, 8 MiB to 2 GiB;
    /// appends wait when it is full. Default 64 MiB.
    #[serde(default = "defaults::buffer_bytes")]
    pub append_buffer_bytes: u64,
    /// Memory of one group member for records that were fetched and not taken, in bytes,
    /// 8 MiB to 2 GiB; nothing more is fetched when it is full. Default 64 MiB.
    #[serde(default = "defaults::buffer_bytes")]
    pub read_buffer_bytes: u64,
    /// Time after which a group takes a silent member for dead, in milliseconds, 6000 to
    /// 300,000 unless the brokers have other limits. Default 10,000.
    #[serde(default = "defaults::session_timeout_ms")]
    pub session_timeout_ms: u64,
    /// Time that a member has to begin with partitions or to let go of them, in
    /// milliseconds, `session_timeout_ms` to 600,000. Default 60,000.
    #[serde(default = "defaults::rebalance_timeout_ms")]
    pub rebalance_timeout_ms: u64,
    /// How often a member looks for topics of new tenants, in milliseconds, 1000 to
    /// 600,000. Default 10,000.
    #[serde(default = "defaults::discover_interval_ms")]
    pub discover_interval_ms: u64,
}

/// How connections are encrypted, and who may be at their other end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// A PEM file of the certificates that a broker's is checked against. Default: those
    /// of the operating system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A PEM file of our own certificate, for brokers that ask for one, and one of its
    /// key. Default: none.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// See `certificate_file`.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
}

/// A login.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaslSettings {
    /// How the password is proved. `PLAIN` sends it: only with `tls`, or where nobody
    /// listens.
    pub mechanism: SaslMechanism,
    /// The user.
    pub username: String,
    /// The password. Belongs into the environment rather than into a file.
    pub password: String,
}

/// The mechanisms that brokers have for users and passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum SaslMechanism {
    /// RFC 4616.
    #[serde(rename = "PLAIN")]
    Plain,
    /// RFC 7677.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The same with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

mod defaults {
    pub(super) fn partitions() -> u32 {
        12
    }

    pub(super) fn retention_days() -> u32 {
        7
    }

    pub(super) fn connect_timeout_ms() -> u64 {
        3000
    }

    pub(super) fn operation_timeout_ms() -> u64 {
        10_000
    }

    pub(super) fn append_timeout_ms() -> u64 {
        30_000
    }

    pub(super) fn publish_timeout_ms() -> u64 {
        1000
    }

    pub(super) fn buffer_bytes() -> u64 {
        64 << 20
    }

    pub(super) fn session_timeout_ms() -> u64 {
        10_000
    }

    pub(super) fn rebalance_timeout_ms() -> u64 {
        60_000
    }

    pub(super) fn discover_interval_ms() -> u64 {
        10_000
    }
}

impl KafkaSettings {
    /// Of one broker, everything else being the default.
    #[must_use]
    pub fn of(broker: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: vec![broker.into()],
            topic_prefix: String::new(),
            partitions: defaults::partitions(),
            replication_factor: None,
            retention_days: defaults::retention_days(),
            tls: None,
            sasl: None,
            connect_timeout_ms: defaults::connect_timeout_ms(),
            operation_timeout_ms: defaults::operation_timeout_ms(),
            append_timeout_ms: defaults::append_timeout_ms(),
            publish_timeout_ms: defaults::publish_timeout_ms(),
            append_buffer_bytes: defaults::buffer_bytes(),
            read_buffer_bytes: defaults::buffer_bytes(),
            session_timeout_ms: defaults::session_timeout_ms(),
            rebalance_timeout_ms: defaults::rebalance_timeout_ms(),
            discover_interval_ms: defaults::discover_interval_ms(),
        }
    }

    pub(crate) fn operation_timeout(&self) -> Duration {
        Duration::from_millis(self.operation_timeout_ms)
    }

    /// See `publish_timeout_ms`.
    #[must_use]
    pub fn publish_timeout(&self) -> Duration {
        Duration::from_millis(self.publish_timeout_ms)
    }

    pub(crate) fn append_timeout(&self) -> Duration {
        Duration::from_millis(self.append_timeout_ms)
    }

    pub(crate) fn retention(&self) -> Duration {
        Duration::from_hours(u64::from(self.retention_days) * 24)
    }

    /// Checks every key.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the key and the rule.
    pub fn check(&self) -> Result<(), Error> {
        if self.bootstrap_servers.is_empty() {
            return Err(Error::invalid("bootstrap_servers", "must name a broker"));
        }
        for (at, broker) in self.bootstrap_servers.iter().enumerate() {
            if !is_address(broker) {
                let rule = format_args!("must be `host:port`, got {broker:?}");
                return Err(Error::invalid(format_args!("bootstrap_servers[{at}]"), rule));
            }
        }
        let prefix = &self.topic_prefix;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if prefix.len() > PREFIX_BYTES || !prefix.bytes().all(plain) {
            let rule = format_args!("must be at most {PREFIX_BYTES} of `A-Z a-z 0-9 _ . -`, got {prefix:?}");
            return Err(Error::invalid("topic_prefix", rule));
        }
        let copies = self.replication_factor.map_or(1, u64::from);
        let (least, most) = BUFFER_BYTES;
        for (name, value, least, most) in [
            ("partitions", u64::from(self.partitions), 1, 1000),
            ("replication_factor", copies, 1, 15),
            ("retention_days", u64::from(self.retention_days), 1, 3650),
            ("connect_timeout_ms", self.connect_timeout_ms, 1000, TIMEOUT_MS),
            ("operation_timeout_ms", self.operation_timeout_ms, 1000, TIMEOUT_MS),
            ("append_timeout_ms", self.append_timeout_ms, 1000, LONG_TIMEOUT_MS),
            ("publish_timeout_ms", self.publish_timeout_ms, 10, PUBLISH_TIMEOUT_MS),
            ("append_buffer_bytes", self.append_buffer_bytes, least, most),
            ("read_buffer_bytes", self.read_buffer_bytes, least, most),
            ("session_timeout_ms", self.session_timeout_ms, 1000, 300_000),
            ("rebalance_timeout_ms", self.rebalance_timeout_ms, self.session_timeout_ms, LONG_TIMEOUT_MS),
            ("discover_interval_ms", self.discover_interval_ms, 1000, LONG_TIMEOUT_MS),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Error::invalid(name, format_args!("must be {least} to {most}, got {value}")));
            }
        }
        self.tls.as_ref().map_or(Ok(()), TlsSettings::check)?;
        self.sasl.as_ref().map_or(Ok(()), SaslSettings::check)
    }
}

/// Whether it is `host:port`, where `[::1]` is a host too.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = |byte: u8| byte.is_ascii_graphic() && !b",/@".contains(&byte);
    let named = !host.is_empty() && host.bytes().all(plain) && (bracketed || !host.contains(':'));
    named && port.parse::<u16>().is_ok_and(|port| port > 0)
}

impl TlsSettings {
    fn check(&self) -> Result<(), Error> {
        let files = [
            ("tls.ca_file", &self.ca_file),
            ("tls.certificate_file", &self.certificate_file),
            ("tls.key_file", &self.key_file),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                let fails = |error| Error::invalid(name, format_args!("cannot read {}: {error}", file.display()));
                std::fs::File::open(file).map_err(fails)?;
                if file.to_str().is_none() {
                    return Err(Error::invalid(name, "must be UTF-8"));
                }
            }
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return Err(Error::invalid("tls", "`certificate_file` and `key_file` go together"));
        }
        Ok(())
    }
}

impl SaslSettings {
    fn check(&self) -> Result<(), Error> {
        for (name, text) in [("sasl.username", &self.username), ("sasl.password", &self.password)] {
            if text.is_empty() || text.contains('\0') {
                return Err(Error::invalid(name, "must not be empty"));
            }
        }
        Ok(())
    }
}

/// Without the secret.
impl fmt::Debug for SaslSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaslSettings")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .field("password", &"…")
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<KafkaSettings, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_has_a_default_and_what_is_not_known_is_refused() {
        let settings = KafkaSettings::of("a:9092");
        assert_eq!(read("bootstrap_servers = ['a:9092']"), Ok(settings.clone()));
        assert_eq!(settings.check(), Ok(()));
        assert_eq!((settings.partitions, settings.retention_days), (12, 7));
        assert!(read("bootstrap_servers = ['a:9092']\nbroker = 'b'").unwrap_err().contains("unknown field `broker`"));
        assert!(read("partitions = 1").unwrap_err().contains("bootstrap_servers"));
        let with_tls = |tls: &str| read(&format!("bootstrap_servers = ['a:9092']\ntls = {tls}"));
        assert_eq!(with_tls("{}").unwrap().tls, Some(TlsSettings::default()));
        assert!(with_tls("{ca = 'x'}").unwrap_err().contains("unknown field `ca`"));
    }

    #[test]
    fn a_login_has_one_of_the_mechanisms() {
        let with_sasl = |sasl: &str| read(&format!("bootstrap_servers = ['a:9092']\nsasl = {sasl}"));
        for name in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let settings =
                with_sasl(&format!("{{mechanism = '{name}', username = 'ann', password = 's3cret'}}")).unwrap();
            assert_eq!(settings.sasl.as_ref().unwrap().mechanism.name(), name);
            assert_eq!(settings.check(), Ok(()));
            let printed = format!("{settings:?}");
            assert!(printed.contains("ann") && !printed.contains("s3cret"), "{printed}");
        }
        let error = with_sasl("{mechanism = 'GSSAPI', username = 'ann', password = 's3cret'}").unwrap_err();
        assert!(error.contains("SCRAM-SHA-512"), "{error}");
        assert!(with_sasl("{mechanism = 'PLAIN', username = 'ann'}").unwrap_err().contains("password"));
    }

    #[test]
    fn every_fault_names_its_key() {
        let with = |change: &dyn Fn(&mut KafkaSettings)| {
            let mut settings = KafkaSettings::of("a:9092");
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        assert!(with(&|s| s.bootstrap_servers.clear()).starts_with("bootstrap_servers:"));
        for broker in ["a", "a:", ":9092", "a:0", "a:99999", "a:1,b:2", "a:b:1", "ssl://a:1", "me@a:1", "a b:1"] {
            let message = with(&|s| s.bootstrap_servers.push(broker.to_owned()));
            assert!(message.starts_with("bootstrap_servers[1]:"), "{broker}: {message}");
        }
        for prefix in ["a:b", "ä", &"a".repeat(PREFIX_BYTES + 1)] {
            assert!(with(&|s| s.topic_prefix = prefix.to_owned()).starts_with("topic_prefix:"), "{prefix}");
        }
        assert!(with(&|s| s.partitions = 0).starts_with("partitions:"));
        assert!(with(&|s| s.replication_factor = Some(0)).starts_with("replication_factor:"));
        assert!(with(&|s| s.retention_days = 0).starts_with("retention_days:"));
        assert!(with(&|s| s.connect_timeout_ms = 999).starts_with("connect_timeout_ms:"));
        assert!(with(&|s| s.operation_timeout_ms = 0).starts_with("operation_timeout_ms:"));
        assert!(with(&|s| s.append_timeout_ms = 600_001).starts_with("append_timeout_ms:"));
        assert!(with(&|s| s.publish_timeout_ms = 9).starts_with("publish_timeout_ms:"));
        assert!(with(&|s| s.append_buffer_bytes = 1).starts_with("append_buffer_bytes:"));
        assert!(with(&|s| s.read_buffer_bytes = u64::MAX).starts_with("read_buffer_bytes:"));
        assert!(with(&|s| s.session_timeout_ms = 0).starts_with("session_timeout_ms:"));
        assert!(with(&|s| s.rebalance_timeout_ms = 9999).starts_with("rebalance_timeout_ms:"));
        assert!(with(&|s| s.discover_interval_ms = 0).starts_with("discover_interval_ms:"));
        let tls = |ca: Option<&str>, certificate: Option<&str>| TlsSettings {
            ca_file: ca.map(Into::into),
            certificate_file: certificate.map(Into::into),
            key_file: None,
        };
        assert!(with(&|s| s.tls = Some(tls(Some("/nowhere.pem"), None))).starts_with("tls.ca_file:"));
        assert!(with(&|s| s.tls = Some(tls(None, Some("Cargo.toml")))).starts_with("tls:"));
        let login = |username: &str, password: &str| SaslSettings {
            mechanism: SaslMechanism::Plain,
            username: username.to_owned(),
            password: password.to_owned(),
        };
        assert!(with(&|s| s.sasl = Some(login("", "b"))).starts_with("sasl.username:"));
        assert!(with(&|s| s.sasl = Some(login("a", ""))).starts_with("sasl.password:"));
        let mut settings = KafkaSettings::of("[::1]:9092");
        settings.topic_prefix = "shop.live-1_".to_owned();
        assert_eq!(settings.check(), Ok(()));
    }
}
