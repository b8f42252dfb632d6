//! What is in an index at a moment.

use std::sync::Arc;

use funnelweb_core::handles::{HandleMap, HandleSet};

use crate::{
    Filter, Hit,
    base::Base,
    bits::Bits,
    fresh::Fresh,
    rows::{Query, Rows},
    sieve::Sieve,
    space::Space,
};

/// What a query reads. A copy shares all but what changes.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub settled: Option<Settled>,
    pub fresh: Fresh,
}

/// A base, of which not all rows count any more.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub base: Arc<Base>,
    /// The slots of what was deleted, or replaced by a fresh row.
    pub dead: Bits,
}

/// What changes are made to.
#[derive(Debug)]
pub(crate) struct Current {
    pub state: Arc<State>,
    /// The places of fresh rows.
    places: HandleMap<u32>,
    /// While the next base is built: what changed since it was begun.
    pub changed: Option<HandleSet>,
}

impl State {
    pub fn len(&self) -> usize {
        self.settled.as_ref().map_or(0, Settled::live) + self.fresh.len()
    }

    /// The base's [`Base::id`].
    pub fn base_id(&self) -> Option<u64> {
        self.settled.as_ref().map(|settled| settled.base.id())
    }

    /// All rows that count.
    pub fn rows(&self) -> impl Iterator<Item = (&Rows, usize)> {
        let settled = self.settled.iter().flat_map(|Settled { base, dead }| {
            (0..base.rows().len()).filter(|slot| !dead.contains(*slot)).map(|slot| (base.rows(), slot))
        });
        settled.chain(self.fresh.rows())
    }

    /// The best `k` that `filter` allows, the best first and equals by handle.
    pub fn query(&self, query: &Query, k: usize, filter: Option<&Filter>) -> Vec<Hit> {
        let mut hits = Vec::new();
        if let Some(Settled { base, dead }) = &self.settled {
            let allowed = filter.map(|filter| filter.allowed(base));
            hits = base.best(query, k, dead, allowed.as_deref());
            keep_best(&mut hits, k);
        }
        let floor = hits.get(k - 1).map_or(f32::NEG_INFINITY, |hit| hit.score);
        let mut sieve = Sieve::new(k, floor);
        self.fresh.scan(0, query, &mut sieve, |handle| filter.is_none_or(|filter| filter.allows(handle)));
        hits.extend(sieve.finish().map(|at| {
            let (rows, slot) = self.fresh.row(at as usize);
            Hit { handle: rows.handle(slot), score: rows.score(slot, query) }
        }));
        keep_best(&mut hits, k);
        hits
    }
}

/// Sorts by score, then by handle, and leaves the best `k`.
fn keep_best(hits: &mut Vec<Hit>, k: usize) {
    hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.handle.cmp(&b.handle)));
    hits.truncate(k);
}

impl Settled {
    /// Rows that count.
    pub fn live(&self) -> usize {
        self.base.rows().len() - self.dead.count()
    }

    fn find(&self, handle: u64) -> Option<usize> {
        self.base.find(handle).filter(|slot| !self.dead.contains(*slot))
    }
}

impl Current {
    pub fn new(space: Space, settled: Option<Settled>) -> Self {
        let state = State { settled, fresh: Fresh::new(space) };
        Self { state: Arc::new(state), places: HandleMap::default(), changed: None }
    }

    /// The row of a handle.
    pub fn find(&self, handle: u64) -> Option<(&Rows, usize)> {
        if let Some(place) = self.places.get(&handle) {
            return Some(self.state.fresh.row(*place as usize));
        }
        let settled = self.state.settled.as_ref()?;
        Some((settled.base.rows(), settled.find(handle)?))
    }

    /// Takes over a row, in place of the one that its handle has.
    pub fn put(&mut self, rows: &Rows, slot: usize) {
        let handle = rows.handle(slot);
        self.note(handle);
        let state = Arc::make_mut(&mut self.state);
        if let Some(place) = self.places.get(&handle) {
            state.fresh.set(*place as usize, rows, slot);
            return;
        }
        state.bury(handle);
        self.places.insert(handle, state.fresh.len() as u32);
        state.fresh.push(rows, slot);
    }

    /// Whether there was a row of this handle; there is none now.
    pub fn remove(&mut self, handle: u64) -> bool {
        let place = self.places.remove(&handle);
        if place.is_none() && self.find(handle).is_none() {
            return false;
        }
        self.note(handle);
        let state = Arc::make_mut(&mut self.state);
        let Some(place) = place else {
            return state.bury(handle);
        };
        let (last, slot) = state.fresh.row(state.fresh.len() - 1);
        let last = last.handle(slot);
        if last != handle {
            self.places.insert(last, place);
        }
        state.fresh.swap_remove(place as usize);
        true
    }

    fn note(&mut self, handle: u64) {
        if let Some(changed) = &mut self.changed {
            changed.insert(handle);
        }
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let settled = self.state.settled.as_ref();
        let settled = settled.map_or(0, |settled| settled.base.memory_bytes() + settled.dead.memory_bytes());
        // A place has a byte more in a map.
        let places = self.places.capacity() * (size_of::<(u64, u32)>() + 1);
        settled + self.state.fresh.memory_bytes() + places
    }
}

impl State {
    /// Counts a row of the base no longer, if there is one.
    fn bury(&mut self, handle: u64) -> bool {
        let Some(settled) = &mut self.settled else { return false };
        settled.find(handle).is_some_and(|slot| settled.dead.insert(slot))
    }
}
