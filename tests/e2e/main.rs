//! The product from outside: the real binary with the real components, over
//! HTTP. `cargo xtask build` makes what is tested.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests are not recognised as tests"
)]

mod api;
mod caching;
mod components;
mod crash;
mod drain;
mod errors;
mod evaluate;
mod experiments;
mod fixtures;
mod funnel;
mod goldens;
mod guests;
mod harness;
mod isolation;
mod learning;
mod limits;
mod migration;
mod models;
mod outage;
mod precompute;
mod ranking;
mod related;
mod remote;
mod replay;
mod streams;
mod sync;
mod truth;
