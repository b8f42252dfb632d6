//! Random operations, against vectors that are compared one by one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests are not recognised as tests"
)]

mod common;

use common::{Model, assert_best};
use funnelweb_vector_index::{Change, Error, Filter, Index, Metric, Plan, Space, Store, VectorError, limits};
use proptest::{collection::vec, prelude::*};

#[derive(Debug, Clone)]
enum Operation {
    Apply(Vec<Change>),
    Query { vector: Vec<f32>, k: usize, handles: Vec<u64>, filter: Option<bool> },
    Maintain,
    Save,
    Reopen,
}

/// Few numbers and handles, so that scores are equal and handles meet again.
fn operations(dimension: usize) -> impl Strategy<Value = Vec<Operation>> {
    let number = prop_oneof![Just(0.0_f32), Just(1.0), Just(-1.0), -3.0_f32..3.0];
    let nonzero = vec(number, dimension).prop_map(|mut vector| {
        if vector.iter().all(|number| number.abs() < 1e-3) {
            vector[0] = 0.5;
        }
        vector
    });
    let handle = 0_u64..60;
    let change = prop_oneof![
        3 => (handle.clone(), nonzero.clone()).prop_map(|(handle, vector)| Change::Upsert { handle, vector }),
        1 => handle.clone().prop_map(|handle| Change::Delete { handle }),
    ];
    let query = (nonzero, 1_usize..20, vec(handle, 0..30), proptest::option::of(any::<bool>()));
    let operation = prop_oneof![
        4 => vec(change, 0..12).prop_map(Operation::Apply),
        4 => query.prop_map(|(vector, k, handles, filter)| Operation::Query { vector, k, handles, filter }),
        2 => Just(Operation::Maintain),
        1 => Just(Operation::Save),
        1 => Just(Operation::Reopen),
    ];
    vec(operation, 1..40)
}

fn run(space: Space, plan: Plan, operations: Vec<Operation>) {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    let mut store = Store::open(folder.path(), space, plan).unwrap().0;
    for operation in operations {
        match operation {
            Operation::Apply(changes) => {
                store.apply(&changes).unwrap();
                model.apply(&changes);
            }
            Operation::Query { vector, k, handles, filter } => {
                let handles = handles.into_iter().collect();
                let filter = filter.map(|only| if only { Filter::only(handles) } else { Filter::except(handles) });
                for _ in 0..2 {
                    let found = store.query(&vector, k, filter.as_ref()).unwrap();
                    assert_best(space, &model, &vector, filter.as_ref(), k, &found);
                }
            }
            Operation::Maintain => store.maintain().unwrap(),
            Operation::Save => store.save().unwrap(),
            Operation::Reopen => {
                drop(store);
                store = Store::open(folder.path(), space, plan).unwrap().0;
            }
        }
        assert_eq!(store.len(), model.0.len());
        assert_eq!(store.is_empty(), model.0.is_empty());
        for handle in 0..60 {
            assert_eq!(store.get(handle).as_ref(), model.0.get(&handle));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn without_a_graph(operations in operations(3)) {
        run(Space::new(3, Metric::InnerProduct).unwrap(), Plan { graph_from: usize::MAX, threads: 1 }, operations);
    }

    /// A graph that is built and dropped again and again; of so few rows, those of it are
    /// compared one by one.
    #[test]
    fn with_a_graph(operations in operations(4)) {
        for metric in [Metric::InnerProduct, Metric::Cosine] {
            run(Space::new(4, metric).unwrap(), Plan { graph_from: 10, threads: 2 }, operations.clone());
        }
    }
}

#[test]
fn what_cannot_be_kept_or_asked_is_refused_whole() {
    let space = Space::new(2, Metric::InnerProduct).unwrap();
    let index = Index::new(space, Plan::default());
    for (vector, error) in [
        (vec![0.0, 0.0], VectorError::Zero),
        (vec![1.0, f32::NAN], VectorError::NotFinite { position: 1 }),
        (vec![f32::INFINITY, 1.0], VectorError::NotFinite { position: 0 }),
        (vec![1.0], VectorError::Dimension { expected: 2, got: 1 }),
    ] {
        let changes = [common::upsert(1, vec![1.0, 1.0]), common::upsert(2, vector.clone())];
        match index.apply(&changes) {
            Err(Error::Change { handle: 2, error: got }) => assert_eq!(got, error),
            other => panic!("{vector:?}: {other:?}"),
        }
        assert!(matches!(index.query(&vector, 1, None), Err(Error::Vector(got)) if got == error));
    }
    assert!(index.is_empty());
    for k in [0, limits::MAX_K + 1] {
        assert!(matches!(index.query(&[1.0, 1.0], k, None), Err(Error::K { got }) if got == k));
    }
    let too_many = vec![Change::Delete { handle: 1 }; limits::MAX_CHANGES + 1];
    assert!(matches!(index.apply(&too_many), Err(Error::Changes { .. })));
}

/// Vectors that are all alike, of which a graph cannot lead anywhere.
#[test]
fn equals_come_by_handle() {
    for graph_from in [1, usize::MAX] {
        let index = Index::new(Space::new(3, Metric::Cosine).unwrap(), Plan { graph_from, threads: 1 });
        let changes: Vec<Change> = (0..3000).rev().map(|at| common::upsert(at, vec![1.0, 2.0, 3.0])).collect();
        index.apply(&changes).unwrap();
        index.rebuild();
        let found = index.query(&[3.0, 2.0, 1.0], 100, None).unwrap();
        assert_eq!(found.len(), 100);
        if graph_from == usize::MAX {
            assert_eq!(found.iter().map(|hit| hit.handle).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
        }
        assert!(found.iter().all(|hit| common::close(hit.score, 10.0 / 14.0)));
    }
}
