//! The `documents` capability: the collections of the data model.

pub mod store;
