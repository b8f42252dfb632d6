//! Neighbours by what they have in common: items by their users, users by their
//! items.
//!
//! With w the weighted matrix, the similarity of i and j is
//!
//! ```text
//! s_ij = Σ_u w_ui w_uj · n_ij / (n_ij + shrinkage)
//! ```
//!
//! with n_ij how many u they share; the last factor (Bell and Koren, "Improved
//! Neighborhood-based Collaborative Filtering", KDD Cup 2007) keeps two items that
//! share a single user from being called the same. The weightings, of a matrix x
//! with N items, n_u the items of user u and |i| the sum of item i's weights:
//!
//! ```text
//! cosine  w_ui = x_ui / √(Σ_u x_ui²)
//! TF-IDF  w_ui = t_ui / √(Σ_u t_ui²),   t_ui = √x_ui · ln(N / (1 + n_u))
//! BM25    w_ui = x_ui (k₁ + 1) / (k₁ (1 − b + b |i| / mean |i|) + x_ui) · ln(N / (1 + n_u))
//! ```
//!
//! BM25 after Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25
//! and Beyond" (2009): an item is the document, its users the words. In TF-IDF and
//! BM25 a user of everything has no say.

use crate::{
    error::{Result, check},
    interactions::Interactions,
    neighbours::Neighbours,
    pairs,
    watch::{Watch, unwatched},
};

/// What an interaction counts for in a similarity; see the [module](self).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weighting {
    /// The angle between two items.
    Cosine,
    /// The same, with those who have few items counting more.
    TfIdf,
    /// Not normalised: the popular are neighbours of more, the more so the smaller
    /// `b` is.
    Bm25 {
        /// Where a weight saturates; above 0. 1.2 is usual.
        k1: f32,
        /// How much a popular item's interactions are discounted, 0 to 1. 0.75 is
        /// usual for texts.
        b: f32,
    },
}

/// How neighbours are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// What an interaction counts for.
    pub weighting: Weighting,
    /// How many shared users halve the mistrust of a similarity; 0 is none.
    pub shrinkage: f32,
    /// The most neighbours of each, 1 to 10,000.
    pub neighbours: usize,
    /// Threads; 0 is one a core.
    pub threads: usize,
}

impl Default for Config {
    /// Cosine of 200 neighbours with a little shrinkage: what is never far from the
    /// best, whatever the data.
    fn default() -> Self {
        Self { weighting: Weighting::Cosine, shrinkage: 5.0, neighbours: 200, threads: 0 }
    }
}

/// For every item (column) the items most like it.
///
/// Of a user with more than [`MAX_HISTORY_FOR_PAIRS`](crate::limits::MAX_HISTORY_FOR_PAIRS)
/// items the heaviest count.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting) when the configuration is out of range,
/// [`Error::Threads`](crate::Error::Threads) when no threads start.
pub fn items(interactions: &Interactions, config: &Config) -> Result<Neighbours> {
    items_watched(interactions, config, &unwatched)
}

/// [`items`], watched.
///
/// # Errors
/// As [`items`]; [`Error::Stopped`](crate::Error::Stopped).
pub fn items_watched(interactions: &Interactions, config: &Config, watch: Watch<'_>) -> Result<Neighbours> {
    let shrinkage = config.shrinkage;
    check("shrinkage", "0 to 1e6", shrinkage.into(), (0.0..=1e6).contains(&shrinkage))?;
    if let Weighting::Bm25 { k1, b } = config.weighting {
        check("k1", "0.001 to 1e6", k1.into(), (0.001..=1e6).contains(&k1))?;
        check("b", "0 to 1", b.into(), (0.0..=1.0).contains(&b))?;
    }
    let by_user = weighted(&pairs::limited(interactions), config.weighting);
    pairs::neighbours(&by_user.transpose(), &by_user, config.neighbours, config.threads, watch, |_, _, common| {
        let count = common.count as f32;
        common.sum * (count / (count + shrinkage))
    })
}

/// For every user (row) the users most like them: as [`items`], with the roles
/// exchanged.
///
/// # Errors
/// As [`items`].
pub fn users(interactions: &Interactions, config: &Config) -> Result<Neighbours> {
    users_watched(interactions, config, &unwatched)
}

/// [`users`], watched.
///
/// # Errors
/// As [`items_watched`].
pub fn users_watched(interactions: &Interactions, config: &Config, watch: Watch<'_>) -> Result<Neighbours> {
    items_watched(&interactions.transpose(), config, watch)
}

/// The matrix weighted, users × items like the one given.
fn weighted(by_user: &Interactions, weighting: Weighting) -> Interactions {
    let items = by_user.columns();
    let idf: Vec<f32> =
        by_user.iter().map(|(ids, _)| (f64::from(items).max(1.0).ln() - (ids.len() as f64).ln_1p()) as f32).collect();
    let idf = |user: u32| idf.get(user as usize).copied().unwrap_or_default();
    match weighting {
        Weighting::Cosine => normalised(by_user),
        Weighting::TfIdf => normalised(&by_user.reweighted(|user, _, weight| weight.sqrt() * idf(user))),
        Weighting::Bm25 { k1, b } => {
            let masses = column_sums(by_user, f64::from);
            let mean = masses.iter().sum::<f64>() / f64::from(items.max(1));
            by_user.reweighted(|user, item, weight| {
                let mass = masses.get(item as usize).copied().unwrap_or_default();
                let length = 1.0 - b + b * (mass / mean) as f32;
                weight * (k1 + 1.0) / (k1 * length + weight) * idf(user)
            })
        }
    }
}

/// Every column divided by its length.
fn normalised(by_user: &Interactions) -> Interactions {
    // In f64 the square of the smallest f32 is still above zero.
    let squares = column_sums(by_user, |weight| f64::from(weight).powi(2));
    by_user.reweighted(|_, item, weight| {
        let square = squares.get(item as usize).copied().unwrap_or_default();
        (f64::from(weight) / square.sqrt()) as f32
    })
}

/// Σ f(weight) of every column.
pub(crate) fn column_sums(by_user: &Interactions, f: impl Fn(f32) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; by_user.columns() as usize];
    for (ids, weights) in by_user.iter() {
        for (&id, &weight) in ids.iter().zip(weights) {
            if let Some(sum) = sums.get_mut(id as usize) {
                *sum += f(weight);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config(weighting: Weighting, shrinkage: f32) -> Config {
        Config { weighting, shrinkage, neighbours: 100, threads: 2 }
    }

    fn score(neighbours: &Neighbours, i: u32, j: u32) -> Option<f32> {
        let (ids, scores) = neighbours.row(i);
        ids.iter().position(|id| *id == j).map(|at| scores[at])
    }

    fn matrix() -> impl Strategy<Value = Interactions> {
        prop::collection::vec((0_u32..12, 0_u32..9, 0.1_f32..4.0), 0..80)
            .prop_map(|triples| Interactions::from_triples(12, 9, triples).unwrap())
    }

    proptest! {
        #[test]
        fn similarities_are_symmetric_and_a_cosine_is_at_most_one(matrix in matrix(), shrinkage in 0.0_f32..9.0) {
            for weighting in [Weighting::Cosine, Weighting::TfIdf, Weighting::Bm25 { k1: 1.2, b: 0.5 }] {
                let neighbours = items(&matrix, &config(weighting, shrinkage)).unwrap();
                for i in 0..9 {
                    for j in 0..9 {
                        let similarity = score(&neighbours, i, j);
                        prop_assert_eq!(similarity, score(&neighbours, j, i));
                        let bounded = matches!(weighting, Weighting::Bm25 { .. });
                        prop_assert!(similarity.is_none_or(|s| bounded || s < 1.00001));
                    }
                }
            }
        }
    }

    #[test]
    fn a_cosine_is_what_it_is_by_hand() {
        let matrix = Interactions::from_triples(3, 2, [(0, 0, 3.0), (1, 0, 4.0), (1, 1, 1.0), (2, 1, 1.0)]).unwrap();
        let neighbours = items(&matrix, &config(Weighting::Cosine, 0.0)).unwrap();
        let expected = 4.0 / (5.0 * 2.0_f32.sqrt());
        assert!((score(&neighbours, 0, 1).unwrap() - expected).abs() < 1e-6);
        let shrunk = items(&matrix, &config(Weighting::Cosine, 3.0)).unwrap();
        assert!((score(&shrunk, 0, 1).unwrap() - expected / 4.0).abs() < 1e-6);
        assert_eq!(users(&matrix, &config(Weighting::Cosine, 0.0)).unwrap().rows(), 3);
    }

    #[test]
    fn identical_items_are_ordered_by_id() {
        let triples = (0..5).flat_map(|user| (0..4).map(move |item| (user, item, 1.0)));
        let matrix = Interactions::from_triples(5, 4, triples).unwrap();
        let neighbours = items(&matrix, &config(Weighting::Cosine, 0.0)).unwrap();
        assert_eq!(neighbours.row(2).0, [0, 1, 3]);
        // Users of everything say nothing.
        assert_eq!(items(&matrix, &config(Weighting::TfIdf, 0.0)).unwrap().row(2).0, [0_u32; 0]);
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let matrix = Interactions::from_triples(1, 1, [(0, 0, 1.0)]).unwrap();
        assert!(items(&matrix, &config(Weighting::Cosine, f32::NAN)).is_err());
        assert!(items(&matrix, &config(Weighting::Bm25 { k1: 0.0, b: 0.5 }, 0.0)).is_err());
        assert!(items(&matrix, &config(Weighting::Bm25 { k1: 1.0, b: 2.0 }, 0.0)).is_err());
        assert!(items(&matrix, &Config { neighbours: 0, ..Config::default() }).is_err());
    }
}
