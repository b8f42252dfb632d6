//! Vectors of items and users.
//!
//! The file: items, users, dimension (u32 each); α₀, λ, ν, mean weight (f32 each);
//! handles of items and of users (u64); the Gramian; vectors of items and of users.

use funnelweb_core::limits;

use crate::{
    format::{Error, Reader, Writer},
    handles::Handles,
};

const KIND: [u8; 4] = *b"FWfm";
const VERSION: u32 = 1;

/// What the job `embeddings` makes: see [`FactorModel`](crate::store::FactorModel).
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// In the order of their vectors.
    pub items: Handles,
    /// In the order of their vectors.
    pub users: Handles,
    /// Values of a vector, 1 to [`limits::LEARNED_DIMENSIONS`].
    pub dimension: u32,
    /// α₀.
    pub unobserved_weight: f32,
    /// λ.
    pub regularisation: f32,
    /// ν.
    pub regularisation_exponent: f32,
    /// The mean weight of the interactions.
    pub mean_weight: f32,
    /// Σ y yᵀ over the items, row-major.
    pub gramian: Vec<f32>,
    /// Row-major.
    pub item_values: Vec<f32>,
    /// Row-major.
    pub user_values: Vec<f32>,
}

impl Factors {
    fn check(&self) -> Result<(), Error> {
        let dimension = self.dimension as usize;
        let sound = (1..=limits::LEARNED_DIMENSIONS).contains(&dimension)
            && self.gramian.len() == dimension * dimension
            && Some(self.item_values.len()) == self.items.len().checked_mul(dimension)
            && Some(self.user_values.len()) == self.users.len().checked_mul(dimension);
        if sound { Ok(()) } else { Err(Error::Parts("its vectors")) }
    }

    /// How long the file of so many items and users is.
    #[must_use]
    pub fn file_bytes(items: usize, users: usize, dimension: usize) -> usize {
        let rows = items.saturating_add(users);
        rows.saturating_mul(8 + 4 * dimension).saturating_add(64 + 4 * dimension * dimension)
    }

    /// As a file.
    ///
    /// # Errors
    /// When the vectors do not fit the handles.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        let (items, users) = (self.items.len(), self.users.len());
        let mut to = Writer::new(KIND, VERSION, Self::file_bytes(items, users, self.dimension as usize));
        to.u32s(&[items as u32, users as u32, self.dimension]);
        let loss = [self.unobserved_weight, self.regularisation, self.regularisation_exponent];
        to.f32s(&loss);
        to.f32s(&[self.mean_weight]);
        to.u64s(self.items.all());
        to.u64s(self.users.all());
        to.f32s(&self.gramian);
        to.f32s(&self.item_values);
        to.f32s(&self.user_values);
        Ok(to.finish())
    }

    /// From a file.
    ///
    /// # Errors
    /// When it is not what [`encode`](Self::encode) made.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut from = Reader::new(bytes, KIND, VERSION)?;
        let (items, users, dimension) = (from.count()?, from.count()?, from.count()?);
        let mut number = || from.f32().and_then(finite);
        let (unobserved_weight, regularisation, regularisation_exponent) = (number()?, number()?, number()?);
        let mean_weight = number()?;
        let values = |rows: usize| rows.checked_mul(dimension).ok_or(Error::Parts("its lengths"));
        let factors = Self {
            items: Handles::new(from.u64s(items)?)?,
            users: Handles::new(from.u64s(users)?)?,
            dimension: dimension as u32,
            unobserved_weight,
            regularisation,
            regularisation_exponent,
            mean_weight,
            gramian: from.f32s(values(dimension)?)?,
            item_values: from.f32s(values(items)?)?,
            user_values: from.f32s(values(users)?)?,
        };
        from.end()?;
        factors.check()?;
        Ok(factors)
    }
}

fn finite(number: f32) -> Result<f32, Error> {
    if number.is_finite() { Ok(number) } else { Err(Error::Parts("its numbers")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(dimension: usize) -> Factors {
        let values = |rows: usize| (0..rows * dimension).map(|at| at as f32 / 7.0 - 1.0).collect();
        Factors {
            items: Handles::new(vec![3, 9, 27]).unwrap(),
            users: Handles::new(vec![1, u64::MAX]).unwrap(),
            dimension: dimension as u32,
            unobserved_weight: 0.01,
            regularisation: 0.02,
            regularisation_exponent: 1.0,
            mean_weight: 2.5,
            gramian: values(dimension),
            item_values: values(3),
            user_values: values(2),
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written_or_not_at_all() {
        let file = sample(2).encode().unwrap();
        assert_eq!(Factors::decode(&file), Ok(sample(2)));
        assert!(file.len() <= Factors::file_bytes(3, 2, 2));
        for length in 0..file.len() {
            assert_eq!(Factors::decode(&file[..length]), Err(Error::Damaged), "{length}");
        }
        for bit in 0..8 * file.len() {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Factors::decode(&flipped), Err(Error::Damaged), "{bit}");
        }
        for at in (0..file.len() - 8).step_by(4) {
            for value in [u32::MAX, 0x7FFF_FFFF, 0, f32::NAN.to_bits()] {
                let mut changed = file[..file.len() - 8].to_vec();
                changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
                changed.extend(xxhash_rust::xxh3::xxh3_64(&changed).to_le_bytes());
                if let Ok(read) = Factors::decode(&changed) {
                    assert_eq!(Factors::decode(&read.encode().unwrap()).unwrap(), read);
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(sample(limits::LEARNED_DIMENSIONS).encode().is_ok());
        assert!(sample(limits::LEARNED_DIMENSIONS + 1).encode().is_err());
        assert!(sample(0).encode().is_err());
        assert!(Factors { gramian: vec![0.0; 3], ..sample(2) }.encode().is_err());
        assert!(Factors { user_values: vec![0.0; 3], ..sample(2) }.encode().is_err());
    }
}
