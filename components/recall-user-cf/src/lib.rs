//! User-based collaborative filtering: what the users most like this one acted
//! on. Configured as `user_cf`.
//!
//! `s(i) = Σ { sim(u, v) · w(v, i) : v among the neighbours of u, v acted on i }`
//!
//! (Herlocker, Konstan, Borchers, Riedl: *An Algorithmic Framework for Performing
//! Collaborative Filtering*, SIGIR 1999, as a sum, which ranks, in place of the mean,
//! which predicts ratings). Neighbours and what they acted on are those of the last
//! training (`learned.related`); `score = s(i) / max s`, so above 0 and at most 1;
//! equal scores by handle. What the user acted on is not offered again.
//!
//! A user who came after the training has no neighbours yet. They are folded into
//! the factor model by what they acted on since (see [`funnelweb_guest::fold_in`]),
//! and get the users nearest in its space. A user without a history gets nothing,
//! as does everybody before the first training.

use funnelweb_guest::{
    errors::Error,
    learned::{self, FactorModel, Lists, Relation},
    recall::{Guest, RecallRequest, Recalled},
    types::{Handle, ParamError, Personal, Requirements, StageError},
    vectors::{self, Filter, Hits, Rows},
};

mod params;
mod recall;

pub use params::Params;
pub use recall::recall;

/// What the channel reads; see the interfaces `learned` and `vectors`.
pub trait Sources {
    /// `learned.related`
    ///
    /// # Errors
    /// Those of the capability.
    fn related(&self, scenario_id: &str, of: Relation, handles: &[Handle], limit: u32) -> Result<Lists, Error>;

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

    /// `vectors.query`
    ///
    /// # Errors
    /// Those of the capability.
    fn nearest(&self, scenario_id: &str, space: &str, vector: &[f32], limit: u32) -> Result<Hits, Error>;
}

/// The component's imports.
struct Imports;

impl Sources for Imports {
    fn related(&self, scenario_id: &str, of: Relation, handles: &[Handle], limit: u32) -> Result<Lists, Error> {
        learned::related(scenario_id, of, handles, limit)
    }

    fn factors(&self, scenario_id: &str) -> Result<Option<FactorModel>, Error> {
        learned::factors(scenario_id)
    }

    fn vectors(&self, scenario_id: &str, space: &str, handles: &[Handle]) -> Result<Rows, Error> {
        vectors::get(scenario_id, space, handles)
    }

    fn nearest(&self, scenario_id: &str, space: &str, vector: &[f32], limit: u32) -> Result<Hits, Error> {
        vectors::query(scenario_id, space, vector, limit, &Filter::All)
    }
}

/// The component.
pub struct Stage;

impl Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        Params::parse(&params).map(|_| Requirements::none().with_personal(Personal::ID | Personal::RECENT))
    }

    fn recall(request: RecallRequest) -> Result<Recalled, StageError> {
        recall(&request, &Imports)
    }
}

funnelweb_guest::export_recall!(Stage);

#[cfg(test)]
mod tests;
