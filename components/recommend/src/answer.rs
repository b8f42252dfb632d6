//! What goes back: what is the request's own, and the rest, which may be from before.

use std::fmt;

use crate::funnel::Call;

/// A response, as JSON.
pub struct Answer {
    text: String,
    cache: CacheStatus,
}

/// What the cache had to do with it (RFC 9211, `Cache-Status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// It was kept; for how many seconds more it is fresh, or has not been, below 0.
    Hit(i32),
    /// Another request computed it while this one waited.
    Collapsed,
    /// It was computed, and whether it is kept now.
    Miss {
        /// It is.
        stored: bool,
    },
    /// It was computed: what is kept did not answer.
    Unavailable,
    /// It was computed, and nothing is kept of such requests.
    Bypass,
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit(fresh_s) => write!(f, "funnelweb; hit; ttl={fresh_s}"),
            Self::Collapsed => f.write_str("funnelweb; fwd=miss; collapsed"),
            Self::Miss { stored: true } => f.write_str("funnelweb; fwd=miss; stored"),
            Self::Miss { stored: false } => f.write_str("funnelweb; fwd=miss"),
            Self::Unavailable => f.write_str("funnelweb; fwd=miss; detail=unavailable"),
            Self::Bypass => f.write_str("funnelweb; fwd=bypass"),
        }
    }
}

impl Answer {
    /// With `rest`, a JSON object that has a field at least.
    pub(crate) fn new(call: &Call<'_>, scenario_id: &str, rest: &str, cache: CacheStatus) -> Self {
        let mut text = String::with_capacity(rest.len() + 512);
        text.push('{');
        // Ids: nothing in them is to be escaped.
        for (name, id) in [("request_id", call.request_id), ("scenario_id", scenario_id), ("user_id", call.user_id)] {
            // A session is nobody's.
            if !(id.is_empty() && name == "user_id") {
                text.extend(["\"", name, "\":\"", id, "\","]);
            }
        }
        text.push_str(rest.strip_prefix('{').unwrap_or(rest));
        Self { text, cache }
    }

    /// What the cache had to do with it.
    #[must_use]
    pub fn cache(&self) -> CacheStatus {
        self.cache
    }

    /// The JSON.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_follows_what_is_the_request_s_own() {
        let answer = |user_id| {
            let call = Call { user_id, ..Call::of("r1", "") };
            Answer::new(&call, "feed", r#"{"items":[]}"#, CacheStatus::Bypass).into_text()
        };
        assert_eq!(answer("ann"), r#"{"request_id":"r1","scenario_id":"feed","user_id":"ann","items":[]}"#);
        assert_eq!(answer(""), r#"{"request_id":"r1","scenario_id":"feed","items":[]}"#);
    }

    #[test]
    fn what_the_cache_did_is_said_as_the_rfc_has_it() {
        let said = |status: CacheStatus| status.to_string();
        assert_eq!(said(CacheStatus::Hit(12)), "funnelweb; hit; ttl=12");
        assert_eq!(said(CacheStatus::Hit(-3)), "funnelweb; hit; ttl=-3");
        assert_eq!(said(CacheStatus::Miss { stored: true }), "funnelweb; fwd=miss; stored");
        assert_eq!(said(CacheStatus::Collapsed), "funnelweb; fwd=miss; collapsed");
    }
}
