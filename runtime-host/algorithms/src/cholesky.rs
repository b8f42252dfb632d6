//! Systems of a few dozen unknowns, solved where they are built.
//!
//! A linear-algebra crate is made for large matrices: it splits, packs and
//! dispatches, which at 16 to 128 unknowns takes longer than the solve. It would
//! also come along into the components that fold in.
#![allow(clippy::indexing_slicing, reason = "every index is below `n`, and the callers size `a` to n·n and `b` to n")]

/// a·b + c, in one rounding where the machine has an instruction for it.
#[inline(always)]
pub(crate) fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction `mul_add` is a call of a slow function.
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Solves A x = b for a symmetric positive definite A, of which `a` holds the
/// diagonal and what is above it, row by row (n × n). `b` becomes x; `a` is used up.
///
/// `floor` is above zero and not above any eigenvalue of A: a pivot that rounding
/// has taken below it is set to it, so that an ill-conditioned system gives a vector
/// that is finite, where it would give NaN.
#[inline(always)]
pub(crate) fn solve<const FMA: bool>(a: &mut [f32], b: &mut [f32], floor: f32) {
    let n = b.len();
    // A = Uᵀ U, each row taken from all below it as soon as it is known: the inner
    // loop then runs over consecutive values.
    for at in 0..n {
        let (above, below) = a.split_at_mut((at + 1) * n);
        let row = &mut above[at * n + at..];
        let scale = 1.0 / row[0].max(floor).sqrt();
        row[0] = scale;
        for value in &mut row[1..] {
            *value *= scale;
        }
        let row = &row[1..];
        for (offset, other) in below.chunks_exact_mut(n).enumerate() {
            let factor = -row[offset];
            for (value, &by) in other[at + 1 + offset..].iter_mut().zip(&row[offset..]) {
                *value = multiply_add::<FMA>(factor, by, *value);
            }
        }
        // Uᵀ y = b on the way.
        let y = b[at] * scale;
        b[at] = y;
        for (value, &by) in b[at + 1..].iter_mut().zip(row) {
            *value = multiply_add::<FMA>(-y, by, *value);
        }
    }
    // U x = y. The diagonal holds its inverse.
    for at in (0..n).rev() {
        let row = &a[at * n + at..(at + 1) * n];
        let mut sums = [0.0_f32; 8];
        let (values, by) = (&b[at + 1..], &row[1..]);
        let (value_chunks, by_chunks) = (values.chunks_exact(8), by.chunks_exact(8));
        let rest: f32 = value_chunks.remainder().iter().zip(by_chunks.remainder()).map(|(a, b)| a * b).sum();
        for (value, by) in value_chunks.zip(by_chunks) {
            for lane in 0..8 {
                sums[lane] = multiply_add::<FMA>(value[lane], by[lane], sums[lane]);
            }
        }
        b[at] = (b[at] - rest - sums.iter().sum::<f32>()) * row[0];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_solved_satisfies_the_system() {
        for n in [1, 2, 7, 16, 33] {
            // Diagonally dominant, hence positive definite.
            let entry = |i: usize, j: usize| if i == j { n as f32 + 1.0 } else { ((i * j + i + j) % 7) as f32 / 7.0 };
            let mut a: Vec<f32> = (0..n * n).map(|at| entry(at / n, at % n)).collect();
            let right: Vec<f32> = (0..n).map(|at| at as f32 - 2.0).collect();
            let mut x = right.clone();
            solve::<false>(&mut a, &mut x, 1.0);
            for (i, right) in right.iter().enumerate() {
                let left: f32 = (0..n).map(|j| entry(i, j) * x[j]).sum();
                assert!((left - right).abs() < 1e-4, "{n}: {left} {right}");
            }
        }
    }

    #[test]
    fn a_singular_system_gives_finite_values() {
        let mut x = [1.0, 2.0, 3.0];
        solve::<false>(&mut [1.0; 9], &mut x, 1e-6);
        assert!(x.iter().all(|value| value.is_finite()), "{x:?}");
    }
}
