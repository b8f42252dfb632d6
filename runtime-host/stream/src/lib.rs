//! The stream engine: behaviours of a tenant's log, aggregated in windows of event time
//! by components, each counted once whatever is killed when.
//!
//! ```text
//! log ──▶ step: events → panes → accumulators → what changes     engine, turn, evaluate, window
//!           │                     ▲      one commit: panes, counters, messages, how far     store, sqlite
//!           └── operator: declare, add, merge, changes, summary   operator, component (wit/stream)
//! ```
//!
//! [`Streams`] follows all logs; [`Watched`] tells it which have grown. Where a log comes in
//! parts, [`shards`] are what it has beside. Tenants have operators of their [`own`].

mod component;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod engine;
mod evaluate;
pub mod exposition;
pub mod key;
pub mod operator;
pub mod own;
mod service;
pub mod shards;
mod shared;
mod sqlite;
pub mod store;
mod sums;
pub mod trial;
mod turn;
mod watched;
mod window;

pub use component::ComponentOperator;
pub use engine::{Engine, Outcome, StepError};
pub use service::Streams;
pub use sqlite::{SqliteStreams, topic_name};
pub use watched::{Grown, Watched};
pub use window::Windows;

#[cfg(test)]
mod tests;
