//! Going through rows one by one.
#![allow(clippy::indexing_slicing, reason = "blocks are cut at the number of rows")]

use crate::{
    bits::WORD,
    kernels,
    rows::{Query, Rows},
    sieve::Sieve,
};

/// With fewer rows of a word to compare, they are picked instead of all compared.
const DENSE: u32 = 16;
/// Rows that are picked at once.
const PICKED: usize = 256;

/// Puts into `sieve` the rows that may be among the best, their slots counted from
/// `offset`: of the slots in `mask`, by words, those that `allows` has. It is asked
/// for what is good enough only.
pub(crate) fn scan(
    rows: &Rows,
    offset: usize,
    query: &Query,
    sieve: &mut Sieve,
    mask: impl Fn(usize) -> u64,
    allows: impl Fn(usize) -> bool,
) {
    let mut picked = Vec::new();
    for word in 0..rows.len().div_ceil(WORD) {
        let first = word * WORD;
        let mask = mask(word);
        if mask.count_ones() >= DENSE {
            block(rows, first, query, |at, score, slack, slot| {
                if sieve.admits(score + slack) && mask >> at & 1 == 1 && allows(slot) {
                    sieve.put((offset + slot) as u32, score, slack);
                }
            });
            continue;
        }
        let mut left = mask;
        while left != 0 {
            picked.push((first + left.trailing_zeros() as usize) as u32);
            left &= left - 1;
        }
        if picked.len() > PICKED - WORD {
            pick(rows, offset, &picked, query, sieve, &allows);
            picked.clear();
        }
    }
    pick(rows, offset, &picked, query, sieve, &allows);
}

/// Gives the bounds of the rows of a word to `take`.
#[inline]
fn block(rows: &Rows, first: usize, query: &Query, mut take: impl FnMut(usize, f32, f32, usize)) {
    let (mut products, mut scores, mut slacks) = ([0_i32; WORD], [0.0_f32; WORD], [0.0_f32; WORD]);
    let count = (rows.len() - first).min(WORD);
    kernels::products(&rows.all_codes()[rows.lines() * first..], &query.codes, &mut products[..count]);
    rows.bounds(first, query, &products[..count], &mut scores, &mut slacks);
    for at in 0..count {
        take(at, scores[at], slacks[at], first + at);
    }
}

fn pick(rows: &Rows, offset: usize, slots: &[u32], query: &Query, sieve: &mut Sieve, allows: &impl Fn(usize) -> bool) {
    let mut products = [0_i32; PICKED];
    let products = &mut products[..slots.len()];
    kernels::products_at(rows.all_codes(), &query.codes, slots, products);
    for (slot, product) in slots.iter().zip(products) {
        let (score, slack) = rows.bound(*slot as usize, query, *product);
        if sieve.admits(score + slack) && allows(*slot as usize) {
            sieve.put((offset + *slot as usize) as u32, score, slack);
        }
    }
}
