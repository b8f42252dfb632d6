//! Recall by nearness in a space of vectors: the user becomes a vector, and the
//! items most similar to it are offered. Configured as `vector_search`.
//!
//! There are two kinds of spaces (`params.vectors`):
//!
//! - `factors`, of the factor model that training made: the user's vector is solved
//!   at request time from what they acted on (see [`funnelweb_guest::fold_in`]), so a
//!   behaviour counts in the next request, and a new user after the first one.
//! - `embedding`, of the vectors that items bring along: the user is the mean of the
//!   items they acted on, each brought to length 1 and weighted (a user profile in
//!   the manner of Rocchio; Lops, de Gemmis, Semeraro, Recommender Systems Handbook,
//!   2011, §3.3.2). A new item is found at once.
//!
//! `auto` takes `embedding` when any of the user's items has one, else `factors`.
//!
//! Weights are those of the actions, times `decay` for each newer item. An item
//! named by the context's `item_id` counts as the newest. `score` is the share of
//! the best one's similarity, so above 0 and at most 1; what is not similar (0 or
//! below) is not offered, nor what the user acted on. A user without a history gets
//! nothing.

use funnelweb_guest::{
    errors::Error,
    learned::{self, FactorModel},
    recall::{Guest, RecallRequest, Recalled},
    types::{Handle, ParamError, Personal, Requirements, StageError},
    vectors::{self, Filter, Hits, Rows},
};

mod params;
mod recall;

pub use params::{Params, Space};
pub use recall::recall;

/// What the channel reads; see the interfaces `learned` and `vectors`.
pub trait Sources {
    /// `learned.factors`
    ///
    /// # Errors
    /// Those of the capability.
    fn factors(&self, scenario_id: &str) -> Result<Option<FactorModel>, Error>;

    /// `vectors.get`
    ///
    /// # Errors
    /// Those of the capability.
    fn vectors(&self, scenario_id: &str, space: &str, handles: &[Handle]) -> Result<Rows, Error>;

    /// `vectors.query`, without those of `except`.
    ///
    /// # Errors
    /// Those of the capability.
    fn nearest(
        &self,
        scenario_id: &str,
        space: &str,
        vector: &[f32],
        limit: u32,
        except: Vec<Handle>,
    ) -> Result<Hits, Error>;
}

/// The component's imports.
struct Imports;

impl Sources for Imports {
    fn factors(&self, scenario_id: &str) -> Result<Option<FactorModel>, Error> {
        learned::factors(scenario_id)
    }

    fn vectors(&self, scenario_id: &str, space: &str, handles: &[Handle]) -> Result<Rows, Error> {
        vectors::get(scenario_id, space, handles)
    }

    fn nearest(
        &self,
        scenario_id: &str,
        space: &str,
        vector: &[f32],
        limit: u32,
        except: Vec<Handle>,
    ) -> Result<Hits, Error> {
        vectors::query(scenario_id, space, vector, limit, &Filter::Except(except))
    }
}

/// The component.
pub struct Stage;

impl Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        let personal = Personal::RECENT | Personal::SITUATION;
        Params::parse(&params).map(|_| Requirements::none().with_personal(personal))
    }

    fn recall(request: RecallRequest) -> Result<Recalled, StageError> {
        recall(&request, &Imports)
    }
}

funnelweb_guest::export_recall!(Stage);

#[cfg(test)]
mod tests;
