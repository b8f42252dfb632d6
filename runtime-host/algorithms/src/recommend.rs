//! From a history, or from a vector, to the best items.
//!
//! What was seen is excluded by a list of ids in ascending order, such as
//! [`Interactions::row`] gives.

use crate::{
    error::{Result, check_length},
    interactions::Interactions,
    neighbours::Neighbours,
    top::{Ranked, Top},
};

/// The `limit` items with the highest Σ_h w_h s_hi over the neighbours i of the
/// items h of a history; an item that is no neighbour of any is not recommended.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when there are not as many weights as ids.
pub fn from_neighbours(
    items: &Neighbours,
    ids: &[u32],
    weights: &[f32],
    excluded: &[u32],
    limit: usize,
) -> Result<Ranked> {
    check_length("the history's weights", weights.len(), ids.len())?;
    let votes = ids.iter().zip(weights).flat_map(|(&id, &weight)| {
        let (ids, scores) = items.row(id);
        ids.iter().zip(scores).map(move |(&id, &score)| (id, weight * score))
    });
    Ok(best_of_votes(votes.collect(), excluded, limit))
}

/// The `limit` items with the highest Σ_v s_uv w_vi over the neighbours v of user
/// `user` and their items i.
#[must_use]
pub fn from_similar_users(
    users: &Neighbours,
    interactions: &Interactions,
    user: u32,
    excluded: &[u32],
    limit: usize,
) -> Ranked {
    let (ids, scores) = users.row(user);
    let votes = ids.iter().zip(scores).flat_map(|(&id, &score)| {
        let (items, weights) = interactions.row(id);
        items.iter().zip(weights).map(move |(&item, &weight)| (item, score * weight))
    });
    best_of_votes(votes.collect(), excluded, limit)
}

/// The `limit` rows of `factors` (rows × as many values as `vector` has) with the
/// highest product with `vector`.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when the factors are not whole rows.
pub fn from_factors(vector: &[f32], factors: &[f32], excluded: &[u32], limit: usize) -> Result<Ranked> {
    let dimensions = vector.len().max(1);
    check_length("factors", factors.len(), factors.len() / dimensions * dimensions)?;
    Ok(best(factors.chunks_exact(dimensions).map(|row| dot(row, vector)), excluded, limit))
}

/// The `limit` best of scores of the items 0, 1, 2, ….
#[must_use]
pub fn best(scores: impl Iterator<Item = f32>, excluded: &[u32], limit: usize) -> Ranked {
    let mut top = Top::new(limit);
    let mut excluded = excluded.iter().copied().peekable();
    for (id, score) in (0..).zip(scores) {
        if excluded.next_if_eq(&id).is_none() {
            top.push(id, score);
        }
    }
    top.take()
}

/// Adds up the votes for each item.
fn best_of_votes(mut votes: Vec<(u32, f32)>, excluded: &[u32], limit: usize) -> Ranked {
    // Stable: a sum is in the order of the history.
    votes.sort_by_key(|&(id, _)| id);
    let mut top = Top::new(limit);
    for group in votes.chunk_by(|a, b| a.0 == b.0) {
        if let Some(&(id, _)) = group.first()
            && excluded.binary_search(&id).is_err()
        {
            top.push(id, group.iter().map(|&(_, vote)| vote).sum());
        }
    }
    top.take()
}

/// In eight sums, which become vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_a_history_are_added_up() {
        let items = Neighbours::new(vec![0, 2, 4, 4], vec![2, 1, 2, 0], vec![0.5, 0.25, 0.5, 0.25]).unwrap();
        let ranked = from_neighbours(&items, &[0, 1, 9], &[1.0, 2.0, 1.0], &[0, 1], 10).unwrap();
        assert_eq!((ranked.ids, ranked.scores), (vec![2], vec![1.5]));
        assert_eq!(from_neighbours(&items, &[], &[], &[], 10).unwrap(), Ranked::default());
        assert!(from_neighbours(&items, &[0], &[], &[], 10).is_err());
        assert_eq!(from_neighbours(&items, &[0], &[f32::NAN], &[], 10).unwrap(), Ranked::default());
    }

    #[test]
    fn similar_users_recommend_what_they_have() {
        let matrix = Interactions::from_triples(2, 3, [(0, 0, 1.0), (1, 0, 1.0), (1, 2, 2.0)]).unwrap();
        let users = Neighbours::new(vec![0, 1, 2], vec![1, 0], vec![0.5, 0.5]).unwrap();
        let ranked = from_similar_users(&users, &matrix, 0, matrix.row(0).0, 10);
        assert_eq!((ranked.ids, ranked.scores), (vec![2], vec![1.0]));
    }

    #[test]
    fn equal_products_are_ordered_by_id() {
        let factors = [1.0, 0.0, 2.0, 0.0, 1.0, 0.0, f32::NAN, 0.0];
        let ranked = from_factors(&[1.0, 1.0], &factors, &[1], 2).unwrap();
        assert_eq!((ranked.ids, ranked.scores), (vec![0, 2], vec![1.0, 1.0]));
        assert_eq!(from_factors(&[], &[], &[], 2).unwrap(), Ranked::default());
        assert!(from_factors(&[1.0, 1.0], &[1.0], &[], 2).is_err());
    }
}
