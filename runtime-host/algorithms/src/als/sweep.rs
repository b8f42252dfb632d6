//! One side solved for, on all threads.
//!
//! The fixed side is first turned by the eigenvectors of its Gramian. In those
//! coordinates α₀ G + λ I is a diagonal for every λ, so that a short history can be
//! solved for in its own few unknowns ([`kernel::solve_short`]); the solution is
//! turned back.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    Config,
    factors::Padded,
    kernel::{self, Fixed, History, Scratch},
    turning::Turning,
};
use crate::{
    error::Result,
    interactions::Interactions,
    lanes::{LANES, Lanes},
    watch::{self, Watch},
};

/// Rows that a thread takes at a time: few, since a long history takes long.
const ROWS_AT_A_TIME: usize = 32;

/// The longest history that is solved for in its own unknowns. Measured: above it the
/// cube of its length begins to tell.
const SHORT_HISTORY: usize = 64;

/// Solves every row of `solved` for its history in `interactions`, given `fixed`.
pub(super) fn sweep(
    solved: &mut Padded,
    fixed: &Padded,
    interactions: &Interactions,
    config: &Config,
    watch: Watch<'_>,
) -> Result<()> {
    let turning = Turning::of(fixed)?;
    let turned = turning.turned(fixed);
    let diagonal: Vec<Lanes> = turning
        .eigenvalues
        .iter()
        .map(|values| values.map(|value| value * config.objective.unobserved_weight))
        .collect();
    let side = Fixed { values: &turned.values, chunks: fixed.chunks, diagonal: &diagonal };
    let arch = Arch::new();
    let watched = watch::Rows::new(interactions.rows(), watch);
    let rows = solved.values.par_chunks_mut(ROWS_AT_A_TIME * fixed.chunks).enumerate();
    rows.try_for_each_init(Default::default, |scratch, (at, values)| {
        watched.next(ROWS_AT_A_TIME as u32)?;
        let first_row = (at * ROWS_AT_A_TIME) as u32;
        arch.dispatch(Rows { values, first_row, fixed: side, turning: &turning, interactions, config, scratch });
        Ok(())
    })
}

struct Rows<'a> {
    values: &'a mut [Lanes],
    first_row: u32,
    fixed: Fixed<'a>,
    turning: &'a Turning,
    interactions: &'a Interactions,
    config: &'a Config,
    scratch: &'a mut (Scratch, Vec<Lanes>),
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { values, first_row, fixed, turning, interactions, config, scratch } = self;
        let (scratch, spare) = scratch;
        let chunks = fixed.chunks;
        let block = config.block.div_ceil(LANES);
        if block < chunks {
            kernel::turn(simd, values, &turning.there, chunks, spare);
        } else {
            // One step from anywhere is exact; from here it needs no turning.
            values.fill([0.0; LANES]);
        }
        for (row, values) in (first_row..).zip(values.chunks_exact_mut(chunks)) {
            let (ids, weights) = interactions.row(row);
            let strength = config.objective.strength(weights.iter().sum(), interactions.columns());
            let history = History { ids, weights, strength };
            if ids.is_empty() {
                // What the loss is least for; block steps would only come near it.
                values.fill([0.0; LANES]);
            } else if ids.len() <= SHORT_HISTORY.min(chunks * LANES) {
                kernel::solve_short(simd, values, history, fixed, scratch);
            } else {
                kernel::solve_blocks(simd, values, history, fixed, block, scratch);
            }
        }
        kernel::turn(simd, values, &turning.back, chunks, spare);
    }
}
