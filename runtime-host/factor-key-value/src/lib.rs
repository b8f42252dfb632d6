//! Storage for `spin:key-value`.

pub mod store;
