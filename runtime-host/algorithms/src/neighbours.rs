//! Lists of neighbours.

use crate::error::{Error, Result, check_finite, check_length};

/// For every row (item or user) those most like it, best first and equal scores by
/// id; nothing is its own neighbour.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// Where each row starts in the lists below, and where the last one ends.
    offsets: Vec<usize>,
    ids: Vec<u32>,
    scores: Vec<f32>,
}

impl Neighbours {
    /// Neighbours from where they are stored: `offsets` has one more value than there
    /// are rows, ids and scores are those of all rows.
    ///
    /// # Errors
    /// [`Error::Shape`] when the offsets are not ascending from 0 to the length of
    /// both lists, [`Error::NotFinite`] when a score is not finite.
    pub fn new(offsets: Vec<usize>, ids: Vec<u32>, scores: Vec<f32>) -> Result<Self> {
        check_length("the scores", scores.len(), ids.len())?;
        check_length("the neighbours", ids.len(), offsets.last().copied().unwrap_or_default())?;
        if offsets.first() != Some(&0) || !offsets.is_sorted() {
            return Err(Error::Shape { what: "the offsets", found: 0, expected: offsets.len() });
        }
        check_finite("the scores", &scores)?;
        Ok(Self { offsets, ids, scores })
    }

    #[cfg(feature = "train")]
    pub(crate) fn from_rows(rows: impl Iterator<Item = crate::top::Ranked>) -> Self {
        let mut all = Self { offsets: vec![0], ids: Vec::new(), scores: Vec::new() };
        for crate::top::Ranked { ids, scores } in rows {
            all.ids.extend(ids);
            all.scores.extend(scores);
            all.offsets.push(all.ids.len());
        }
        all
    }

    /// How many rows there are, those without neighbours included.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.offsets.len().saturating_sub(1) as u32
    }

    /// The neighbours of a row and their scores; both empty for a row that has none
    /// or that there is not.
    #[must_use]
    pub fn row(&self, row: u32) -> (&[u32], &[f32]) {
        let row = row as usize;
        let range = match (self.offsets.get(row), self.offsets.get(row + 1)) {
            (Some(&start), Some(&end)) => start..end,
            _ => 0..0,
        };
        (self.ids.get(range.clone()).unwrap_or_default(), self.scores.get(range).unwrap_or_default())
    }

    /// Offsets, ids and scores, as [`new`](Self::new) takes them.
    #[must_use]
    pub fn parts(&self) -> (&[usize], &[u32], &[f32]) {
        (&self.offsets, &self.ids, &self.scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_checked() {
        let neighbours = Neighbours::new(vec![0, 1, 1], vec![7], vec![0.5]).unwrap();
        assert_eq!((neighbours.rows(), neighbours.row(0).0, neighbours.row(1).0), (2, &[7][..], &[][..]));
        assert_eq!(neighbours.row(9).0, [0_u32; 0]);
        assert!(Neighbours::new(vec![0, 2], vec![7], vec![0.5]).is_err());
        assert!(Neighbours::new(vec![0, 3, 1], vec![7], vec![0.5]).is_err());
        assert!(Neighbours::new(vec![1, 1], vec![7], vec![0.5]).is_err());
        assert!(Neighbours::new(vec![], vec![], vec![]).is_err());
        assert!(Neighbours::new(vec![0, 1], vec![7], vec![f32::NAN]).is_err());
    }
}
