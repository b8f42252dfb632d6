//! An export: a file of lines, each a JSON object, gzip when its name ends in `.gz`.
//!
//! ```json
//! {"kind":"header","sum":"…","record":{"format":"funnelweb-export","version":1,"tenant":"acme",…}}
//! {"kind":"items","sum":"…","record":{"scenario_id":"feed","id":"i1","version":3,"body":{…}}}
//! {"kind":"interactions","sum":"…","record":{"offset":1,"event_id":"e1",…,"body":{…}}}
//! {"kind":"end","sum":"…","record":{"items":{"count":1,"sum":"…"},…}}
//! ```
//!
//! `sum` is the xxh3 (64 bits, in hex) of the text of `record`, so a line that was
//! changed is found. The last line has the count and the checksum of all records
//! of each kind ([`crate::Sum`]), so one that is missing or twice is found, too.
//! Kinds stand in the order of [`Kind`], and so do the items of a hot list.
//!
//! What follows from the rest is not in it: handles, item rows, indexes, caches.

use std::{borrow::Cow, fmt};

use funnelweb_factor_documents::store::Collection;
use funnelweb_factor_events::store::{Position, Signal};
use funnelweb_factor_live::store::Whole;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

/// What the header calls the format.
pub const FORMAT: &str = "funnelweb-export";
/// Its version; another one is not read.
pub const VERSION: u32 = 1;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The first line, a [`Header`].
    Header,
    /// A [`DocumentRecord`].
    Scenarios,
    /// A [`DocumentRecord`].
    Items,
    /// A [`DocumentRecord`].
    UserProfiles,
    /// A [`DocumentRecord`].
    ModelConfigs,
    /// A [`DocumentRecord`].
    Experiments,
    /// A [`DocumentRecord`].
    Components,
    /// An [`EventRecord`].
    Interactions,
    /// A [`HotRecord`].
    HotItems,
    /// An [`ExposedRecord`].
    Exposed,
    /// A [`StatsRecord`].
    ItemStats,
    /// A [`KeyValueRecord`].
    KeyValues,
    /// The last line, [`crate::Sums`].
    End,
}

impl Kind {
    /// The kinds of records, in the order of a file.
    pub const RECORDS: [Self; 11] = [
        Self::Scenarios,
        Self::Items,
        Self::UserProfiles,
        Self::ModelConfigs,
        Self::Experiments,
        Self::Components,
        Self::Interactions,
        Self::HotItems,
        Self::Exposed,
        Self::ItemStats,
        Self::KeyValues,
    ];

    /// Documents of a collection.
    #[must_use]
    pub fn of(collection: Collection) -> Self {
        match collection {
            Collection::Scenarios => Self::Scenarios,
            Collection::Items => Self::Items,
            Collection::UserProfiles => Self::UserProfiles,
            Collection::ModelConfigs => Self::ModelConfigs,
            Collection::Experiments => Self::Experiments,
            Collection::Components => Self::Components,
        }
    }

    /// What a live structure becomes.
    #[must_use]
    pub fn of_whole(whole: &Whole) -> Self {
        match whole {
            Whole::Hot(_) => Self::HotItems,
            Whole::Exposed(_) => Self::Exposed,
            Whole::Counters(_) => Self::ItemStats,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A line as it stands in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    /// What it is about; a [`Kind`], if it is one that is known.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// The checksum of the record's text.
    #[serde(borrow)]
    pub sum: Cow<'a, str>,
    /// The record.
    #[serde(borrow)]
    pub record: &'a RawValue,
}

/// What the file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Whose data it was.
    pub tenant: String,
    /// When the export began, in RFC 3339.
    pub exported_at: String,
    /// The version of the program that wrote it.
    pub product: String,
    /// The version above which new documents start.
    pub version_floor: u64,
    /// The last offset of the log that was given.
    pub last_offset: u64,
    /// How far those had come that follow the log; none where behaviours changed
    /// everything as they came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<Vec<Position>>,
}

/// A document of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentRecord {
    /// Of its key.
    pub scenario_id: String,
    /// Of its key.
    pub id: String,
    /// What the API's ETag is made of.
    pub version: u64,
    /// With `created_at` and `updated_at`.
    pub body: Value,
}

/// A behaviour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRecord {
    /// Its place in the log.
    pub offset: u64,
    /// Unique.
    pub event_id: String,
    /// Where.
    pub scenario_id: String,
    /// Who.
    pub user_id: String,
    /// On what.
    pub item_id: String,
    /// What.
    pub action_type: String,
    /// When, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// What it says of its item and its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// The event as it was sent.
    pub body: Value,
}

/// An item of a hot list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HotRecord {
    /// Whose list.
    pub scenario_id: String,
    /// Of the list: the time in which a score halves, in seconds.
    pub half_life_s: u32,
    /// Of the list: when its newest weight was given, in milliseconds since 1970.
    pub newest_ms: u64,
    /// The item.
    pub item_id: String,
    /// Its score as of `newest_ms`.
    pub score: f64,
}

/// What a user was shown in a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExposedRecord {
    /// Where.
    pub scenario_id: String,
    /// To whom.
    pub user_id: String,
    /// Items, and until when each counts as shown, in milliseconds since 1970; by
    /// id.
    pub items: Vec<(String, u64)>,
}

/// Counters of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatsRecord {
    /// The item.
    pub item_id: String,
    /// Counters by name.
    pub fields: std::collections::BTreeMap<String, f64>,
}

/// A value of a key-value store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyValueRecord {
    /// Names the store.
    pub label: String,
    /// The key.
    pub key: String,
    /// The value, in base64 (RFC 4648, with padding).
    pub value: String,
}
