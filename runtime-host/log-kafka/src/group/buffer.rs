//! The memory of records that were fetched and not taken.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::StoredRecord;

/// Counts bytes that are held.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// A record, and what it takes of its member's memory and its partition's share.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) record: StoredRecord,
    _held: Holds,
}

impl Taken {
    pub(super) fn new(record: StoredRecord, of: [&Held; 2]) -> Self {
        let bytes = record.record.bytes();
        let of = of.map(|held| {
            held.0.fetch_add(bytes, Ordering::AcqRel);
            held.clone()
        });
        Self { record, _held: Holds { of, bytes } }
    }
}

#[derive(Debug)]
struct Holds {
    of: [Held; 2],
    bytes: usize,
}

impl Drop for Holds {
    fn drop(&mut self) {
        for held in &self.of {
            held.0.fetch_sub(self.bytes, Ordering::AcqRel);
        }
    }
}
