//! The vector of a new user, or of a new item, without training.
//!
//! With the factors of the other side fixed, the loss of [`Objective`] is least for
//!
//! ```text
//! x = (Σ_h w_h y_h y_hᵀ + α₀ Σ_i y_i y_iᵀ + λ_x I)⁻¹ Σ_h w_h y_h
//! ```
//!
//! where h runs over the history. The second term is the same for everybody and is
//! computed once ([`gramian`]); what is left at request time is a sum over the
//! history and one small solve. A user is folded in with the factors of the items,
//! an item with those of its users.
//!
//! This module takes and gives plain slices and needs no other crate, so that it
//! also runs inside a component.

use crate::{
    cholesky,
    error::{Error, Result, check, check_finite, check_length},
    lanes::{Arithmetic as _, LANES, Lanes, Plain},
    limits::MAX_DIMENSIONS,
    objective::Objective,
};

/// α₀ Σ y yᵀ without the α₀: the sum over all rows of `factors` (rows × `dimensions`)
/// of the row's product with itself, as `dimensions` × `dimensions` values.
///
/// # Errors
/// [`Error::Setting`] when there are no dimensions or too many, [`Error::Shape`] when
/// the factors are not whole rows.
pub fn gramian(factors: &[f32], dimensions: usize) -> Result<Vec<f32>> {
    check_dimensions(dimensions)?;
    check_length("factors", factors.len(), factors.len() / dimensions * dimensions)?;
    // In f64, since a catalogue may have millions of rows.
    let mut sums = vec![0.0_f64; dimensions * dimensions];
    for row in factors.chunks_exact(dimensions) {
        for (sums, &by) in sums.chunks_exact_mut(dimensions).zip(row) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(by) * f64::from(value);
            }
        }
    }
    Ok(sums.into_iter().map(|sum| sum as f32).collect())
}

/// What folding in needs to know of a model besides its factors.
#[derive(Debug, Clone, PartialEq)]
pub struct FoldIn {
    dimensions: usize,
    /// α₀ times the Gramian.
    weighted_gramian: Vec<f32>,
    others: u32,
    mean_weight: f32,
    objective: Objective,
}

impl FoldIn {
    /// Folding in against `rows` factors whose [`gramian`] is given, of a model that
    /// was trained for `objective` on weights with the mean `mean_weight`
    /// ([`Interactions::mean_weight`](crate::Interactions::mean_weight)).
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Shape`] or [`Error::NotFinite`] when something is
    /// out of range or does not fit.
    pub fn new(gramian: &[f32], dimensions: usize, rows: u32, mean_weight: f32, objective: Objective) -> Result<Self> {
        check_dimensions(dimensions)?;
        objective.check()?;
        check("mean_weight", "above 0", mean_weight.into(), mean_weight > 0.0 && mean_weight.is_finite())?;
        check_length("the Gramian", gramian.len(), dimensions * dimensions)?;
        let weighted_gramian: Vec<f32> = gramian.iter().map(|value| value * objective.unobserved_weight).collect();
        check_finite("the Gramian", &weighted_gramian)?;
        Ok(Self { dimensions, weighted_gramian, others: rows, mean_weight, objective })
    }

    /// Values of a vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The vector of somebody whose history has these `weights` (in the units that
    /// the model was trained on) and `vectors`, one after another; all zeros for an
    /// empty history. Of the weights, those not above zero do not count.
    ///
    /// At 64 dimensions and a history of 50 this takes some 50 µs.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are not as many vectors as weights,
    /// [`Error::NotFinite`] when one has NaN or infinity, or values so large that
    /// the result would.
    pub fn vector(&self, vectors: &[f32], weights: &[f32]) -> Result<Vec<f32>> {
        check_length("the history's vectors", vectors.len(), weights.len().saturating_mul(self.dimensions))?;
        self.solve(vectors.chunks_exact(self.dimensions).zip(weights.iter().copied()))
    }

    /// As [`vector`](Self::vector), with the history as rows of `factors` and their
    /// weights. Rows that there are not (items that came after the training) do not
    /// count.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn vector_of_rows(&self, factors: &[f32], ids: &[u32], weights: &[f32]) -> Result<Vec<f32>> {
        check_length("the history's weights", weights.len(), ids.len())?;
        let row = |id: u32| {
            let start = (id as usize).checked_mul(self.dimensions)?;
            factors.get(start..start.checked_add(self.dimensions)?)
        };
        self.solve(ids.iter().zip(weights).filter_map(|(&id, &weight)| Some((row(id)?, weight))))
    }

    fn solve<'a>(&self, history: impl Iterator<Item = (&'a [f32], f32)>) -> Result<Vec<f32>> {
        let chunks = self.dimensions.div_ceil(LANES);
        let mut matrix = vec![[0.0; LANES]; self.dimensions * chunks];
        let mut right = vec![[0.0; LANES]; chunks];
        let mut padded = right.clone();
        let mut mass = 0.0_f32;
        for (row, weight) in history {
            if weight.is_nan() {
                return Err(Error::NotFinite { what: "a weight of the history" });
            }
            if weight <= 0.0 {
                continue;
            }
            let weight = weight / self.mean_weight;
            mass += weight;
            for (to, &from) in padded.as_flattened_mut().iter_mut().zip(row) {
                *to = from;
            }
            add_product(&mut matrix, row, &padded, weight);
            for (sums, values) in right.iter_mut().zip(&padded) {
                Plain.add(weight, values, sums);
            }
        }
        if mass > 0.0 {
            let strength = self.objective.strength(mass, self.others);
            let rows = matrix.chunks_exact_mut(chunks).zip(self.weighted_gramian.chunks_exact(self.dimensions));
            for (at, (sums, gramian)) in rows.enumerate() {
                for (sum, &value) in sums.as_flattened_mut().iter_mut().zip(gramian) {
                    *sum += value;
                }
                if let Some(value) = sums.as_flattened_mut().get_mut(at) {
                    *value += strength;
                }
            }
            cholesky::solve(Plain, self.dimensions, &mut matrix, &mut right, strength);
        }
        let mut vector: Vec<f32> = right.as_flattened().to_vec();
        vector.truncate(self.dimensions);
        check_finite("the folded-in vector", &vector)?;
        Ok(vector)
    }
}

/// Adds weight · row rowᵀ, on and above the diagonal; `padded` is the row too.
fn add_product(matrix: &mut [Lanes], row: &[f32], padded: &[Lanes], weight: f32) {
    for (at, (sums, &by)) in matrix.chunks_exact_mut(padded.len()).zip(row).enumerate() {
        let from = at / LANES;
        for (values, sums) in padded.iter().zip(sums).skip(from) {
            Plain.add(weight * by, values, sums);
        }
    }
}

pub(crate) fn check_dimensions(dimensions: usize) -> Result<()> {
    check("dimensions", "1 to 1024", dimensions as f64, (1..=MAX_DIMENSIONS).contains(&dimensions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold_in() -> FoldIn {
        FoldIn::new(&gramian(&[1.0, 0.0, 0.0, 2.0], 2).unwrap(), 2, 2, 1.0, Objective::default()).unwrap()
    }

    #[test]
    fn a_history_pulls_the_vector_towards_it() {
        let vector = fold_in().vector_of_rows(&[1.0, 0.0, 0.0, 2.0], &[1, 9], &[1.0, 1.0]).unwrap();
        assert_eq!(vector[0], 0.0);
        // (4 + 0.01 · 4 + λ) x = 2, λ = 0.01 · (1 + 0.01 · 2)
        assert!((vector[1] - 2.0 / 4.0502).abs() < 1e-6, "{vector:?}");
    }

    #[test]
    fn no_history_is_a_vector_of_zeros() {
        assert_eq!(fold_in().vector(&[], &[]).unwrap(), [0.0, 0.0]);
        assert_eq!(fold_in().vector(&[1.0, 1.0], &[-1.0]).unwrap(), [0.0, 0.0]);
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for (vector, weight) in [([f32::NAN, 0.0], 1.0), ([1.0, 0.0], f32::NAN), ([1e30, 1e30], 1.0)] {
            let error = fold_in().vector(&vector, &[weight]).unwrap_err();
            assert!(matches!(error, Error::NotFinite { .. }), "{error}");
        }
        assert!(matches!(fold_in().vector(&[1.0], &[1.0]), Err(Error::Shape { .. })));
        assert!(gramian(&[1.0; 3], 2).is_err());
        assert!(gramian(&[], 0).is_err());
    }
}
