//! The parts, by time: a model is learned from what was before what it is measured on.
//!
//! A part also knows only of what happened before the next one begins. An item that was
//! shown an hour before that has an hour's window, whatever was asked for: what its user
//! did afterwards is, to someone who trains at that moment, the future. The row stays,
//! with what happened till then. To leave it out, as is done at the end of the log,
//! would cost every part its last window: with a day's window all of `valid` of a log of
//! ten days, for the sake of the few behaviours that come late. How many were cut off
//! stands in the report.

use crate::options::Shares;

/// A request in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    /// In milliseconds since 1970.
    pub(crate) shown_at_ms: u64,
    /// The handle of its id, which orders what was shown at once.
    pub(crate) request: u64,
}

impl Moment {
    const NEVER: Self = Self { shown_at_ms: u64::MAX, request: u64::MAX };
}

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Train,
    Valid,
    Test,
}

impl Part {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 3] = [Self::Train, Self::Valid, Self::Test];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        }
    }
}

/// Where the parts begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Split {
    valid_from: Moment,
    test_from: Moment,
}

impl Split {
    /// Of these requests, whole ones.
    pub(crate) fn by_time(mut requests: Vec<Moment>, shares: Shares) -> Self {
        requests.sort_unstable();
        let count = |share: f64| (requests.len() as f64 * share).round() as usize;
        let test_from = requests.len().saturating_sub(count(shares.test));
        let valid_from = test_from.saturating_sub(count(shares.valid));
        let at = |place: usize| requests.get(place).copied().unwrap_or(Moment::NEVER);
        Self { valid_from: at(valid_from), test_from: at(test_from) }
    }

    pub(crate) fn part(&self, request: Moment) -> Part {
        if request >= self.test_from {
            Part::Test
        } else if request >= self.valid_from {
            Part::Valid
        } else {
            Part::Train
        }
    }

    /// From when on a part does not know what happened, in milliseconds since 1970.
    pub(crate) fn end_ms(&self, part: Part) -> u64 {
        match part {
            Part::Train => self.valid_from.shown_at_ms,
            Part::Valid => self.test_from.shown_at_ms,
            Part::Test => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moments(times: &[u64]) -> Vec<Moment> {
        times.iter().zip(0..).map(|(&shown_at_ms, request)| Moment { shown_at_ms, request }).collect()
    }

    fn parts(times: &[u64], valid: f64, test: f64) -> Vec<&'static str> {
        let moments = moments(times);
        let split = Split::by_time(moments.clone(), Shares { valid, test });
        moments.iter().map(|moment| split.part(*moment).as_str()).collect()
    }

    #[test]
    fn the_newest_are_measured_on() {
        let all = parts(&[9, 1, 8, 2, 7, 3, 6, 4, 5, 0], 0.1, 0.2);
        assert_eq!(all, ["test", "train", "test", "train", "valid", "train", "train", "train", "train", "train"]);
        assert_eq!(parts(&[1, 2, 3, 4], 0.0, 0.25), ["train", "train", "train", "test"]);
        assert_eq!(parts(&[1, 2, 3, 4], 0.25, 0.0), ["train", "train", "train", "valid"]);
        assert_eq!(parts(&[1, 2], 0.0, 0.0), ["train", "train"]);
        assert_eq!(parts(&[5, 5, 5, 5], 0.25, 0.25), ["train", "train", "valid", "test"]);
    }

    #[test]
    fn a_part_ends_where_the_next_begins() {
        let split = Split::by_time(moments(&[1, 2, 3, 4]), Shares { valid: 0.25, test: 0.25 });
        assert_eq!(Part::ALL.map(|part| split.end_ms(part)), [3, 4, u64::MAX]);
        let without = Split::by_time(moments(&[1, 2, 3, 4]), Shares { valid: 0.0, test: 0.5 });
        assert_eq!(without.end_ms(Part::Train), 3);
        let whole = Split::by_time(moments(&[1, 2]), Shares { valid: 0.0, test: 0.0 });
        assert_eq!(whole.end_ms(Part::Train), u64::MAX);
    }

    proptest! {
        #[test]
        fn parts_follow_each_other(
            times in proptest::collection::vec(0..50u64, 0..60), valid in 0.0..0.5f64, test in 0.0..0.5f64,
        ) {
            let mut moments = moments(&times);
            let split = Split::by_time(moments.clone(), Shares { valid, test });
            moments.sort_unstable();
            let parts: Vec<Part> = moments.iter().map(|moment| split.part(*moment)).collect();
            prop_assert!(parts.is_sorted());
            for (moment, part) in moments.iter().zip(&parts) {
                // Ties may lie at the border itself.
                prop_assert!(moment.shown_at_ms <= split.end_ms(*part));
            }
            for (part, share) in [(Part::Valid, valid), (Part::Test, test)] {
                let count = parts.iter().filter(|of| **of == part).count();
                prop_assert!((count as f64 - share * parts.len() as f64).abs() <= 0.5);
            }
        }
    }
}
