//! The `events` capability.

/// The collection of the design that holds the log.
pub(crate) const INTERACTIONS: &str = "interactions";
