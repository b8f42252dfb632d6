//! Intervals of means over users, and of their differences: the bootstrap, bias-
//! corrected and accelerated (BCa; Efron, "Better Bootstrap Confidence Intervals",
//! JASA 1987; for means the acceleration is the skewness over 6 √n).
//!
//! Users are drawn with replacement, the same ones for all columns, so that of two
//! recommenders the difference has an interval of its own: it is narrower than the
//! two apart where both do well on the same users.
//!
//! Everything depends on the seed alone, not on the number of threads.

use std::thread;

use rand_core::SeedableRng as _;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use crate::{
    draw,
    error::{Error, Result, setting},
    limits,
};

/// How intervals are made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// How often users are drawn; see [`limits::RESAMPLES`].
    pub resamples: u32,
    /// The share of intervals that hold the truth, 0.5 to 0.999.
    pub level: f64,
    /// Of the draws.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { resamples: 1000, level: 0.95, seed: 42 }
    }
}

impl Config {
    /// Checks that intervals can be made so.
    ///
    /// # Errors
    /// [`Error::Setting`] for a number of resamples or a level out of range.
    pub fn check(&self) -> Result<()> {
        let (least, most) = (limits::RESAMPLES.start(), limits::RESAMPLES.end());
        if !limits::RESAMPLES.contains(&self.resamples) {
            return setting("resamples", format!("{least} to {most}"), self.resamples);
        }
        if !(0.5..=0.999).contains(&self.level) {
            return setting("the level of an interval", "0.5 to 0.999", self.level);
        }
        Ok(())
    }
}

/// A mean over users, and between what it lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Over the users who have a value.
    pub mean: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How many users have a value.
    pub users: u32,
}

/// Columns whose users have been drawn.
pub struct Bootstrap<'a> {
    columns: Vec<&'a [f32]>,
    /// By column and resample; NaN when nobody who was drawn has a value.
    means: Vec<Vec<f64>>,
    level: f64,
}

/// Resamples that are added up side by side.
const LANES: usize = 8;
/// Users whose draws are in the fastest memory at once.
const BLOCK: usize = 512;

impl<'a> Bootstrap<'a> {
    /// Draws users. A column has a value for each, NaN for none.
    ///
    /// # Errors
    /// Those of [`Config::check`], [`Error::NoUsers`] without any, [`Error::Column`] when lengths differ.
    pub fn new(columns: Vec<&'a [f32]>, config: &Config) -> Result<Self> {
        config.check()?;
        let users = columns.first().map_or(0, |column| column.len());
        if users == 0 {
            return Err(Error::NoUsers("there is nothing to draw from".to_owned()));
        }
        if let Some((at, column)) = columns.iter().enumerate().find(|(_, column)| column.len() != users) {
            return Err(Error::Column { at, found: column.len(), expected: users });
        }
        let resamples = config.resamples as usize;
        let chunks = resamples.div_ceil(LANES);
        let threads = thread::available_parallelism().map_or(1, usize::from).min(chunks);
        let per_thread = chunks.div_ceil(threads);
        let parts: Vec<Vec<Vec<f64>>> = thread::scope(|scope| {
            let ranges = (0..threads).map(|at| at * per_thread..((at + 1) * per_thread).min(chunks));
            let columns = &columns;
            let work = |range: std::ops::Range<usize>| {
                scope.spawn(move || range.map(|chunk| of_chunk(columns, users, config.seed, chunk)).collect::<Vec<_>>())
            };
            let threads: Vec<_> = ranges.map(work).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, Vec<Vec<[f64; LANES]>>>| match thread.join() {
                Ok(chunks) => columns_of(chunks, columns.len()),
                Err(panic) => std::panic::resume_unwind(panic),
            };
            threads.into_iter().map(join).collect()
        });
        let mut means: Vec<Vec<f64>> = vec![Vec::with_capacity(chunks * LANES); columns.len()];
        for part in parts {
            means.iter_mut().zip(part).for_each(|(all, part)| all.extend(part));
        }
        means.iter_mut().for_each(|means| means.truncate(resamples));
        Ok(Self { columns, means, level: config.level })
    }

    /// The mean of a column; none when nobody has a value, or there is no such
    /// column.
    #[must_use]
    pub fn mean(&self, column: usize) -> Option<Estimate> {
        let values: Vec<f64> = self.columns.get(column)?.iter().map(|value| f64::from(*value)).collect();
        interval(values, self.means.get(column)?.clone(), self.level)
    }

    /// By how much the first column's mean exceeds the second's; none when a user
    /// lacks a value in one of them.
    #[must_use]
    pub fn difference(&self, of: usize, against: usize) -> Option<Estimate> {
        let pairs = self.columns.get(of)?.iter().zip(self.columns.get(against)?.iter());
        let values: Vec<f64> = pairs.map(|(of, against)| f64::from(*of) - f64::from(*against)).collect();
        if values.iter().any(|value| value.is_nan()) {
            return None;
        }
        let means = self.means.get(of)?.iter().zip(self.means.get(against)?).map(|(of, against)| of - against);
        interval(values, means.collect(), self.level)
    }
}

/// By column, the means of all resamples.
fn columns_of(chunks: Vec<Vec<[f64; LANES]>>, columns: usize) -> Vec<Vec<f64>> {
    (0..columns)
        .map(|column| chunks.iter().filter_map(|chunk| chunk.get(column)).flatten().copied().collect())
        .collect()
}

/// By column, the means of the resamples of one chunk.
fn of_chunk(columns: &[&[f32]], users: usize, seed: u64, chunk: usize) -> Vec<[f64; LANES]> {
    let counts = draws(users, seed, chunk);
    let mut sums = vec![[0.0_f64; LANES]; columns.len()];
    let mut weights = vec![[0.0_f64; LANES]; columns.len()];
    for (block, counts) in counts.chunks(BLOCK).enumerate() {
        for ((column, sums), weights) in columns.iter().zip(&mut sums).zip(&mut weights) {
            let values = column.chunks(BLOCK).nth(block).unwrap_or_default();
            let (mut sum, mut weight) = ([0.0_f32; LANES], [0.0_f32; LANES]);
            for (value, counts) in values.iter().zip(counts) {
                let (value, there) = if value.is_nan() { (0.0, 0.0) } else { (*value, 1.0) };
                for lane in 0..LANES {
                    if let (Some(sum), Some(weight), Some(count)) =
                        (sum.get_mut(lane), weight.get_mut(lane), counts.get(lane))
                    {
                        *sum += value * count;
                        *weight += there * count;
                    }
                }
            }
            sums.iter_mut().zip(sum).for_each(|(sum, part)| *sum += f64::from(part));
            weights.iter_mut().zip(weight).for_each(|(weight, part)| *weight += f64::from(part));
        }
    }
    let mean = |(mut sums, weights): ([f64; LANES], [f64; LANES])| {
        // Nobody has a value: 0 / 0 is NaN.
        sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum /= weight);
        sums
    };
    sums.into_iter().zip(weights).map(mean).collect()
}

/// By user, how often each resample of a chunk draws them.
fn draws(users: usize, seed: u64, chunk: usize) -> Vec<[f32; LANES]> {
    let mut counts = vec![[0.0_f32; LANES]; users];
    for lane in 0..LANES {
        // One golden ratio apart, as SplitMix64 does, which then mixes it.
        let resample = (chunk * LANES + lane) as u64;
        let seed = seed.wrapping_add(resample.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        for _ in 0..users {
            let user = draw::below(&mut random, users);
            if let Some(count) = counts.get_mut(user).and_then(|counts| counts.get_mut(lane)) {
                *count += 1.0;
            }
        }
    }
    counts
}

/// BCa, of values and of the means of their resamples.
fn interval(values: Vec<f64>, mut means: Vec<f64>, level: f64) -> Option<Estimate> {
    let values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    means.retain(|mean| !mean.is_nan());
    means.sort_unstable_by(f64::total_cmp);
    let users = u32::try_from(values.len()).unwrap_or(u32::MAX);
    let (first, last) = (*means.first()?, *means.last()?);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    // All alike: no spread to correct, and rounding must not make one.
    if squares == 0.0 {
        return Some(Estimate { mean, low: mean, high: mean, users });
    }
    let cubes: f64 = values.iter().map(|value| (value - mean).powi(3)).sum();
    let acceleration = cubes / (6.0 * squares.powf(1.5));
    // Of a mean that many resamples hit exactly, half of them count as below.
    let below = means.partition_point(|other| *other < mean);
    let up_to = means.partition_point(|other| *other <= mean);
    let share = ((below + up_to) as f64 / 2.0 / means.len() as f64)
        .clamp(0.5 / means.len() as f64, 1.0 - 0.5 / means.len() as f64);
    let bias = normal_quantile(share);
    let end = |probability: f64| {
        let z = bias + normal_quantile(probability);
        let place = normal(bias + z / (1.0 - acceleration * z)) * means.len() as f64 - 0.5;
        let (low, part) = (place.floor().max(0.0), place - place.floor());
        let low_value = means.get(low as usize).copied().unwrap_or(last);
        let high_value = means.get(low as usize + 1).copied().unwrap_or(last);
        if place < 0.0 { first } else { low_value + part * (high_value - low_value) }
    };
    let tail = (1.0 - level) / 2.0;
    let (low, high) = (end(tail), end(1.0 - tail));
    Some(Estimate { mean, low: low.min(mean), high: high.max(mean), users })
}

/// The standard normal distribution's share below `z`.
fn normal(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

/// Its inverse, of a share between 0 and 1, by bisection to the last bit.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if normal(middle) < share { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests;
