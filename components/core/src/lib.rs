//! What host and components must agree on, and that WIT cannot say: which ids
//! are valid and how they become handles, every limit, the table of errors, the
//! shape of a scenario's config, and how a document becomes an item row.
//!
//! ```
//! use funnelweb_core::id;
//! assert!(id::check("vlog_main_feed").is_ok());
//! assert_ne!(id::handle("item_1"), id::handle("item_2"));
//! ```

pub mod behavior;
pub mod counter;
pub mod cron;
pub mod decay;
pub mod derived;
pub mod error;
pub mod experiment;
pub mod handles;
pub mod id;
pub mod job;
pub mod limits;
pub mod row;
pub mod scenario;
pub mod tally;
pub mod time;
pub mod wording;
