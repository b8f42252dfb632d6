//! The list a rerank rule works on, made safe to compute with.
//!
//! Between rules **the order of the list is the truth** and the scores follow
//! it: a rule that moves an item for another reason than its score hands the
//! scores out again along the new order ([`redeal`]), so that a later rule that
//! mixes scores (freshness, location) starts from that order and not from the
//! one before it.

use crate::{
    order,
    rerank::{RerankRequest, Reranked},
    types::{Handle, StageError, StageErrorCode},
};

/// One candidate at its place in the list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The item.
    pub handle: Handle,
    /// Its row in the request's `items`.
    pub row: usize,
    /// Finite, and no higher than that of any place before.
    pub score: f32,
}

/// Reads a request's list, best first. A score that is not a number sinks to the
/// end; one that is higher than a score before it is read as equal to that one.
///
/// # Errors
/// `invalid-input` when the request's lists differ in length.
pub fn read(request: &RerankRequest) -> Result<Vec<Place>, StageError> {
    let candidates = &request.candidates;
    let count = candidates.handles.len();
    if candidates.scores.len() != count || request.rows.len() != count {
        return Err(StageError {
            code: StageErrorCode::InvalidInput,
            message: format!("{count} handles, {} scores, {} rows", candidates.scores.len(), request.rows.len()),
        });
    }
    let mut places: Vec<Place> = candidates
        .handles
        .iter()
        .zip(&request.rows)
        .zip(&candidates.scores)
        .map(|((handle, row), score)| Place { handle: *handle, row: *row as usize, score: *score })
        .collect();
    // Stable: all others keep their order.
    places.sort_by_key(|place| place.score.is_nan());
    let mut lowest = None;
    for place in &mut places {
        place.score = match lowest {
            None if place.score.is_nan() => 0.0,
            None => place.score.clamp(f32::MIN, f32::MAX),
            // `min` passes over NaN.
            Some(lowest) => place.score.min(lowest).max(f32::MIN),
        };
        lowest = Some(place.score);
    }
    Ok(places)
}

/// The places in a new order, their scores handed out again: the first of the
/// order gets the highest score, and so on.
#[must_use]
pub fn redeal(order: &[Place], removed: Vec<Handle>) -> Reranked {
    let mut scores: Vec<f32> = order.iter().map(|place| place.score).collect();
    scores.sort_by(|one, other| order::descending(*one, *other));
    Reranked { handles: order.iter().map(|place| place.handle).collect(), scores, removed }
}

/// The places sorted by new scores, one per place; of equals the one that stood
/// first stays first.
#[must_use]
pub fn by_scores(places: &[Place], scores: &[f32]) -> Reranked {
    let mut entries: Vec<(Handle, f32)> =
        places.iter().zip(scores).map(|(place, score)| (place.handle, *score)).collect();
    entries.sort_by(|(_, one), (_, other)| order::descending(*one, *other));
    let (handles, scores) = entries.into_iter().unzip();
    Reranked { handles, scores, removed: Vec::new() }
}

/// `score' = (1 − weight) · minmax(score) + weight · bonus(row)`, sorted: how a
/// rule with a weight mixes its own judgement, 0 to 1, with the list it is given.
#[must_use]
pub fn mix(places: &[Place], weight: f32, bonus: impl Fn(usize) -> f32) -> Reranked {
    let weight = if weight.is_nan() { 0.0 } else { weight.clamp(0.0, 1.0) };
    let scores: Vec<f32> = places.iter().map(|place| place.score).collect();
    let mut scores = order::min_max(&scores);
    for (score, place) in scores.iter_mut().zip(places) {
        *score = (1.0 - weight) * *score + weight * bonus(place.row);
    }
    by_scores(places, &scores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures::rerank_request, types::Table};

    fn request(scores: &[f32]) -> RerankRequest {
        rerank_request(scores, Table::empty(scores.len() as u32), 0.5, "")
    }

    fn read_scores(scores: &[f32]) -> Vec<(u64, f32)> {
        read(&request(scores)).unwrap().iter().map(|place| (place.handle, place.score)).collect()
    }

    #[test]
    fn the_order_is_the_truth_and_nan_sinks() {
        assert_eq!(read_scores(&[3.0, f32::NAN, 5.0, 1.0]), [(1, 3.0), (3, 3.0), (4, 1.0), (2, 1.0)]);
        assert_eq!(read_scores(&[f32::NAN]), [(1, 0.0)]);
        assert_eq!(read_scores(&[f32::INFINITY, f32::NEG_INFINITY]), [(1, f32::MAX), (2, f32::MIN)]);
        assert!(read_scores(&[]).is_empty());
    }

    #[test]
    fn lists_of_different_lengths_are_refused() {
        let mut request = request(&[1.0, 2.0]);
        request.rows.pop();
        assert_eq!(read(&request).unwrap_err().message, "2 handles, 2 scores, 1 rows");
    }

    #[test]
    fn scores_are_dealt_again_along_the_order() {
        let places = read(&request(&[3.0, 2.0, 1.0])).unwrap();
        let reranked = redeal(&[places[2], places[0]], vec![2]);
        assert_eq!((reranked.handles, reranked.scores, reranked.removed), (vec![3, 1], vec![3.0, 1.0], vec![2]));
    }

    #[test]
    fn mixing_keeps_the_order_of_equals() {
        let places = read(&request(&[3.0, 2.0, 1.0])).unwrap();
        assert_eq!(mix(&places, 0.0, |_| 0.0).handles, [1, 2, 3]);
        assert_eq!(mix(&places, 1.0, |_| 0.3).handles, [1, 2, 3]);
        let reranked = mix(&places, 0.5, |row| if row == 2 { 1.0 } else { 0.0 });
        assert_eq!((reranked.handles, reranked.scores), (vec![1, 3, 2], vec![0.5, 0.5, 0.25]));
    }
}
