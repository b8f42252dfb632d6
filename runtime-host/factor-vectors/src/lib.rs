//! The `vectors` capability: per scenario and space one vector a handle, and those
//! most similar to a given one.

pub mod store;
