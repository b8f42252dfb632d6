//! The inner loop of a product: two rows with a panel of sixteen columns.
//!
//! Eight sums, four vectors of weights and two cells are all that 16 registers hold. The
//! engine looks at the clock in every turn of a loop, and whatever is in registers then
//! goes to memory and back, so a turn is sixteen steps (32 are slower again). Each step
//! ends with a way out: that makes it a block of its own, or the compiler would do all
//! loads of a turn first, and hold them in memory too.

/// Columns of a panel.
pub const WIDTH: usize = 16;

/// Cells of a row, or weights of one input, in the columns of a panel.
pub type Lanes = [f32; WIDTH];

/// Adds the products of two rows' cells with the weights of a panel to the sums. In
/// WebAssembly with one rounding for product and sum, which the engine guarantees on
/// every processor.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "relaxed-simd"))]
pub fn add_products(rows: [&[f32]; 2], panel: &[Lanes], sums: [&mut Lanes; 2]) {
    let [first, second] = rows;
    let [first_sums, second_sums] = sums;
    let (mut one, mut two) = (vectors::read(first_sums), vectors::read(second_sums));
    let mut cells = first.iter().zip(second).zip(panel);
    macro_rules! steps {
        ($($step:tt)*) => {
            $(
                let _: &str = stringify!($step);
                let Some(((first, second), weights)) = cells.next() else { break };
                let weights = vectors::read(weights);
                one = vectors::add_product(*first, weights, one);
                two = vectors::add_product(*second, weights, two);
            )*
        };
    }
    loop {
        steps!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
    }
    vectors::write(one, first_sums);
    vectors::write(two, second_sums);
}

#[cfg(target_arch = "wasm32")]
mod vectors {
    use std::arch::wasm32::{f32x4, f32x4_extract_lane, f32x4_relaxed_madd, f32x4_splat, v128};

    use super::{Lanes, WIDTH};

    pub type Vectors = [v128; WIDTH / 4];

    #[inline(always)]
    pub fn read(lanes: &Lanes) -> Vectors {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *lanes;
        [f32x4(a, b, c, d), f32x4(e, f, g, h), f32x4(i, j, k, l), f32x4(m, n, o, p)]
    }

    #[inline(always)]
    pub fn write(vectors: Vectors, lanes: &mut Lanes) {
        for (lanes, vector) in lanes.as_chunks_mut::<4>().0.iter_mut().zip(vectors) {
            *lanes = [
                f32x4_extract_lane::<0>(vector),
                f32x4_extract_lane::<1>(vector),
                f32x4_extract_lane::<2>(vector),
                f32x4_extract_lane::<3>(vector),
            ];
        }
    }

    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    pub fn add_product(cell: f32, weights: Vectors, sums: Vectors) -> Vectors {
        let (cell, [a, b, c, d], [e, f, g, h]) = (f32x4_splat(cell), weights, sums);
        [
            f32x4_relaxed_madd(cell, a, e),
            f32x4_relaxed_madd(cell, b, f),
            f32x4_relaxed_madd(cell, c, g),
            f32x4_relaxed_madd(cell, d, h),
        ]
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod vectors {
    use super::Lanes;

    pub fn read(lanes: &Lanes) -> Lanes {
        *lanes
    }

    pub fn write(vectors: Lanes, lanes: &mut Lanes) {
        *lanes = vectors;
    }

    pub fn add_product(cell: f32, weights: Lanes, mut sums: Lanes) -> Lanes {
        sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum = cell.mul_add(weight, *sum));
        sums
    }
}
