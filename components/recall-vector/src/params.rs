//! The stage's params.

use funnelweb_core::limits;
use funnelweb_guest::{params, types::ParamError};
use serde::Deserialize;

/// The stage's `params`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Which vectors; `auto` unless said otherwise.
    pub vectors: Space,
    /// How many items make the user's vector, newest first: 1 to 100, default 50.
    pub recent: usize,
    /// What each newer item leaves of an item's weight: above 0 and at most 1,
    /// default 1, with which their order does not count.
    pub decay: f32,
}

/// Which vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// `embedding` when any of the user's items has one, else `factors`.
    #[default]
    Auto,
    /// Those that items bring along.
    Embedding,
    /// Those of the factor model.
    Factors,
}

impl Default for Params {
    fn default() -> Self {
        Self { vectors: Space::Auto, recent: 50, decay: 1.0 }
    }
}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// With the JSON pointer of the first one that does not fit.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        let parsed: Self = params::parse(params)?;
        params::check_range("/recent", parsed.recent, 1..=limits::PROFILE_RECENT_ITEMS)?;
        params::check_range("/decay", parsed.decay, 0.01..=1.0)?;
        Ok(parsed)
    }
}
