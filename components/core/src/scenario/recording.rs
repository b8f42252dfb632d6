//! Which requests are kept, and which config is tried on them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Config,
    check::{check_range, config},
};
use crate::{error::ApiError, experiment::overlaid, limits};

/// Which requests are kept with all that they were given, to be looked at and run again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recording {
    /// The share of requests; 0.01 unless said otherwise.
    pub share: f32,
    /// Whether those are kept besides that fail, or a stage of which does; they are unless said
    /// otherwise.
    pub failures: bool,
    /// For how long; 24 unless said otherwise.
    pub ttl_hours: f32,
}

impl Default for Recording {
    fn default() -> Self {
        Self { share: 0.01, failures: true, ttl_hours: limits::RECORDING_TTL_S as f32 / 3600.0 }
    }
}

impl Recording {
    /// Whether the request with this seed is one of the share.
    #[must_use]
    pub fn keeps(&self, seed: u64) -> bool {
        is_drawn(seed, self.share)
    }

    /// `ttl_hours` in seconds.
    #[must_use]
    pub fn ttl_s(&self) -> u32 {
        (self.ttl_hours * 3600.0).round() as u32
    }

    pub(super) fn check(&self) -> Result<(), ApiError> {
        check_range("config.recording.share", self.share, 0.0, 1.0)?;
        check_range("config.recording.ttl_hours", self.ttl_hours, 0.01, limits::RECORDING_TTL_HOURS)
    }
}

/// A config that is tried on requests after they were answered: nobody sees what it makes, and
/// it is said how it differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The share of requests; 0.1 unless said otherwise.
    #[serde(default = "a_tenth")]
    pub share: f32,
    /// A merge patch (RFC 7386) of this config.
    pub config: Map<String, Value>,
}

fn a_tenth() -> f32 {
    0.1
}

impl Shadow {
    /// Whether it is tried on the request with this seed.
    #[must_use]
    pub fn is_tried(&self, seed: u64) -> bool {
        // Other bits than those that decide whether it is kept.
        is_drawn(seed >> 20, self.share)
    }
}

impl Config {
    /// The config that is tried, if one is.
    ///
    /// # Errors
    /// `invalid_config` with the path, when it breaks a rule.
    pub fn shadowed(&self) -> Result<Option<Self>, ApiError> {
        let Some(shadow) = &self.shadow else { return Ok(None) };
        check_range("config.shadow.share", shadow.share, 0.0, 1.0)?;
        let bytes = serde_json::to_vec(&shadow.config).map_or(usize::MAX, |json| json.len());
        if bytes > limits::EXPERIMENT_OVERLAY_BYTES {
            let most = limits::EXPERIMENT_OVERLAY_BYTES;
            let message = format!("must be at most {most} bytes of JSON, got {bytes}");
            return Err(config("config.shadow.config", message));
        }
        if shadow.config.contains_key("shadow") {
            return Err(config("config.shadow.config.shadow", "a config that is tried cannot try another"));
        }
        let mut whole = serde_json::to_value(self).map_err(|error| config("config.shadow", error.to_string()))?;
        if let Value::Object(fields) = &mut whole {
            fields.remove("shadow");
        }
        let within = |error: ApiError| {
            let path = error.field.as_deref().unwrap_or_default();
            let path = path.strip_prefix("config").unwrap_or(path).to_owned();
            config(format!("config.shadow.config{path}"), error.message)
        };
        overlaid(&whole, &[&shadow.config]).map(Some).map_err(within)
    }
}

/// A share of all requests, by the low bits of what is drawn for each.
fn is_drawn(bits: u64, share: f32) -> bool {
    (bits & 0xf_ffff) as f32 / 1_048_576.0 < share
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(parts: Value) -> Result<Config, (String, String)> {
        let mut whole = json!({"recall": {"strategies": [{"name": "latest"}]}});
        crate::experiment::merge(&mut whole, &parts);
        overlaid(&whole, &[]).map_err(|error| (error.field.unwrap_or_default(), error.message.to_string()))
    }

    fn refused(parts: Value) -> String {
        read(parts).unwrap_err().0
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let config = read(json!({})).unwrap();
        assert_eq!(config.recording, Recording { share: 0.01, failures: true, ttl_hours: 24.0 });
        assert_eq!((config.recording.ttl_s(), config.shadow), (limits::RECORDING_TTL_S, None));
    }

    #[test]
    fn a_share_is_drawn() {
        let of = |share| {
            let recording = Recording { share, ..Recording::default() };
            // Any odd number spreads them.
            (0..10_000_u64).filter(|at| recording.keeps(at.wrapping_mul(0x9e37_79b9_7f4a_7c15))).count()
        };
        assert_eq!((of(0.0), of(1.0)), (0, 10_000));
        assert!((900..1100).contains(&of(0.1)), "{}", of(0.1));
    }

    #[test]
    fn every_fault_names_its_field() {
        assert_eq!(refused(json!({"recording": {"share": 1.1}})), "config.recording.share");
        assert_eq!(refused(json!({"recording": {"share": -0.1}})), "config.recording.share");
        let over = limits::RECORDING_TTL_HOURS + 1.0;
        assert_eq!(refused(json!({"recording": {"ttl_hours": over}})), "config.recording.ttl_hours");
        assert_eq!(refused(json!({"recording": {"ttl_hours": 0}})), "config.recording.ttl_hours");
        assert_eq!(refused(json!({"recording": {"rate": 1}})), "config.recording.rate");
        assert_eq!(refused(json!({"shadow": {}})), "config.shadow.config");
        assert_eq!(refused(json!({"shadow": {"share": 2, "config": {}}})), "config.shadow.share");
        let itself = json!({"shadow": {"config": {"shadow": {"config": {}}}}});
        assert_eq!(refused(itself), "config.shadow.config.shadow");
    }

    #[test]
    fn what_is_tried_keeps_the_rules() {
        let config = read(json!({"shadow": {"config": {"rank": {"model": "deepfm"}}}})).unwrap();
        let tried = config.shadowed().unwrap().unwrap();
        assert_eq!((tried.rank.model.as_str(), tried.shadow), ("deepfm", None));
        let params = |bytes: usize| json!({"rank": {"params": {"a": "x".repeat(bytes)}}});
        let around = params(0).to_string().len();
        let of = |bytes: usize| read(json!({"shadow": {"config": params(bytes - around)}}));
        // The params alone have a limit that is less.
        let found = of(limits::EXPERIMENT_OVERLAY_BYTES).err().map(|error| error.0);
        assert_ne!(found.as_deref(), Some("config.shadow.config"));
        assert_eq!(of(limits::EXPERIMENT_OVERLAY_BYTES + 1).unwrap_err().0, "config.shadow.config");
        let none = json!({"shadow": {"config": {"recall": {"strategies": []}}}});
        assert_eq!(refused(none), "config.shadow.config.recall.strategies");
        let wrong = json!({"shadow": {"config": {"rank": {"modell": "deepfm"}}}});
        assert_eq!(refused(wrong), "config.shadow.config.rank.modell");
    }
}
