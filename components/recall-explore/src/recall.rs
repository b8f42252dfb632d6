//! Which items are new, and in which order they have their chance.

use funnelweb_core::counter::SERVED_PLACES;
use funnelweb_guest::{
    random::Random,
    recall::{RecallRequest, Recalled},
    seeds,
    types::{ColumnKind, ColumnSpec, Handle, StageError},
};

use crate::{Method, Params, Sources};

/// When an item came.
const CREATED: &str = "created_at";
/// What counts as shown, and as liked.
const COUNTERS: [&str; 3] = [SERVED_PLACES, "impression_count", "click_count"];

/// New items that have been shown too little.
///
/// # Errors
/// `invalid-input` for params that do not fit, else what the sources answer.
pub fn recall(request: &RecallRequest, sources: &impl Sources) -> Result<Recalled, StageError> {
    let params = Params::parse(&request.params)?;
    let context = &request.context;
    let hidden = seeds::hidden(context, &request.exclude);
    let mut items = sources.newest(&context.scenario_id, params.newest)?;
    items.retain(|handle| !hidden.contains(handle));
    let young = young(items, request, &params, sources)?;
    if young.is_empty() {
        return Ok(Recalled::none());
    }
    let fields = COUNTERS.map(str::to_owned);
    let counts = sources.statistics(&context.scenario_id, &young, &fields)?;
    let counted = young.iter().zip(counts.chunks_exact(COUNTERS.len()));
    let draws = counted.filter_map(|(handle, counts)| {
        let [served, impressions, clicked] = *counts else { return None };
        // What is seen or clicked elsewhere than in a slate is shown, too.
        let shown = served.max(impressions).max(clicked);
        if shown >= f64::from(params.budget) {
            return None;
        }
        let mut random = Random::new(context.seed, *handle);
        let draw = match params.method {
            Method::Epsilon => random.uniform(),
            Method::Thompson => random.beta(clicked.max(0.0) + 1.0, (shown - clicked).max(0.0) + 1.0),
        };
        Some((*handle, (draw as f32).max(f32::MIN_POSITIVE)))
    });
    let mut draws: Vec<(Handle, f32)> = draws.collect();
    funnelweb_guest::order::best_first(&mut draws);
    draws.truncate(request.limit as usize);
    let (handles, scores) = draws.into_iter().unzip();
    Ok(Recalled { handles, scores })
}

/// Those that are active and not too old.
fn young(
    items: Vec<Handle>,
    request: &RecallRequest,
    params: &Params,
    sources: &impl Sources,
) -> Result<Vec<Handle>, StageError> {
    if items.is_empty() {
        return Ok(items);
    }
    let created = [ColumnSpec { name: CREATED.to_owned(), kind: ColumnKind::Timestamp }];
    let context = &request.context;
    let found = sources.columns(&context.scenario_id, &items, &created, context.now_ms)?;
    let ages = found.table.numeric_column(CREATED);
    let is_young = |row: usize| ages.is_some_and(|ages| ages.get(row) <= params.max_age_hours);
    let rows = found.found.iter().enumerate().filter(|(row, _)| is_young(*row));
    Ok(rows.filter_map(|(_, at)| items.get(*at as usize).copied()).collect())
}
