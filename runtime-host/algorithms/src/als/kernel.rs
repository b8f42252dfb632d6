//! One row's solve, the Gramian and the rotation: where the time goes.
//!
//! What is summed over many rows is a tile of some rows by one vector, which stays in
//! registers. These are loops, not adapters with closures: a closure that the compiler
//! does not inline is compiled without the vector instructions of its caller.
#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "ids are below the rows of `Fixed::values` by construction of the matrix; all else has constant bounds"
)]

use pulp::Simd;

use crate::{
    cholesky,
    lanes::{Arithmetic, LANES, Lanes, Vectors},
};

/// Rows of a tile: with one vector of each, sums that fit into the registers of any
/// machine.
const TILE: usize = 8;

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
    /// √w of every item of the history.
    roots: Vec<f32>,
    /// √w (x·y − 1) of every item of the history.
    errors: Vec<f32>,
    matrix: Vec<Lanes>,
    right: Vec<Lanes>,
    /// √(α₀ diagonal + λ)⁻¹.
    scales: Vec<Lanes>,
    /// The history's weighted rows, or these as columns.
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
pub(super) fn solve_short<S: Simd>(
    simd: S,
    row: &mut [Lanes],
    history: History<'_>,
    fixed: Fixed<'_>,
    scratch: &mut Scratch,
) {
    let Scratch { matrix, right, scales, columns, .. } = scratch;
    let (length, width) = (history.ids.len(), history.ids.len().div_ceil(LANES));
    scales.clear();
    for values in fixed.diagonal {
        let mut of_values = [0.0; LANES];
        for lane in 0..LANES {
            of_values[lane] = 1.0 / (values[lane] + history.strength).sqrt();
        }
        scales.push(of_values);
    }
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
    add_gramian(simd, columns, width, length, matrix);
    for at in 0..length {
        matrix[at * width + at / LANES][at % LANES] += 1.0;
    }
    cholesky::solve(Vectors(simd), length, matrix, right, 1.0);
    row.fill([0.0; LANES]);
    for ((&id, &weight), &by) in history.ids.iter().zip(history.weights).zip(right.as_flattened()) {
        for (values, sums) in fixed.row(id).iter().zip(row.iter_mut()) {
            Vectors(simd).add(weight.sqrt() * by, values, sums);
        }
    }
    for (sums, scales) in row.iter_mut().zip(scales) {
        for lane in 0..LANES {
            sums[lane] *= scales[lane] * scales[lane];
        }
    }
}

/// Takes `row` a Newton step along each block of `block` lanes in turn. A block's part
/// of the history is brought together first, weighted, so that what follows runs over
/// consecutive memory; it takes the length of the history times the block.
#[inline(always)]
pub(super) fn solve_blocks<S: Simd>(
    simd: S,
    row: &mut [Lanes],
    history: History<'_>,
    fixed: Fixed<'_>,
    block: usize,
    scratch: &mut Scratch,
) {
    let Scratch { errors, matrix, right, roots, columns, .. } = scratch;
    roots.clear();
    errors.clear();
    for (&id, &weight) in history.ids.iter().zip(history.weights) {
        let root = weight.sqrt();
        roots.push(root);
        errors.push(root * (Vectors(simd).dot(fixed.row(id), row) - 1.0));
    }
    let mut start = 0;
    while start < fixed.chunks {
        let width = block.min(fixed.chunks - start);
        columns.clear();
        for (&id, &root) in history.ids.iter().zip(roots.iter()) {
            for values in &fixed.row(id)[start..start + width] {
                let mut weighted = *values;
                Vectors(simd).scale(root, &mut weighted);
                columns.push(weighted);
            }
        }
        // Half the gradient: Σ w (x·y − 1) y_π + (α₀ G_ππ + λ I) x_π.
        right.clear();
        for (values, diagonal) in row[start..].iter().zip(&fixed.diagonal[start..start + width]) {
            let mut sums = [0.0; LANES];
            for lane in 0..LANES {
                sums[lane] = (history.strength + diagonal[lane]) * values[lane];
            }
            right.push(sums);
        }
        for (values, &error) in columns.chunks_exact(width).zip(errors.iter()) {
            for (values, sums) in values.iter().zip(right.iter_mut()) {
                Vectors(simd).add(error, values, sums);
            }
        }
        // Half the Hessian: Σ w y_π y_πᵀ + α₀ G_ππ + λ I.
        matrix.clear();
        matrix.resize(width * LANES * width, [0.0; LANES]);
        add_gramian(simd, columns, width, width * LANES, matrix);
        for (at, value) in fixed.diagonal[start..start + width].as_flattened().iter().enumerate() {
            matrix[at * width + at / LANES][at % LANES] += value + history.strength;
        }
        cholesky::solve(Vectors(simd), width * LANES, matrix, right, history.strength);
        for (values, step) in row[start..].iter_mut().zip(right.iter()) {
            Vectors(simd).add(-1.0, step, values);
        }
        for (error, values) in errors.iter_mut().zip(columns.chunks_exact(width)) {
            *error -= Vectors(simd).dot(values, right);
        }
        start += width;
    }
}

/// Adds Σ y yᵀ over the rows of `values` (`chunks` lanes each) to `out`, of which only
/// the first `side` rows and what is on and above the diagonal is wanted.
#[inline(always)]
pub(super) fn add_gramian<S: Simd>(simd: S, values: &[Lanes], chunks: usize, side: usize, out: &mut [Lanes]) {
    if S::F32_LANES == LANES {
        // Machines with vectors that long have registers for twice as many.
        add_tiles::<S, LANES>(simd, values, chunks, side, out);
    } else {
        add_tiles::<S, TILE>(simd, values, chunks, side, out);
    }
}

#[inline(always)]
fn add_tiles<S: Simd, const TILE: usize>(simd: S, values: &[Lanes], chunks: usize, side: usize, out: &mut [Lanes]) {
    let vectors = S::F32_LANES;
    for first in (0..side).step_by(TILE) {
        for to in (first / LANES * LANES..chunks * LANES).step_by(vectors) {
            let mut sums = [simd.splat_f32s(0.0); TILE];
            for row in values.chunks_exact(chunks) {
                let row = row.as_flattened();
                let (by, values) = (&row[first..first + TILE], vector::<S>(row, to));
                for at in 0..TILE {
                    sums[at] = simd.mul_add_e_f32s(simd.splat_f32s(by[at]), values, sums[at]);
                }
            }
            for at in 0..TILE {
                let row = out[(first + at) * chunks..][..chunks].as_flattened_mut();
                let total = &mut S::as_mut_simd_f32s(row).0[to / vectors];
                *total = simd.add_f32s(*total, sums[at]);
            }
        }
    }
}

/// The vector that starts at `at`, a multiple of its length.
#[inline(always)]
fn vector<S: Simd>(values: &[f32], at: usize) -> S::f32s {
    S::as_simd_f32s(values).0[at / S::F32_LANES]
}

/// Every row of `values` times the matrix `by` (`chunks`·16 rows of `chunks` lanes).
#[inline(always)]
pub(super) fn turn<S: Simd>(simd: S, values: &mut [Lanes], by: &[Lanes], chunks: usize, turned: &mut Vec<Lanes>) {
    let vectors = S::F32_LANES;
    turned.clear();
    turned.resize(values.len(), [0.0; LANES]);
    for (rows, turned) in values.chunks(TILE * chunks).zip(turned.chunks_mut(TILE * chunks)) {
        let count = rows.len() / chunks;
        for to in (0..chunks * LANES).step_by(vectors) {
            let mut sums = [simd.splat_f32s(0.0); TILE];
            for (at, by) in by.chunks_exact(chunks).enumerate() {
                let by = vector::<S>(by.as_flattened(), to);
                for row in 0..TILE {
                    // A tile that is not full computes its last row again.
                    let value = rows[row.min(count - 1) * chunks + at / LANES][at % LANES];
                    sums[row] = simd.mul_add_e_f32s(simd.splat_f32s(value), by, sums[row]);
                }
            }
            for row in 0..count {
                let row_of = turned[row * chunks..][..chunks].as_flattened_mut();
                S::as_mut_simd_f32s(row_of).0[to / vectors] = sums[row];
            }
        }
    }
    values.copy_from_slice(turned);
}
