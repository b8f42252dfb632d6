//! The baseline: all inner products in `f32`, on the widest registers.
#![allow(unsafe_code, reason = "instruction sets chosen at run time, as in the crate's kernels")]

/// The `k` largest inner products with `query`, the largest first, with their rows.
pub fn scan(items: &[f32], query: &[f32], k: usize) -> Vec<(f32, u32)> {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { scan_avx512(items, query, k) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { scan_avx2(items, query, k) };
        }
    }
    any_scan(items, query, k, |a, b, sum| a * b + sum)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
fn scan_avx512(items: &[f32], query: &[f32], k: usize) -> Vec<(f32, u32)> {
    any_scan(items, query, k, f32::mul_add)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn scan_avx2(items: &[f32], query: &[f32], k: usize) -> Vec<(f32, u32)> {
    any_scan(items, query, k, f32::mul_add)
}

#[inline(always)]
fn any_scan(items: &[f32], query: &[f32], k: usize, multiply_add: impl Fn(f32, f32, f32) -> f32) -> Vec<(f32, u32)> {
    const LANES: usize = 16;
    let mut best: Vec<(f32, u32)> = Vec::with_capacity(4 * k);
    let mut floor = f32::NEG_INFINITY;
    let query = query.as_chunks::<LANES>().0;
    for (row, item) in items.chunks_exact(query.len() * LANES).enumerate() {
        let mut sums = [0.0_f32; LANES];
        for (a, b) in item.as_chunks::<LANES>().0.iter().zip(query) {
            for lane in 0..LANES {
                sums[lane] = multiply_add(a[lane], b[lane], sums[lane]);
            }
        }
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
            width /= 2;
        }
        if sums[0] > floor {
            best.push((sums[0], row as u32));
            if best.len() == 4 * k {
                best.select_nth_unstable_by(k - 1, |a, b| b.0.total_cmp(&a.0));
                best.truncate(k);
                floor = best[k - 1].0;
            }
        }
    }
    best.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    best.truncate(k);
    best
}
