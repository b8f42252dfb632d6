//! Systems of a few dozen unknowns, solved where they are built.
//!
//! A linear-algebra crate is made for large matrices: it splits, packs and
//! dispatches, which at 16 to 128 unknowns takes longer than the solve. It would
//! also come along into the components that fold in.
#![allow(clippy::indexing_slicing, reason = "callers size `a` to whole rows of `b.len()` lanes, `n` of them at least")]

use crate::lanes::{Arithmetic, LANES, Lanes};

/// Solves A x = b for a symmetric positive definite A of `n` rows, of which `a` holds
/// the diagonal and what is above it, row by row, each as many lanes as `b` has.
/// `b` becomes x; `a` is used up. What is beyond the `n`th column must be zero, and
/// what is below the diagonal does not matter.
///
/// `floor` is above zero and not above any eigenvalue of A: a pivot that rounding
/// has taken below it is set to it, so that an ill-conditioned system gives a vector
/// that is finite, where it would give NaN.
#[inline(always)]
pub(crate) fn solve(with: impl Arithmetic, n: usize, a: &mut [Lanes], b: &mut [Lanes], floor: f32) {
    let chunks = b.len();
    // A = Uᵀ U, each row taken from all below it as soon as it is known.
    for at in 0..n {
        let (chunk, lane) = (at / LANES, at % LANES);
        let (above, below) = a.split_at_mut((at + 1) * chunks);
        let row = &mut above[at * chunks..];
        let scale = 1.0 / row[chunk][lane].max(floor).sqrt();
        for values in &mut row[chunk..] {
            with.scale(scale, values);
        }
        // What is left of the diagonal, and the diagonal for now, must not count below.
        for value in &mut row[chunk][..=lane] {
            *value = 0.0;
        }
        for (other, of_row) in (at + 1..n).zip(below.chunks_exact_mut(chunks)) {
            let from = other / LANES;
            let by = -row[from][other % LANES];
            for (values, sums) in row[from..].iter().zip(&mut of_row[from..]) {
                with.add(by, values, sums);
            }
        }
        // Uᵀ y = b on the way.
        let y = b[chunk][lane] * scale;
        b[chunk][lane] = y;
        for (values, sums) in row[chunk..].iter().zip(&mut b[chunk..]) {
            with.add(-y, values, sums);
        }
        row[chunk][lane] = scale;
    }
    // U x = y.
    for at in (0..n).rev() {
        let (chunk, lane) = (at / LANES, at % LANES);
        let row = &mut a[at * chunks..(at + 1) * chunks];
        let scale = std::mem::take(&mut row[chunk][lane]);
        b[chunk][lane] = (b[chunk][lane] - with.dot(&row[chunk..], &b[chunk..])) * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Plain;

    #[test]
    fn what_was_solved_satisfies_the_system() {
        for n in [1_usize, 2, 7, 16, 33, 48] {
            // Diagonally dominant, hence positive definite.
            let entry = |i: usize, j: usize| if i == j { n as f32 + 1.0 } else { ((i * j + i + j) % 7) as f32 / 7.0 };
            let chunks = n.div_ceil(LANES);
            let mut a = vec![[0.0; LANES]; n * chunks];
            let mut b = vec![[0.0; LANES]; chunks];
            for i in 0..n {
                b.as_flattened_mut()[i] = i as f32 - 2.0;
                for j in 0..n {
                    a[i * chunks + j / LANES][j % LANES] = entry(i, j);
                }
            }
            solve(Plain, n, &mut a, &mut b, 1.0);
            for i in 0..n {
                let left: f32 = (0..n).map(|j| entry(i, j) * b.as_flattened()[j]).sum();
                assert!((left - (i as f32 - 2.0)).abs() < 1e-4, "{n}: {left} {i}");
            }
        }
    }

    #[test]
    fn a_singular_system_gives_finite_values() {
        let mut a = [[1.0; LANES]; 3];
        for row in &mut a {
            row[3..].fill(0.0);
        }
        let mut x = [[0.0; LANES]];
        x[0][..3].copy_from_slice(&[1.0, 2.0, 3.0]);
        solve(Plain, 3, &mut a, &mut x, 1e-6);
        assert!(x[0].iter().all(|value| value.is_finite()), "{x:?}");
    }
}
