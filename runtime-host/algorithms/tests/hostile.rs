//! Data that nobody would call typical: the answer is finite, or an error that says
//! what is wrong.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test: what is not as expected fails it")]

use funnelweb_algorithms::{
    Error, FoldIn, Interactions, Neighbours, Objective,
    als::{self, Config, Trainer},
    ease::{self, Ease},
    fold_in, knn, recommend, rp3beta,
};

fn config() -> Config {
    Config { dimensions: 16, epochs: 5, threads: 2, ..Config::default() }
}

/// Trains everything there is, and checks that all numbers are finite and that every
/// user can be recommended to.
fn learn(matrix: &Interactions) {
    let model = als::train(matrix, config()).unwrap();
    assert!(model.users.values().iter().chain(model.items.values()).all(|value| value.is_finite()));
    let fold_in = model.fold_in_users().unwrap();
    for (user, (ids, weights)) in (0..).zip(matrix.iter()) {
        let newcomer = fold_in.vector_of_rows(model.items.values(), ids, weights).unwrap();
        for vector in [model.users.row(user), &newcomer] {
            let ranked = recommend::from_factors(vector, model.items.values(), ids, 10).unwrap();
            assert_eq!(ranked.ids.len(), (matrix.columns() as usize - ids.len()).min(10));
        }
    }
    let mean = matrix.mean_weight();
    let even = matrix.reweighted(|_, _, weight| weight / mean);
    // A weight far below the mean is left out with EASE, whose squares it is lost in.
    match Ease::train(&even, &ease::Config::default()) {
        Ok(ease) => even.iter().for_each(|(ids, weights)| {
            let ranked = ease.recommend(ids, weights, ids, 10).unwrap();
            assert!(ranked.scores.iter().all(|score| score.is_finite()));
        }),
        Err(error) => assert_eq!(error, Error::Empty),
    }
    let mut all: Vec<Neighbours> = vec![rp3beta::items(matrix, &rp3beta::Config::default()).unwrap()];
    for weighting in [knn::Weighting::Cosine, knn::Weighting::TfIdf, knn::Weighting::Bm25 { k1: 1.2, b: 0.75 }] {
        let config = knn::Config { weighting, ..knn::Config::default() };
        all.push(knn::items(matrix, &config).unwrap());
        let users = knn::users(matrix, &config).unwrap();
        assert_eq!(users.rows(), matrix.rows());
        for (user, (ids, _)) in (0..).zip(matrix.iter()) {
            let ranked = recommend::from_similar_users(&users, matrix, user, ids, 10);
            assert!(ranked.ids.iter().all(|id| !ids.contains(id)));
        }
    }
    let normalised: Vec<Neighbours> = all.iter().map(|of| of.clone().normalised(0.5).unwrap()).collect();
    for neighbours in all.into_iter().chain(normalised) {
        assert_eq!(neighbours.rows(), matrix.columns());
        assert!(neighbours.parts().2.iter().all(|score| score.is_finite() && *score > 0.0));
        for (ids, weights) in matrix.iter() {
            let ranked = recommend::from_neighbours(&neighbours, ids, weights, ids, 10).unwrap();
            assert!(ranked.ids.iter().all(|id| !ids.contains(id)));
        }
    }
}

#[test]
fn a_catalogue_of_three() {
    learn(&Interactions::from_triples(4, 3, [(0, 0, 1.0), (0, 1, 1.0), (1, 1, 1.0), (2, 2, 1.0)]).unwrap());
}

#[test]
fn one_user_and_one_item() {
    learn(&Interactions::from_triples(1, 1, [(0, 0, 1.0)]).unwrap());
}

#[test]
fn one_item_of_many_users_and_many_items_of_one() {
    learn(&Interactions::from_triples(50, 1, (0..50).map(|user| (user, 0, 1.0))).unwrap());
    learn(&Interactions::from_triples(1, 50, (0..50).map(|item| (0, item, 1.0))).unwrap());
}

#[test]
fn vectors_of_zeros_say_nothing_and_nan_is_refused() {
    let objective = Objective::default();
    let gramian = fold_in::gramian(&[0.0; 6], 2).unwrap();
    let fold_in = FoldIn::new(&gramian, 2, 3, 1.0, objective).unwrap();
    let newcomer = fold_in.vector_of_rows(&[0.0; 6], &[0, 2], &[1.0, 1.0]).unwrap();
    assert_eq!(newcomer, [0.0, 0.0]);
    // All are alike: by id, without what was seen.
    assert_eq!(recommend::from_factors(&newcomer, &[0.0; 6], &[0, 2], 10).unwrap().ids, [1]);
    assert_eq!(recommend::from_factors(&[f32::NAN, 0.0], &[1.0; 6], &[], 10).unwrap().ids, [0_u32; 0]);
    let of_nan = fold_in::gramian(&[f32::NAN; 6], 2).and_then(|gramian| FoldIn::new(&gramian, 2, 3, 1.0, objective));
    assert!(matches!(of_nan, Err(Error::NotFinite { .. })), "{of_nan:?}");
}

#[test]
fn everybody_has_everything() {
    let triples = (0..30).flat_map(|user| (0..20).map(move |item| (user, item, 1.0)));
    learn(&Interactions::from_triples(30, 20, triples).unwrap());
}

#[test]
fn weights_at_both_ends_of_what_there_is() {
    for (low, high) in [(1e-45, 1e-45), (1e-45, f32::MAX), (f32::MAX, f32::MAX), (1e-30, 1.0)] {
        let triples = (0..40).map(|at| (at % 7, at % 9, if at % 2 == 0 { low } else { high }));
        learn(&Interactions::from_triples(7, 9, triples).unwrap());
    }
}

#[test]
fn a_user_without_history_has_a_vector_of_zeros() {
    let matrix = Interactions::from_triples(3, 3, [(0, 0, 1.0), (2, 1, 1.0)]).unwrap();
    let model = als::train(&matrix, config()).unwrap();
    assert_eq!(model.users.row(1), [0.0; 16]);
    assert_eq!(model.items.row(2), [0.0; 16]);
    learn(&matrix);
}

#[test]
fn a_robot_with_a_million_interactions() {
    // Without optimisation a tenth, which is too many already for what is quadratic.
    let items = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let robot = (0..items).map(|item| (0, item, 1.0));
    let people = (1..2_000).flat_map(|user| (0..20).map(move |at| (user, user * 31 % 997 + at, 1.0)));
    let matrix = Interactions::from_triples(2_000, items, robot.chain(people)).unwrap();
    let config = Config { epochs: 1, ..config() };
    let model = als::train(&matrix, config).unwrap();
    assert!(model.users.values().iter().all(|value| value.is_finite()));
    let neighbours = knn::items(&matrix, &knn::Config { neighbours: 10, ..knn::Config::default() }).unwrap();
    assert!(neighbours.row(500).0.len() == 10);
    let (ids, weights) = matrix.row(0);
    assert_eq!(recommend::from_neighbours(&neighbours, ids, weights, ids, 10).unwrap().ids, [0_u32; 0]);
    rp3beta::items(&matrix, &rp3beta::Config { neighbours: 10, ..rp3beta::Config::default() }).unwrap();
}

#[test]
fn what_cannot_be_learned_is_an_error() {
    let empty = Interactions::from_triples(3, 3, []).unwrap();
    assert_eq!(als::train(&empty, config()).unwrap_err(), Error::Empty);
    assert_eq!(knn::items(&empty, &knn::Config::default()).unwrap().rows(), 3);
    let matrix = Interactions::from_triples(1, 1, [(0, 0, 1.0)]).unwrap();
    let objective = |unobserved_weight, regularisation, regularisation_exponent| Config {
        objective: Objective { unobserved_weight, regularisation, regularisation_exponent },
        ..config()
    };
    for config in [
        Config { dimensions: 0, ..config() },
        Config { dimensions: 100_000, ..config() },
        Config { block: 0, ..config() },
        Config { init_scale: f32::NAN, ..config() },
        objective(0.0, 0.1, 1.0),
        objective(0.1, f32::NAN, 1.0),
        objective(0.1, 0.1, 2.0),
    ] {
        let error = als::train(&matrix, config).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error}");
    }
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let matrix = Interactions::from_triples(2, 3, [(0, 0, 1.0)]).unwrap();
    let other = Interactions::from_triples(3, 2, [(0, 0, 1.0)]).unwrap();
    let mut trainer = Trainer::new(&matrix, config()).unwrap();
    let checkpoint = Trainer::new(&other, config()).unwrap().checkpoint();
    assert!(matches!(trainer.resume(&checkpoint), Err(Error::Shape { .. })));
    let checkpoint = Trainer::new(&matrix, Config { dimensions: 8, ..config() }).unwrap().checkpoint();
    assert!(matches!(trainer.resume(&checkpoint), Err(Error::Shape { .. })));
}

#[test]
fn what_is_watched_is_the_same_and_can_be_stopped() {
    let matrix = Interactions::from_triples(200, 90, (0..4000).map(|n| (n * 7 % 200, n * n % 90, 1.0))).unwrap();
    let furthest = std::sync::Mutex::new(0.0_f32);
    let watch = |part: f32| {
        assert!((0.0..=1.0).contains(&part), "{part}");
        let mut furthest = furthest.lock().unwrap();
        *furthest = furthest.max(part);
        true
    };
    let neighbours = knn::Config::default();
    let watched = knn::items_watched(&matrix, &neighbours, &watch).unwrap();
    assert_eq!(watched, knn::items(&matrix, &neighbours).unwrap());
    assert!(*furthest.lock().unwrap() > 0.9);
    let mut trainer = Trainer::new(&matrix, config()).unwrap();
    assert_eq!(trainer.step_watched(&watch).unwrap(), 1);
    let stop = |part: f32| part < 0.5;
    assert_eq!(knn::users_watched(&matrix, &neighbours, &stop).unwrap_err(), Error::Stopped);
    assert_eq!(rp3beta::items_watched(&matrix, &rp3beta::Config::default(), &stop).unwrap_err(), Error::Stopped);
    assert_eq!(trainer.step_watched(&stop).unwrap_err(), Error::Stopped);
}
