//! Whole runs of `sync`, by the runner that does all jobs, on real stores, files and
//! sockets. What takes the lines stands in for the endpoints, which are tried in
//! `tests/e2e`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are not recognised as tests"
)]

mod documents;
mod files;
mod fixture;
mod server;
