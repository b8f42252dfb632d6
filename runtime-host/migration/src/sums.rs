//! Counts and checksums of records by kind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::Error as _};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::format::Kind;

/// Of the records of one kind: how many, and the sum of their hashes (xxh3, 128
/// bits, without what overflows), which does not depend on their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// The sum; 32 hex digits in a file.
    #[serde(with = "hex")]
    pub sum: u128,
}

/// Of all records, by kind; no entry of none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sums(BTreeMap<Kind, Sum>);

impl Sums {
    /// Adds a record by its text.
    pub(crate) fn add(&mut self, kind: Kind, text: &str) {
        let sum = self.0.entry(kind).or_default();
        sum.count += 1;
        sum.sum = sum.sum.wrapping_add(xxh3_128(text.as_bytes()));
    }

    /// Those of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Sum {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// Records of all kinds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.values().map(|sum| sum.count).sum()
    }
}

/// The checksum of one line's record: 16 hex digits.
pub(crate) fn of_line(record: &str) -> String {
    format!("{:016x}", xxh3_64(record.as_bytes()))
}

mod hex {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(sum: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{sum:032x}"))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_makes_no_difference_and_anything_else_does() {
        let sums = |records: &[&str]| {
            let mut sums = Sums::default();
            records.iter().for_each(|record| sums.add(Kind::Items, record));
            sums
        };
        assert_eq!(sums(&["a", "b", "b"]), sums(&["b", "a", "b"]));
        for other in [&["a", "b"][..], &["a", "b", "c"], &["a", "a", "b"], &["ab", "b", ""]] {
            assert_ne!(sums(&["a", "b", "b"]), sums(other));
        }
        let text = serde_json::to_string(&sums(&["a", "b"])).unwrap();
        assert!(text.starts_with(r#"{"items":{"count":2,"sum":""#), "{text}");
        assert_eq!(serde_json::from_str::<Sums>(&text).unwrap(), sums(&["b", "a"]));
    }
}
