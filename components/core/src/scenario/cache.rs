//! Whether an answer is given again, and for how long.

use serde::{Deserialize, Serialize};

use super::{Exposure, config};
use crate::{error::ApiError, limits};

/// Whether the answer to a request is kept for the next one that is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Where it is not said, what may be shown again is kept: answers to sessions, and to
    /// users unless what they were shown is not to be shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// For how long an answer is fresh; 600 unless said otherwise.
    pub ttl_seconds: u32,
    /// For how long after that it is still given, while it is computed anew; 60 unless
    /// said otherwise.
    pub stale_seconds: u32,
}

impl Default for Cache {
    fn default() -> Self {
        Self { enabled: None, ttl_seconds: 600, stale_seconds: 60 }
    }
}

impl Cache {
    /// Whether answers are kept: to users, or to sessions, who are nobody.
    #[must_use]
    pub fn keeps(&self, exposure: &Exposure, users: bool) -> bool {
        self.enabled.unwrap_or(!(users && exposure.enabled))
    }

    pub(super) fn check(&self) -> Result<(), ApiError> {
        let within = |name: &str, seconds: u32, least: u32| {
            if (least..=limits::RESULT_S).contains(&seconds) {
                return Ok(());
            }
            let message = format!("must be {least} to {}, got {seconds}", limits::RESULT_S);
            Err(config(format!("config.cache.{name}"), message))
        };
        within("ttl_seconds", self.ttl_seconds, 1)?;
        within("stale_seconds", self.stale_seconds, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_shown_again_is_kept() {
        let shown = |enabled| Exposure { enabled, ..Exposure::default() };
        let keeps =
            |enabled, exposure: bool, users| Cache { enabled, ..Cache::default() }.keeps(&shown(exposure), users);
        assert!(keeps(None, false, true) && keeps(None, true, false) && keeps(Some(true), true, true));
        assert!(!keeps(None, true, true) && !keeps(Some(false), false, false));
    }

    #[test]
    fn times_are_bounded() {
        let fault = |ttl_seconds, stale_seconds| {
            let error = Cache { enabled: None, ttl_seconds, stale_seconds }.check().err()?;
            assert!(error.message.contains(&limits::RESULT_S.to_string()), "{}", error.message);
            error.field
        };
        assert_eq!(fault(1, 0), None);
        assert_eq!(fault(limits::RESULT_S, limits::RESULT_S), None);
        assert_eq!(fault(0, 0).as_deref(), Some("config.cache.ttl_seconds"));
        assert_eq!(fault(limits::RESULT_S + 1, 0).as_deref(), Some("config.cache.ttl_seconds"));
        assert_eq!(fault(1, limits::RESULT_S + 1).as_deref(), Some("config.cache.stale_seconds"));
    }
}
