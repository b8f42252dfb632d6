//! The backends on real servers: Redis, Valkey, and a cluster of each.
//!
//! `cargo xtask redis-servers` makes sure of the programs. There is no skipping: a
//! machine without them fails.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests: a failed check is a panic")]

mod cache;
mod connecting;
mod failures;
mod harness;
mod jobs;
mod key_values;
mod live;
mod outbound;
mod results;
