//! What a deployment says about its MongoDB.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

/// How to reach the server. Times and counts have defaults that fit a server in
/// the same network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MongoSettings {
    /// `mongodb://[user:password@]host[:port][,host…][/auth-database][?options]`.
    /// What is set below goes before options of the same meaning in it.
    /// `mongodb+srv://` is not supported: give the hosts.
    pub url: String,
    /// The database that holds the collections of every tenant.
    pub database: String,
    /// Connections to each server at most.
    #[serde(default = "defaults::pool_max")]
    pub pool_max: u32,
    /// Connections to each server that are kept open.
    #[serde(default)]
    pub pool_min: u32,
    /// Time to open a connection, and to find a server that can be asked, in
    /// milliseconds. A replica set that is electing a primary fails calls that
    /// wait for longer.
    #[serde(default = "defaults::connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Time for one call to the server, with everything that is tried again
    /// within it, in milliseconds.
    #[serde(default = "defaults::operation_timeout_ms")]
    pub operation_timeout_ms: u64,
    /// Days after which an event of `interactions` is deleted by the server;
    /// none to keep them. Servers without TTL indexes keep them all.
    #[serde(default)]
    pub interactions_ttl_days: Option<u32>,
    /// TLS; none for a plain connection, unless the URL says `tls=true`.
    #[serde(default)]
    pub tls: Option<TlsSettings>,
}

/// How a server is trusted and what it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// Certificates of the authorities that are trusted, PEM; none for Mozilla's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key, PEM in one file; none to show none.
    #[serde(default)]
    pub certificate_key_file: Option<PathBuf>,
    /// Whether any certificate will do. For tests only.
    #[serde(default)]
    pub allow_invalid_certificates: bool,
}

mod defaults {
    pub(super) fn pool_max() -> u32 {
        64
    }

    pub(super) fn connect_timeout_ms() -> u64 {
        1000
    }

    /// The design's 3 to 5 seconds.
    pub(super) fn operation_timeout_ms() -> u64 {
        3000
    }
}

impl MongoSettings {
    /// Settings with every default.
    #[must_use]
    pub fn new(url: impl Into<String>, database: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            database: database.into(),
            pool_max: defaults::pool_max(),
            pool_min: 0,
            connect_timeout_ms: defaults::connect_timeout_ms(),
            operation_timeout_ms: defaults::operation_timeout_ms(),
            interactions_ttl_days: None,
            tls: None,
        }
    }

    pub(crate) fn operation_timeout(&self) -> Duration {
        Duration::from_millis(self.operation_timeout_ms)
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_default_and_what_is_not_known_is_refused() {
        let read = |text: &str| serde_json::from_str::<MongoSettings>(text).map_err(|error| error.to_string());
        let least = r#"{"url": "mongodb://h", "database": "d"}"#;
        assert_eq!(read(least), Ok(MongoSettings::new("mongodb://h", "d")));
        let tls = r#"{"url": "mongodb://h", "database": "d", "tls": {"ca_file": "/ca.pem"}}"#;
        assert_eq!(read(tls).unwrap().tls.unwrap().ca_file, Some(PathBuf::from("/ca.pem")));
        for wrong in
            [r#"{"url": "x", "database": "d", "pool": 1}"#, r#"{"url": "x", "database": "d", "tls": {"ca": 1}}"#]
        {
            assert!(read(wrong).unwrap_err().contains("unknown field"));
        }
    }
}
