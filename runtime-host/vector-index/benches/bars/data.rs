//! Vectors as training gives them, and as it does not.

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// How vectors are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Around centres, with lengths as popularity gives them.
    Trained,
    /// In all directions alike: the hard case.
    Gaussian,
}

/// Items and queries, one after the other.
pub struct Data {
    pub dimension: usize,
    pub items: Vec<f32>,
    pub queries: Vec<f32>,
}

/// Numbers of the normal distribution (Box and Muller, 1958).
struct Normal(Xoshiro256PlusPlus);

impl Normal {
    fn uniform(&mut self) -> f32 {
        ((self.0.next_u64() >> 40) as f32 + 0.5) / (1_u32 << 24) as f32
    }

    fn next(&mut self) -> f32 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f32::consts::TAU * self.uniform()).cos()
    }

    fn vector(&mut self, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| self.next()).collect()
    }

    fn below(&mut self, count: usize) -> usize {
        (self.0.next_u64() % count as u64) as usize
    }
}

impl Data {
    pub fn new(spread: Spread, items: usize, queries: usize, dimension: usize) -> Self {
        let mut normal = Normal(Xoshiro256PlusPlus::seed_from_u64(7));
        let (items, queries) = match spread {
            Spread::Gaussian => (normal.vector(items * dimension), normal.vector(queries * dimension)),
            Spread::Trained => {
                // What a factor explains falls with its rank.
                let weights: Vec<f32> = (0..dimension).map(|rank| 1.0 / (1.0 + rank as f32 / 8.0).sqrt()).collect();
                let centres: Vec<Vec<f32>> =
                    (0..(items as f32).sqrt() as usize * 2).map(|_| normal.vector(dimension)).collect();
                let mut drawn = Vec::with_capacity(items * dimension);
                for _ in 0..items {
                    let centre = normal.below(centres.len());
                    let length = (0.5 * normal.next()).exp();
                    let numbers = centres[centre].iter().zip(&weights);
                    drawn.extend(numbers.map(|(centre, weight)| length * weight * (centre + 0.7 * normal.next())));
                }
                // A user likes some kinds of things.
                let mut asked = Vec::with_capacity(queries * dimension);
                for _ in 0..queries {
                    let likes: Vec<usize> = (0..3).map(|_| normal.below(centres.len())).collect();
                    for (rank, weight) in weights.iter().enumerate() {
                        let liked: f32 = likes.iter().map(|centre| centres[*centre][rank]).sum();
                        asked.push(weight * (liked / 3.0 + 0.4 * normal.next()));
                    }
                }
                (drawn, asked)
            }
        };
        Self { dimension, items, queries }
    }

    pub fn items(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.items.chunks_exact(self.dimension)
    }

    pub fn queries(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.queries.chunks_exact(self.dimension)
    }
}
