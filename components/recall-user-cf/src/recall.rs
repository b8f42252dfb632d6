//! From a user to the neighbours, and from those to items.

use funnelweb_core::id;
use funnelweb_guest::{
    fold_in,
    handles::HandleMap,
    learned::Relation,
    recall::{RecallRequest, Recalled},
    seeds,
    types::{Handle, RequestContext, StageError},
};

use crate::{Params, Sources};

/// What the users most like this one acted on.
///
/// # Errors
/// `invalid-input` for params that do not fit, else what the sources answer.
pub fn recall(request: &RecallRequest, sources: &impl Sources) -> Result<Recalled, StageError> {
    let params = Params::parse(&request.params)?;
    let context = &request.context;
    let mut neighbours = trained(context, &params, sources)?;
    if neighbours.is_empty() {
        neighbours = folded_in(context, &params, sources)?;
    }
    if neighbours.is_empty() {
        return Ok(Recalled::none());
    }
    let users: Vec<Handle> = neighbours.iter().map(|(user, _)| *user).collect();
    let lists = sources.related(&context.scenario_id, Relation::UserItems, &users, params.items)?;
    let mut scores: HandleMap<f32> = HandleMap::default();
    scores.reserve(lists.handles.len());
    for (at, (_, similarity)) in neighbours.iter().enumerate() {
        for (item, weight) in lists.list(at) {
            *scores.entry(item).or_insert(0.0) += similarity * weight;
        }
    }
    Ok(Recalled::sums(scores, &seeds::hidden(context, &request.exclude), request.limit))
}

/// The neighbours that training found.
fn trained(
    context: &RequestContext,
    params: &Params,
    sources: &impl Sources,
) -> Result<Vec<(Handle, f32)>, StageError> {
    // Nobody in particular, as of a list of behaviours that was sent along.
    if context.user.id.is_empty() {
        return Ok(Vec::new());
    }
    let user = [id::handle(&context.user.id)];
    let lists = sources.related(&context.scenario_id, Relation::SimilarUsers, &user, params.neighbours)?;
    Ok(lists.list(0).filter(is_similar).collect())
}

/// The users nearest to this one in the space of the factor model.
fn folded_in(
    context: &RequestContext,
    params: &Params,
    sources: &impl Sources,
) -> Result<Vec<(Handle, f32)>, StageError> {
    let scenario_id = &context.scenario_id;
    let seeds = seeds::of_request(context, params.recent, 1.0);
    if seeds.is_empty() {
        return Ok(Vec::new());
    }
    let Some(model) = sources.factors(scenario_id)? else { return Ok(Vec::new()) };
    let handles: Vec<Handle> = seeds.iter().map(|seed| seed.handle).collect();
    let rows = sources.vectors(scenario_id, &model.item_space, &handles)?;
    let Some(vector) = fold_in::user_vector(&model, &seeds, &rows)? else { return Ok(Vec::new()) };
    let hits = sources.nearest(scenario_id, &model.user_space, &vector, params.neighbours)?;
    Ok(hits.handles.into_iter().zip(hits.scores).filter(is_similar).collect())
}

fn is_similar((_, similarity): &(Handle, f32)) -> bool {
    *similarity > 0.0 && similarity.is_finite()
}
