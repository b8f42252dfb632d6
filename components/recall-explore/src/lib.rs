//! Exploration: new items that too few have seen for anybody to know how good they
//! are. Configured as `explore`.
//!
//! Offered are the items younger than `max_age_hours` that were shown less than
//! `budget` times: until then a new item has its chance, whatever other channels
//! and the ranker make of it (`config.exploration` gives explored items their places
//! in the slate). How often an item was shown is its counter `served_places`, which the
//! server raises with every slate, whatever clients report of it; where they report
//! more, impressions or clicks, it is that. That a new item is found by what it is
//! about needs no exploration: `content_based` reaches it by its category and tags from
//! the moment it is written, `vector_search` by its embedding.
//!
//! Requests that are under way together do not see each other's slates: an item may be
//! explored once more than its budget for each of them but one. Servers that share a
//! Redis besides see the places that others gave a moment later (a fifth of a second).
//!
//! `method` says in which order:
//!
//! - `thompson`: by a draw from what is believed of the item's click rate,
//!   `Beta(clicks + 1, shown − clicks + 1)` (Chapelle, Li: *An Empirical
//!   Evaluation of Thompson Sampling*, NIPS 2011, algorithm 2): what was clicked goes
//!   first, what was never shown may be anything.
//! - `epsilon`: at random, each item as likely as the next (the exploring part of
//!   ε-greedy; Sutton, Barto: *Reinforcement Learning*, 2018, §2.2).
//!
//! The draws, in (0, 1), are the scores. They follow from the request's seed: the
//! same request draws the same.

use funnelweb_guest::{
    documents::{self, ItemTable, Term},
    errors::Error,
    live,
    recall::{Guest, RecallRequest, Recalled},
    types::{ColumnSpec, Handle, ParamError, Personal, Requirements, StageError},
};

mod params;
mod recall;

pub use params::{Method, Params};
pub use recall::recall;

/// What the channel reads; see the interfaces `documents` and `live`.
pub trait Sources {
    /// The newest items: `documents.newest-items` of one list.
    ///
    /// # Errors
    /// Those of the capability.
    fn newest(&self, scenario_id: &str, limit: u32) -> Result<Vec<Handle>, Error>;

    /// `documents.item-columns`
    ///
    /// # Errors
    /// Those of the capability.
    fn columns(
        &self,
        scenario_id: &str,
        handles: &[Handle],
        columns: &[ColumnSpec],
        now_ms: u64,
    ) -> Result<ItemTable, Error>;

    /// `live.item-stats`
    ///
    /// # Errors
    /// Those of the capability.
    fn statistics(&self, scenario_id: &str, handles: &[Handle], fields: &[String]) -> Result<Vec<f64>, Error>;
}

/// The component's imports.
struct Imports;

impl Sources for Imports {
    fn newest(&self, scenario_id: &str, limit: u32) -> Result<Vec<Handle>, Error> {
        let all: (Option<Term>, u32) = (None, limit);
        Ok(documents::newest_items(scenario_id, &[all])?.into_iter().flatten().collect())
    }

    fn columns(
        &self,
        scenario_id: &str,
        handles: &[Handle],
        columns: &[ColumnSpec],
        now_ms: u64,
    ) -> Result<ItemTable, Error> {
        documents::item_columns(scenario_id, handles, columns, now_ms)
    }

    fn statistics(&self, scenario_id: &str, handles: &[Handle], fields: &[String]) -> Result<Vec<f64>, Error> {
        live::item_stats(scenario_id, handles, fields)
    }
}

/// The component.
pub struct Stage;

impl Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        Params::parse(&params).map(|_| Requirements::none().with_personal(Personal::RECENT))
    }

    fn recall(request: RecallRequest) -> Result<Recalled, StageError> {
        recall(&request, &Imports)
    }
}

funnelweb_guest::export_recall!(Stage);

#[cfg(test)]
mod tests;
