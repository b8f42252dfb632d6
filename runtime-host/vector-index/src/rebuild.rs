//! Building the next base while the index is in use.

use std::sync::{Arc, PoisonError};

use funnelweb_core::handles::HandleSet;

use crate::{
    Index,
    base::Base,
    bits::Bits,
    index::Plan,
    limits::{DEAD_PART, FRESH_PART, GROWTH, MIN_FRESH},
    rows::Rows,
    state::{Current, Settled, State},
};

/// Changes taken over from one state to the next while nothing else can happen.
const AT_ONCE: usize = 512;

/// What is to be done with a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// A graph over all rows is built from nothing.
    Build,
    /// Fresh rows are inserted into the graph.
    Extend,
    /// All rows become fresh ones: there are too few for a graph.
    Flatten,
}

impl Index {
    /// Whether [`Index::rebuild`] has something to do: queries slow down, slowly, with
    /// what was added or deleted since.
    #[must_use]
    pub fn rebuild_due(&self) -> bool {
        due(&self.read().state, self.plan).is_some()
    }

    /// Brings the index into the shape in which queries are fastest, if it is not: builds
    /// a graph or inserts into it what came since, and frees what was deleted.
    ///
    /// It takes long, on as many threads as planned, and about as much memory again.
    /// Meanwhile the index is queried and changed as ever. Another rebuild waits.
    pub fn rebuild(&self) {
        let _one = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let (work, state) = {
            let mut current = self.write();
            let Some(work) = due(&current.state, self.plan) else { return };
            current.changed = Some(HandleSet::default());
            (work, current.state.clone())
        };
        let mut next = self.carry_out(work, &state);
        drop(state);
        while !self.catch_up(&mut next) {}
    }

    fn carry_out(&self, work: Work, state: &State) -> Current {
        let threads = self.plan.threads;
        match (work, &state.settled) {
            (Work::Extend, Some(Settled { base, dead })) => {
                let (base, dead) = base.extended(dead, state.fresh.rows(), threads);
                Current::new(self.space(), Some(Settled { base: Arc::new(base), dead }))
            }
            (Work::Flatten, _) => {
                let mut next = Current::new(self.space(), None);
                state.rows().for_each(|(rows, slot)| next.put(rows, slot));
                next
            }
            _ => {
                let mut ordered: Vec<(&Rows, usize)> = state.rows().collect();
                ordered.sort_by_cached_key(|(rows, slot)| Base::order(rows.handle(*slot)));
                let mut rows = Rows::with_capacity(self.space(), ordered.len());
                ordered.into_iter().for_each(|(other, slot)| rows.push_row(other, slot));
                let dead = Bits::none(rows.len());
                let base = Arc::new(Base::build(rows, threads));
                Current::new(self.space(), Some(Settled { base, dead }))
            }
        }
    }

    /// Makes changes in `next` that were made here since it was begun; once none is left,
    /// puts it in place.
    fn catch_up(&self, next: &mut Current) -> bool {
        let mut current = self.write();
        let Some(changed) = &mut current.changed else { return true };
        let some: Vec<u64> = changed.iter().copied().take(AT_ONCE).collect();
        some.iter().for_each(|handle| {
            changed.remove(handle);
        });
        let last = changed.is_empty();
        for handle in some {
            match current.find(handle) {
                Some((rows, slot)) => next.put(rows, slot),
                None => {
                    next.remove(handle);
                }
            }
        }
        if !last {
            return false;
        }
        let before = std::mem::replace(&mut *current, std::mem::replace(next, Current::new(self.space(), None)));
        drop(current);
        // Freeing it takes a while.
        drop(before);
        true
    }
}

/// What is to be done with `state`, if anything.
fn due(state: &State, plan: Plan) -> Option<Work> {
    let len = state.len();
    let Some(Settled { base, dead }) = &state.settled else {
        return (len >= plan.graph_from).then_some(Work::Build);
    };
    if len < plan.graph_from / 2 {
        return Some(Work::Flatten);
    }
    let (rows, fresh) = (base.rows().len(), state.fresh.len());
    if dead.count() > (rows / DEAD_PART).max(MIN_FRESH) {
        return Some(Work::Build);
    }
    if fresh <= (rows / FRESH_PART).max(MIN_FRESH) {
        return None;
    }
    Some(if rows + fresh > base.built() * GROWTH { Work::Build } else { Work::Extend })
}
