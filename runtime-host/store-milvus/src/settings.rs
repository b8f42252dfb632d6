//! What a deployment says about its Milvus.

use std::{fmt, path::PathBuf, time::Duration};

use funnelweb_tenant_store::Error;
use http::Uri;
use serde::Deserialize;

/// Milliseconds that a call may be given.
const TIMEOUT_MS: u64 = 60_000;
/// Milliseconds that settling may be given.
const SETTLE_TIMEOUT_MS: u64 = 3_600_000;
/// Characters of a prefix: with the rest of a collection's name they are at most 255.
const PREFIX_BYTES: usize = 24;

/// A Milvus server, or the proxy of a cluster.
///
/// ```
/// use funnelweb_store_milvus::MilvusSettings;
///
/// let settings: MilvusSettings = toml::from_str(r#"
///     url = "https://milvus.internal:19530"
///     token = "funnelweb:secret"
///     database = "shop"
/// "#)?;
/// assert_eq!(settings.operation_timeout_ms, 3000);
/// # Ok::<_, toml::de::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MilvusSettings {
    /// `http://host:19530`, or `https://host:19530` with TLS.
    pub url: String,
    /// `user:password`, or an API key. Default: none. Belongs into the environment
    /// rather than into a file.
    #[serde(default)]
    pub token: Option<String>,
    /// The database that holds the collections of every tenant; it must be there.
    /// Default: the server's `default`.
    #[serde(default)]
    pub database: String,
    /// Begins the name of every collection, so that deployments can share a database:
    /// up to 24 of `[A-Za-z0-9_]`, no digit first. Default `funnelweb_`.
    #[serde(default = "defaults::collection_prefix")]
    pub collection_prefix: String,
    /// Time to establish a connection, in milliseconds, 1 to 60,000. Default 1000.
    #[serde(default = "defaults::connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Time for one call with its retries, in milliseconds, 1 to 60,000. Default 3000.
    #[serde(default = "defaults::operation_timeout_ms")]
    pub operation_timeout_ms: u64,
    /// Time for a new collection to be loaded, and for one that was filled to be
    /// indexed, in milliseconds, 1 to 3,600,000. Default 600,000.
    #[serde(default = "defaults::settle_timeout_ms")]
    pub settle_timeout_ms: u64,
    /// A PEM file of the certificates that a server's is checked against, for
    /// `https://`. Default: those of the operating system.
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
}

mod defaults {
    pub(super) fn collection_prefix() -> String {
        "funnelweb_".to_owned()
    }

    pub(super) fn connect_timeout_ms() -> u64 {
        1000
    }

    pub(super) fn operation_timeout_ms() -> u64 {
        3000
    }

    pub(super) fn settle_timeout_ms() -> u64 {
        600_000
    }
}

impl MilvusSettings {
    /// Of one server, everything else being the default.
    #[must_use]
    pub fn of(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: None,
            database: String::new(),
            collection_prefix: defaults::collection_prefix(),
            connect_timeout_ms: defaults::connect_timeout_ms(),
            operation_timeout_ms: defaults::operation_timeout_ms(),
            settle_timeout_ms: defaults::settle_timeout_ms(),
            tls_ca_file: None,
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn operation_timeout(&self) -> Duration {
        Duration::from_millis(self.operation_timeout_ms)
    }

    pub(crate) fn settle_timeout(&self) -> Duration {
        Duration::from_millis(self.settle_timeout_ms)
    }

    /// Checks every key; the server's address.
    pub(crate) fn check(&self) -> Result<Uri, Error> {
        let in_range = |name: &str, value: u64, most: u64| match value {
            1.. if value <= most => Ok(()),
            _ => Err(Error::invalid(name, format_args!("must be 1 to {most}, got {value}"))),
        };
        in_range("connect_timeout_ms", self.connect_timeout_ms, TIMEOUT_MS)?;
        in_range("operation_timeout_ms", self.operation_timeout_ms, TIMEOUT_MS)?;
        in_range("settle_timeout_ms", self.settle_timeout_ms, SETTLE_TIMEOUT_MS)?;
        let prefix = &self.collection_prefix;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let begins = prefix.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if prefix.len() > PREFIX_BYTES || !begins || !prefix.bytes().all(plain) {
            let rule = format_args!("must be 1 to {PREFIX_BYTES} of `A-Z a-z 0-9 _`, no digit first, got {prefix:?}");
            return Err(Error::invalid("collection_prefix", rule));
        }
        if self.tls_ca_file.is_some() && !self.url.starts_with("https://") {
            return Err(Error::invalid("tls_ca_file", "is for a `url` of `https://`"));
        }
        let address = self.url.parse::<Uri>().map_err(|error| Error::invalid("url", error))?;
        // Who has a password in the URL would have it sent nowhere.
        let plain = address.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if !plain || !matches!(address.scheme_str(), Some("http" | "https")) {
            return Err(Error::invalid("url", "must be `http://host:port` or `https://host:port`"));
        }
        Ok(address)
    }
}

/// Without the secrets.
impl fmt::Debug for MilvusSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MilvusSettings")
            .field("url", &self.url)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("database", &self.database)
            .field("collection_prefix", &self.collection_prefix)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("operation_timeout_ms", &self.operation_timeout_ms)
            .field("settle_timeout_ms", &self.settle_timeout_ms)
            .field("tls_ca_file", &self.tls_ca_file)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_default_and_what_is_not_known_is_refused() {
        let read = |text: &str| toml::from_str::<MilvusSettings>(text).map_err(|error| error.to_string());
        assert_eq!(read("url = 'http://a:1'"), Ok(MilvusSettings::of("http://a:1")));
        assert!(read("url = 'http://a:1'\nuser = 'b'").unwrap_err().contains("unknown field `user`"));
        assert!(read("token = 'a'").unwrap_err().contains("url"));
    }

    #[test]
    fn every_fault_names_its_key() {
        let with = |change: &dyn Fn(&mut MilvusSettings)| {
            let mut settings = MilvusSettings::of("http://a:19530");
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        for url in ["a:19530", "ftp://a", "", "http://ann:secret@a"] {
            assert!(with(&|s| s.url = url.to_owned()).starts_with("url:"), "{url}");
        }
        for prefix in ["", "1a", "a-b", &"a".repeat(PREFIX_BYTES + 1)] {
            assert!(with(&|s| s.collection_prefix = prefix.to_owned()).starts_with("collection_prefix:"), "{prefix}");
        }
        assert!(with(&|s| s.connect_timeout_ms = 0).starts_with("connect_timeout_ms:"));
        assert!(with(&|s| s.operation_timeout_ms = TIMEOUT_MS + 1).starts_with("operation_timeout_ms:"));
        assert!(with(&|s| s.settle_timeout_ms = 0).starts_with("settle_timeout_ms:"));
        assert!(with(&|s| s.tls_ca_file = Some("ca.pem".into())).starts_with("tls_ca_file:"));
    }

    #[test]
    fn the_token_is_not_printed() {
        let mut settings = MilvusSettings::of("http://a:19530");
        settings.token = Some("s3cret".to_owned());
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
