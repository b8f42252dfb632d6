//! The steps, in their order.

use std::collections::BTreeSet;

use funnelweb_core::id;
use funnelweb_guest::{
    order,
    places::{self, Place},
    rerank::{RerankRequest, Reranked},
    table::Categorical,
    types::{Handle, StageError, Table},
};

use crate::{
    condition::Matcher,
    params::{Field, Params, Selection},
    quota,
};

/// The list after all of the params; see the crate for their order.
///
/// # Errors
/// `invalid-input` for params that do not fit, or lists of different lengths.
pub fn rerank(request: &RerankRequest) -> Result<Reranked, StageError> {
    let params = Params::parse(&request.params)?;
    let items = &request.items;
    let mut list = places::read(request)?;
    let mut removed = Vec::new();

    filter(&mut list, &matchers(&params.filter, items), &mut removed);
    boost(&mut list, &params, items);
    let pins = take_pins(&mut list, &params);
    let (buried, list) = split(list, &matchers(&params.bury, items));
    let mut seen = Seen::of(&params.dedupe, items, &pins);
    let list = dedupe(list, &mut seen, &mut removed);
    let buried = dedupe(buried, &mut seen, &mut removed);
    let top = (2 * request.context.count as usize).max(50);
    let list = quota::arrange(list, buried, &pins, &quota::Limits { quotas: &params.quota, items, top });
    Ok(places::redeal(&list, removed))
}

fn matchers<'a>(selections: &[Selection], items: &'a Table) -> Vec<Matcher<'a>> {
    selections.iter().map(|selection| selection.condition.over(items)).collect()
}

fn any(matchers: &[Matcher<'_>], place: &Place) -> bool {
    matchers.iter().any(|matcher| matcher.matches(place.row))
}

fn filter(list: &mut Vec<Place>, filters: &[Matcher<'_>], removed: &mut Vec<Handle>) {
    list.retain(|place| {
        let remove = any(filters, place);
        if remove {
            removed.push(place.handle);
        }
        !remove
    });
}

fn boost(list: &mut [Place], params: &Params, items: &Table) {
    for boost in &params.boost {
        let matcher = boost.condition.over(items);
        for place in list.iter_mut().filter(|place| matcher.matches(place.row)) {
            let score = if place.score < 0.0 { place.score / boost.factor } else { place.score * boost.factor };
            place.score = score.clamp(f32::MIN, f32::MAX);
        }
    }
    // Stable: equals keep their order.
    list.sort_by(|one, other| order::descending(one.score, other.score));
}

/// Takes the pinned items out; with their positions from 0, ascending.
fn take_pins(list: &mut Vec<Place>, params: &Params) -> Vec<(usize, Place)> {
    let mut pins: Vec<(usize, Place)> = Vec::new();
    for pin in &params.pin {
        let handle = id::handle(&pin.item_id);
        if let Some(at) = list.iter().position(|place| place.handle == handle) {
            pins.push((pin.position - 1, list.remove(at)));
        }
    }
    pins.sort_by_key(|(position, _)| *position);
    pins
}

/// Parts the places that match from the others.
fn split(list: Vec<Place>, matchers: &[Matcher<'_>]) -> (Vec<Place>, Vec<Place>) {
    list.into_iter().partition(|place| any(matchers, place))
}

/// Removes from the list what has a value of a field that an item before it, or
/// a pinned one, has.
fn dedupe(mut list: Vec<Place>, seen: &mut [Seen<'_>], removed: &mut Vec<Handle>) -> Vec<Place> {
    list.retain(|place| {
        let first = seen.iter().all(|seen| !seen.has(place.row));
        if first {
            seen.iter_mut().for_each(|seen| seen.add(place.row));
        } else {
            removed.push(place.handle);
        }
        first
    });
    list
}

/// The values of a field met so far.
struct Seen<'a> {
    column: Option<Categorical<'a>>,
    values: BTreeSet<u32>,
}

impl<'a> Seen<'a> {
    fn of(fields: &[Field], items: &'a Table, pins: &[(usize, Place)]) -> Vec<Self> {
        let mut seen: Vec<Self> = fields
            .iter()
            .map(|field| Self { column: items.categorical_column(&field.field), values: BTreeSet::new() })
            .collect();
        for (_, pin) in pins {
            seen.iter_mut().for_each(|seen| seen.add(pin.row));
        }
        seen
    }

    /// 0 for none.
    fn value(&self, row: usize) -> u32 {
        self.column.map_or(0, |column| column.get(row))
    }

    fn has(&self, row: usize) -> bool {
        let value = self.value(row);
        value != 0 && self.values.contains(&value)
    }

    fn add(&mut self, row: usize) {
        self.values.insert(self.value(row));
    }
}
