//! Content-based recall: the items that share categories and tags with what the
//! user liked. Configured as `content_based`.
//!
//! The user is a vector of weighted terms and so is an item; items are scored by
//! the product of the two (Lops, de Gemmis, Semeraro: *Content-based Recommender
//! Systems: State of the Art and Trends*, Recommender Systems Handbook, 2011,
//! §3.3.1, with the item's term weights being its field's):
//!
//! `s(i) = Σ { p(f, v) · w(f) : the user prefers value v of field f, item i has it }`
//!
//! over the `terms` strongest preferences `p`. Only preferences above 0 bring
//! items in; one below 0 (a dislike) takes away from an item it matches, and an
//! item left with nothing is not offered. `score = s(i) / max s`, so above 0 and
//! at most 1. Equal scores go to the item that is newer in its lists, then by
//! handle. What the user acted on recently is not offered again.
//!
//! A user without preferences gets the values of the request's `context`
//! attribute `category` as preferences of 1, and nothing if there is none.

use funnelweb_guest::{
    documents,
    recall::{Guest, RecallRequest, Recalled},
    types::{ParamError, Personal, Requirements, StageError},
};

mod recall;
mod terms;

pub use recall::recall;
pub use terms::Params;

/// The component.
pub struct Stage;

impl Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        let personal = Personal::PREFERENCES | Personal::RECENT | Personal::SITUATION;
        Params::parse(&params).map(|_| Requirements::none().with_personal(personal))
    }

    fn recall(request: RecallRequest) -> Result<Recalled, StageError> {
        recall(&request, documents::newest_items)
    }
}

funnelweb_guest::export_recall!(Stage);

#[cfg(test)]
mod tests;
