//! What bounds the memory of a work.

/// Pairs of a user and an item that acted on each other, of one scenario: 16 bytes
/// each, twice while they are counted, and as much again while they are learned from.
pub const PAIRS: usize = 50_000_000;
/// Users, and items, of one scenario's log.
pub const IDS: usize = 10_000_000;
/// Versions of a blob that are kept: what is served, and what was before.
pub const VERSIONS: usize = 2;
/// Items whose facts are kept while profiles are made.
pub const FACTS: usize = 50_000;
