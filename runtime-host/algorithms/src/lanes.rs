//! Sixteen values at a time.
//!
//! A loop over [`Lanes`] has a constant bound, so it becomes one vector instruction,
//! or a few where vectors are shorter.

/// Values that are taken at a time: the longest vector of any machine.
pub(crate) const LANES: usize = 16;

/// Consecutive values.
pub(crate) type Lanes = [f32; LANES];

/// a·b + c, in one rounding where the machine has an instruction for it.
#[inline(always)]
pub(crate) fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction `mul_add` is a call of a slow function.
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// sums += by · values.
#[inline(always)]
pub(crate) fn add<const FMA: bool>(by: f32, values: &Lanes, sums: &mut Lanes) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum = multiply_add::<FMA>(by, value, *sum);
    }
}

/// Σ a · b.
#[inline(always)]
pub(crate) fn dot<const FMA: bool>(a: &[Lanes], b: &[Lanes]) -> f32 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum = multiply_add::<FMA>(a, b, *sum);
        }
    }
    total(sums)
}

/// The sum of all, in halves: four additions where the machine adds vectors.
#[inline(always)]
#[allow(clippy::indexing_slicing, reason = "constant indices below 16")]
fn total(sums: Lanes) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|at| sums[at] + sums[at + 8]);
    let four: [f32; 4] = std::array::from_fn(|at| eight[at] + eight[at + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}
