//! The limits of this crate, in one place.

/// The largest weight of an interaction; a sum above it counts as this much. Squares
/// of it, and sums of those over a matrix, still have precision left in an `f32`.
pub const MAX_WEIGHT: f32 = 1e6;

/// The most dimensions of a factor. A solve costs their cube.
pub const MAX_DIMENSIONS: usize = 1024;

/// The most items that EASE takes: at 20,000 its two square matrices are 3.2 GB.
pub const EASE_MAX_ITEMS: u32 = 20_000;

/// The longest history that neighbours are counted from. A history of n items makes
/// n² pairs, so a robot with a million would outweigh, in time and in result,
/// everybody else; of a longer one the heaviest interactions count.
pub const MAX_HISTORY_FOR_PAIRS: usize = 5_000;

/// The most neighbours that are kept of anything.
pub const MAX_NEIGHBOURS: usize = 10_000;
