//! What users were shown, with the features that the ranker saw: what rankers are
//! trained from.
//!
//! [`store`] holds the trait; [`SqliteExposureLog`] is the embedded backend.

mod check;
mod codec;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod slate;
mod sqlite;
pub mod store;

pub use codec::{Place, decode, encode};
pub use slate::{Cell, Draft, Feature, Shown, Slate};
pub use sqlite::SqliteExposureLog;
