//! The stage's params.

use funnelweb_core::limits;
use funnelweb_guest::{params, types::ParamError};
use serde::Deserialize;

/// The stage's `params`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// In which order; `thompson` unless said otherwise.
    pub method: Method,
    /// For how long after its `created_at` an item is new: 0.1 to 8760 hours,
    /// default 168, a week.
    pub max_age_hours: f32,
    /// How many places in slates an item is given before it is new no more: 1 to
    /// 1 000 000, default 100.
    pub budget: u32,
    /// How many of the newest items are looked at: 1 to 1000, default 500. Where more
    /// come in `max_age_hours`, the oldest of those miss their chance.
    pub newest: u32,
}

/// In which order items are explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By draws from what is believed of their click rates.
    #[default]
    Thompson,
    /// At random.
    Epsilon,
}

impl Default for Params {
    fn default() -> Self {
        Self { method: Method::Thompson, max_age_hours: 168.0, budget: 100, newest: 500 }
    }
}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// With the JSON pointer of the first one that does not fit.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        let parsed: Self = params::parse(params)?;
        params::check_range("/max_age_hours", parsed.max_age_hours, 0.1..=8760.0)?;
        params::check_range("/budget", parsed.budget, 1..=1_000_000)?;
        params::check_range("/newest", parsed.newest, 1..=limits::RECALL_LIMIT)?;
        Ok(parsed)
    }
}
