//! Vectors in memory: as they were given, and in codes of a byte a number.
//!
//! A number is its code times the scale of its vector, and how far the vector of
//! codes is from the true one is kept. So the product of codes, which is four times
//! less to read and faster to compute, bounds the true score from both sides, and
//! what cannot be among the best is left out without looking at it.
#![allow(clippy::indexing_slicing, reason = "all parts have a row for each slot below `len`, which callers stay below")]

use crate::{
    kernels::{self, Codes, Line},
    space::{Metric, Space},
};

/// The largest code.
const MAX_CODE: f32 = 127.0;

/// Vectors of a space with their handles, each at a slot from 0.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    space: Space,
    handles: Vec<u64>,
    vectors: Vec<f32>,
    codes: Vec<Line>,
    /// What a code is worth, times the row's weight.
    scales: Vec<f32>,
    /// The length of what codes leave of a vector, times the row's weight.
    errors: Vec<f32>,
    /// Lengths of the vectors.
    lengths: Vec<f32>,
}

/// A vector that rows are compared with.
#[derive(Debug)]
pub(crate) struct Query {
    vector: Vec<f32>,
    weight: f32,
    pub codes: Codes,
    scale: f32,
    error: f32,
    length: f32,
}

impl Rows {
    pub fn new(space: Space) -> Self {
        Self::with_capacity(space, 0)
    }

    pub fn with_capacity(space: Space, rows: usize) -> Self {
        Self {
            space,
            handles: Vec::with_capacity(rows),
            vectors: Vec::with_capacity(rows * space.dimension()),
            codes: Vec::with_capacity(rows * lines(space)),
            scales: Vec::with_capacity(rows),
            errors: Vec::with_capacity(rows),
            lengths: Vec::with_capacity(rows),
        }
    }

    pub fn len(&self) -> usize {
        self.handles.len()
    }

    pub fn space(&self) -> Space {
        self.space
    }

    pub fn handle(&self, slot: usize) -> u64 {
        self.handles[slot]
    }

    pub fn handles(&self) -> &[u64] {
        &self.handles
    }

    pub fn vector(&self, slot: usize) -> &[f32] {
        let dimension = self.space.dimension();
        &self.vectors[slot * dimension..][..dimension]
    }

    pub fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    pub fn codes(&self, slot: usize) -> &[Line] {
        let lines = lines(self.space);
        &self.codes[slot * lines..][..lines]
    }

    /// Lines of a row's codes.
    pub fn lines(&self) -> usize {
        lines(self.space)
    }

    pub fn all_codes(&self) -> &[Line] {
        &self.codes
    }

    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// What a code of a row is worth between rows: where scores follow lengths, they do
    /// by their root (see [`crate::graph`]).
    pub fn scale_between(&self, slot: usize) -> f32 {
        match self.space.metric() {
            Metric::InnerProduct => self.scales[slot] / self.lengths[slot].sqrt(),
            Metric::Cosine => self.scales[slot],
        }
    }

    /// Adds a vector of the space, `length` long, at the next slot.
    pub fn push(&mut self, handle: u64, vector: &[f32], length: f32) {
        let (scale, error) = quantise(vector, &mut self.codes, Line::ZERO);
        let weight = self.space.weight(length);
        self.handles.push(handle);
        self.vectors.extend_from_slice(vector);
        self.scales.push(scale * weight);
        self.errors.push(error * weight);
        self.lengths.push(length);
    }

    /// Adds a row of other rows of the space.
    pub fn push_row(&mut self, other: &Self, slot: usize) {
        self.handles.push(other.handles[slot]);
        self.vectors.extend_from_slice(other.vector(slot));
        self.codes.extend_from_slice(other.codes(slot));
        self.scales.push(other.scales[slot]);
        self.errors.push(other.errors[slot]);
        self.lengths.push(other.lengths[slot]);
    }

    /// Adds all rows of others of the space.
    pub fn append(&mut self, other: &Self) {
        self.handles.extend_from_slice(&other.handles);
        self.vectors.extend_from_slice(&other.vectors);
        self.codes.extend_from_slice(&other.codes);
        self.scales.extend_from_slice(&other.scales);
        self.errors.extend_from_slice(&other.errors);
        self.lengths.extend_from_slice(&other.lengths);
    }

    /// Puts a row of other rows of the space in place of one.
    pub fn set_row(&mut self, slot: usize, other: &Self, of: usize) {
        let (dimension, lines) = (self.space.dimension(), lines(self.space));
        self.handles[slot] = other.handles[of];
        self.vectors[slot * dimension..][..dimension].copy_from_slice(other.vector(of));
        self.codes[slot * lines..][..lines].copy_from_slice(other.codes(of));
        self.scales[slot] = other.scales[of];
        self.errors[slot] = other.errors[of];
        self.lengths[slot] = other.lengths[of];
    }

    /// Takes the last row away.
    pub fn pop(&mut self) {
        let len = self.len().saturating_sub(1);
        self.handles.truncate(len);
        self.vectors.truncate(len * self.space.dimension());
        self.codes.truncate(len * lines(self.space));
        self.scales.truncate(len);
        self.errors.truncate(len);
        self.lengths.truncate(len);
    }

    /// The score of a row: exact, but for the rounding of the inner product.
    pub fn score(&self, slot: usize, query: &Query) -> f32 {
        let product = kernels::dot(self.vector(slot), &query.vector);
        // Zero has one sign, so that equal scores are equal in every order.
        product * self.space.weight(self.lengths[slot]) * query.weight + 0.0
    }

    /// For rows from `first` on, as many as `products` has: the scores by codes, and
    /// how much less or more the true ones can be.
    pub fn bounds(&self, first: usize, query: &Query, products: &[i32], scores: &mut [f32], slacks: &mut [f32]) {
        let rows = first..first + products.len();
        let (scales, errors, lengths) = (&self.scales[rows.clone()], &self.errors[rows.clone()], &self.lengths[rows]);
        for ((score, product), scale) in scores.iter_mut().zip(products).zip(scales) {
            *score = *product as f32 * (scale * query.scale);
        }
        let (by_error, by_length) = (query.length + query.error, query.error);
        match self.space.metric() {
            Metric::InnerProduct => {
                for ((slack, error), length) in slacks.iter_mut().zip(errors).zip(lengths) {
                    *slack = error * by_error + length * by_length;
                }
            }
            Metric::Cosine => {
                for (slack, error) in slacks.iter_mut().zip(errors) {
                    *slack = error * by_error + by_length;
                }
            }
        }
    }

    /// As [`Rows::bounds`], of one row.
    pub fn bound(&self, slot: usize, query: &Query, product: i32) -> (f32, f32) {
        let (mut score, mut slack) = ([0.0], [0.0]);
        self.bounds(slot, query, &[product], &mut score, &mut slack);
        (score[0], slack[0])
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.handles.capacity() * size_of::<u64>()
            + self.codes.capacity() * size_of::<Line>()
            + (self.vectors.capacity() + 3 * self.scales.capacity()) * size_of::<f32>()
    }
}

impl Query {
    /// `vector` is of the space and `length` long.
    pub fn new(space: Space, vector: &[f32], length: f32) -> Self {
        let mut codes = Vec::with_capacity(lines(space));
        let (scale, error) = quantise(vector, &mut codes, 0);
        let weight = space.weight(length);
        Self {
            vector: vector.to_vec(),
            weight,
            codes: Codes::new(codes),
            scale: scale * weight,
            error: error * weight,
            length: length * weight,
        }
    }
}

/// Lines of a row's codes.
fn lines(space: Space) -> usize {
    space.dimension().div_ceil(Line::CODES)
}

/// Appends the codes of `vector` as lines, `zero` added to each; returns what a code
/// is worth, and the length of what they leave, with room for rounding wherever a
/// product of this vector is computed.
fn quantise(vector: &[f32], codes: &mut Vec<Line>, zero: u8) -> (f32, f32) {
    let largest = vector.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    let scale = largest / MAX_CODE;
    let per_code = MAX_CODE / largest;
    let (mut left, mut squares) = (0.0_f64, 0.0_f64);
    for chunk in vector.chunks(Line::CODES) {
        let mut line = Line([zero; Line::CODES]);
        for (byte, number) in line.0.iter_mut().zip(chunk) {
            let code = (number * per_code).round_ties_even();
            *byte = (code as i8).cast_unsigned().wrapping_add(zero);
            left += f64::from(number - code * scale).powi(2);
            squares += f64::from(*number).powi(2);
        }
        codes.push(line);
    }
    let rounding = squares.sqrt() * (2e-6 + 1e-8 * vector.len() as f64);
    (scale, (left.sqrt() * 1.001 + rounding) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_scores_are_within_the_bounds() {
        for metric in [Metric::InnerProduct, Metric::Cosine] {
            for dimension in [1, 3, 64, 100] {
                let space = Space::new(dimension, metric).unwrap();
                let vector = |seed: usize| -> Vec<f32> {
                    (0..dimension).map(|at| ((seed * 37 + at * 11) as f32 + 0.5).sin() * (1.0 + seed as f32)).collect()
                };
                let mut rows = Rows::new(space);
                for seed in 0..50 {
                    let vector = vector(seed);
                    rows.push(seed as u64, &vector, space.check(&vector).unwrap());
                }
                let target = vector(77);
                let query = Query::new(space, &target, space.check(&target).unwrap());
                let mut products = [0; 50];
                kernels::products(rows.all_codes(), &query.codes, &mut products);
                for (slot, product) in products.into_iter().enumerate() {
                    let (score, slack) = rows.bound(slot, &query, product);
                    let exact = rows.score(slot, &query);
                    assert!((exact - score).abs() <= slack, "{dimension} {slot}: {exact} {score} {slack}");
                    assert!(slack < 0.05 * rows.lengths[slot].max(1.0) * query.length, "{slack}");
                }
            }
        }
    }

    #[test]
    fn rows_are_copied_whole() {
        let space = Space::new(70, Metric::Cosine).unwrap();
        let vector = |at: u64| (0..70).map(|of| (at * 100 + of + 1) as f32).collect::<Vec<_>>();
        let rows = |handles: &[u64]| {
            let mut rows = Rows::new(space);
            handles.iter().for_each(|at| rows.push(*at, &vector(*at), space.check(&vector(*at)).unwrap()));
            rows
        };
        let mut copied = rows(&[1]);
        copied.append(&rows(&[2, 3]));
        copied.push_row(&rows(&[8, 4]), 1);
        copied.set_row(1, &rows(&[9]), 0);
        copied.pop();
        let expected = rows(&[1, 9, 3]);
        assert_eq!(format!("{copied:?}"), format!("{expected:?}"));
    }
}
