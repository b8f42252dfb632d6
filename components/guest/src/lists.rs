//! Reading what `learned` and `vectors` answer.

use crate::{learned::Lists, types::Handle, vectors::Rows};

impl Lists {
    /// The entries of the list of the handle that was asked for at this place;
    /// none beyond the last.
    pub fn list(&self, at: usize) -> impl Iterator<Item = (Handle, f32)> {
        let range = match self.offsets.get(at..at.saturating_add(2)) {
            Some(&[from, to]) => from as usize..to as usize,
            _ => 0..0,
        };
        let handles = self.handles.get(range.clone()).unwrap_or_default();
        let scores = self.scores.get(range).unwrap_or_default();
        handles.iter().copied().zip(scores.iter().copied())
    }
}

impl Rows {
    /// How many values a vector has; 0 when none was found, or when the answer is
    /// not whole rows.
    #[must_use]
    pub fn dimension(&self) -> usize {
        match self.found.len() {
            0 => 0,
            rows if self.values.len().is_multiple_of(rows) => self.values.len() / rows,
            _ => 0,
        }
    }

    /// The place of each vector's handle in the question, and the vector.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let rows = self.values.chunks_exact(self.dimension().max(1));
        self.found.iter().map(|at| *at as usize).zip(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_by_place() {
        let lists = Lists { offsets: vec![0, 2, 2, 3], handles: vec![7, 8, 9], scores: vec![0.5, 0.25, 1.0] };
        let of = |at: usize| lists.list(at).collect::<Vec<_>>();
        assert_eq!(of(0), [(7, 0.5), (8, 0.25)]);
        assert_eq!((of(1), of(2)), (vec![], vec![(9, 1.0)]));
        assert_eq!((of(3), of(usize::MAX)), (vec![], vec![]));
        let broken = Lists { offsets: vec![0, 9], handles: vec![7], scores: vec![1.0] };
        assert_eq!(broken.list(0).count(), 0);
    }

    #[test]
    fn rows_know_their_places() {
        let rows = Rows { found: vec![1, 3], values: vec![1.0, 2.0, 3.0, 4.0] };
        assert_eq!(rows.dimension(), 2);
        assert_eq!(rows.iter().collect::<Vec<_>>(), [(1, &[1.0, 2.0][..]), (3, &[3.0, 4.0][..])]);
        assert_eq!(Rows { found: vec![], values: vec![] }.iter().count(), 0);
        assert_eq!(Rows { found: vec![0, 1], values: vec![1.0] }.dimension(), 0);
    }
}
