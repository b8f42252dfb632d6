//! Params, and which terms of the inverted index they make of a user.

use funnelweb_core::limits;
use funnelweb_guest::{
    documents::Term,
    order, params,
    types::{ParamError, RequestContext},
};
use serde::Deserialize;

/// The stage's `params`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// How many preferences are looked up, strongest first: 1 to 64, default 16.
    pub terms: usize,
    /// What a match of the category counts: 0 to 100, default 1.
    pub category_weight: f32,
    /// What a match of one tag counts: 0 to 100, default 0.5.
    pub tag_weight: f32,
}

impl Default for Params {
    fn default() -> Self {
        Self { terms: 16, category_weight: 1.0, tag_weight: 0.5 }
    }
}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// With the JSON pointer of the first one that does not fit.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        let parsed: Self = params::parse(params)?;
        params::check_range("/terms", parsed.terms, 1..=limits::STAGE_PREFERENCES)?;
        params::check_range("/category_weight", parsed.category_weight, 0.0..=100.0)?;
        params::check_range("/tag_weight", parsed.tag_weight, 0.0..=100.0)?;
        if parsed.category_weight == 0.0 && parsed.tag_weight == 0.0 {
            return Err(params::refuse("", "category_weight and tag_weight must not both be 0"));
        }
        Ok(parsed)
    }

    fn field_weight(&self, field: &str) -> f32 {
        match field {
            "category" => self.category_weight,
            "tags" => self.tag_weight,
            _ => 0.0,
        }
    }
}

/// A term of the index with what a match of it adds to an item.
#[derive(Debug, Clone)]
pub struct Weighted {
    /// The term.
    pub term: Term,
    /// Finite and not 0.
    pub weight: f32,
}

/// The strongest terms of the user, or those of the context for a user who
/// prefers nothing. Empty when there is nothing to go by.
pub fn of_user(context: &RequestContext, params: &Params) -> Vec<Weighted> {
    let mut terms: Vec<Weighted> = context
        .user
        .preferences
        .iter()
        .map(|preference| Weighted {
            term: Term { field: preference.field.clone(), value: preference.value.clone() },
            weight: preference.score * params.field_weight(&preference.field),
        })
        .filter(|term| term.weight.is_finite() && term.weight != 0.0)
        .collect();
    // Stable: preferences come strongest first, so equals keep that order.
    terms.sort_by(|one, other| order::descending(one.weight.abs(), other.weight.abs()));
    terms.truncate(params.terms);
    if terms.iter().any(|term| term.weight > 0.0) { terms } else { of_context(context, params) }
}

fn of_context(context: &RequestContext, params: &Params) -> Vec<Weighted> {
    let values = context.context.iter().filter(|attribute| attribute.name == "category").flat_map(|it| &it.values);
    let weight = if params.category_weight > 0.0 { params.category_weight } else { 1.0 };
    values
        .take(params.terms)
        .map(|value| Weighted { term: Term { field: "category".to_owned(), value: value.clone() }, weight })
        .collect()
}
