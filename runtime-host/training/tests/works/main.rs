//! The works over the embedded stores, from the log to what is served.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test: what is not as expected fails it"
)]

mod embeddings;
mod fixture;
mod own_vectors;
mod precompute;
mod profiles;
mod similarity;
