//! Inner products, on the widest registers of the processor.
//!
//! The one file with `unsafe`: a function that is compiled for an extension of the
//! instruction set may be called only where the processor has it, which is looked up
//! once a block of rows, and the loads of AVX-512 take pointers. Everything else is
//! safe code that the compiler vectorises.
#![allow(unsafe_code, reason = "instruction sets chosen at run time; each use says why it is sound")]
#![allow(clippy::indexing_slicing, reason = "rows are cut by the caller's stride; slots are those of its rows")]

/// 64 codes of a vector: a cache line, so that a row is loaded with as few as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [u8; Line::CODES]);

impl Line {
    /// Codes of a line.
    pub const CODES: usize = 64;
    /// What stands for zero in a row.
    pub const ZERO: u8 = 128;
}

/// A vector that rows are compared with: signed codes, two's complement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Codes {
    /// As many as a row has, zero after the last code.
    lines: Vec<Line>,
    /// What the products are too large by, as codes of rows are [`Line::ZERO`] too large.
    excess: i32,
}

impl Codes {
    /// Signed codes in lines.
    pub fn new(lines: Vec<Line>) -> Self {
        let mut codes = Self { lines, excess: 0 };
        codes.sum_up();
        codes
    }

    /// Becomes the codes of a row.
    pub fn set_row(&mut self, row: &[Line]) {
        self.lines.clear();
        self.lines.extend(row.iter().map(|line| Line(line.0.map(|code| code ^ Line::ZERO))));
        self.sum_up();
    }

    fn sum_up(&mut self) {
        let sum: i32 = self.lines.iter().flat_map(|line| line.0).map(|code| i32::from(code.cast_signed())).sum();
        self.excess = sum * i32::from(Line::ZERO);
    }
}

/// The products of `target` with consecutive rows, one for each of `out`.
pub(crate) fn products(rows: &[Line], target: &Codes, out: &mut [i32]) {
    let stride = target.lines.len();
    let rows = &rows[..stride * out.len()];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { x86::products_vnni(rows.len() / stride, |at| &rows[at * stride..], target, out) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { x86::products_avx2(|at| &rows[at * stride..(at + 1) * stride], target, out) };
        }
    }
    any_products(|at| &rows[at * stride..(at + 1) * stride], target, out);
}

/// The products of `target` with the rows at `slots`, one for each of `out`.
pub(crate) fn products_at(rows: &[Line], target: &Codes, slots: &[u32], out: &mut [i32]) {
    let stride = target.lines.len();
    let row = |at: usize| {
        let start = slots[at] as usize * stride;
        &rows[start..start + stride]
    };
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { x86::products_vnni(slots.len(), row, target, out) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { x86::products_avx2(row, target, out) };
        }
    }
    any_products(row, target, out);
}

/// The inner product of two vectors of one dimension.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { x86::dot_fma(a, b) };
    }
    any_dot(a, b, |a, b, sum| a * b + sum)
}

#[inline(always)]
fn any_products<'a>(row: impl Fn(usize) -> &'a [Line], target: &Codes, out: &mut [i32]) {
    for (at, product) in out.iter_mut().enumerate() {
        let mut sum = -target.excess;
        for (line, target) in row(at).iter().zip(&target.lines) {
            // 16 bits wide, for which there are instructions that multiply and add.
            let pairs = line.0.iter().zip(&target.0).map(|(a, b)| (i16::from(*a), i16::from(b.cast_signed())));
            sum += pairs.map(|(a, b)| i32::from(a) * i32::from(b)).sum::<i32>();
        }
        *product = sum;
    }
}

#[inline(always)]
fn any_dot(a: &[f32], b: &[f32], multiply_add: impl Fn(f32, f32, f32) -> f32) -> f32 {
    const LANES: usize = 32;
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] = multiply_add(a[lane], b[lane], sums[lane]);
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[lane] = multiply_add(*a, *b, sums[lane]);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Codes, Line, any_dot, any_products};

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn dot_fma(a: &[f32], b: &[f32]) -> f32 {
        any_dot(a, b, f32::mul_add)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn products_avx2<'a>(row: impl Fn(usize) -> &'a [Line], target: &Codes, out: &mut [i32]) {
        any_products(row, target, out);
    }

    /// `row` gives a row and may give more after it.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn products_vnni<'a>(rows: usize, row: impl Fn(usize) -> &'a [Line], target: &Codes, out: &mut [i32]) {
        let excess = _mm_set1_epi32(target.excess);
        for first in (0..rows).step_by(4) {
            // The last row again where there are no four. No `map`: what is not inlined
            // costs more than all the rest.
            let at = |ahead: usize| (first + ahead).min(rows - 1);
            let (a, b, c, d) = (row(at(0)), row(at(1)), row(at(2)), row(at(3)));
            let mut sums = [_mm512_setzero_si512(); 4];
            for ((((target, a), b), c), d) in target.lines.iter().zip(a).zip(b).zip(c).zip(d) {
                let target = load(target);
                sums[0] = _mm512_dpbusd_epi32(sums[0], load(a), target);
                sums[1] = _mm512_dpbusd_epi32(sums[1], load(b), target);
                sums[2] = _mm512_dpbusd_epi32(sums[2], load(c), target);
                sums[3] = _mm512_dpbusd_epi32(sums[3], load(d), target);
            }
            let mut four = [0_i32; 4];
            // SAFETY: 16 bytes are written to an array of that size; no alignment is asked for.
            unsafe { _mm_storeu_si128(four.as_mut_ptr().cast(), _mm_sub_epi32(sum_of_each(sums), excess)) };
            match out[first..].first_chunk_mut() {
                Some(all) => *all = four,
                None => out[first..].iter_mut().zip(four).for_each(|(product, sum)| *product = sum),
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    fn load(line: &Line) -> __m512i {
        // SAFETY: a line is 64 bytes, aligned so.
        unsafe { _mm512_load_si512(std::ptr::from_ref(line).cast()) }
    }

    /// The sums of the 16 numbers of each of four registers.
    #[target_feature(enable = "avx512f")]
    fn sum_of_each([a, b, c, d]: [__m512i; 4]) -> __m128i {
        let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        let abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
        let half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64::<1>(abcd));
        _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows and a target of `dimension` codes, none of them like another.
    fn example(count: usize, dimension: usize) -> (Vec<Vec<i32>>, Vec<Line>, Vec<i32>, Codes) {
        let code = |at: usize| (at * 7919 % 255) as i32 - 127;
        let lines = |codes: &[i32], zero: i32| -> Vec<Line> {
            let byte = |code: &i32| u8::try_from((code + zero) & 255).unwrap();
            codes
                .chunks(Line::CODES)
                .map(|chunk| Line(std::array::from_fn(|at| byte(chunk.get(at).unwrap_or(&0)))))
                .collect()
        };
        let rows: Vec<Vec<i32>> =
            (0..count).map(|row| (0..dimension).map(|at| code(row * 31 + at)).collect()).collect();
        let target: Vec<i32> = (0..dimension).map(|at| code(at * 3 + 5)).collect();
        let codes = Codes::new(lines(&target, 0));
        let packed = rows.iter().flat_map(|row| lines(row, 128)).collect();
        (rows, packed, target, codes)
    }

    #[test]
    fn products_are_exact_with_every_set_of_instructions() {
        for (count, dimension) in [(1, 1), (3, 63), (4, 64), (5, 65), (9, 128), (258, 200)] {
            let (rows, packed, target, codes) = example(count, dimension);
            let stride = dimension.div_ceil(Line::CODES);
            let expected: Vec<i32> = rows.iter().map(|row| row.iter().zip(&target).map(|(a, b)| a * b).sum()).collect();
            let mut out = vec![0; count];
            products(&packed, &codes, &mut out);
            assert_eq!(out, expected);
            let slots: Vec<u32> = (0..count as u32).rev().collect();
            products_at(&packed, &codes, &slots, &mut out);
            out.reverse();
            assert_eq!(out, expected);
            any_products(|at| &packed[at * stride..][..stride], &codes, &mut out);
            assert_eq!(out, expected);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                out.fill(0);
                // SAFETY: the processor has what the function is compiled for.
                unsafe { x86::products_avx2(|at| &packed[at * stride..][..stride], &codes, &mut out) };
                assert_eq!(out, expected);
            }
            let mut again = Codes::default();
            again.set_row(&packed[..stride]);
            assert_eq!(again.lines[0].0[0], (rows[0][0] as i8).cast_unsigned());
        }
    }

    #[test]
    fn dots_are_right_for_every_length() {
        for dimension in 1..200 {
            let a: Vec<f32> = (0..dimension).map(|at| (at as f32 * 0.7).sin()).collect();
            let b: Vec<f32> = (0..dimension).map(|at| (at as f32 * 1.3).cos()).collect();
            let expected: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            for got in [dot(&a, &b), any_dot(&a, &b, |a, b, sum| a * b + sum)] {
                assert!((f64::from(got) - expected).abs() < 1e-5, "{dimension}: {got} {expected}");
            }
        }
    }
}
