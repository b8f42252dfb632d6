//! Sums over everything that two rows have in common: what all neighbours are made
//! from.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::{
    error::{Result, check},
    interactions::Interactions,
    limits::{MAX_HISTORY_FOR_PAIRS, MAX_NEIGHBOURS},
    neighbours::Neighbours,
    threads,
    top::{Ranked, Top},
    watch::{self, Watch},
};

/// What one row and another have in common.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Common {
    /// Σ left · right over the columns that both have.
    pub(crate) sum: f32,
    /// How many those are.
    pub(crate) count: u32,
}

/// For every row r of `left` the `limit` other columns c of `right` with the highest
/// `score(r, c, common)`, where left is n × m and right m × n; scores not above
/// zero are left out.
pub(crate) fn neighbours(
    left: &Interactions,
    right: &Interactions,
    limit: usize,
    threads: usize,
    watch: Watch<'_>,
    score: impl Fn(u32, u32, Common) -> f32 + Sync,
) -> Result<Neighbours> {
    let within = (1..=MAX_NEIGHBOURS).contains(&limit);
    check("neighbours", "1 to 10000", limit as f64, within)?;
    let spare: Mutex<Vec<Scratch>> = Mutex::default();
    let watched = watch::Rows::new(left.rows(), watch);
    let rows: Vec<Vec<Ranked>> = threads::pool(threads)?.install(|| {
        let blocks = (0..left.rows().div_ceil(ROWS_AT_A_TIME)).into_par_iter();
        let all = blocks.map(|block| {
            let scratch = spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut scratch = scratch.unwrap_or_else(|| Scratch::new(right.columns(), limit));
            let first = block * ROWS_AT_A_TIME;
            let rows = first..first.saturating_add(ROWS_AT_A_TIME).min(left.rows());
            // One row of a popular item may take long.
            let best = |row| watched.next(1).map(|()| best_of_row(row, left, right, &mut scratch, &score));
            let ranked = rows.map(best).collect::<Result<Vec<Ranked>>>();
            spare.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
            ranked
        });
        all.collect::<Result<_>>()
    })?;
    Ok(Neighbours::from_rows(rows.into_iter().flatten()))
}

/// Rows that a thread takes at a time.
const ROWS_AT_A_TIME: u32 = 32;

/// Memory for one row, as long as a row is; it is passed on, since clearing it for
/// every block of rows would take longer than most blocks.
struct Scratch {
    sums: Vec<Common>,
    touched: Vec<u32>,
    top: Top,
}

impl Scratch {
    fn new(columns: u32, limit: usize) -> Self {
        Self { sums: vec![Common::default(); columns as usize], touched: Vec::new(), top: Top::new(limit) }
    }
}

fn best_of_row(
    row: u32,
    left: &Interactions,
    right: &Interactions,
    Scratch { sums, touched, top }: &mut Scratch,
    score: &impl Fn(u32, u32, Common) -> f32,
) -> Ranked {
    add_up(row, left, right, sums, touched);
    for column in touched.drain(..) {
        let Some(common) = sums.get_mut(column as usize).map(std::mem::take) else { continue };
        let score = score(row, column, common);
        if column != row && score > 0.0 {
            top.push(column, score);
        }
    }
    top.take()
}

fn add_up(row: u32, left: &Interactions, right: &Interactions, sums: &mut [Common], touched: &mut Vec<u32>) {
    let (ids, weights) = left.row(row);
    for (&middle, &by) in ids.iter().zip(weights) {
        let (columns, values) = right.row(middle);
        for (&column, &value) in columns.iter().zip(values) {
            let Some(common) = sums.get_mut(column as usize) else { continue };
            if common.count == 0 {
                touched.push(column);
            }
            common.sum += by * value;
            common.count += 1;
        }
    }
}

/// The same matrix, of every row at most [`MAX_HISTORY_FOR_PAIRS`]: the heaviest, and
/// of those of one weight some that nothing but their ids picks.
pub(crate) fn limited(interactions: &Interactions) -> Interactions {
    let mut bars: Vec<(f32, u32)> = Vec::with_capacity(interactions.rows() as usize);
    for (ids, weights) in interactions.iter() {
        let mut keys: Vec<(f32, u32)> = Vec::new();
        if ids.len() > MAX_HISTORY_FOR_PAIRS {
            keys.extend(ids.iter().zip(weights).map(|(&id, &weight)| (weight, scattered(id))));
            keys.select_nth_unstable_by(MAX_HISTORY_FOR_PAIRS - 1, |a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        }
        bars.push(keys.get(MAX_HISTORY_FOR_PAIRS - 1).copied().unwrap_or((0.0, 0)));
    }
    interactions.reweighted(|row, id, weight| {
        let bar = bars.get(row as usize).copied().unwrap_or_default();
        if (weight, scattered(id)) >= bar { weight } else { 0.0 }
    })
}

/// A bijection that puts consecutive ids far apart.
fn scattered(id: u32) -> u32 {
    let id = (id ^ (id >> 16)).wrapping_mul(0x7FEB_352D);
    let id = (id ^ (id >> 15)).wrapping_mul(0x846C_A68B);
    id ^ (id >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_history_the_heaviest_count() {
        let long = MAX_HISTORY_FOR_PAIRS as u32 + 500;
        let triples = (0..long).map(|item| (0, item, if item % 2 == 0 { 2.0 } else { 1.0 })).chain([(1, 3, 1.0)]);
        let matrix = limited(&Interactions::from_triples(2, long, triples).unwrap());
        let (ids, weights) = matrix.row(0);
        assert_eq!(ids.len(), MAX_HISTORY_FOR_PAIRS);
        assert_eq!(weights.iter().filter(|weight| **weight == 2.0).count(), long as usize / 2);
        assert_eq!(matrix.row(1).0, [3]);
    }
}
