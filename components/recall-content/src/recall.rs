//! From weighted terms to scored items.

use funnelweb_guest::{
    documents::Term,
    errors::Error,
    handles::{HandleMap, HandleSet},
    recall::{RecallRequest, Recalled},
    types::{Handle, StageError},
};

use crate::terms::{self, Params, Weighted};

/// What is known of an item while its lists are read.
struct Found {
    score: f32,
    /// Its best place in any list: the smaller, the newer.
    place: u32,
    /// Whether a preference above 0 matched.
    wanted: bool,
}

/// Items matching the user's preferences; `newest_items` is
/// `documents.newest-items` and is called once, or not at all when there is
/// nothing to look up.
///
/// # Errors
/// `invalid-input` for params that do not fit, else what `newest_items` answers.
pub fn recall(
    request: &RecallRequest,
    newest_items: impl FnOnce(&str, &[(Option<Term>, u32)]) -> Result<Vec<Vec<Handle>>, Error>,
) -> Result<Recalled, StageError> {
    let params = Params::parse(&request.params)?;
    let terms = terms::of_user(&request.context, &params);
    if terms.is_empty() {
        return Ok(Recalled { handles: Vec::new(), scores: Vec::new() });
    }
    let hidden: HandleSet = request.exclude.iter().chain(&request.context.user.recent).copied().collect();
    let length = list_length(request.limit as usize, hidden.len(), &terms);
    let asked: Vec<(Option<Term>, u32)> = terms.iter().map(|it| (Some(it.term.clone()), length)).collect();
    let lists = newest_items(&request.context.scenario_id, &asked)?;
    Ok(best(score(&terms, &lists), &hidden, request.limit as usize))
}

/// How many items to ask of each term's list. With one term the limit and all
/// that may be hidden have to come from it; with more, each brings its part of
/// twice that (lists overlap), but never less than the limit, since the lists
/// also tell how well an item of another list matches.
fn list_length(limit: usize, hidden: usize, terms: &[Weighted]) -> u32 {
    let bringing = terms.iter().filter(|term| term.weight > 0.0).count().max(1);
    let needed = limit + hidden;
    let length = (2 * needed).div_ceil(bringing).clamp(limit.min(needed), needed);
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn score(terms: &[Weighted], lists: &[Vec<Handle>]) -> HandleMap<Found> {
    let mut found: HandleMap<Found> = HandleMap::default();
    found.reserve(lists.iter().map(Vec::len).sum());
    for (term, list) in terms.iter().zip(lists) {
        for (place, handle) in (0..).zip(list) {
            let item = found.entry(*handle).or_insert(Found { score: 0.0, place, wanted: false });
            item.score += term.weight;
            item.place = item.place.min(place);
            item.wanted |= term.weight > 0.0;
        }
    }
    found
}

/// The best that are not hidden.
fn best(found: HandleMap<Found>, hidden: &HandleSet, limit: usize) -> Recalled {
    let offered = |(handle, item): &(Handle, Found)| item.wanted && item.score > 0.0 && !hidden.contains(handle);
    let mut items: Vec<(u64, Handle)> =
        found.into_iter().filter(offered).map(|(handle, item)| (place_in_order(&item), handle)).collect();
    if limit < items.len() {
        // Only what is returned needs sorting.
        items.select_nth_unstable(limit);
        items.truncate(limit);
    }
    items.sort_unstable();
    let most = items.first().map_or(1.0, |(place, _)| score_at(*place));
    // A remainder of a preference less a dislike may be too small for an f32.
    let share = |score: f32| (score / most).max(f32::MIN_POSITIVE);
    let (handles, scores) = items.into_iter().map(|(place, handle)| (handle, share(score_at(place)))).unzip();
    Recalled { handles, scores }
}

/// Ascending with a falling score, then with the place: one number, because
/// comparing is most of what sorting costs.
fn place_in_order(item: &Found) -> u64 {
    // The bits of positive floats rise with them.
    u64::from(!item.score.to_bits()) << 32 | u64::from(item.place)
}

/// The score in a [`place_in_order`].
fn score_at(place: u64) -> f32 {
    f32::from_bits(!((place >> 32) as u32))
}
