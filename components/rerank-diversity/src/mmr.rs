//! Greedy selection by maximal marginal relevance.
//!
//! An item's marginal relevance only falls as more is selected, so the value it
//! had when it was last looked at is an upper bound of what it is now, and an
//! item whose bound is not above the best value of this round needs no look at
//! all (lazy greedy: Minoux, *Accelerated greedy algorithms*, 1978). The outcome
//! is the same as looking at all; each pair is compared at most once.

struct Waiting {
    at: usize,
    relevance: f32,
    /// The greatest relevance from here on: where even that cannot win, nothing
    /// behind can, and a list that comes best first is read a little way only.
    bound: f32,
    /// The greatest similarity to the first `seen` of the selected.
    similarity: f32,
    seen: usize,
}

/// The positions `0..relevance.len()` in their new order: up to `take` selected,
/// then the others as they stood. `lambda` weighs relevance (0 to 1) against
/// `similarity` (0 to 1); of equals the one that stood first is taken.
pub fn select(relevance: &[f32], lambda: f32, take: usize, similarity: impl Fn(usize, usize) -> f32) -> Vec<usize> {
    let mut selected = Vec::with_capacity(relevance.len());
    let mut waiting: Vec<Waiting> = relevance
        .iter()
        .enumerate()
        .map(|(at, relevance)| Waiting { at, relevance: *relevance, bound: *relevance, similarity: 0.0, seen: 0 })
        .collect();
    let mut bound = f32::NEG_INFINITY;
    for item in waiting.iter_mut().rev() {
        if item.relevance > bound {
            bound = item.relevance;
        }
        item.bound = bound;
    }
    while selected.len() < take && !waiting.is_empty() {
        let next = best(&mut waiting, &selected, lambda, &similarity);
        selected.push(waiting.remove(next).at);
    }
    selected.extend(waiting.into_iter().map(|item| item.at));
    selected
}

/// The place in `waiting` of the item with the greatest marginal relevance.
fn best(waiting: &mut [Waiting], selected: &[usize], lambda: f32, similarity: &impl Fn(usize, usize) -> f32) -> usize {
    let (mut best, mut most) = (0, f32::NEG_INFINITY);
    for (place, item) in waiting.iter_mut().enumerate() {
        if lambda * item.bound <= most {
            break;
        }
        let mut value = lambda * item.relevance - (1.0 - lambda) * item.similarity;
        for other in selected.get(item.seen..).unwrap_or_default() {
            if value <= most {
                break;
            }
            // Not `max`, whose care for NaN is a function call in Wasm.
            let similarity = similarity(item.at, *other);
            if similarity > item.similarity {
                item.similarity = similarity;
            }
            item.seen += 1;
            value = lambda * item.relevance - (1.0 - lambda) * item.similarity;
        }
        if value > most {
            (best, most) = (place, value);
        }
    }
    best
}
