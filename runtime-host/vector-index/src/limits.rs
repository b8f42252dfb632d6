//! Every limit of an index, and every figure that was chosen by measurement.

/// Numbers of a vector, at most.
pub const MAX_DIMENSION: usize = 4096;
/// Vectors of an index, at most.
pub const MAX_VECTORS: usize = 1 << 28;
/// Hits of a query, at most.
pub const MAX_K: usize = 10_000;
/// The length of a vector is at least this: of a shorter one, products vanish.
pub const MIN_LENGTH: f64 = 1e-15;
/// The length of a vector is at most this: of a longer one, products overflow.
pub const MAX_LENGTH: f64 = 1e15;
/// Changes of one call, at most.
pub const MAX_CHANGES: usize = 100_000;

/// Vectors of a chunk, which is what a change copies while a query reads it.
pub(crate) const CHUNK_ROWS: usize = 256;

/// Neighbours that a new node of the graph is linked to (M in the paper).
pub(crate) const LINKS: usize = 16;
/// Links of a node on the lowest layer, at most.
pub(crate) const LINKS_BELOW: usize = 2 * LINKS;
/// Candidates from which neighbours are chosen (`efConstruction`).
pub(crate) const BREADTH_OF_BUILD: usize = 200;
/// New nodes that look for neighbours at once, as a part of those that are there.
pub(crate) const BATCH_PART: usize = 32;
/// New nodes that look for neighbours at once, at most.
pub(crate) const MAX_BATCH: usize = 16_384;
/// Comparing so many rows one by one takes as long as following a node's links.
pub(crate) const ROWS_PER_NODE: f64 = 80.0;
/// A graph pays from so many vectors on.
pub(crate) const GRAPH_FROM: usize = 150_000;

/// Nodes that are looked for to find the best `k`.
pub(crate) fn breadth(k: usize) -> usize {
    2 * k + 500
}

/// A base of which more than this part is deleted or replaced is built again.
pub(crate) const DEAD_PART: usize = 4;
/// Rows that came since a base was built are inserted when they are more than this part.
pub(crate) const FRESH_PART: usize = 16;
/// Or, where that is less, more than this.
pub(crate) const MIN_FRESH: usize = 1024;
/// A graph that has grown to so many times its size is built again, with new layers.
pub(crate) const GROWTH: usize = 4;

/// A log is replaced by a file when it is longer than the last file, or than this where
/// that is more.
pub(crate) const MIN_LOG_BYTES: u64 = 1 << 20;
