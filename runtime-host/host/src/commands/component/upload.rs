//! The size of what was built, and what servers take.

use funnelweb_admission::check_size;
use serde::Serialize;

/// What has a server take more.
pub(super) const SETTING: &str = "`upload_bytes` below `[components]` in its runtime configuration";

/// What was built, as an upload to a server that takes so much.
#[derive(Debug, Serialize)]
pub(super) struct Upload {
    /// Of the file.
    bytes: usize,
    /// The most that the server takes.
    upload_bytes: usize,
    /// Why the server refuses it, and what would have it taken.
    refusal: Option<String>,
}

impl Upload {
    /// A file of this size, and a server that takes uploads of so many bytes.
    pub(super) fn of(bytes: usize, upload_bytes: usize) -> Self {
        let refused = check_size(bytes, upload_bytes).err();
        let refusal = refused.map(|refused| {
            format!(
                "{}; an operator has a server take more by {SETTING}: to test for such a one, say `--upload-bytes`",
                refused.message
            )
        });
        Self { bytes, upload_bytes, refusal }
    }

    /// Why the server refuses it.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use funnelweb_core::limits;

    use super::*;

    #[test]
    fn one_that_is_too_large_is_refused_and_the_setting_is_named() {
        let most = limits::COMPONENT_BYTES;
        assert_eq!(Upload::of(most, most).refusal(), None);
        let upload = Upload::of(most + 1, most);
        let refusal = upload.refusal().unwrap();
        assert!(refusal.starts_with(&format!("it has {} bytes; {most} is the most", most + 1)), "{refusal}");
        assert!(refusal.contains(SETTING) && refusal.contains("--upload-bytes"), "{refusal}");
        assert_eq!(Upload::of(most + 1, most + 1).refusal(), None);
    }

    #[test]
    fn a_report_says_both_sizes() {
        let json = serde_json::to_value(Upload::of(7, 8)).unwrap();
        assert_eq!(json, serde_json::json!({"bytes": 7, "upload_bytes": 8, "refusal": null}));
        assert!(serde_json::to_value(Upload::of(9, 8)).unwrap()["refusal"].is_string());
    }
}
