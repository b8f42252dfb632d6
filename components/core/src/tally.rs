//! How often something happened, by name: what stream operators keep of actions.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

/// Counts by name, of so many names: a client that makes names up makes no more.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    /// Names that are told apart; others are [`Tally::OTHER`].
    pub const NAMES: usize = 48;
    /// What has no room of its own.
    pub const OTHER: &str = "other";

    /// Adds to the count of a name.
    pub fn add(&mut self, name: &str, by: u64) {
        let room = self.0.contains_key(name) || self.0.len() < Self::NAMES;
        let name = if room { name } else { Self::OTHER };
        match self.0.get_mut(name) {
            Some(count) => *count += by,
            None => drop(self.0.insert(name.to_owned(), by)),
        }
    }

    /// Adds all counts of another one.
    pub fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(name, count)| self.add(name, count));
    }

    /// The count of a name.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All counts together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Names and counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }
}

/// The sum of values, and how many there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Encode, Decode)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Of all of them.
    pub sum: f64,
}

impl Sum {
    /// Adds a value, if there is one that can be summed: not negative.
    pub fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite() && *value >= 0.0) {
            self.sum += value;
            self.count += 1;
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    /// None of nothing.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_an_end() {
        let mut tally = Tally::default();
        (0..1000).for_each(|at| tally.add(&format!("a{at}"), 1));
        assert_eq!((tally.iter().count(), tally.total()), (Tally::NAMES + 1, 1000));
        assert_eq!(tally.of(Tally::OTHER), 1000 - Tally::NAMES as u64);
        let mut other = Tally::default();
        other.add("a0", 2);
        other.merge(&tally);
        assert_eq!((other.of("a0"), other.of("none")), (3, 0));
    }

    #[test]
    fn what_cannot_be_summed_is_passed_over() {
        let mut sum = Sum::default();
        assert_eq!(sum.mean(), None);
        [Some(1.0), None, Some(-1.0), Some(f64::NAN), Some(2.0)].into_iter().for_each(|value| sum.add(value));
        sum.merge(Sum { sum: 3.0, count: 1 });
        assert_eq!((sum.count, sum.mean()), (3, Some(2.0)));
    }
}
