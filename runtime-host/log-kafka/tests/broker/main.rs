//! The log on a real broker.
//!
//! `cargo xtask kafka` makes sure of it and of what it takes. There is no skipping: a
//! machine without fails.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests: a failed check is a panic")]

mod appending;
mod connecting;
mod groups;
mod harness;
mod publishing;
mod restarts;
mod topics;
