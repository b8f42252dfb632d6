//! A ranker without a model: a weighted sum of the item features. Configured as
//! `linear`; it also stands in for a ranker that does not answer.
//!
//! `score = Σ w·x / Σ |w|`, over the item features with the weights of the
//! scenario's config, the columns of `weights`, and `recall:score`. Each `x` is
//! brought to one scale over the candidates of the request:
//!
//! | column | x |
//! |---|---|
//! | numeric, `recall:score` | min-max: 0 for the lowest, 1 for the highest candidate; 0.5 when all are equal |
//! | timestamp | `2^(−age / half_life)`: 1 for now and the future, 0.5 after one half-life |
//! | categorical, multi-categorical | `F:affinity`, -1 to 1: how much the user likes the value |
//!
//! A candidate without a number has the mean `x` of those with one (0.5 when none
//! has), so that not knowing neither helps nor harms.

use funnelweb_guest::{
    rank::{Guest, RankRequest},
    types::{ParamError, Requirements, StageError},
};

mod params;
mod score;

pub use params::Params;
pub use score::rank;

/// The component.
pub struct Stage;

impl Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        Params::parse(&params).map(|params| params.requirements())
    }

    fn rank(request: RankRequest) -> Result<Vec<f32>, StageError> {
        rank(&request)
    }
}

funnelweb_guest::export_rank!(Stage);

#[cfg(test)]
mod tests;
