//! A rerank rule that moves items of the user's location up. Configured as
//! `location_match`.
//!
//! `score' = (1 − weight) · minmax(score) + weight · match`, where `match` is 1
//! for an item that has one of the user's locations in its field and 0 for any
//! other. The user is where the request's `context` attribute `location` says,
//! or else their profile's attribute `location`; when neither does, the list
//! stays as it is. Of equal scores the one that stood first stays first.

use funnelweb_core::id;
use funnelweb_guest::{
    params, places,
    rerank::{Guest, RerankRequest, Reranked},
    types::{ColumnKind, ParamError, Personal, RequestContext, Requirements, StageError},
};
use serde::Deserialize;

/// The stage's `params`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// The item field that holds one location or several, default `location`.
    pub item_field: String,
}

impl Default for Params {
    fn default() -> Self {
        Self { item_field: "location".to_owned() }
    }
}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// With the JSON pointer of the first one that does not fit.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        let parsed: Self = params::parse(params)?;
        params::check_field("/item_field", &parsed.item_field)?;
        Ok(parsed)
    }

    /// The column of locations.
    #[must_use]
    pub fn requirements(&self) -> Requirements {
        Requirements::columns([(self.item_field.as_str(), ColumnKind::MultiCategorical)])
            .with_personal(Personal::ATTRIBUTES | Personal::SITUATION)
    }
}

/// The hashes of the user's locations.
fn locations(context: &RequestContext) -> Vec<u32> {
    let given = context.context.iter().chain(&context.user.attributes);
    let location = given.into_iter().find(|attribute| attribute.name == "location" && !attribute.values.is_empty());
    location.map_or_else(Vec::new, |attribute| attribute.values.iter().map(|value| id::value_hash(value)).collect())
}

/// The list with items of the user's location moved up.
///
/// # Errors
/// `invalid-input` for params that do not fit, or lists of different lengths.
pub fn rerank(request: &RerankRequest) -> Result<Reranked, StageError> {
    let params = Params::parse(&request.params)?;
    let places = places::read(request)?;
    let locations = locations(&request.context);
    match request.items.multi_column(&params.item_field) {
        Some(column) if !locations.is_empty() => {
            let matches = |row| column.get(row).iter().any(|value| locations.contains(value));
            Ok(places::mix(&places, request.weight, |row| if matches(row) { 1.0 } else { 0.0 }))
        }
        _ => Ok(places::redeal(&places, Vec::new())),
    }
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
