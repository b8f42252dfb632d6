//! The small part of an index: rows that came since the base was built, or all while
//! there are too few for a graph.
#![allow(clippy::indexing_slicing, reason = "callers stay below `len`; all chunks but the last are full")]

use std::sync::Arc;

use crate::{
    limits::CHUNK_ROWS,
    rows::{Query, Rows},
    scan::scan,
    sieve::Sieve,
    space::Space,
};

/// Rows in chunks: a copy shares them, and a change copies one.
#[derive(Debug, Clone)]
pub(crate) struct Fresh {
    space: Space,
    chunks: Vec<Arc<Rows>>,
}

impl Fresh {
    pub fn new(space: Space) -> Self {
        Self { space, chunks: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK_ROWS + last.len())
    }

    /// The row at a place, as that of a chunk.
    pub fn row(&self, at: usize) -> (&Rows, usize) {
        (&self.chunks[at / CHUNK_ROWS], at % CHUNK_ROWS)
    }

    /// All rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (&Rows, usize)> {
        (0..self.len()).map(|at| self.row(at))
    }

    /// Adds a row of `rows` at the end.
    pub fn push(&mut self, rows: &Rows, slot: usize) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK_ROWS => Arc::make_mut(last).push_row(rows, slot),
            _ => {
                let mut chunk = Rows::with_capacity(self.space, CHUNK_ROWS);
                chunk.push_row(rows, slot);
                self.chunks.push(Arc::new(chunk));
            }
        }
    }

    /// Puts a row of `rows` in place of the one at `at`.
    pub fn set(&mut self, at: usize, rows: &Rows, slot: usize) {
        Arc::make_mut(&mut self.chunks[at / CHUNK_ROWS]).set_row(at % CHUNK_ROWS, rows, slot);
    }

    /// Takes the row at `at` away; the last one comes in its place.
    pub fn swap_remove(&mut self, at: usize) {
        if let Some(last) = self.chunks.last().cloned() {
            self.set(at, &last, last.len() - 1);
            if last.len() == 1 {
                self.chunks.pop();
            } else if let Some(chunk) = self.chunks.last_mut() {
                drop(last);
                Arc::make_mut(chunk).pop();
            }
        }
    }

    /// Puts into `sieve` the places of rows that may be among the best, `offset` added.
    pub fn scan(&self, offset: usize, query: &Query, sieve: &mut Sieve, allows: impl Fn(u64) -> bool) {
        for (at, chunk) in self.chunks.iter().enumerate() {
            scan(chunk, offset + at * CHUNK_ROWS, query, sieve, |_| u64::MAX, |slot| allows(chunk.handle(slot)));
        }
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.memory_bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metric;

    #[test]
    fn rows_are_added_replaced_and_taken_away() {
        let space = Space::new(1, Metric::InnerProduct).unwrap();
        let mut given = Rows::new(space);
        (1..=600).for_each(|at| given.push(at, &[at as f32], at as f32));
        let mut fresh = Fresh::new(space);
        (0..600).for_each(|slot| fresh.push(&given, slot));
        let before = fresh.clone();
        fresh.set(300, &given, 0);
        fresh.swap_remove(0);
        fresh.swap_remove(598);
        let handles = |fresh: &Fresh| fresh.rows().map(|(rows, slot)| rows.handle(slot)).collect::<Vec<_>>();
        let mut expected: Vec<u64> = (1..=598).collect();
        (expected[0], expected[300]) = (600, 1);
        assert_eq!(handles(&fresh), expected);
        assert_eq!(handles(&before), (1..=600).collect::<Vec<_>>());
        (0..598).for_each(|_| fresh.swap_remove(0));
        assert_eq!(fresh.len(), 0);
    }
}
