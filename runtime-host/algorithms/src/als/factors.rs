//! Vectors of all rows, and the same padded for the kernels.

use crate::{
    error::{Error, Result, check_finite, check_length},
    fold_in::check_dimensions,
    lanes::{LANES, Lanes},
};

/// A vector for every row, one after another (rows × dimensions).
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    dimensions: usize,
    values: Vec<f32>,
}

impl Factors {
    /// Vectors of `dimensions` values each, one after another.
    ///
    /// # Errors
    /// [`Error::Shape`] when they are not whole vectors or more than a u32 counts,
    /// [`Error::NotFinite`] when one has NaN or infinity, [`Error::Setting`] when the
    /// dimensions are out of range.
    pub fn new(dimensions: usize, values: Vec<f32>) -> Result<Self> {
        check_dimensions(dimensions)?;
        let rows = values.len() / dimensions;
        check_length("factors", values.len(), rows * dimensions)?;
        if u32::try_from(rows).is_err() {
            return Err(Error::Shape { what: "factors", found: rows, expected: u32::MAX as usize });
        }
        check_finite("factors", &values)?;
        Ok(Self { dimensions, values })
    }

    /// How many vectors.
    #[must_use]
    pub fn rows(&self) -> u32 {
        (self.values.len() / self.dimensions) as u32
    }

    /// Values of a vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// All values, row after row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One vector; empty for a row that there is not.
    #[must_use]
    pub fn row(&self, row: u32) -> &[f32] {
        self.values.chunks_exact(self.dimensions).nth(row as usize).unwrap_or_default()
    }
}

/// Factors with every row filled up with zeros to whole [`Lanes`]. Zeros stay zeros:
/// their gradient is zero, and λ keeps their block solvable.
#[derive(Debug, Clone)]
pub(super) struct Padded {
    pub(super) dimensions: usize,
    /// [`Lanes`] of a row.
    pub(super) chunks: usize,
    pub(super) values: Vec<Lanes>,
}

impl Padded {
    pub(super) fn zeros(rows: u32, dimensions: usize) -> Self {
        let chunks = dimensions.div_ceil(LANES);
        Self { dimensions, chunks, values: vec![[0.0; LANES]; rows as usize * chunks] }
    }

    pub(super) fn from_factors(factors: &Factors) -> Self {
        let mut padded = Self::zeros(factors.rows(), factors.dimensions);
        let rows = padded.values.chunks_exact_mut(padded.chunks);
        for (to, from) in rows.zip(factors.values.chunks_exact(factors.dimensions)) {
            for (to, from) in to.as_flattened_mut().iter_mut().zip(from) {
                *to = *from;
            }
        }
        padded
    }

    pub(super) fn to_factors(&self) -> Factors {
        let rows = self.values.chunks_exact(self.chunks);
        let values = rows.flat_map(|row| row.as_flattened().iter().take(self.dimensions).copied()).collect();
        Factors { dimensions: self.dimensions, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_taken_off_again() {
        for dimensions in [1, 15, 16, 17] {
            let values: Vec<f32> = (0..3 * dimensions).map(|value| value as f32).collect();
            let factors = Factors::new(dimensions, values).unwrap();
            assert_eq!(Padded::from_factors(&factors).to_factors(), factors);
            assert_eq!(factors.row(1).len(), dimensions);
            assert_eq!(factors.row(3), [0.0; 0]);
        }
    }

    #[test]
    fn odd_factors_are_refused() {
        assert!(matches!(Factors::new(2, vec![0.0; 3]), Err(Error::Shape { .. })));
        assert!(matches!(Factors::new(2, vec![f32::NAN; 2]), Err(Error::NotFinite { .. })));
        assert!(matches!(Factors::new(0, vec![]), Err(Error::Setting { .. })));
    }
}
