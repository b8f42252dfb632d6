//! The `events` capability: the behaviour log and its effects.

pub mod store;
