//! Implicit alternating least squares: a vector for every user and every item such
//! that their product is close to 1 where they interacted and to 0 elsewhere.
//!
//! The loss is that of [`Objective`] (Rendle et al., "Revisiting the Performance of
//! iALS on Item Recommendation Benchmarks", RecSys 2022, arXiv:2110.14037). It is
//! minimised by turns over all users and all items, and each vector block by block
//! of its coordinates, as in Rendle et al., "iALS++: Speeding up Matrix Factorization
//! with Subspace Optimization" (arXiv:2110.14044): for the coordinates π of a block,
//!
//! ```text
//! x_π ← x_π − (Σ_h w_h y_hπ y_hπᵀ + α₀ G_ππ + λ_x I)⁻¹ (Σ_h w_h (x·y_h − 1) y_hπ + α₀ G_π x + λ_x x_π)
//! ```
//!
//! Compared with one block of all d coordinates, which is exact ALS, the cost for an
//! interaction falls from d² to d·block and that of the solves from d³ to d·block².
//! A block step is a Newton step on a part of a quadratic, so the loss never rises.
//!
//! A history of up to 64 items (or d, if that is less) is solved for exactly, in as
//! many unknowns as it has items, by Woodbury's identity; the blocks are for longer
//! ones.
//!
//! ```
//! use funnelweb_algorithms::{Interactions, als::{self, Config}};
//!
//! let triples = [(0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0), (1, 1, 1.0), (2, 2, 1.0), (0, 2, 1.0)];
//! let clicks = Interactions::from_triples(3, 3, triples)?;
//! let model = als::train(&clicks, Config { dimensions: 8, ..Config::default() })?;
//! let newcomer = model.fold_in_users()?.vector_of_rows(model.items.values(), &[0], &[1.0])?;
//! let score = |item| model.items.row(item).iter().zip(&newcomer).map(|(y, x)| y * x).sum::<f32>();
//! assert!(score(1) > score(2));
//! # Ok::<(), funnelweb_algorithms::Error>(())
//! ```

mod factors;
mod kernel;
mod sweep;
mod trainer;
mod turning;

pub use factors::Factors;
pub use trainer::{Checkpoint, Trainer};

use crate::{
    error::{Result, check},
    fold_in::{FoldIn, check_dimensions, gramian},
    interactions::Interactions,
    objective::Objective,
};

/// How a model is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// d, values of a vector: 1 to 1024. More remember more of the tail and take
    /// longer.
    pub dimensions: usize,
    /// The loss.
    pub objective: Objective,
    /// How often all users and all items are solved for by [`train`]; 8 to 16 are
    /// enough nearly always.
    pub epochs: u32,
    /// σ*: values start from a normal distribution with the deviation σ*/√d.
    pub init_scale: f32,
    /// Coordinates that are solved for together where a history is long, rounded up
    /// to a multiple of 16; of `dimensions` and above it is exact ALS.
    pub block: usize,
    /// Of the start values. The same seed gives the same factors, with any number of
    /// threads.
    pub seed: u64,
    /// Threads; 0 is one a core.
    pub threads: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dimensions: 64,
            objective: Objective::default(),
            epochs: 16,
            init_scale: 0.1,
            block: 32,
            seed: 42,
            threads: 0,
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        check_dimensions(self.dimensions)?;
        self.objective.check()?;
        check("block", "at least 1", self.block as f64, self.block >= 1)?;
        let scale = self.init_scale;
        check("init_scale", "1e-6 to 10", scale.into(), (1e-6..=10.0).contains(&scale))
    }
}

/// What was learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// A vector for every user.
    pub users: Factors,
    /// A vector for every item.
    pub items: Factors,
    /// The loss it was trained for.
    pub objective: Objective,
    /// The mean weight of what it was trained on.
    pub mean_weight: f32,
}

impl Model {
    /// Folds users in, from the items of their history.
    ///
    /// # Errors
    /// When the factors are not of one model.
    pub fn fold_in_users(&self) -> Result<FoldIn> {
        self.fold_in(&self.items)
    }

    /// Folds items in, from the users of their history.
    ///
    /// # Errors
    /// When the factors are not of one model.
    pub fn fold_in_items(&self) -> Result<FoldIn> {
        self.fold_in(&self.users)
    }

    fn fold_in(&self, others: &Factors) -> Result<FoldIn> {
        let gramian = gramian(others.values(), others.dimensions())?;
        FoldIn::new(&gramian, others.dimensions(), others.rows(), self.mean_weight, self.objective)
    }
}

/// Trains to the end; a [`Trainer`] does it step by step.
///
/// # Errors
/// As [`Trainer::new`] and [`Trainer::step`].
pub fn train(interactions: &Interactions, config: Config) -> Result<Model> {
    let mut trainer = Trainer::new(interactions, config)?;
    for _ in 0..config.epochs {
        trainer.step()?;
    }
    Ok(trainer.into_model())
}
