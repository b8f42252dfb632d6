//! The stream engine: behaviours of a tenant's log, aggregated in windows of event time
//! by components, each counted once whatever is killed when.
//!
//! ```text
//! log ──▶ step: events → panes → accumulators → what changes     engine, evaluate, window
//!           │                     ▲      one commit: panes, counters, messages, how far     store, sqlite
//!           └── operator: declare, add, merge, changes, summary   operator, component (wit/stream)
//! ```
//!
//! [`Streams`] follows all logs; [`Watched`] tells it which have grown.

mod component;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod engine;
mod evaluate;
pub mod exposition;
pub mod key;
pub mod operator;
mod service;
pub mod shards;
mod shared;
mod sqlite;
pub mod store;
mod sums;
mod window;

pub use component::ComponentOperator;
pub use engine::{Engine, Outcome, StepError};
pub use service::{Grown, Streams, Watched};
pub use sqlite::{SqliteStreams, topic_name};
pub use window::Windows;

#[cfg(test)]
mod tests;
