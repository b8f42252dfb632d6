//! Sixteen values at a time.

/// Values that are taken at a time: the longest vector of any machine.
pub(crate) const LANES: usize = 16;

/// Consecutive values.
pub(crate) type Lanes = [f32; LANES];

/// How lanes are computed with.
pub(crate) trait Arithmetic: Copy {
    /// sums += by · values.
    fn add(self, by: f32, values: &Lanes, sums: &mut Lanes);

    /// values ·= by.
    fn scale(self, by: f32, values: &mut Lanes);

    /// Σ a · b.
    fn dot(self, a: &[Lanes], b: &[Lanes]) -> f32;
}

/// With whatever the compiler makes of a loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

impl Arithmetic for Plain {
    #[inline(always)]
    fn add(self, by: f32, values: &Lanes, sums: &mut Lanes) {
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum += by * value;
        }
    }

    #[inline(always)]
    fn scale(self, by: f32, values: &mut Lanes) {
        for value in values {
            *value *= by;
        }
    }

    #[inline(always)]
    fn dot(self, a: &[Lanes], b: &[Lanes]) -> f32 {
        let mut sums = [0.0; LANES];
        for (a, b) in a.iter().zip(b) {
            for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a * b;
            }
        }
        sums.iter().sum()
    }
}

/// With the vector instructions that were found at run time.
#[cfg(feature = "train")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vectors<S>(pub(crate) S);

#[cfg(feature = "train")]
impl<S: pulp::Simd> Arithmetic for Vectors<S> {
    #[inline(always)]
    fn add(self, by: f32, values: &Lanes, sums: &mut Lanes) {
        let by = self.0.splat_f32s(by);
        let (values, sums) = (S::as_simd_f32s(values).0, S::as_mut_simd_f32s(sums).0);
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum = self.0.mul_add_e_f32s(by, value, *sum);
        }
    }

    #[inline(always)]
    fn scale(self, by: f32, values: &mut Lanes) {
        let by = self.0.splat_f32s(by);
        for value in S::as_mut_simd_f32s(values).0 {
            *value = self.0.mul_f32s(by, *value);
        }
    }

    #[inline(always)]
    fn dot(self, a: &[Lanes], b: &[Lanes]) -> f32 {
        let (a, b) = (S::as_simd_f32s(a.as_flattened()).0, S::as_simd_f32s(b.as_flattened()).0);
        let mut sums = self.0.splat_f32s(0.0);
        for (&a, &b) in a.iter().zip(b) {
            sums = self.0.mul_add_e_f32s(a, b, sums);
        }
        self.0.reduce_sum_f32s(sums)
    }
}
