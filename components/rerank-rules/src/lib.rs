//! A rerank rule for what people decide: pins, boosts, filters, quotas.
//! Configured as `business_rules`.
//!
//! Whatever the order of the params, they are applied so that each later step
//! has the last word over those before it:
//!
//! 1. `filter` — what matches is removed, pinned or not.
//! 2. `boost` — the score is multiplied by `factor` (one below 0 is divided, so
//!    that a factor above 1 always moves up) and the list sorted again; factors
//!    of several boosts multiply.
//! 3. `bury` — what matches goes to the end, in its order.
//! 4. `dedupe` — of several items with one value in a field the first stays, or
//!    the pinned one; the others are removed. Items without a value all stay.
//! 5. `quota` — at most `max` items with one value in any `window` consecutive
//!    positions, over the first positions (the larger of twice the request's
//!    count and 50). Each position goes to the first of the list that no quota
//!    forbids, pins around it counted in; the others move down and are not lost.
//!    Where every item left is forbidden, the first of them is taken all the
//!    same. Buried items stay at the end whatever the quotas say.
//! 6. `pin` — the item stands at its position, or at the end of a list that is
//!    too short. A pinned item that is inactive or gone is passed over.
//!
//! The rule's weight is not used. The scores returned are those of the kept items
//! after boosting, highest first along the new order.
//!
//! A condition `where` names an item field and one of: `equals` or `in` (strings
//! and booleans match any of the field's values, numbers its number), `above`,
//! `below` (numbers, exclusive), `missing` (true or false: whether the item has
//! the field at all). A field that is missing matches none of the others.

use funnelweb_guest::{
    rerank::{Guest, RerankRequest, Reranked},
    types::{ParamError, Requirements, StageError},
};

mod apply;
mod condition;
mod params;
mod quota;

pub use apply::rerank;
pub use condition::{Condition, Scalar};
pub use params::{Boost, Field, Params, Pin, Quota, Selection};

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
