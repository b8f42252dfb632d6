//! Neighbours by a random walk: from an item to one of its users, and on to one of
//! their items.
//!
//! RP³β of Paudel, Christoffel, Newell and Bernstein, "Updatable, Accurate, Diverse,
//! and Scalable Recommendations for Interactive Applications" (ACM TiiS 7(1), 2017):
//! with p the transition probabilities and n_j the users of item j,
//!
//! ```text
//! s_ij = Σ_u p_iu^α p_uj^α / n_j^β,   p_iu = w_ui / Σ_v w_vi,   p_uj = w_uj / Σ_k w_uk
//! ```
//!
//! α above 1 prefers the probable ways, β above 0 the less popular targets.

use crate::{
    error::{Result, check},
    interactions::Interactions,
    knn::column_sums,
    neighbours::Neighbours,
    pairs,
    watch::{Watch, unwatched},
};

/// How the walk goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// The exponent of a transition's probability, 0 to 5.
    pub alpha: f32,
    /// The exponent of a target's popularity, 0 to 5.
    pub beta: f32,
    /// The most neighbours of each, 1 to 10,000.
    pub neighbours: usize,
    /// Threads; 0 is one a core.
    pub threads: usize,
}

impl Default for Config {
    /// α = 1 and β = 0.6, in the middle of what is found best on most public sets.
    fn default() -> Self {
        Self { alpha: 1.0, beta: 0.6, neighbours: 200, threads: 0 }
    }
}

/// For every item the items that the walk leads to.
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
    let &Config { alpha, beta, neighbours, threads } = config;
    check("alpha", "0 to 5", alpha.into(), (0.0..=5.0).contains(&alpha))?;
    check("beta", "0 to 5", beta.into(), (0.0..=5.0).contains(&beta))?;
    let by_user = pairs::limited(interactions);
    let by_item = by_user.transpose();
    let popularity: Vec<f32> = by_item.iter().map(|(users, _)| (users.len().max(1) as f32).powf(beta)).collect();
    pairs::neighbours(
        &transitions(&by_item, &column_sums(&by_user, f64::from), alpha),
        &transitions(&by_user, &column_sums(&by_item, f64::from), alpha),
        neighbours,
        threads,
        watch,
        |_, to, common| common.sum / popularity.get(to as usize).copied().unwrap_or(1.0),
    )
}

/// Every weight by the sum of its row, to the power of `alpha`.
fn transitions(matrix: &Interactions, row_sums: &[f64], alpha: f32) -> Interactions {
    matrix.reweighted(|row, _, weight| {
        let sum = row_sums.get(row as usize).copied().unwrap_or(1.0);
        ((f64::from(weight) / sum) as f32).powf(alpha)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_what_it_is_by_hand() {
        let matrix = Interactions::from_triples(2, 3, [(0, 0, 1.0), (0, 1, 3.0), (1, 1, 1.0), (1, 2, 1.0)]).unwrap();
        let config = Config { alpha: 1.0, beta: 1.0, neighbours: 10, threads: 1 };
        let neighbours = items(&matrix, &config).unwrap();
        // From 0 only to user 0, from there to 1 with 3/4, which two have.
        assert_eq!(neighbours.row(0), (&[1][..], &[0.375][..]));
        // From 1 to user 0 with 3/4 and on to 0 with 1/4; to user 1 with 1/4 and on to 2 with 1/2.
        assert_eq!(neighbours.row(1), (&[0, 2][..], &[0.1875, 0.125][..]));
        assert!(items(&matrix, &Config { alpha: f32::NAN, ..config }).is_err());
        assert!(items(&matrix, &Config { beta: -1.0, ..config }).is_err());
    }
}
