//! EASE^R: the item-item weights that reproduce every history best from its own
//! other items, in closed form.
//!
//! Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (WWW 2019):
//!
//! ```text
//! B = argmin |X − X B|² + λ |B|², diag B = 0
//! P = (Xᵀ X + λ I)⁻¹,   B_ij = −P_ij / P_jj
//! ```
//!
//! and with *dropout* p (Steck, "Autoencoders that don't overfit towards the
//! Identity", NeurIPS 2020) λ I becomes λ I + p/(1−p) · diag(Xᵀ X), which regularises
//! the popular items more, as if each item of a history were left out with
//! probability p when it is learned from.
//!
//! The memory is twice the square of the items, the time their cube, or that of the
//! users when there are fewer, so catalogues above
//! [`EASE_MAX_ITEMS`](crate::limits::EASE_MAX_ITEMS) are refused.

use faer::{
    MatMut, MatRef, Par,
    dyn_stack::{MemBuffer, MemStack},
    linalg::{cholesky::llt, triangular_inverse},
    prelude::default,
};
use rayon::prelude::*;

use crate::{
    error::{Error, Result, check, check_length},
    interactions::Interactions,
    knn::column_sums,
    limits::{EASE_MAX_ITEMS, MAX_NEIGHBOURS},
    neighbours::Neighbours,
    recommend, threads,
    top::{Ranked, Top},
};

/// How the weights are learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// λ, above 0, in interactions: up to that many users an item is mostly noise.
    pub regularisation: f32,
    /// p, 0 up to 0.99.
    pub dropout: f32,
    /// Threads; 0 is one a core.
    pub threads: usize,
}

impl Default for Config {
    /// λ = 100 and p = 0: EASE as published, in the middle of what is found
    /// best on public sets.
    fn default() -> Self {
        Self { regularisation: 100.0, dropout: 0.0, threads: 0 }
    }
}

/// The weights of all pairs of items.
#[derive(Debug, Clone, PartialEq)]
pub struct Ease {
    items: usize,
    /// Row i holds what item i of a history adds to the scores of all; 0 for itself.
    weights: Vec<f32>,
}

impl Ease {
    /// Learns the weights. Weights of interactions count as they are, so bring those
    /// of a mean far from 1 near it, or choose λ accordingly.
    ///
    /// # Errors
    /// [`Error::TooManyItems`] above [`EASE_MAX_ITEMS`], [`Error::Empty`] without
    /// interactions, [`Error::Setting`] when the configuration is out of range,
    /// [`Error::Singular`] when λ is too small for the weights there are.
    pub fn train(interactions: &Interactions, config: &Config) -> Result<Self> {
        let &Config { regularisation, dropout, threads } = config;
        check("regularisation", "1e-6 to 1e9", regularisation.into(), (1e-6..=1e9).contains(&regularisation))?;
        check("dropout", "0 to 0.99", dropout.into(), (0.0..=0.99).contains(&dropout))?;
        if interactions.columns() > EASE_MAX_ITEMS {
            return Err(Error::TooManyItems { items: interactions.columns(), limit: EASE_MAX_ITEMS });
        }
        if interactions.is_empty() {
            return Err(Error::Empty);
        }
        let items = interactions.columns() as usize;
        threads::pool(threads)?.install(|| {
            let factor = 1.0 + dropout / (1.0 - dropout);
            let inverse = if interactions.rows() < interactions.columns() {
                let squares = column_sums(interactions, |weight| f64::from(weight).powi(2));
                let by_item = squares.iter().map(|square| regularisation + (factor - 1.0) * *square as f32).collect();
                inverse_by_users(interactions, by_item)?
            } else {
                let mut matrix = gramian(interactions);
                for value in matrix.iter_mut().step_by(items + 1) {
                    *value = *value * factor + regularisation;
                }
                inverse(matrix, items)?
            };
            Ok(Self { items, weights: weights(inverse, items)? })
        })
    }

    /// How many items there are.
    #[must_use]
    pub fn items(&self) -> u32 {
        self.items as u32
    }

    /// What item `item` of a history adds to the scores of all items; empty for an
    /// item that there is not.
    #[must_use]
    pub fn row(&self, item: u32) -> &[f32] {
        self.weights.chunks_exact(self.items.max(1)).nth(item as usize).unwrap_or_default()
    }

    /// The `limit` items with the highest Σ_h w_h B_hi over a history.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are not as many weights as ids.
    pub fn recommend(&self, ids: &[u32], weights: &[f32], excluded: &[u32], limit: usize) -> Result<Ranked> {
        check_length("the history's weights", weights.len(), ids.len())?;
        let mut scores = vec![0.0_f32; self.items];
        for (&id, &weight) in ids.iter().zip(weights) {
            for (score, &value) in scores.iter_mut().zip(self.row(id)) {
                *score += weight * value;
            }
        }
        Ok(recommend::best(scores.into_iter(), excluded, limit))
    }

    /// For every item the `limit` items with the highest weights above zero: what is
    /// kept for serving, in a fraction of the memory.
    ///
    /// # Errors
    /// [`Error::Setting`] when the limit is out of range.
    pub fn neighbours(&self, limit: usize) -> Result<Neighbours> {
        check("neighbours", "1 to 10000", limit as f64, (1..=MAX_NEIGHBOURS).contains(&limit))?;
        let rows = self.weights.par_chunks_exact(self.items.max(1)).map_init(
            || Top::new(limit),
            |top, row| {
                for (id, &weight) in (0..).zip(row).filter(|(_, weight)| **weight > 0.0) {
                    top.push(id, weight);
                }
                top.take()
            },
        );
        Ok(Neighbours::from_rows(rows.collect::<Vec<_>>().into_iter()))
    }
}

/// Xᵀ X, whole.
fn gramian(by_user: &Interactions) -> Vec<f32> {
    let by_item = by_user.transpose();
    let items = by_item.rows() as usize;
    let mut matrix = vec![0.0_f32; items * items];
    matrix.par_chunks_exact_mut(items).zip(0..by_item.rows()).for_each(|(sums, item)| {
        let (users, weights) = by_item.row(item);
        for (&user, &by) in users.iter().zip(weights) {
            let (others, weights) = by_user.row(user);
            for (&other, &weight) in others.iter().zip(weights) {
                if let Some(sum) = sums.get_mut(other as usize) {
                    *sum += by * weight;
                }
            }
        }
    });
    matrix
}

/// (Xᵀ X + Λ)⁻¹ for a diagonal Λ where there are fewer users than items, by Woodbury's
/// identity from a matrix of the users: with V = X Λ^−½,
///
/// ```text
/// Λ^−½ (I − Vᵀ (I + V Vᵀ)⁻¹ V) Λ^−½
/// ```
fn inverse_by_users(by_user: &Interactions, diagonal: Vec<f32>) -> Result<Vec<f32>> {
    let scales: Vec<f32> = diagonal.into_iter().map(|value| 1.0 / value.sqrt()).collect();
    let scaled = by_user.reweighted(|_, item, weight| weight * scales.get(item as usize).copied().unwrap_or_default());
    let by_item = scaled.transpose();
    let (users, items) = (scaled.rows() as usize, by_item.rows() as usize);
    let mut inner = gramian(&by_item);
    for value in inner.iter_mut().step_by(users + 1) {
        *value += 1.0;
    }
    let inner = symmetric(inverse(inner, users)?, users);
    let mut matrix = vec![0.0_f32; items * items];
    matrix.par_chunks_exact_mut(items).zip(0..by_item.rows()).for_each_init(
        || vec![0.0_f32; users],
        |row, (sums, item)| {
            row.fill(0.0);
            let (of_item, weights) = by_item.row(item);
            for (&user, &by) in of_item.iter().zip(weights) {
                let inner = inner.chunks_exact(users).nth(user as usize).unwrap_or_default();
                for (sum, &value) in row.iter_mut().zip(inner) {
                    *sum += by * value;
                }
            }
            for (&by, (ids, weights)) in row.iter().zip(scaled.iter()) {
                for (&id, &weight) in ids.iter().zip(weights) {
                    if let Some(sum) = sums.get_mut(id as usize) {
                        *sum -= by * weight;
                    }
                }
            }
            if let Some(sum) = sums.get_mut(item as usize) {
                *sum += 1.0;
            }
        },
    );
    scale(&mut matrix, &scales);
    Ok(matrix)
}

/// The whole of a matrix of which the lower half of a column-major one is known.
#[allow(clippy::indexing_slicing, reason = "both indices are below n, and the matrix is n × n")]
fn symmetric(mut matrix: Vec<f32>, n: usize) -> Vec<f32> {
    for column in 0..n {
        for row in 0..column {
            matrix[column * n + row] = matrix[row * n + column];
        }
    }
    matrix
}

/// The inverse of a symmetric positive definite matrix (n × n), on and below the
/// diagonal of a column-major matrix.
///
/// It is first scaled to a diagonal of ones, without which the popular items leave
/// too little of an f32's precision to the others.
fn inverse(mut matrix: Vec<f32>, n: usize) -> Result<Vec<f32>> {
    let scales: Vec<f32> = matrix.iter().step_by(n + 1).map(|value| 1.0 / value.sqrt()).collect();
    scale(&mut matrix, &scales);
    let par = Par::rayon(0);
    let mut memory = MemBuffer::new(llt::factor::cholesky_in_place_scratch::<f32>(n, par, default()));
    llt::factor::cholesky_in_place(
        MatMut::from_column_major_slice_mut(&mut matrix, n, n),
        default(),
        par,
        MemStack::new(&mut memory),
        default(),
    )
    .map_err(|_| Error::Singular)?;
    let mut inverse = vec![0.0_f32; n * n];
    triangular_inverse::invert_lower_triangular(
        MatMut::from_column_major_slice_mut(&mut inverse, n, n),
        MatRef::from_column_major_slice(&matrix, n, n),
        par,
    );
    // The factor is not needed any more; its memory takes the product.
    let factor = MatRef::from_column_major_slice(&inverse, n, n);
    faer::linalg::matmul::triangular::matmul(
        MatMut::from_column_major_slice_mut(&mut matrix, n, n),
        faer::linalg::matmul::triangular::BlockStructure::TriangularLower,
        faer::Accum::Replace,
        factor.transpose(),
        faer::linalg::matmul::triangular::BlockStructure::TriangularUpper,
        factor,
        faer::linalg::matmul::triangular::BlockStructure::TriangularLower,
        1.0,
        par,
    );
    scale(&mut matrix, &scales);
    Ok(matrix)
}

/// Multiplies every value by the scales of its row and its column.
fn scale(matrix: &mut [f32], scales: &[f32]) {
    matrix.par_chunks_exact_mut(scales.len().max(1)).zip(scales).for_each(|(values, &by)| {
        for (value, &scale) in values.iter_mut().zip(scales) {
            *value *= by * scale;
        }
    });
}

/// B_ij = −P_ij / P_jj of the lower half of a column-major P.
#[allow(clippy::indexing_slicing, reason = "both indices are below n, and the matrix is n × n")]
fn weights(inverse: Vec<f32>, n: usize) -> Result<Vec<f32>> {
    let by: Vec<f32> = inverse.iter().step_by(n + 1).map(|value| -1.0 / value).collect();
    let mut weights = vec![0.0_f32; n * n];
    weights.par_chunks_exact_mut(n).enumerate().for_each(|(i, row)| {
        for (j, value) in row.iter_mut().enumerate().filter(|(j, _)| *j != i) {
            *value = inverse[i.min(j) * n + i.max(j)] * by[j];
        }
    });
    if weights.par_iter().all(|value| value.is_finite()) { Ok(weights) } else { Err(Error::Singular) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_what_they_are_by_hand() {
        let matrix = Interactions::from_triples(3, 2, [(0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0), (2, 1, 1.0)]).unwrap();
        // XᵀX + I = [[3, 1], [1, 3]], whose inverse is [[3, −1], [−1, 3]] / 8.
        let ease = Ease::train(&matrix, &Config { regularisation: 1.0, ..Config::default() }).unwrap();
        assert_eq!((ease.row(0)[0], ease.items()), (0.0, 2));
        assert!((ease.row(0)[1] - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(ease.recommend(&[0], &[1.0], &[0], 5).unwrap().ids, [1]);
        assert_eq!(ease.neighbours(5).unwrap().row(1).0, [0]);
        // The diagonal of 2 becomes 4: [[5, 1], [1, 5]].
        let config = Config { regularisation: 1.0, dropout: 0.5, ..Config::default() };
        assert!((Ease::train(&matrix, &config).unwrap().row(0)[1] - 0.2).abs() < 1e-6);
    }

    #[test]
    fn few_users_give_the_same_as_many() {
        let triples: Vec<_> =
            (0..12).flat_map(|user| (0..4).map(move |at| (user, (user * 7 + at * at) % 20, 1.0))).collect();
        for dropout in [0.0, 0.3] {
            let config = Config { regularisation: 2.0, dropout, ..Config::default() };
            let train =
                |users| Ease::train(&Interactions::from_triples(users, 20, triples.clone()).unwrap(), &config).unwrap();
            // Users without a history change nothing but the way it is computed.
            let (few, many) = (train(12), train(30));
            for item in 0..20 {
                for (few, many) in few.row(item).iter().zip(many.row(item)) {
                    assert!((few - many).abs() < 1e-5, "{few} {many}");
                }
            }
        }
    }

    #[test]
    fn a_catalogue_that_is_too_large_is_refused() {
        let matrix = Interactions::from_triples(1, EASE_MAX_ITEMS + 1, [(0, 0, 1.0)]).unwrap();
        let error = Ease::train(&matrix, &Config::default()).unwrap_err();
        assert_eq!(error, Error::TooManyItems { items: EASE_MAX_ITEMS + 1, limit: EASE_MAX_ITEMS });
    }

    #[test]
    fn identical_items_without_regularisation_are_an_error_or_finite() {
        let triples = (0..50).flat_map(|user| (0..40).map(move |item| (user, item, 1e6)));
        let matrix = Interactions::from_triples(50, 40, triples).unwrap();
        match Ease::train(&matrix, &Config { regularisation: 1e-6, ..Config::default() }) {
            Ok(ease) => assert!(ease.row(0).iter().all(|value| value.is_finite())),
            Err(error) => assert_eq!(error, Error::Singular),
        }
        let empty = Interactions::from_triples(1, 3, []).unwrap();
        assert_eq!(Ease::train(&empty, &Config::default()).unwrap_err(), Error::Empty);
        assert!(Ease::train(&matrix, &Config { dropout: 1.0, ..Config::default() }).is_err());
    }
}
