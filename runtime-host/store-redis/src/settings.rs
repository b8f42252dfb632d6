//! How to reach a server, as a runtime configuration says it.

use std::{fmt, path::PathBuf, time::Duration};

use funnelweb_tenant_store::Error;
use redis::{ConnectionInfo, IntoConnectionInfo, io::tcp::TcpSettings};
use serde::Deserialize;

/// Connections that one process may hold to a server.
const CONNECTIONS: usize = 64;
/// Milliseconds that a call may be given.
const TIMEOUT_MS: u64 = 60_000;
/// Characters of a key prefix.
const PREFIX_BYTES: usize = 64;

/// A Redis or Valkey server, or a cluster of them.
///
/// ```
/// use funnelweb_store_redis::RedisSettings;
///
/// let settings: RedisSettings = toml::from_str(r#"
///     urls = ["rediss://cache.internal:6380"]
///     username = "funnelweb"
///     password = "secret"
///     key_prefix = "shop:"
/// "#)?;
/// assert_eq!(settings.response_timeout_ms, 3000);
/// # Ok::<_, toml::de::Error>(())
/// ```
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSettings {
    /// Where the server is: `redis://host:6379`, `rediss://host:6380` with TLS, or
    /// `unix:///path/to/socket`. With `cluster`, any of its nodes; the rest is
    /// found from there.
    pub urls: Vec<String>,
    /// Whether it is a Redis Cluster. Default `false`.
    #[serde(default)]
    pub cluster: bool,
    /// The ACL user. Default: that of the URL, else the server's `default` user.
    #[serde(default)]
    pub username: Option<String>,
    /// The password. Default: that of the URL, else none. Belongs into the
    /// environment rather than into a file.
    #[serde(default)]
    pub password: Option<String>,
    /// The number of the database; a cluster has 0 only. Default: that of the URL,
    /// else 0.
    #[serde(default)]
    pub database: Option<u32>,
    /// Begins every key, so that deployments can share a server: up to 64 of
    /// `[A-Za-z0-9_.:-]`. Default empty: the keys are exactly the documented ones.
    #[serde(default)]
    pub key_prefix: String,
    /// Connections to the server (with `cluster`: to each node), 1 to 64. Calls
    /// share them; a second one keeps large values out of the way of small ones.
    /// Default 4.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// Time to establish a connection, in milliseconds, 1 to 60,000. Default 1000.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Time for one call with its retries, in milliseconds, 1 to 60,000. Default
    /// 3000.
    #[serde(default = "default_response_timeout_ms")]
    pub response_timeout_ms: u64,
    /// A PEM file of the certificates that a server's is checked against, for
    /// `rediss://`. Default: those of the operating system.
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
}

fn default_connections() -> usize {
    4
}

fn default_connect_timeout_ms() -> u64 {
    1000
}

fn default_response_timeout_ms() -> u64 {
    3000
}

impl RedisSettings {
    /// Of one server, everything else being the default.
    pub fn of(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            cluster: false,
            username: None,
            password: None,
            database: None,
            key_prefix: String::new(),
            connections: default_connections(),
            connect_timeout_ms: default_connect_timeout_ms(),
            response_timeout_ms: default_response_timeout_ms(),
            tls_ca_file: None,
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn response_timeout(&self) -> Duration {
        Duration::from_millis(self.response_timeout_ms)
    }

    /// Checks every key; the servers' addresses with user, password and database.
    pub(crate) fn check(&self) -> Result<Vec<ConnectionInfo>, Error> {
        let in_range = |name: &str, value: u64, most: u64| match value {
            1.. if value <= most => Ok(()),
            _ => Err(Error::invalid(name, format_args!("must be 1 to {most}, got {value}"))),
        };
        in_range("connections", self.connections as u64, CONNECTIONS as u64)?;
        in_range("connect_timeout_ms", self.connect_timeout_ms, TIMEOUT_MS)?;
        in_range("response_timeout_ms", self.response_timeout_ms, TIMEOUT_MS)?;
        let prefix = &self.key_prefix;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        if prefix.len() > PREFIX_BYTES || !prefix.bytes().all(plain) {
            let rule = format_args!("must be at most {PREFIX_BYTES} of `A-Z a-z 0-9 _ . : -`, got {prefix:?}");
            return Err(Error::invalid("key_prefix", rule));
        }
        match (self.urls.len(), self.cluster) {
            (0, _) => return Err(Error::invalid("urls", "must name a server")),
            (2.., false) => return Err(Error::invalid("urls", "more than one is for `cluster = true`")),
            _ => {}
        }
        if self.cluster && self.database.unwrap_or(0) != 0 {
            return Err(Error::invalid("database", "a cluster has database 0 only"));
        }
        self.urls.iter().enumerate().map(|(at, url)| self.address(at, url)).collect()
    }

    fn address(&self, at: usize, url: &str) -> Result<ConnectionInfo, Error> {
        let name = format!("urls[{at}]");
        // The URL may hold a password, so it is not repeated.
        let info = url.into_connection_info().map_err(|error| Error::invalid(&name, error))?;
        if self.cluster && matches!(info.addr(), redis::ConnectionAddr::Unix(_)) {
            return Err(Error::invalid(&name, "a cluster is reached by TCP"));
        }
        let mut login = info.redis_settings().clone().set_lib_name("funnelweb", env!("CARGO_PKG_VERSION"));
        if let Some(username) = &self.username {
            login = login.set_username(username);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        if let Some(database) = self.database {
            login = login.set_db(i64::from(database));
        }
        Ok(info.set_redis_settings(login).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
    }
}

/// Without the secrets.
impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<_> = self.urls.iter().map(|url| without_login(url)).collect();
        f.debug_struct("RedisSettings")
            .field("urls", &urls)
            .field("cluster", &self.cluster)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("database", &self.database)
            .field("key_prefix", &self.key_prefix)
            .field("connections", &self.connections)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("response_timeout_ms", &self.response_timeout_ms)
            .field("tls_ca_file", &self.tls_ca_file)
            .finish()
    }
}

/// A URL as it may stand in a log: without user and password.
pub(crate) fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "…".to_owned() };
    // A password may hold what looks like the end of the host.
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{}", host.split_once('?').map_or(host, |(host, _)| host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RedisSettings, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_key_that_does_not_exist_is_an_error() {
        assert!(read("urls = [\"redis://a\"]\nurl = \"redis://b\"").unwrap_err().to_string().contains("url"));
        assert!(read("cluster = true").unwrap_err().to_string().contains("urls"));
        assert_eq!(read("urls = [\"redis://a\"]").unwrap(), RedisSettings::of("redis://a"));
    }

    #[test]
    fn every_fault_names_its_key() {
        let with = |change: &dyn Fn(&mut RedisSettings)| {
            let mut settings = RedisSettings::of("redis://a");
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        assert!(with(&|s| s.urls.clear()).starts_with("urls:"));
        assert!(with(&|s| s.urls.push("redis://b".to_owned())).starts_with("urls:"));
        assert!(with(&|s| s.urls = vec!["http://a".to_owned()]).starts_with("urls[0]:"));
        assert!(with(&|s| s.connections = 0).starts_with("connections:"));
        assert!(with(&|s| s.connect_timeout_ms = 0).starts_with("connect_timeout_ms:"));
        assert!(with(&|s| s.response_timeout_ms = 60_001).starts_with("response_timeout_ms:"));
        assert!(with(&|s| s.key_prefix = "{a}".to_owned()).starts_with("key_prefix:"));
        assert!(with(&|s| (s.cluster, s.database) = (true, Some(1))).starts_with("database:"));
        assert!(
            with(&|s| (s.cluster, s.urls) = (true, vec!["unix:///tmp/redis.sock".to_owned()])).starts_with("urls[0]:")
        );
        assert!(RedisSettings::of("unix:///tmp/redis.sock").check().is_ok());
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut settings = RedisSettings::of("redis://ann:s3cret@host:6379/1?x=s3cret");
        settings.password = Some("s3cret".to_owned());
        let printed = format!("{settings:?}");
        assert!(!printed.contains("s3cret") && printed.contains("host:6379/1"), "{printed}");
    }
}
