//! The stage's params.

use std::collections::BTreeMap;

use funnelweb_core::limits;
use funnelweb_guest::{
    params,
    types::{ColumnKind, ParamError, Requirements},
};
use serde::Deserialize;

/// Weights are -1000 to 1000; one below 0 prefers small values.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// After how many hours a timestamp feature counts half: 0.01 to 876000
    /// (100 years), default 72.
    pub half_life_hours: f32,
    /// The weight of `recall:score`, default 1.
    pub recall_weight: f32,
    /// Weights by column, at most 16. The name of an item feature replaces the
    /// weight it has in the config; any other name is read as a numeric field of
    /// items (or a reserved statistic such as `like_count`).
    pub weights: BTreeMap<String, f32>,
}

impl Default for Params {
    fn default() -> Self {
        Self { half_life_hours: 72.0, recall_weight: 1.0, weights: BTreeMap::new() }
    }
}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// With the JSON pointer of the first one that does not fit.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        let parsed: Self = params::parse(params)?;
        params::check_range("/half_life_hours", parsed.half_life_hours, 0.01..=876_000.0)?;
        params::check_range("/recall_weight", parsed.recall_weight, -1000.0..=1000.0)?;
        if parsed.weights.len() > limits::STAGE_COLUMNS {
            let message = format!("must name at most {} columns, got {}", limits::STAGE_COLUMNS, parsed.weights.len());
            return Err(params::refuse("/weights", message));
        }
        for (name, weight) in &parsed.weights {
            let path = format!("/weights{}", params::pointer(name));
            params::check_field(&path, name)?;
            if name == "recall:score" || name.ends_with(":affinity") {
                let message = "weigh the feature itself, or use recall_weight";
                return Err(params::refuse(path, message));
            }
            params::check_range(&path, *weight, -1000.0..=1000.0)?;
        }
        Ok(parsed)
    }

    /// The columns of `weights`, which need not be item features.
    #[must_use]
    pub fn requirements(&self) -> Requirements {
        Requirements::columns(self.weights.keys().map(|name| (name.as_str(), ColumnKind::Numeric)))
    }
}
