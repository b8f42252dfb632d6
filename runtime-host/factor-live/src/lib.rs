//! The `live` capability: hot lists, exposure sets and counters.

pub mod store;
