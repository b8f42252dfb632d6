//! The stage's params.

use funnelweb_core::limits;
use funnelweb_guest::{params, types::ParamError};
use serde::Deserialize;

/// The stage's `params`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// How many similar users: 1 to 1000, default 50.
    pub neighbours: u32,
    /// How many items of each: 1 to 1000, default 100.
    pub items: u32,
    /// How many items a user without neighbours is folded in by, newest first: 1 to
    /// 100, default 50.
    pub recent: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { neighbours: 50, items: 100, recent: 50 }
    }
}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// With the JSON pointer of the first one that does not fit.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        let parsed: Self = params::parse(params)?;
        params::check_range("/neighbours", parsed.neighbours, 1..=limits::RECALL_LIMIT)?;
        params::check_range("/items", parsed.items, 1..=limits::RECALL_LIMIT)?;
        params::check_range("/recent", parsed.recent, 1..=limits::PROFILE_RECENT_ITEMS)?;
        Ok(parsed)
    }
}
