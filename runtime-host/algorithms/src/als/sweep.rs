//! One side solved for, on all threads.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    Config,
    factors::{LANES, Lanes, Padded},
    kernel::{self, Fixed, History, Scratch},
};
use crate::interactions::Interactions;

/// Rows that a thread takes at a time: few, since a long history takes long.
const ROWS_AT_A_TIME: usize = 32;

/// Rows whose Gramian is summed before it is added to the total. The sums are the
/// same whatever the number of threads, because this is not made from it.
const ROWS_OF_A_SUM: usize = 2048;

/// Solves every row of `solved` for its history in `interactions`, given `fixed`.
pub(super) fn sweep(solved: &mut Padded, fixed: &Padded, interactions: &Interactions, config: &Config) {
    let gramian = weighted_gramian(fixed, config.objective.unobserved_weight);
    let side = Fixed { values: &fixed.values, chunks: fixed.chunks, gramian: &gramian };
    let arch = Arch::new();
    let rows = solved.values.par_chunks_mut(ROWS_AT_A_TIME * fixed.chunks).enumerate();
    rows.for_each_init(Scratch::default, |scratch, (at, values)| {
        let first_row = (at * ROWS_AT_A_TIME) as u32;
        arch.dispatch(Rows { values, first_row, fixed: side, interactions, config, scratch });
    });
}

struct Rows<'a> {
    values: &'a mut [Lanes],
    first_row: u32,
    fixed: Fixed<'a>,
    interactions: &'a Interactions,
    config: &'a Config,
    scratch: &'a mut Scratch,
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match S::F32_LANES {
            16 => self.solve::<true, 8>(),
            4 | 8 => self.solve::<true, 4>(),
            _ => self.solve::<false, 4>(),
        }
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn solve<const FMA: bool, const TILE: usize>(self) {
        let block = self.config.block.div_ceil(LANES);
        let others = self.interactions.columns();
        for (row, values) in (self.first_row..).zip(self.values.chunks_exact_mut(self.fixed.chunks)) {
            let (ids, weights) = self.interactions.row(row);
            if ids.is_empty() {
                // What the loss is least for; block steps would only come near it.
                values.fill([0.0; LANES]);
                continue;
            }
            let strength = self.config.objective.strength(weights.iter().sum(), others);
            let history = History { ids, weights, strength };
            kernel::solve_row::<FMA, TILE>(values, history, self.fixed, block, self.scratch);
        }
    }
}

/// α₀ Σ y yᵀ, whole.
fn weighted_gramian(factors: &Padded, weight: f32) -> Vec<Lanes> {
    let side = factors.chunks * LANES;
    let arch = Arch::new();
    let parts: Vec<Vec<Lanes>> = factors
        .values
        .par_chunks(ROWS_OF_A_SUM * factors.chunks)
        .map(|values| {
            let mut sums = vec![[0.0; LANES]; side * factors.chunks];
            arch.dispatch(Gramian { values, chunks: factors.chunks, sums: &mut sums });
            sums
        })
        .collect();
    let mut total = vec![0.0_f64; side * side];
    for part in parts {
        for (total, &value) in total.iter_mut().zip(part.as_flattened()) {
            *total += f64::from(value);
        }
    }
    symmetric(&total, side, weight)
}

#[allow(clippy::indexing_slicing, reason = "`total` has side × side values")]
fn symmetric(total: &[f64], side: usize, weight: f32) -> Vec<Lanes> {
    let value = |row: usize, column: usize| total[row.min(column) * side + row.max(column)] as f32 * weight;
    let chunks = side / LANES;
    (0..side * chunks).map(|at| std::array::from_fn(|lane| value(at / chunks, at % chunks * LANES + lane))).collect()
}

struct Gramian<'a> {
    values: &'a [Lanes],
    chunks: usize,
    sums: &'a mut [Lanes],
}

impl WithSimd for Gramian<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match S::F32_LANES {
            16 => kernel::add_gramian::<true, 8>(self.values, self.chunks, self.sums),
            4 | 8 => kernel::add_gramian::<true, 4>(self.values, self.chunks, self.sums),
            _ => kernel::add_gramian::<false, 4>(self.values, self.chunks, self.sums),
        }
    }
}
