//! What an export holds in memory at once, besides what joins shown items and
//! behaviours (see the [crate](crate)).

use std::ops::RangeInclusive;

use funnelweb_core::limits;

/// How long behaviours belong to what was shown: a second at least, at most as long as
/// slates are kept.
pub const WINDOW_MS: RangeInclusive<u64> = 1000..=limits::EXPOSURE_LOG_MS;

/// Slates that are read at once.
pub const PAGE_SLATES: u32 = 100;

/// Behaviours that are read at once.
pub const PAGE_BEHAVIORS: u32 = limits::HISTORY_EVENTS;

/// Rows of a row group.
pub const ROW_GROUP_ROWS: usize = 65_536;

/// Cells and words of the features in a row group, which ends with the row that reaches
/// it. A word is written as text, which takes 64 bytes for a moment.
pub const ROW_GROUP_VALUES: usize = 2 * 1024 * 1024;
