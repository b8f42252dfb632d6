//! Lists of many rows, one after the other.

use crate::format::{Error, Reader, Writer};

/// A list for every row: ids, best first, and their scores.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Where each list begins, and where the last one ends.
    pub offsets: Vec<u32>,
    /// Of all lists.
    pub ids: Vec<u32>,
    /// Finite.
    pub scores: Vec<f32>,
}

impl Table {
    /// So many lists with nothing in them.
    #[must_use]
    pub fn empty(rows: usize) -> Self {
        Self { offsets: vec![0; rows + 1], ..Self::default() }
    }

    pub(crate) fn check(&self, rows: usize, columns: usize) -> Result<(), Error> {
        let sound = self.offsets.len() == rows + 1
            && self.offsets.first() == Some(&0)
            && self.offsets.is_sorted()
            && self.offsets.last().is_some_and(|last| *last as usize == self.ids.len())
            && self.scores.len() == self.ids.len()
            && self.ids.iter().fold(true, |all, id| all & ((*id as usize) < columns));
        if sound { Ok(()) } else { Err(Error::Parts("its lists")) }
    }

    pub(crate) fn range(&self, row: u32, limit: usize) -> std::ops::Range<usize> {
        let row = row as usize;
        match (self.offsets.get(row), self.offsets.get(row + 1)) {
            (Some(&start), Some(&end)) => start as usize..(end as usize).min((start as usize).saturating_add(limit)),
            _ => 0..0,
        }
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.u32s(&self.offsets);
        to.u32s(&self.ids);
        to.f32s(&self.scores);
    }

    pub(crate) fn read(from: &mut Reader<'_>, rows: usize, entries: usize) -> Result<Self, Error> {
        let offsets = from.u32s(rows.checked_add(1).ok_or(Error::Parts("its lengths"))?)?;
        Ok(Self { offsets, ids: from.u32s(entries)?, scores: from.f32s(entries)? })
    }

    pub(crate) fn bytes(&self) -> usize {
        4 * (self.offsets.len() + self.ids.len() + self.scores.len())
    }
}
