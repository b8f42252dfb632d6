//! The coordinates in which a Gramian is a diagonal.

use faer::{
    MatMut, MatRef, Par,
    diag::DiagMut,
    dyn_stack::{MemBuffer, MemStack},
    linalg::evd,
    prelude::default,
};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{factors::Padded, kernel};
use crate::{
    error::{Error, Result},
    lanes::{LANES, Lanes},
};

/// Rows whose Gramian is summed before it is added to the total. The sums are the
/// same whatever the number of threads, because this is not made from it.
const ROWS_OF_A_SUM: usize = 2048;

/// Rows that a thread turns at a time.
const ROWS_AT_A_TIME: usize = 256;

/// An orthogonal change of coordinates, and what the Gramian is after it.
#[derive(Debug)]
pub(super) struct Turning {
    /// What rows are multiplied by from the right (side × side).
    pub(super) there: Vec<Lanes>,
    /// Its transpose.
    pub(super) back: Vec<Lanes>,
    /// The Gramian's diagonal, zeros and above.
    pub(super) eigenvalues: Vec<Lanes>,
}

impl Turning {
    /// That of the eigenvectors of Σ y yᵀ over all rows.
    #[allow(clippy::indexing_slicing, reason = "all sides are the dimensions, or those padded")]
    pub(super) fn of(factors: &Padded) -> Result<Self> {
        let (n, chunks) = (factors.dimensions, factors.chunks);
        let total = gramian(factors);
        let at = |row: usize, column: usize| total[row.min(column) * chunks * LANES + row.max(column)];
        let matrix: Vec<f64> = (0..n * n).map(|place| at(place / n, place % n)).collect();
        let (mut values, mut vectors) = (vec![0.0; n], vec![0.0; n * n]);
        let mut memory =
            MemBuffer::new(evd::self_adjoint_evd_scratch::<f64>(n, evd::ComputeEigenvectors::Yes, Par::Seq, default()));
        evd::self_adjoint_evd(
            MatRef::from_column_major_slice(&matrix, n, n),
            DiagMut::from_slice_mut(&mut values),
            Some(MatMut::from_column_major_slice_mut(&mut vectors, n, n)),
            Par::Seq,
            MemStack::new(&mut memory),
            default(),
        )
        .map_err(|_| Error::NotFinite { what: "the Gramian" })?;
        let mut turning = Self {
            there: vec![[0.0; LANES]; chunks * LANES * chunks],
            back: vec![[0.0; LANES]; chunks * LANES * chunks],
            eigenvalues: vec![[0.0; LANES]; chunks],
        };
        for (column, (value, vector)) in values.iter().zip(vectors.chunks_exact(n)).enumerate() {
            // Rounding may have taken a zero below it.
            turning.eigenvalues[column / LANES][column % LANES] = value.max(0.0) as f32;
            for (row, &value) in vector.iter().enumerate() {
                turning.there[row * chunks + column / LANES][column % LANES] = value as f32;
                turning.back[column * chunks + row / LANES][row % LANES] = value as f32;
            }
        }
        Ok(turning)
    }

    /// A copy of `factors` in these coordinates.
    pub(super) fn turned(&self, factors: &Padded) -> Padded {
        let mut turned = factors.clone();
        let arch = Arch::new();
        let rows = turned.values.par_chunks_mut(ROWS_AT_A_TIME * factors.chunks);
        rows.for_each_init(Vec::new, |spare, values| {
            arch.dispatch(Turn { values, by: &self.there, chunks: factors.chunks, spare });
        });
        turned
    }
}

/// Σ y yᵀ, on and above the diagonal.
fn gramian(factors: &Padded) -> Vec<f64> {
    let side = factors.chunks * LANES;
    let arch = Arch::new();
    let parts = factors.values.par_chunks(ROWS_OF_A_SUM * factors.chunks).map(|values| {
        let mut sums = vec![[0.0; LANES]; side * factors.chunks];
        arch.dispatch(Gramian { values, chunks: factors.chunks, sums: &mut sums });
        sums
    });
    let mut total = vec![0.0_f64; side * side];
    for part in parts.collect::<Vec<_>>() {
        for (total, &value) in total.iter_mut().zip(part.as_flattened()) {
            *total += f64::from(value);
        }
    }
    total
}

struct Gramian<'a> {
    values: &'a [Lanes],
    chunks: usize,
    sums: &'a mut [Lanes],
}

impl WithSimd for Gramian<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { values, chunks, sums } = self;
        kernel::add_gramian(simd, values, chunks, chunks * LANES, sums);
    }
}

struct Turn<'a> {
    values: &'a mut [Lanes],
    by: &'a [Lanes],
    chunks: usize,
    spare: &'a mut Vec<Lanes>,
}

impl WithSimd for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { values, by, chunks, spare } = self;
        kernel::turn(simd, values, by, chunks, spare);
    }
}
