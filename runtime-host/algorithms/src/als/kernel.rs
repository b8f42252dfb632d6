//! One row's solve, the Gramian and the rotation: where the time goes.
//!
//! Loops over `TILE` rows of lanes have constant bounds, so their sums stay in
//! registers.
#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "ids are below the rows of `Fixed::values` by construction of the matrix; all else has constant bounds"
)]

use crate::{
    cholesky,
    lanes::{LANES, Lanes, add, dot},
};

/// The side that is fixed while the other is solved for, turned so that its Gramian
/// is a diagonal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixed<'a> {
    /// Its rows, `chunks` lanes each.
    pub(super) values: &'a [Lanes],
    pub(super) chunks: usize,
    /// α₀ times the diagonal.
    pub(super) diagonal: &'a [Lanes],
}

impl<'a> Fixed<'a> {
    #[inline(always)]
    fn row(self, id: u32) -> &'a [Lanes] {
        &self.values[id as usize * self.chunks..][..self.chunks]
    }
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
    matrix: Vec<Lanes>,
    right: Vec<Lanes>,
    /// √(α₀ diagonal + λ)⁻¹.
    scales: Vec<Lanes>,
    /// The history's scaled rows as columns.
    columns: Vec<Lanes>,
}

/// Solves for a row with a short history, exactly. With V = √W Y D^−½ for
/// D = α₀ G + λ I, a diagonal, the normal equations have the solution
///
/// ```text
/// x = D^−½ Vᵀ (V Vᵀ + I)⁻¹ √w
/// ```
///
/// (Woodbury's identity): a system as large as the history instead of the vector.
#[inline(always)]
pub(super) fn solve_short<const FMA: bool, const TILE: usize>(
    row: &mut [Lanes],
    history: History<'_>,
    fixed: Fixed<'_>,
    scratch: &mut Scratch,
) {
    let Scratch { matrix, right, scales, columns, .. } = scratch;
    let (length, width) = (history.ids.len(), history.ids.len().div_ceil(LANES));
    scales.clear();
    scales.extend(fixed.diagonal.iter().map(|values| values.map(|value| 1.0 / (value + history.strength).sqrt())));
    columns.clear();
    columns.resize(fixed.chunks * LANES * width, [0.0; LANES]);
    right.clear();
    right.resize(width, [0.0; LANES]);
    for (at, (&id, &weight)) in history.ids.iter().zip(history.weights).enumerate() {
        let (chunk, lane, root) = (at / LANES, at % LANES, weight.sqrt());
        right[chunk][lane] = root;
        let values = fixed.row(id).as_flattened().iter().zip(scales.as_flattened());
        for ((value, scale), column) in values.zip(columns.chunks_exact_mut(width)) {
            column[chunk][lane] = root * value * scale;
        }
    }
    matrix.clear();
    matrix.resize(width * LANES * width, [0.0; LANES]);
    add_gramian::<FMA, TILE>(columns, width, length, matrix);
    for at in 0..length {
        matrix[at * width + at / LANES][at % LANES] += 1.0;
    }
    cholesky::solve::<FMA>(length, matrix, right, 1.0);
    row.fill([0.0; LANES]);
    for ((&id, &weight), &by) in history.ids.iter().zip(history.weights).zip(right.as_flattened()) {
        for (values, sums) in fixed.row(id).iter().zip(row.iter_mut()) {
            add::<FMA>(weight.sqrt() * by, values, sums);
        }
    }
    for (sums, scales) in row.iter_mut().zip(scales) {
        for lane in 0..LANES {
            sums[lane] *= scales[lane] * scales[lane];
        }
    }
}

/// Takes `row` a Newton step along each block of `block` lanes in turn.
#[inline(always)]
pub(super) fn solve_blocks<const FMA: bool, const TILE: usize>(
    row: &mut [Lanes],
    history: History<'_>,
    fixed: Fixed<'_>,
    block: usize,
    scratch: &mut Scratch,
) {
    let chunks = fixed.chunks;
    let Scratch { errors, matrix, right, .. } = scratch;
    errors.clear();
    errors.extend(history.ids.iter().map(|&id| dot::<FMA>(fixed.row(id), row) - 1.0));
    let mut start = 0;
    while start < chunks {
        let width = block.min(chunks - start);
        gradient::<FMA>(row, history, fixed, errors, start, width, right);
        block_hessian::<FMA, TILE>(history, fixed, start, width, matrix);
        cholesky::solve::<FMA>(width * LANES, matrix, right, history.strength);
        for (values, step) in row[start..start + width].iter_mut().zip(right.iter()) {
            add::<false>(-1.0, step, values);
        }
        start += width;
        if start < chunks {
            for (error, &id) in errors.iter_mut().zip(history.ids) {
                *error -= dot::<FMA>(&fixed.row(id)[start - width..start], right);
            }
        }
    }
}

/// Σ w (x·y − 1) y_π + (α₀ G_ππ + λ I) x_π, half the gradient on a block.
#[inline(always)]
fn gradient<const FMA: bool>(
    row: &[Lanes],
    history: History<'_>,
    fixed: Fixed<'_>,
    errors: &[f32],
    start: usize,
    width: usize,
    out: &mut Vec<Lanes>,
) {
    out.clear();
    for chunk in start..start + width {
        let mut sums = [0.0; LANES];
        for lane in 0..LANES {
            sums[lane] = (history.strength + fixed.diagonal[chunk][lane]) * row[chunk][lane];
        }
        out.push(sums);
    }
    for ((&id, &weight), &error) in history.ids.iter().zip(history.weights).zip(errors) {
        for (values, sums) in fixed.row(id)[start..].iter().zip(out.iter_mut()) {
            add::<FMA>(weight * error, values, sums);
        }
    }
}

/// Σ w y_π y_πᵀ + α₀ G_ππ + λ I, on and above the diagonal.
#[inline(always)]
fn block_hessian<const FMA: bool, const TILE: usize>(
    history: History<'_>,
    fixed: Fixed<'_>,
    start: usize,
    width: usize,
    out: &mut Vec<Lanes>,
) {
    let side = width * LANES;
    out.resize(side * width, [0.0; LANES]);
    for (first, from) in (0..side).step_by(TILE).map(|first| (first, first / LANES)) {
        for to in from..width {
            let mut sums = [[0.0; LANES]; TILE];
            for (&id, &weight) in history.ids.iter().zip(history.weights) {
                let values = &fixed.row(id)[start..start + width];
                let (by, values) = (&values[from], &values[to]);
                for at in 0..TILE {
                    add::<FMA>(weight * by[first % LANES + at], values, &mut sums[at]);
                }
            }
            for at in 0..TILE {
                out[(first + at) * width + to] = sums[at];
            }
        }
    }
    let diagonal = fixed.diagonal[start..start + width].as_flattened();
    for (at, value) in diagonal.iter().enumerate() {
        out[at * width + at / LANES][at % LANES] += value + history.strength;
    }
}

/// Adds Σ y yᵀ over the rows of `values` (`chunks` lanes each) to `out`, of which only
/// the first `side` rows and what is on and above the diagonal is wanted.
#[inline(always)]
pub(super) fn add_gramian<const FMA: bool, const TILE: usize>(
    values: &[Lanes],
    chunks: usize,
    side: usize,
    out: &mut [Lanes],
) {
    for (first, from) in (0..side).step_by(TILE).map(|first| (first, first / LANES)) {
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

/// Every row of `values` times the matrix `by` (`chunks`·16 rows of `chunks` lanes).
#[inline(always)]
pub(super) fn turn<const FMA: bool, const TILE: usize>(
    values: &mut [Lanes],
    by: &[Lanes],
    chunks: usize,
    turned: &mut Vec<Lanes>,
) {
    turned.clear();
    turned.resize(values.len(), [0.0; LANES]);
    for (rows, turned) in values.chunks(TILE * chunks).zip(turned.chunks_mut(TILE * chunks)) {
        let count = rows.len() / chunks;
        for to in 0..chunks {
            let mut sums = [[0.0; LANES]; TILE];
            for (at, by) in by.chunks_exact(chunks).enumerate() {
                for row in 0..TILE {
                    // A tile that is not full computes its last row again.
                    let value = rows[row.min(count - 1) * chunks + at / LANES][at % LANES];
                    add::<FMA>(value, &by[to], &mut sums[row]);
                }
            }
            for row in 0..count {
                turned[row * chunks + to] = sums[row];
            }
        }
    }
    values.copy_from_slice(turned);
}
