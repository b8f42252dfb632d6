//! The final order: pins at their positions, quotas kept around them.

use std::collections::VecDeque;

use funnelweb_guest::{places::Place, table::Categorical, types::Table};

use crate::params::Quota;

/// What bounds the order.
pub struct Limits<'a> {
    /// All of them hold at once.
    pub quotas: &'a [Quota],
    /// The columns they read.
    pub items: &'a Table,
    /// The positions from the top for which they hold; bounds the work to
    /// O(top · list).
    pub top: usize,
}

/// The list with its pins (positions from 0, ascending, each once), the quotas
/// kept as well as picking the first that fits can, then the buried.
pub fn arrange(list: Vec<Place>, buried: Vec<Place>, pins: &[(usize, Place)], limits: &Limits<'_>) -> Vec<Place> {
    let count = list.len() + buried.len() + pins.len();
    let mut slots: Vec<Option<Place>> = vec![None; count];
    // From the last: what is pinned behind the end moves up to it, before those
    // that are pinned behind the end too.
    let mut end = count;
    for (position, place) in pins.iter().rev() {
        end = (*position).min(end.saturating_sub(1));
        if let Some(slot) = slots.get_mut(end) {
            *slot = Some(*place);
        }
    }

    let mut windows: Vec<Window<'_>> =
        limits.quotas.iter().map(|quota| Window::of(quota, limits.items, &slots)).collect();
    let mut list = VecDeque::from(list);
    let mut buried = buried.into_iter();
    for (position, slot) in slots.iter_mut().enumerate() {
        if slot.is_some() {
            continue;
        }
        let fits = if position < limits.top { first_that_fits(&list, &windows, position) } else { 0 };
        *slot = list.remove(fits).or_else(|| buried.next());
        if let Some(place) = slot {
            windows.iter_mut().for_each(|window| window.set(position, place));
        }
    }
    slots.into_iter().flatten().collect()
}

/// The place in `list` of the first item that no quota forbids; 0 when there is
/// none.
fn first_that_fits(list: &VecDeque<Place>, windows: &[Window<'_>], position: usize) -> usize {
    if windows.is_empty() {
        return 0;
    }
    let full: Vec<(&Window<'_>, Vec<u32>)> = windows.iter().map(|window| (window, window.full_at(position))).collect();
    let fits = |place: &Place| full.iter().all(|(window, values)| !values.contains(&window.value(place)));
    list.iter().position(fits).unwrap_or(0)
}

/// A quota with the values that stand at the positions filled so far.
struct Window<'a> {
    quota: &'a Quota,
    column: Option<Categorical<'a>>,
    /// By position; 0 for none.
    values: Vec<u32>,
}

impl<'a> Window<'a> {
    fn of(quota: &'a Quota, items: &'a Table, slots: &[Option<Place>]) -> Self {
        let mut window = Self { quota, column: items.categorical_column(&quota.field), values: vec![0; slots.len()] };
        for (position, place) in slots.iter().enumerate() {
            if let Some(place) = place {
                window.set(position, place);
            }
        }
        window
    }

    fn value(&self, place: &Place) -> u32 {
        self.column.map_or(0, |column| column.get(place.row))
    }

    fn set(&mut self, position: usize, place: &Place) {
        let value = self.value(place);
        if let Some(at) = self.values.get_mut(position) {
            *at = value;
        }
    }

    /// The values of which one more at `position` would break the quota in some
    /// window around it. Behind `position` only pins are there yet.
    fn full_at(&self, position: usize) -> Vec<u32> {
        let window = self.quota.window;
        let from = (position + 1).saturating_sub(window);
        let to = (position + window).min(self.values.len());
        let near = self.values.get(from..to).unwrap_or_default();
        let mut values: Vec<u32> = near.iter().copied().filter(|value| *value != 0).collect();
        values.sort_unstable();
        let runs = values.chunk_by(|one, other| one == other).filter(|run| run.len() >= self.quota.max);
        // Every window of full length within `near` holds `position`.
        let most = |value| near.windows(window.min(near.len())).map(|it| count(it, value)).max().unwrap_or(0);
        runs.filter_map(|run| run.first().copied()).filter(|value| most(*value) >= self.quota.max).collect()
    }
}

fn count(values: &[u32], value: u32) -> usize {
    values.iter().filter(|other| **other == value).count()
}
