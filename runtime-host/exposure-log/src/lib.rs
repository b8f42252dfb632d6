//! What users were shown, with the features that the ranker saw: what rankers are
//! trained from.

mod slate;
pub mod store;

pub use slate::{Cell, Feature, Shown, Slate};
