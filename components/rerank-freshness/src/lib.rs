//! A rerank rule that moves newer items up. Configured as `freshness`.
//!
//! `score' = (1 − weight) · minmax(score) + weight · 2^(−age / decay)`: an item
//! published now gets all of the weight, one of age `decay` half of it. The age is
//! that of `field`, or of the item's `created_at` where the field is missing; an
//! item of unknown age gets nothing, one published in the future what one of now
//! gets. Of equal scores the one that stood first stays first.

use funnelweb_guest::{
    params, places,
    rerank::{Guest, RerankRequest, Reranked},
    types::{ColumnKind, ParamError, Requirements, StageError},
};
use serde::Deserialize;

/// The stage's `params`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// The age in days at which freshness is halved: 0.001 to 36500. Default 7;
    /// not together with `decay_hours`.
    pub decay_days: Option<f32>,
    /// The same in hours: 0.01 to 876000.
    pub decay_hours: Option<f32>,
    /// The item field that tells the age, default `publish_time`.
    pub field: String,
}

/// Used for items without the field of the params.
const FALLBACK_FIELD: &str = "created_at";

impl Default for Params {
    fn default() -> Self {
        Self { decay_days: None, decay_hours: None, field: "publish_time".to_owned() }
    }
}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// With the JSON pointer of the first one that does not fit.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        let parsed: Self = params::parse(params)?;
        if let Some(days) = parsed.decay_days {
            params::check_range("/decay_days", days, 0.001..=36_500.0)?;
        }
        if let Some(hours) = parsed.decay_hours {
            params::check_range("/decay_hours", hours, 0.01..=876_000.0)?;
        }
        if parsed.decay_days.is_some() && parsed.decay_hours.is_some() {
            return Err(params::refuse("/decay_hours", "give decay_days or decay_hours, not both"));
        }
        params::check_field("/field", &parsed.field)?;
        Ok(parsed)
    }

    /// The age at which freshness is halved.
    #[must_use]
    pub fn decay_hours(&self) -> f32 {
        self.decay_hours.unwrap_or_else(|| self.decay_days.unwrap_or(7.0) * 24.0)
    }

    /// The columns that tell an item's age.
    #[must_use]
    pub fn requirements(&self) -> Requirements {
        let fallback = (self.field != FALLBACK_FIELD).then_some(FALLBACK_FIELD);
        let fields = std::iter::once(self.field.as_str()).chain(fallback);
        Requirements::columns(fields.map(|field| (field, ColumnKind::Timestamp)))
    }
}

/// The list with newer items moved up.
///
/// # Errors
/// `invalid-input` for params that do not fit, or lists of different lengths.
pub fn rerank(request: &RerankRequest) -> Result<Reranked, StageError> {
    let params = Params::parse(&request.params)?;
    let places = places::read(request)?;
    let field = request.items.numeric_column(&params.field);
    let fallback = request.items.numeric_column(FALLBACK_FIELD);
    let decay_hours = params.decay_hours();
    let freshness = |row| {
        let known = |age: &f32| !age.is_nan();
        let age = field.map(|column| column.get(row)).filter(known);
        let age = age.or_else(|| fallback.map(|column| column.get(row)).filter(known));
        age.map_or(0.0, |age_hours| (-age_hours.max(0.0) / decay_hours).exp2())
    };
    Ok(places::mix(&places, request.weight, freshness))
}

/// The component.
pub struct Stage;

impl Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        Params::parse(&params).map(|params| params.requirements())
    }

    fn rerank(request: RerankRequest) -> Result<Reranked, StageError> {
        rerank(&request)
    }
}

funnelweb_guest::export_rerank!(Stage);

#[cfg(test)]
mod tests;
