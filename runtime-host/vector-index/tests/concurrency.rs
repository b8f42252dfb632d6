//! Queries while an index changes and is built again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are not recognised as tests"
)]

mod common;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use common::{assert_best, close, score, upsert, vector};
use funnelweb_vector_index::{Change, Filter, Index, Metric, Plan, Space};

const DIMENSION: usize = 8;
/// Handles below are never changed, those up to twice as many are deleted and come
/// back, and those above come and stay.
const PART: u64 = 1000;

/// A handle has the vectors of some versions, one after the other.
fn version(handle: u64, version: u64) -> Vec<f32> {
    vector(handle * 100 + version, DIMENSION)
}

#[test]
fn queries_give_live_vectors_with_their_scores() {
    let space = Space::new(DIMENSION, Metric::Cosine).unwrap();
    let index = Index::new(space, Plan { graph_from: 500, threads: 2 });
    index.apply(&(0..2 * PART).map(|handle| upsert(handle, version(handle, 0))).collect::<Vec<_>>()).unwrap();
    // Of what comes: handles below are there for certain, those from here on may be.
    let come = AtomicU64::new(2 * PART);
    let begun = AtomicU64::new(2 * PART);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let query = || {
            let keep = Filter::only((0..PART).collect());
            let mut asked = 0_u64;
            while !done.load(Ordering::Relaxed) || asked < 50 {
                asked += 1;
                let asking = vector(asked, DIMENSION);
                let found = index.query(&asking, 20, None).unwrap();
                assert_eq!(found.len(), 20);
                let begun = begun.load(Ordering::SeqCst);
                for hit in &found {
                    let versions = if hit.handle < PART { 1 } else { 10 };
                    let right =
                        (0..versions).any(|at| close(hit.score, score(space, &asking, &version(hit.handle, at))));
                    assert!(right && hit.handle < begun, "{hit:?}");
                }
                // What does not change is found whatever happens beside it.
                let found = index.query(&asking, 10, Some(&keep)).unwrap();
                let stable = common::Model((0..PART).map(|handle| (handle, version(handle, 0))).collect());
                assert_best(space, &stable, &asking, Some(&keep), 10, &found);
                let come = come.load(Ordering::SeqCst);
                assert!(index.get(come - 1).is_some());
            }
        };
        let queries = [scope.spawn(query), scope.spawn(query)];
        let builder = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                index.rebuild();
            }
        });
        for round in 1..10 {
            for handle in PART..2 * PART {
                let next = upsert(handle, version(handle, round));
                index.apply(&[Change::Delete { handle }, next]).unwrap();
            }
            let first = come.load(Ordering::SeqCst);
            let more: Vec<Change> = (first..first + 300).map(|handle| upsert(handle, version(handle, 0))).collect();
            begun.store(first + 300, Ordering::SeqCst);
            index.apply(&more).unwrap();
            come.store(first + 300, Ordering::SeqCst);
        }
        done.store(true, Ordering::Relaxed);
        builder.join().unwrap();
        queries.into_iter().for_each(|query| query.join().unwrap());
    });
    let expected = |handle| version(handle, if (PART..2 * PART).contains(&handle) { 9 } else { 0 });
    let end = come.load(Ordering::SeqCst);
    assert_eq!(index.len() as u64, end);
    assert!((0..end).all(|handle| index.get(handle) == Some(expected(handle))));
}
