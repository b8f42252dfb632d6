//! The limits of this crate, in one place. The longest slate is the product's,
//! [`funnelweb_core::limits::COUNT`].

/// The most cuts (values of k) of one report.
pub const CUTS: usize = 8;

/// Resamples of a bootstrap. Below the least, the ends of an interval of 95 % are
/// those of single resamples.
pub const RESAMPLES: std::ops::RangeInclusive<u32> = 100..=10_000;

/// The most recommenders in one report.
pub const RUNS: usize = 40;
