//! One row's block steps, and the Gramian: where the time goes.
//!
//! Loops over [`Lanes`] and over `TILE` rows have constant bounds, so they become
//! vector instructions and the sums stay in registers. Measured against the same
//! sums by faer (gathering the history and multiplying), these are several times
//! faster at the sizes that occur, a history of dozens by 16 to 64 coordinates.
#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "ids are below the rows of `others` by construction of the matrix; all else has constant bounds"
)]

use super::factors::{LANES, Lanes};
use crate::cholesky::{self, multiply_add};

/// The side that is fixed while the other is solved for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixed<'a> {
    /// Its rows, `chunks` lanes each.
    pub(super) values: &'a [Lanes],
    pub(super) chunks: usize,
    /// α₀ times its Gramian: `chunks`·16 rows of `chunks` lanes.
    pub(super) gramian: &'a [Lanes],
}

/// One row's history.
#[derive(Debug, Clone, Copy)]
pub(super) struct History<'a> {
    pub(super) ids: &'a [u32],
    pub(super) weights: &'a [f32],
    /// λ of this row.
    pub(super) strength: f32,
}

/// Memory that a thread uses again for every row.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// x·y − 1 for every item of the history.
    errors: Vec<f32>,
    hessian: Vec<f32>,
    step: Vec<f32>,
}

#[inline(always)]
fn add<const FMA: bool>(by: f32, values: &Lanes, sums: &mut Lanes) {
    for lane in 0..LANES {
        sums[lane] = multiply_add::<FMA>(by, values[lane], sums[lane]);
    }
}

#[inline(always)]
fn dot<const FMA: bool>(a: &[Lanes], b: &[Lanes]) -> f32 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] = multiply_add::<FMA>(a[lane], b[lane], sums[lane]);
        }
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
    }
    sums[0]
}

/// Takes `row` a block step along each block of `block` lanes in turn.
#[inline(always)]
pub(super) fn solve_row<const FMA: bool, const TILE: usize>(
    row: &mut [Lanes],
    history: History<'_>,
    fixed: Fixed<'_>,
    block: usize,
    scratch: &mut Scratch,
) {
    let chunks = fixed.chunks;
    let rows_of = |id: u32| &fixed.values[id as usize * chunks..(id as usize + 1) * chunks];
    let Scratch { errors, hessian, step } = scratch;
    errors.clear();
    errors.extend(history.ids.iter().map(|&id| dot::<FMA>(rows_of(id), row) - 1.0));
    let mut start = 0;
    while start < chunks {
        let width = block.min(chunks - start);
        gradient::<FMA>(row, history, fixed, errors, start, width, step);
        block_hessian::<FMA, TILE>(history, fixed, start, width, hessian);
        cholesky::solve::<FMA>(hessian, step, history.strength);
        let (step, _) = step.as_chunks::<LANES>();
        for (values, step) in row[start..start + width].iter_mut().zip(step) {
            for lane in 0..LANES {
                values[lane] -= step[lane];
            }
        }
        start += width;
        if start < chunks {
            for (error, &id) in errors.iter_mut().zip(history.ids) {
                *error -= dot::<FMA>(&rows_of(id)[start - width..start], step);
            }
        }
    }
}

/// Σ w (x·y − 1) y_π + α₀ G_π x + λ x_π, half the gradient on a block.
#[inline(always)]
fn gradient<const FMA: bool>(
    row: &[Lanes],
    history: History<'_>,
    fixed: Fixed<'_>,
    errors: &[f32],
    start: usize,
    width: usize,
    out: &mut Vec<f32>,
) {
    out.clear();
    for chunk in start..start + width {
        let mut sums = [0.0; LANES];
        for lane in 0..LANES {
            sums[lane] = history.strength * row[chunk][lane];
        }
        // The Gramian is symmetric: its rows serve as columns.
        for (values, &by) in fixed.gramian.chunks_exact(fixed.chunks).zip(row.as_flattened()) {
            add::<FMA>(by, &values[chunk], &mut sums);
        }
        for ((&id, &weight), &error) in history.ids.iter().zip(history.weights).zip(errors) {
            add::<FMA>(weight * error, &fixed.values[id as usize * fixed.chunks + chunk], &mut sums);
        }
        out.extend_from_slice(&sums);
    }
}

/// Σ w y_π y_πᵀ + α₀ G_ππ + λ I, on and above the diagonal.
#[inline(always)]
fn block_hessian<const FMA: bool, const TILE: usize>(
    history: History<'_>,
    fixed: Fixed<'_>,
    start: usize,
    width: usize,
    out: &mut Vec<f32>,
) {
    let side = width * LANES;
    out.resize(side * side, 0.0);
    for (first, from) in (0..side).step_by(TILE).map(|first| (first, first / LANES)) {
        for to in from..width {
            let mut sums = [[0.0; LANES]; TILE];
            for (&id, &weight) in history.ids.iter().zip(history.weights) {
                let values = &fixed.values[id as usize * fixed.chunks + start..][..width];
                let (by, values) = (&values[from], &values[to]);
                for at in 0..TILE {
                    add::<FMA>(weight * by[first % LANES + at], values, &mut sums[at]);
                }
            }
            for at in 0..TILE {
                let gramian = &fixed.gramian[(start * LANES + first + at) * fixed.chunks + start + to];
                let out = &mut out[(first + at) * side + to * LANES..][..LANES];
                for lane in 0..LANES {
                    out[lane] = sums[at][lane] + gramian[lane];
                }
            }
        }
    }
    for value in out.iter_mut().step_by(side + 1) {
        *value += history.strength;
    }
}

/// Adds Σ y yᵀ over the rows of `values` to `sums` (as [`Fixed::gramian`] is laid
/// out), on and above the diagonal's lanes.
#[inline(always)]
pub(super) fn add_gramian<const FMA: bool, const TILE: usize>(values: &[Lanes], chunks: usize, out: &mut [Lanes]) {
    for (first, from) in (0..chunks * LANES).step_by(TILE).map(|first| (first, first / LANES)) {
        for to in from..chunks {
            let mut sums = [[0.0; LANES]; TILE];
            for row in values.chunks_exact(chunks) {
                for at in 0..TILE {
                    add::<FMA>(row[from][first % LANES + at], &row[to], &mut sums[at]);
                }
            }
            for at in 0..TILE {
                add::<false>(1.0, &sums[at], &mut out[(first + at) * chunks + to]);
            }
        }
    }
}
