//! The algebra of implicit ALS: that it minimises what it says, block by block as
//! well as exactly, and that nothing but data, configuration and seed matter.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test: what is not as expected fails it")]

use funnelweb_algorithms::{
    FoldIn, Interactions, Objective,
    als::{self, Config, Factors, Trainer},
    fold_in,
};
use proptest::prelude::*;

const USERS: u32 = 40;
const ITEMS: u32 = 25;

fn matrix() -> impl Strategy<Value = Interactions> {
    prop::collection::vec((0..USERS, 0..ITEMS, 0.2_f32..5.0), 1..300)
        .prop_map(|triples| Interactions::from_triples(USERS, ITEMS, triples).unwrap())
}

fn objective() -> impl Strategy<Value = Objective> {
    (0.01_f32..1.0, 0.001_f32..0.1, 0.0_f32..1.0).prop_map(|(unobserved_weight, regularisation, exponent)| Objective {
        unobserved_weight,
        regularisation,
        regularisation_exponent: exponent,
    })
}

fn assert_close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1e-3_f32, |scale, value| scale.max(value.abs()));
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{at}: {a} is not {b}, of {scale}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 8 } else { 48 }))]

    #[test]
    fn transposing_twice_changes_nothing(matrix in matrix()) {
        let transposed = matrix.transpose();
        prop_assert_eq!((transposed.rows(), transposed.columns(), transposed.len()), (ITEMS, USERS, matrix.len()));
        prop_assert_eq!(transposed.transpose(), matrix);
    }

    #[test]
    fn the_loss_never_rises(
        matrix in matrix(),
        objective in objective(),
        dimensions in 1_usize..50,
        block in 1_usize..64,
    ) {
        let config = Config { objective, dimensions, block, threads: 1, ..Config::default() };
        let mut trainer = Trainer::new(&matrix, config).unwrap();
        let mut before = trainer.loss();
        for _ in 0..5 {
            trainer.step().unwrap();
            let after = trainer.loss();
            prop_assert!(after <= before * (1.0 + 1e-4), "{} after {}", after, before);
            before = after;
        }
    }

    #[test]
    fn one_block_is_exact_als_and_folding_in_gives_the_same(
        matrix in matrix(),
        objective in objective(),
        dimensions in 1_usize..40,
    ) {
        let config = Config { objective, dimensions, block: dimensions, threads: 1, ..Config::default() };
        let mut trainer = Trainer::new(&matrix, config).unwrap();
        trainer.step().unwrap();
        let items = trainer.checkpoint().items;
        trainer.step().unwrap();
        let users = trainer.checkpoint().users;
        let gramian = fold_in::gramian(items.values(), dimensions).unwrap();
        let fold_in = FoldIn::new(&gramian, dimensions, ITEMS, matrix.mean_weight(), objective).unwrap();
        for user in 0..USERS {
            let (ids, weights) = matrix.row(user);
            assert_close(users.row(user), &exact(&items, ids, weights, matrix.mean_weight(), objective), 0.02);
            let folded = fold_in.vector_of_rows(items.values(), ids, weights).unwrap();
            assert_close(users.row(user), &folded, 0.02);
        }
    }

    #[test]
    fn small_blocks_come_to_what_exact_als_comes_to(matrix in matrix()) {
        let loss = |block| {
            let mut trainer = Trainer::new(&matrix, Config { dimensions: 32, block, threads: 1, ..Config::default() }).unwrap();
            for _ in 0..60 {
                trainer.step().unwrap();
            }
            trainer.loss()
        };
        let (exact, blocks) = (loss(32), loss(16));
        prop_assert!(blocks <= exact * 1.05 + 1e-3, "{} {}", blocks, exact);
    }

    #[test]
    fn neither_threads_nor_a_pause_change_a_bit(matrix in matrix(), dimensions in 1_usize..40) {
        let config = Config { dimensions, epochs: 4, block: 16, threads: 1, ..Config::default() };
        let model = als::train(&matrix, config).unwrap();
        prop_assert_eq!(&als::train(&matrix, Config { threads: 3, ..config }).unwrap(), &model);
        let mut first = Trainer::new(&matrix, config).unwrap();
        first.step().unwrap();
        let mut second = Trainer::new(&matrix, Config { seed: 1, ..config }).unwrap();
        second.resume(&first.checkpoint()).unwrap();
        for epoch in 2..5 {
            prop_assert_eq!(second.step().unwrap(), epoch);
        }
        prop_assert_eq!(&second.into_model(), &model);
    }
}

/// x = (Σ w y yᵀ + α₀ Y Yᵀ + λ I)⁻¹ Σ w y by Gauss's elimination in f64.
#[allow(clippy::needless_range_loop, reason = "as the formula has it")]
fn exact(items: &Factors, ids: &[u32], weights: &[f32], mean: f32, objective: Objective) -> Vec<f32> {
    let d = items.dimensions();
    let mut system = vec![vec![0.0_f64; d + 1]; d];
    let mut add = |row: &[f32], weight: f64, right: f64| {
        for i in 0..d {
            for j in 0..d {
                system[i][j] += weight * f64::from(row[i]) * f64::from(row[j]);
            }
            system[i][d] += right * f64::from(row[i]);
        }
    };
    for item in 0..items.rows() {
        add(items.row(item), objective.unobserved_weight.into(), 0.0);
    }
    let mut mass = 0.0;
    for (&id, &weight) in ids.iter().zip(weights) {
        let weight = f64::from(weight / mean);
        add(items.row(id), weight, weight);
        mass += weight;
    }
    let others = f64::from(objective.unobserved_weight) * f64::from(items.rows());
    let strength = f64::from(objective.regularisation) * (mass + others).powf(objective.regularisation_exponent.into());
    for i in 0..d {
        system[i][i] += strength;
    }
    for i in 0..d {
        let pivot = system[i].clone();
        for (_, other) in system.iter_mut().enumerate().filter(|(row, _)| *row != i) {
            let factor = other[i] / pivot[i];
            for column in 0..=d {
                other[column] -= factor * pivot[column];
            }
        }
    }
    (0..d).map(|i| (system[i][d] / system[i][i]) as f32).collect()
}
