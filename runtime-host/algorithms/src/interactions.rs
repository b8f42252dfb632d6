//! Who did something with what: a sparse matrix of weights.

use crate::{
    error::{Error, Result},
    limits::MAX_WEIGHT,
};

/// A sparse matrix with a weight above zero for every pair that interacted, by rows
/// (CSR). Rows are users and columns items, until it is [transposed].
///
/// Within a row, columns are ascending and occur once; weights are finite, above
/// zero and at most [`MAX_WEIGHT`].
///
/// ```
/// use funnelweb_algorithms::Interactions;
///
/// let clicks = Interactions::from_triples(2, 3, [(0, 2, 1.0), (1, 0, 1.0), (0, 2, 0.5)])?;
/// assert_eq!(clicks.row(0), (&[2][..], &[1.5][..]));
/// assert_eq!(clicks.transpose().row(2), (&[0][..], &[1.5][..]));
/// # Ok::<(), funnelweb_algorithms::Error>(())
/// ```
///
/// [transposed]: Interactions::transpose
#[derive(Debug, Clone, PartialEq)]
pub struct Interactions {
    columns: u32,
    /// Where each row starts in the lists below, and where the last one ends.
    offsets: Vec<usize>,
    ids: Vec<u32>,
    weights: Vec<f32>,
}

impl Interactions {
    /// A matrix of `rows` × `columns` from triples of row, column and weight, in any
    /// order.
    ///
    /// The weights of one pair are summed; a pair whose sum is not above zero is
    /// left out (a dislike of −1 takes back a click of 1, and more is not learned
    /// from it), and one whose sum is above [`MAX_WEIGHT`] counts as that.
    ///
    /// # Errors
    /// [`Error::Outside`] when a row or column is out of range, [`Error::Weight`]
    /// when a weight is NaN or infinite.
    pub fn from_triples(rows: u32, columns: u32, triples: impl IntoIterator<Item = (u32, u32, f32)>) -> Result<Self> {
        let triples: Vec<(u32, u32, f32)> = triples.into_iter().collect();
        for &(row, column, weight) in &triples {
            if row >= rows || column >= columns {
                return Err(Error::Outside { row, column, rows, columns });
            }
            if !weight.is_finite() {
                return Err(Error::Weight { row, column });
            }
        }
        let mut triples = triples;
        // Stable, so that the sums do not depend on how a sort breaks ties.
        triples.sort_by_key(|&(row, column, _)| (row, column));
        let mut offsets = Vec::with_capacity(rows as usize + 1);
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        for pair in triples.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let Some(&(row, column, _)) = pair.first() else { continue };
            let sum: f64 = pair.iter().map(|&(_, _, weight)| f64::from(weight)).sum();
            let weight = (sum as f32).min(MAX_WEIGHT);
            if weight > 0.0 {
                offsets.resize(row as usize + 1, ids.len());
                ids.push(column);
                weights.push(weight);
            }
        }
        offsets.resize(rows as usize + 1, ids.len());
        Ok(Self { columns, offsets, ids, weights })
    }

    /// How many rows there are, empty ones included.
    #[must_use]
    pub fn rows(&self) -> u32 {
        // `from_triples` took a u32 and added one.
        (self.offsets.len() - 1) as u32
    }

    /// How many columns there are, empty ones included.
    #[must_use]
    pub fn columns(&self) -> u32 {
        self.columns
    }

    /// How many pairs interacted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no pair interacted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The columns of a row, ascending, and their weights; both empty for a row that
    /// has none or that there is not.
    #[must_use]
    pub fn row(&self, row: u32) -> (&[u32], &[f32]) {
        let row = row as usize;
        let range = match (self.offsets.get(row), self.offsets.get(row + 1)) {
            (Some(&start), Some(&end)) => start..end,
            _ => 0..0,
        };
        (self.ids.get(range.clone()).unwrap_or_default(), self.weights.get(range).unwrap_or_default())
    }

    /// All rows in their order, as [`row`](Self::row) gives them.
    pub fn iter(&self) -> impl Iterator<Item = (&[u32], &[f32])> {
        (0..self.rows()).map(|row| self.row(row))
    }

    /// All weights, by row and column.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The same pairs with their weights changed by `f(row, column, weight)`; a pair
    /// whose weight is then NaN or not above zero is left out, and one above
    /// [`MAX_WEIGHT`] counts as that.
    #[must_use]
    pub fn reweighted(&self, mut f: impl FnMut(u32, u32, f32) -> f32) -> Self {
        let mut offsets = Vec::with_capacity(self.offsets.len());
        let (mut ids, mut weights) = (Vec::with_capacity(self.len()), Vec::with_capacity(self.len()));
        offsets.push(0);
        for (row, (row_ids, row_weights)) in (0..).zip(self.iter()) {
            for (&id, &weight) in row_ids.iter().zip(row_weights) {
                let weight = f(row, id, weight);
                if weight > 0.0 {
                    ids.push(id);
                    weights.push(weight.min(MAX_WEIGHT));
                }
            }
            offsets.push(ids.len());
        }
        Self { columns: self.columns, offsets, ids, weights }
    }

    /// Columns as rows: who interacted with an item.
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "ids are below `columns` by construction, and places are counted first")]
    pub fn transpose(&self) -> Self {
        let mut offsets = vec![0_usize; self.columns as usize + 1];
        for &id in &self.ids {
            offsets[id as usize + 1] += 1;
        }
        for at in 1..offsets.len() {
            offsets[at] += offsets[at - 1];
        }
        let mut next = offsets.clone();
        let (mut ids, mut weights) = (vec![0_u32; self.len()], vec![0.0_f32; self.len()]);
        for (row, (row_ids, row_weights)) in (0..).zip(self.iter()) {
            for (&id, &weight) in row_ids.iter().zip(row_weights) {
                let place = &mut next[id as usize];
                (ids[*place], weights[*place]) = (row, weight);
                *place += 1;
            }
        }
        Self { columns: self.rows(), offsets, ids, weights }
    }

    /// What the weights are divided by so that they are 1 in the mean; 1 when there
    /// are none.
    #[must_use]
    pub fn mean_weight(&self) -> f32 {
        let sum: f64 = self.weights.iter().map(|&weight| f64::from(weight)).sum();
        // Weights far below what an f32 can divide by are all alike.
        if self.is_empty() { 1.0 } else { ((sum / self.len() as f64) as f32).max(f32::MIN_POSITIVE) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_back_more_than_there_was_is_left_out() {
        let triples = [(0, 0, 1.0), (0, 0, -1.0), (1, 1, -2.0), (1, 0, 0.0), (1, 2, f32::MAX), (1, 2, f32::MAX)];
        let matrix = Interactions::from_triples(3, 3, triples).unwrap();
        assert_eq!(matrix.row(0), (&[][..], &[][..]));
        assert_eq!(matrix.row(1), (&[2][..], &[MAX_WEIGHT][..]));
        assert_eq!((matrix.rows(), matrix.columns(), matrix.len()), (3, 3, 1));
        assert_eq!(matrix.row(7), (&[][..], &[][..]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let outside = Error::Outside { row: 1, column: 0, rows: 1, columns: 1 };
        assert_eq!(Interactions::from_triples(1, 1, [(1, 0, 1.0)]).unwrap_err(), outside);
        for weight in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = Interactions::from_triples(1, 1, [(0, 0, weight)]).unwrap_err();
            assert_eq!(error, Error::Weight { row: 0, column: 0 });
        }
    }

    #[test]
    fn a_matrix_may_be_empty() {
        let matrix = Interactions::from_triples(0, 5, []).unwrap();
        assert_eq!((matrix.rows(), matrix.transpose().rows(), matrix.transpose().columns()), (0, 5, 0));
        assert_eq!(matrix.mean_weight(), 1.0);
    }

    #[test]
    fn reweighting_leaves_out_what_is_not_above_zero() {
        let matrix = Interactions::from_triples(1, 4, (0..4).map(|item| (0, item, 1.0))).unwrap();
        let matrix = matrix.reweighted(|_, item, weight| [weight, -1.0, f32::NAN, f32::INFINITY][item as usize]);
        assert_eq!(matrix.row(0), (&[0, 3][..], &[1.0, MAX_WEIGHT][..]));
    }
}
