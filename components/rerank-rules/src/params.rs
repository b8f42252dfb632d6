//! The stage's params.

use funnelweb_core::{id, limits};
use funnelweb_guest::{
    params,
    types::{ColumnKind, ColumnSpec, ParamError, Requirements},
};
use serde::Deserialize;

use crate::condition::Condition;

/// The most entries of `boost`, `bury` and `filter`, each.
const CONDITIONS: usize = 64;
/// The most entries of `quota` and `dedupe`, each.
const FIELDS: usize = 8;
/// The most positions of a quota's window.
const WINDOW: usize = 100;

/// What people decide; see the crate for the order of application.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// At most 100, each item and each position once.
    pub pin: Vec<Pin>,
    /// At most 64.
    pub boost: Vec<Boost>,
    /// At most 64.
    pub bury: Vec<Selection>,
    /// At most 64.
    pub filter: Vec<Selection>,
    /// At most 8.
    pub quota: Vec<Quota>,
    /// At most 8.
    pub dedupe: Vec<Field>,
}

/// An item at a position.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// It is offered even when no channel recalled it.
    pub item_id: String,
    /// From the top: 1 to 200.
    pub position: usize,
}

/// Items that count more, or less.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boost {
    /// Which.
    #[serde(rename = "where")]
    pub condition: Condition,
    /// 0.001 to 1000.
    pub factor: f32,
}

/// Items to bury or to filter.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Which.
    #[serde(rename = "where")]
    pub condition: Condition,
}

/// So many of one value in so many positions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// A field with one value (of several, the first counts).
    pub field: String,
    /// The most items of one value: 1 to `window`.
    pub max: usize,
    /// In any so many consecutive positions: 2 to 100.
    pub window: usize,
}

/// A field by which items are duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// A field with one value (of several, the first counts).
    pub field: String,
}

impl Params {
    /// Reads and checks params.
    ///
    /// # Errors
    /// With the JSON pointer of the first one that does not fit.
    pub fn parse(params: &str) -> Result<Self, ParamError> {
        let parsed: Self = params::parse(params)?;
        let counts = [
            ("/pin", parsed.pin.len(), limits::STAGE_ITEMS),
            ("/boost", parsed.boost.len(), CONDITIONS),
            ("/bury", parsed.bury.len(), CONDITIONS),
            ("/filter", parsed.filter.len(), CONDITIONS),
            ("/quota", parsed.quota.len(), FIELDS),
            ("/dedupe", parsed.dedupe.len(), FIELDS),
        ];
        for (path, count, most) in counts {
            if count > most {
                return Err(params::refuse(path, format!("must have at most {most} entries, got {count}")));
            }
        }
        parsed.check_pins()?;
        for (path, condition) in parsed.conditions() {
            condition.check(&path)?;
        }
        for (at, boost) in parsed.boost.iter().enumerate() {
            params::check_range(&format!("/boost/{at}/factor"), boost.factor, 0.001..=1000.0)?;
        }
        for (at, quota) in parsed.quota.iter().enumerate() {
            params::check_field(&format!("/quota/{at}/field"), &quota.field)?;
            params::check_range(&format!("/quota/{at}/window"), quota.window, 2..=WINDOW)?;
            params::check_range(&format!("/quota/{at}/max"), quota.max, 1..=quota.window)?;
        }
        for (at, dedupe) in parsed.dedupe.iter().enumerate() {
            params::check_field(&format!("/dedupe/{at}/field"), &dedupe.field)?;
        }
        let columns = parsed.requirements().columns.len();
        if columns > limits::STAGE_COLUMNS {
            let message = format!("may use at most {} item fields, got {columns}", limits::STAGE_COLUMNS);
            return Err(params::refuse("", message));
        }
        Ok(parsed)
    }

    fn check_pins(&self) -> Result<(), ParamError> {
        for (at, pin) in self.pin.iter().enumerate() {
            let path = |name| format!("/pin/{at}/{name}");
            id::check(&pin.item_id).map_err(|error| params::refuse(path("item_id"), error.to_string()))?;
            params::check_range(&path("position"), pin.position, 1..=limits::COUNT as usize)?;
            for earlier in self.pin.iter().take(at) {
                if earlier.item_id == pin.item_id {
                    return Err(params::refuse(path("item_id"), format!("`{}` is pinned twice", pin.item_id)));
                }
                if earlier.position == pin.position {
                    return Err(params::refuse(path("position"), format!("{} is taken already", pin.position)));
                }
            }
        }
        Ok(())
    }

    /// All conditions with their paths.
    fn conditions(&self) -> impl Iterator<Item = (String, &Condition)> {
        let path = |list: &str, at: usize| format!("/{list}/{at}/where");
        let filter = self.filter.iter().enumerate().map(move |(at, it)| (path("filter", at), &it.condition));
        let boost = self.boost.iter().enumerate().map(move |(at, it)| (path("boost", at), &it.condition));
        let bury = self.bury.iter().enumerate().map(move |(at, it)| (path("bury", at), &it.condition));
        filter.chain(boost).chain(bury)
    }

    /// The columns of all fields named, and the pinned items.
    #[must_use]
    pub fn requirements(&self) -> Requirements {
        let mut columns: Vec<ColumnSpec> = Vec::new();
        let conditions = self.conditions().map(|(_, condition)| (&condition.field, condition.kind()));
        let fields = self.quota.iter().map(|quota| &quota.field).chain(self.dedupe.iter().map(|dedupe| &dedupe.field));
        for (name, kind) in conditions.chain(fields.map(|field| (field, ColumnKind::Categorical))) {
            if !columns.iter().any(|column| column.kind == kind && column.name == *name) {
                columns.push(ColumnSpec { name: name.clone(), kind });
            }
        }
        let items = self.pin.iter().map(|pin| id::handle(&pin.item_id)).collect();
        Requirements { columns, items, ..Requirements::none() }
    }
}
