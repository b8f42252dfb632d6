//! What the vectors of an index have in common.

use crate::{
    Error, VectorError,
    error::Result,
    limits::{MAX_DIMENSION, MAX_LENGTH, MIN_LENGTH},
};

/// What makes two vectors similar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Their inner product, as of factors that were trained for it.
    InnerProduct,
    /// The cosine of their angle.
    Cosine,
}

/// The dimension of an index's vectors and how they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    dimension: usize,
    metric: Metric,
}

impl Space {
    /// Of vectors of `dimension` numbers.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless it is 1 to [`MAX_DIMENSION`].
    pub fn new(dimension: usize, metric: Metric) -> Result<Self> {
        if !(1..=MAX_DIMENSION).contains(&dimension) {
            return Err(Error::Dimension { got: dimension });
        }
        Ok(Self { dimension, metric })
    }

    /// Numbers of a vector.
    #[must_use]
    pub fn dimension(self) -> usize {
        self.dimension
    }

    /// How vectors are compared.
    #[must_use]
    pub fn metric(self) -> Metric {
        self.metric
    }

    /// The length of `vector`, if it can be kept and compared.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(self, vector: &[f32]) -> std::result::Result<f32, VectorError> {
        if vector.len() != self.dimension {
            return Err(VectorError::Dimension { expected: self.dimension, got: vector.len() });
        }
        if let Some(position) = vector.iter().position(|number| !number.is_finite()) {
            return Err(VectorError::NotFinite { position });
        }
        let length = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
        if length == 0.0 {
            return Err(VectorError::Zero);
        }
        if !(MIN_LENGTH..=MAX_LENGTH).contains(&length) {
            return Err(VectorError::Length { length });
        }
        Ok(length as f32)
    }

    /// What an inner product with a vector of this length is multiplied by.
    pub(crate) fn weight(self, length: f32) -> f32 {
        match self.metric {
            Metric::InnerProduct => 1.0,
            Metric::Cosine => 1.0 / length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_that_cannot_be_compared_are_told_apart() {
        let space = Space::new(2, Metric::InnerProduct).unwrap();
        assert_eq!(space.check(&[3.0, 4.0]), Ok(5.0));
        assert_eq!(space.check(&[1.0]), Err(VectorError::Dimension { expected: 2, got: 1 }));
        assert_eq!(space.check(&[1.0, f32::NAN]), Err(VectorError::NotFinite { position: 1 }));
        assert_eq!(space.check(&[f32::NEG_INFINITY, 1.0]), Err(VectorError::NotFinite { position: 0 }));
        assert_eq!(space.check(&[0.0, -0.0]), Err(VectorError::Zero));
        for tiny_or_huge in [1e-30, f32::MAX] {
            assert!(matches!(space.check(&[tiny_or_huge, 0.0]), Err(VectorError::Length { .. })));
        }
        for dimension in [0, MAX_DIMENSION + 1] {
            assert!(matches!(Space::new(dimension, Metric::Cosine), Err(Error::Dimension { got }) if got == dimension));
        }
    }
}
