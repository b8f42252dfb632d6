//! What an operator lets tenants import: the table `[sync]` of a runtime
//! configuration.

use std::{path::PathBuf, time::Duration};

use funnelweb_core::limits;
use serde::Deserialize;

use crate::urls::AllowedUrl;

/// Seconds that an attempt may be given.
const TIMEOUT_S: u64 = 7 * 24 * 3600;

/// What `sync` jobs may read. Without it they read nothing.
///
/// ```
/// use funnelweb_sync::SyncSettings;
///
/// let settings: SyncSettings = toml::from_str(r#"
///     folder = "/srv/exports"
///     urls = ["https://exports.example.com/{tenant}/", "http://minio.internal:9000/catalogue"]
/// "#)?;
/// assert_eq!(settings.check(), Ok(()));
/// assert_eq!(settings.timeout_s, 3600);
/// # Ok::<_, toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyncSettings {
    /// A folder with one folder for each tenant, named by its id. A tenant's jobs read
    /// what lies below that one. Default: no files.
    pub folder: Option<PathBuf>,
    /// URLs that may be read, with all below them: `https://host[:port]/path`; `http`
    /// only where it stands here. A segment `{tenant}` of the path is the tenant's id,
    /// without which every tenant reads them. A host may be `*.example.com`, and must
    /// be of the public internet then. No redirect is followed. Default: none.
    pub urls: Vec<String>,
    /// Bytes of one source, decompressed, at least 1. Default 8 GiB.
    pub source_bytes_max: u64,
    /// Lines of one source, at least 1. Default 100 million.
    pub source_lines_max: u64,
    /// Time for one attempt of a run, in seconds, 1 to 604,800. Default 3600.
    pub timeout_s: u64,
    /// A PEM file of the certificates that a server's is checked against. Default:
    /// those of the operating system.
    pub tls_ca_file: Option<PathBuf>,
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self {
            folder: None,
            urls: Vec::new(),
            source_bytes_max: limits::SYNC_SOURCE_BYTES,
            source_lines_max: limits::SYNC_SOURCE_LINES,
            timeout_s: limits::SYNC_TIMEOUT.as_secs(),
            tls_ca_file: None,
        }
    }
}

impl SyncSettings {
    /// Checks every key.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        self.allowed().map(drop)
    }

    pub(crate) fn allowed(&self) -> Result<Vec<AllowedUrl>, String> {
        if self.folder.is_none() && self.urls.is_empty() {
            return Err("folder, urls: one of them must be set; without the table nothing is read".to_owned());
        }
        let within = |name: &str, value: u64, most: u64| match value {
            1.. if value <= most => Ok(()),
            _ => Err(format!("{name}: must be 1 to {most}, got {value}")),
        };
        within("source_bytes_max", self.source_bytes_max, u64::MAX)?;
        within("source_lines_max", self.source_lines_max, u64::MAX)?;
        within("timeout_s", self.timeout_s, TIMEOUT_S)?;
        let urls = self.urls.iter().enumerate();
        urls.map(|(at, url)| AllowedUrl::parse(url).map_err(|error| format!("urls[{at}]: {error}"))).collect()
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str| toml::from_str::<SyncSettings>(text).unwrap().check();
        let starts = |text: &str, expected: &str| {
            let error = check(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        };
        starts("", "folder, urls: one of them must be set");
        starts("urls = ['https://a.example', 'a']", "urls[1]: is no URL");
        starts("folder = 'a'\nsource_bytes_max = 0", "source_bytes_max: must be 1 to");
        starts("folder = 'a'\nsource_lines_max = 0", "source_lines_max: must be 1 to");
        starts("folder = 'a'\ntimeout_s = 604801", "timeout_s: must be 1 to 604800, got 604801");
        assert!(toml::from_str::<SyncSettings>("bytes = 1").is_err());
        let settings: SyncSettings = toml::from_str("folder = 'a'").unwrap();
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(settings.source_bytes_max, limits::SYNC_SOURCE_BYTES);
        assert_eq!(settings.source_lines_max, limits::SYNC_SOURCE_LINES);
        assert_eq!(settings.timeout(), limits::SYNC_TIMEOUT);
    }
}
