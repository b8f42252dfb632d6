//! Live structures whole, in the form in which they move from store to store.
//!
//! Stores keep scores relative to times of their own choice, and each change of
//! such a time rounds. So that a move rounds once and never again, the scores of a
//! list are given as of one time, that of its newest weight: a store that takes
//! them as they are gives them back to the bit.

use std::collections::BTreeMap;

use funnelweb_core::limits;

use crate::store::Error;

/// A live structure of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub enum Whole {
    /// A hot list.
    Hot(Hot),
    /// What a user was shown in a scenario.
    Exposed(Exposed),
    /// Counters of an item.
    Counters(Counters),
}

/// A scenario's hot list. It is never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Hot {
    /// The scenario.
    pub scenario_id: String,
    /// Time in which a score halves, in seconds, at least 1.
    pub half_life_s: u32,
    /// When the newest weight was given, in milliseconds since 1970: the scores are
    /// as of then.
    pub newest_ms: u64,
    /// Items and their scores, which are finite, by id.
    pub items: BTreeMap<String, f64>,
}

/// What a user was shown in a scenario. It is never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The scenario.
    pub scenario_id: String,
    /// The user.
    pub user_id: String,
    /// Items, and until when each counts as shown, in milliseconds since 1970.
    pub items: BTreeMap<String, u64>,
}

/// Counters of an item, in all scenarios. They are never none.
#[derive(Debug, Clone, PartialEq)]
pub struct Counters {
    /// The item.
    pub item_id: String,
    /// By name; finite.
    pub fields: BTreeMap<String, f64>,
}

impl Whole {
    /// What a structure that is to be restored must be.
    ///
    /// # Errors
    /// `invalid`, naming the field and the rule.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Hot(hot) => {
                Error::check_id("scenario-id", &hot.scenario_id)?;
                Error::check_count("items", hot.items.len(), 1, usize::MAX)?;
                if hot.half_life_s == 0 {
                    return Err(Error::invalid("half-life-s", "must be at least 1"));
                }
                hot.items.iter().try_for_each(|(item, score)| {
                    Error::check_id("items", item)?;
                    check_finite("items", *score)
                })
            }
            Self::Exposed(exposed) => {
                Error::check_id("scenario-id", &exposed.scenario_id)?;
                Error::check_id("user-id", &exposed.user_id)?;
                Error::check_count("items", exposed.items.len(), 1, limits::EXPOSURES)?;
                exposed.items.keys().try_for_each(|item| Error::check_id("items", item))
            }
            Self::Counters(counters) => {
                Error::check_id("item-id", &counters.item_id)?;
                Error::check_count("fields", counters.fields.len(), 1, usize::MAX)?;
                counters.fields.values().try_for_each(|value| check_finite("fields", *value))
            }
        }
    }
}

impl Exposed {
    /// Items by when they expire, the first to expire first; of those that have
    /// not by `now_ms`.
    #[must_use]
    pub fn by_expiry(&self, now_ms: u64) -> BTreeMap<u64, Vec<String>> {
        let mut by_expiry: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (item, expires_ms) in self.items.iter().filter(|(_, expires_ms)| **expires_ms > now_ms) {
            by_expiry.entry(*expires_ms).or_default().push(item.clone());
        }
        by_expiry
    }
}

fn check_finite(name: &str, value: f64) -> Result<(), Error> {
    if value.is_finite() { Ok(()) } else { Err(Error::invalid(name, format_args!("must be finite, got {value}"))) }
}
