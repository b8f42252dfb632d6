//! From a user to a vector, and from that to items.

use funnelweb_guest::{
    fold_in,
    recall::{RecallRequest, Recalled},
    seeds::{self, Seed},
    types::{Handle, StageError},
    vectors::Rows,
};

use crate::{Params, Sources, params::Space};

/// The space of the vectors that items bring along.
const EMBEDDING: &str = "embedding";

/// The items most similar to the user.
///
/// # Errors
/// `invalid-input` for params that do not fit, else what the sources answer.
pub fn recall(request: &RecallRequest, sources: &impl Sources) -> Result<Recalled, StageError> {
    let params = Params::parse(&request.params)?;
    let seeds = seeds::of_request(&request.context, params.recent, params.decay);
    if seeds.is_empty() {
        return Ok(Recalled::none());
    }
    let Some((space, vector)) = user_vector(&request.context.scenario_id, &params, &seeds, sources)? else {
        return Ok(Recalled::none());
    };
    let except: Vec<Handle> = seeds::hidden(&request.context, &request.exclude).into_iter().collect();
    let hits = sources.nearest(&request.context.scenario_id, &space, &vector, request.limit, except)?;
    Ok(Recalled::shares(hits.handles.into_iter().zip(hits.scores), request.limit))
}

/// The user's vector and the space that it is in.
fn user_vector(
    scenario_id: &str,
    params: &Params,
    seeds: &[Seed],
    sources: &impl Sources,
) -> Result<Option<(String, Vec<f32>)>, StageError> {
    let handles: Vec<Handle> = seeds.iter().map(|seed| seed.handle).collect();
    if params.vectors != Space::Factors {
        let rows = sources.vectors(scenario_id, EMBEDDING, &handles)?;
        let mean = mean(&rows, seeds);
        if mean.is_some() || params.vectors == Space::Embedding {
            return Ok(mean.map(|vector| (EMBEDDING.to_owned(), vector)));
        }
    }
    let Some(model) = sources.factors(scenario_id)? else { return Ok(None) };
    let rows = sources.vectors(scenario_id, &model.item_space, &handles)?;
    Ok(fold_in::user_vector(&model, seeds, &rows)?.map(|vector| (model.item_space, vector)))
}

/// The weighted mean of the vectors, each brought to length 1, itself of length 1;
/// None when there are none or they cancel out.
fn mean(rows: &Rows, seeds: &[Seed]) -> Option<Vec<f32>> {
    let mut sum = vec![0.0; rows.dimension()];
    for (at, row) in rows.iter() {
        let weight = seeds.get(at).map_or(0.0, |seed| seed.weight);
        if let Some(length) = length(row) {
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += f64::from(weight) * f64::from(*value) / length;
            }
        }
    }
    let most = sum.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    let scaled: Vec<f32> = sum.iter().map(|value| (value / most) as f32).collect();
    let length = length(&scaled)?;
    Some(scaled.into_iter().map(|value| (f64::from(value) / length) as f32).collect())
}

/// None for what has no direction.
fn length(vector: &[f32]) -> Option<f64> {
    let squares: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
    (squares > 0.0 && squares.is_finite()).then(|| squares.sqrt())
}
