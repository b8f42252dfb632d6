//! behaviors
