//! Training step by step.

use rand_core::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::{ThreadPool, prelude::*};

use super::{Config, Factors, Model, factors::Padded, sweep::sweep};
use crate::{
    error::{Error, Result, check_finite, check_length},
    interactions::Interactions,
    lanes::LANES,
    threads,
    watch::{Watch, unwatched},
};

/// Where a training stands: what another trainer of the same interactions and
/// configuration needs to go on from there, to the same result.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Epochs done.
    pub epoch: u32,
    /// A vector for every user.
    pub users: Factors,
    /// A vector for every item.
    pub items: Factors,
}

/// A training that the caller drives, an epoch at a time, and may look at, stop or
/// take up again in between.
#[derive(Debug)]
pub struct Trainer {
    config: Config,
    mean_weight: f32,
    by_user: Interactions,
    by_item: Interactions,
    users: Padded,
    items: Padded,
    epoch: u32,
    pool: ThreadPool,
}

impl Trainer {
    /// A training from random factors.
    ///
    /// # Errors
    /// [`Error::Empty`] without interactions, [`Error::Setting`] when the
    /// configuration is out of range, [`Error::Threads`] when no threads start.
    pub fn new(interactions: &Interactions, config: Config) -> Result<Self> {
        config.check()?;
        if interactions.is_empty() {
            return Err(Error::Empty);
        }
        let pool = threads::pool(config.threads)?;
        let mean_weight = interactions.mean_weight();
        let by_user = interactions.reweighted(|_, _, weight| weight / mean_weight);
        let by_item = by_user.transpose();
        let (users, items) = pool
            .install(|| rayon::join(|| start(by_user.rows(), &config, 0), || start(by_item.rows(), &config, 1 << 32)));
        Ok(Self { config, mean_weight, by_user, by_item, users, items, epoch: 0, pool })
    }

    /// One epoch: solves for all users, then for all items. Gives the number of
    /// epochs done.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when the factors have outgrown their numbers; they are of
    /// no more use then.
    pub fn step(&mut self) -> Result<u32> {
        self.step_watched(&unwatched)
    }

    /// [`step`](Self::step), watched.
    ///
    /// # Errors
    /// As [`step`](Self::step); [`Error::Stopped`], and the factors are of no more use
    /// then.
    pub fn step_watched(&mut self, watch: Watch<'_>) -> Result<u32> {
        let Self { config, by_user, by_item, users, items, pool, .. } = self;
        pool.install(|| {
            sweep(users, items, by_user, config, &|part| watch(part / 2.0))?;
            sweep(items, users, by_item, config, &|part| watch(0.5 + part / 2.0))
        })?;
        check_finite("the users' factors", users.values.as_flattened())?;
        check_finite("the items' factors", items.values.as_flattened())?;
        self.epoch += 1;
        Ok(self.epoch)
    }

    /// Epochs done.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// A copy of where the training stands.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { epoch: self.epoch, users: self.users.to_factors(), items: self.items.to_factors() }
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Shape`] when it is of another training.
    pub fn resume(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        for (what, found, own) in [
            ("the checkpoint's users", &checkpoint.users, &self.users),
            ("the checkpoint's items", &checkpoint.items, &self.items),
        ] {
            check_length(what, found.dimensions(), own.dimensions)?;
            check_length(what, found.rows() as usize, own.values.len() / own.chunks)?;
        }
        self.users = Padded::from_factors(&checkpoint.users);
        self.items = Padded::from_factors(&checkpoint.items);
        self.epoch = checkpoint.epoch;
        Ok(())
    }

    /// The loss of [`Objective`](crate::Objective) as it stands, for watching it fall;
    /// it takes about as long as an epoch.
    #[must_use]
    pub fn loss(&self) -> f64 {
        let (users, items) = (self.users.to_factors(), self.items.to_factors());
        let objective = self.config.objective;
        let observed = (0..self.by_user.rows()).into_par_iter().map(|user| {
            let (ids, weights) = self.by_user.row(user);
            let vector = users.row(user);
            let error = |item: u32| dot(vector, items.row(item)) - 1.0;
            ids.iter().zip(weights).map(|(&item, &weight)| f64::from(weight) * error(item).powi(2)).sum::<f64>()
        });
        // Collected first, so that the sum is in the order of the rows.
        let observed: f64 = observed.collect::<Vec<f64>>().into_iter().sum();
        let (of_users, of_items) = (gramian(&users), gramian(&items));
        let all: f64 = of_users.iter().zip(&of_items).map(|(a, b)| a * b).sum();
        let norms = |factors: &Factors, histories: &Interactions| {
            let strength =
                |row: u32| f64::from(objective.strength(histories.row(row).1.iter().sum(), histories.columns()));
            (0..factors.rows()).map(|row| strength(row) * dot(factors.row(row), factors.row(row))).sum::<f64>()
        };
        let regularisation = norms(&users, &self.by_user) + norms(&items, &self.by_item);
        observed + f64::from(objective.unobserved_weight) * all + regularisation
    }

    /// What was learned.
    #[must_use]
    pub fn into_model(self) -> Model {
        Model {
            users: self.users.to_factors(),
            items: self.items.to_factors(),
            objective: self.config.objective,
            mean_weight: self.mean_weight,
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn gramian(factors: &Factors) -> Vec<f64> {
    let mut sums = vec![0.0; factors.dimensions().pow(2)];
    for row in factors.values().chunks_exact(factors.dimensions()) {
        for (sums, &by) in sums.chunks_exact_mut(row.len()).zip(row) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(by) * f64::from(value);
            }
        }
    }
    sums
}

/// Normal values with the deviation σ*/√d. Each row has a generator of its own, made
/// from the seed and its number, so that threads do not matter.
fn start(rows: u32, config: &Config, first: u64) -> Padded {
    let mut factors = Padded::zeros(rows, config.dimensions);
    let deviation = f64::from(config.init_scale) / (config.dimensions as f64).sqrt();
    let chunks = factors.chunks;
    factors.values.par_chunks_mut(chunks * LANES).enumerate().for_each(|(part, values)| {
        for (at, row) in values.chunks_exact_mut(chunks).enumerate() {
            let number = first + (part * LANES + at) as u64;
            let mut random =
                Xoshiro256PlusPlus::seed_from_u64(config.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            for value in row.as_flattened_mut().iter_mut().take(config.dimensions) {
                *value = (deviation * normal(&mut random)) as f32;
            }
        }
    });
    factors
}

/// A standard normal value, by Box and Muller.
fn normal(random: &mut Xoshiro256PlusPlus) -> f64 {
    // 53 bits, above 0 so that the logarithm is finite.
    let mut uniform = || ((random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
}
