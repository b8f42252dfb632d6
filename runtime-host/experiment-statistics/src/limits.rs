//! The limits of this crate, in one place.

use std::ops::RangeInclusive;

/// The largest value of a user, and the largest estimate, up or down. Squares of it, and
/// squares of those, are numbers still.
pub const VALUE: f64 = 1e50;

/// Variances of estimates, and of the effects that [`crate::Anytime`] looks for. A smaller
/// variance of an estimate is none.
pub const VARIANCE: RangeInclusive<f64> = 1e-100..=1e100;

/// Users of the smaller group below which [`crate::Anytime`] says nothing. Its promise is one
/// of large numbers: variances are estimated, and sums of users are taken for normal.
pub const ANYTIME_USERS: u64 = 100;

/// Users that each group should have by its ratio, at least, for the chi-square test: the rule
/// of Cochran ("The χ² test of goodness of fit", Annals of Mathematical Statistics 1952).
pub const EXPECTED_USERS: f64 = 5.0;
