//! The feature stage: from candidates to the table that rankers and rerank rules
//! read.
//!
//! One call fetches every column of the items ([`columns`]); what an item's
//! metadata lacks of the reserved statistics (`hot_score`, `view_count`, `ctr`,
//! …) is taken from the live structures ([`statistics`]); the user's preferences
//! become affinities ([`affinity`]), what the user did lately the other derived
//! features ([`derived`]); the features of the user and of the context become a table
//! of one row ([`user`]). Candidates that are inactive or gone stand in `removed`.
//!
//! The numeric cells of the table are, row by row: the numeric and timestamp
//! columns asked for (NaN where missing), `F:affinity` for each categorical and
//! multi-categorical item feature `F` (-1 to 1), the derived features, the evidence of
//! recall, and `recall:score`. The other columns are handed on as they came.

use funnelweb_guest::{
    documents::{self, ItemTable},
    errors::Error,
    features::{FeatureTable, FeaturesRequest, Guest},
    live,
    types::{ColumnSpec, Handle, StageError},
};

use crate::derived::Crosses;

pub mod affinity;
pub mod columns;
pub mod derived;
pub mod statistics;
mod table;
pub mod user;

/// What the stage reads, so that tests and native programs can supply it.
pub trait Sources {
    /// `documents.item-columns`.
    ///
    /// # Errors
    /// As the capability's.
    fn item_columns(
        &self,
        scenario_id: &str,
        handles: &[Handle],
        columns: &[ColumnSpec],
        now_ms: u64,
    ) -> Result<ItemTable, Error>;

    /// `live.hot-scores`.
    ///
    /// # Errors
    /// As the capability's.
    fn hot_scores(&self, scenario_id: &str, handles: &[Handle], now_ms: u64) -> Result<Vec<f32>, Error>;

    /// `live.item-stats`.
    ///
    /// # Errors
    /// As the capability's.
    fn item_stats(&self, scenario_id: &str, handles: &[Handle], fields: &[String]) -> Result<Vec<f64>, Error>;
}

/// The feature table of a request.
///
/// # Errors
/// What `sources` answers; live statistics that are unavailable are left missing
/// instead, since rankers cope with a missing cell.
pub fn extract(request: &FeaturesRequest, sources: &impl Sources) -> Result<FeatureTable, StageError> {
    let context = &request.context;
    let asked = columns::asked(request);
    let items = sources.item_columns(&context.scenario_id, &request.candidates.handles, &asked, context.now_ms)?;
    let rows = table::Rows::of(request, &items.found);
    let crosses = Crosses::load(request, sources)?;
    let mut table = table::build(request, &asked, items.table, &rows, &crosses);
    statistics::fill(&mut table, &asked, context, &rows.kept, sources)?;
    let user = user::table(&request.user_features, &request.context_features, context);
    Ok(FeatureTable { items: table, user, removed: rows.removed })
}

/// The host's capabilities.
struct Host;

impl Sources for Host {
    fn item_columns(
        &self,
        scenario_id: &str,
        handles: &[Handle],
        columns: &[ColumnSpec],
        now_ms: u64,
    ) -> Result<ItemTable, Error> {
        documents::item_columns(scenario_id, handles, columns, now_ms)
    }

    fn hot_scores(&self, scenario_id: &str, handles: &[Handle], now_ms: u64) -> Result<Vec<f32>, Error> {
        live::hot_scores(scenario_id, handles, now_ms)
    }

    fn item_stats(&self, scenario_id: &str, handles: &[Handle], fields: &[String]) -> Result<Vec<f64>, Error> {
        live::item_stats(scenario_id, handles, fields)
    }
}

/// The component.
pub struct Stage;

impl Guest for Stage {
    fn extract(request: FeaturesRequest) -> Result<FeatureTable, StageError> {
        extract(&request, &Host)
    }
}

funnelweb_guest::export_features!(Stage);

#[cfg(test)]
mod tests;
