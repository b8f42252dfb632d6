//! Lists of neighbours.

use crate::error::{Error, Result, check, check_finite, check_length};

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

    /// The same neighbours with every row's scores divided by a power of their sum,
    ///
    /// ```text
    /// s'_ij = s_ij / (Σ_k |s_ik|)^γ
    /// ```
    ///
    /// Each item of a history has as much say as any other with γ = 1, whether it has
    /// many similar ones or few (Deshpande and Karypis, "Item-Based Top-N
    /// Recommendation Algorithms", ACM TOIS 22(1), 2004); with 0 nothing changes, and
    /// 0.25 to 0.5 is often better than both. The order within a row stays.
    ///
    /// # Errors
    /// [`Error::Setting`] when `exponent`, γ, is not within 0 to 1.
    pub fn normalised(mut self, exponent: f32) -> Result<Self> {
        check("exponent", "0 to 1", exponent.into(), (0.0..=1.0).contains(&exponent))?;
        for range in self.offsets.windows(2) {
            let &[start, end] = range else { continue };
            let scores = self.scores.get_mut(start..end).unwrap_or_default();
            // In f64: neither sums of the largest scores nor of the smallest are lost.
            let sum: f64 = scores.iter().map(|&score| f64::from(score).abs()).sum();
            if sum > 0.0 {
                let by = sum.powf(exponent.into());
                scores.iter_mut().for_each(|score| *score = (f64::from(*score) / by) as f32);
            }
        }
        Ok(self)
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

    #[test]
    fn normalised_rows_have_the_same_say() {
        let neighbours = || Neighbours::new(vec![0, 2, 2, 3], vec![1, 2, 0], vec![3.0, 1.0, 16.0]).unwrap();
        assert_eq!(neighbours().normalised(0.0).unwrap(), neighbours());
        assert_eq!(neighbours().normalised(0.5).unwrap().parts().2, [1.5, 0.5, 4.0]);
        assert_eq!(neighbours().normalised(1.0).unwrap().parts().2, [0.75, 0.25, 1.0]);
        for exponent in [-0.1, 1.1, f32::NAN] {
            let error = neighbours().normalised(exponent).unwrap_err();
            assert!(error.to_string().starts_with("exponent must be 0 to 1"), "{error}");
        }
    }

    #[test]
    fn normalised_scores_are_finite_whatever_they_were() {
        for scores in [[f32::MAX, f32::MAX], [f32::from_bits(1), f32::from_bits(1)], [0.0, 0.0], [2.0, -2.0]] {
            for exponent in [0.0, 0.5, 1.0] {
                let row = Neighbours::new(vec![0, 2], vec![1, 2], scores.to_vec()).unwrap();
                let row = row.normalised(exponent).unwrap();
                assert!(row.parts().2.iter().all(|score| score.is_finite()), "{scores:?} {exponent}");
            }
        }
    }
}
