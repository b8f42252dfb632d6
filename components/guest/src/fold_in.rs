//! The vector of a user by what they acted on last, without training.

use funnelweb_algorithms::{Error, FoldIn, Objective};

use crate::{
    learned::FactorModel,
    seeds::Seed,
    types::{StageError, StageErrorCode},
    vectors::Rows,
};

/// The vector, in the space of the model, of a user with these seeds; `rows` are
/// the seeds' vectors in the model's item space (`vectors.get`). None when no
/// seed has a vector, or what they have makes none.
///
/// See [`FoldIn`]; the weights of seeds are in the units that the model was
/// trained on, those of the scenario's behaviours.
///
/// # Errors
/// `internal` when model and vectors do not fit together.
pub fn user_vector(model: &FactorModel, seeds: &[Seed], rows: &Rows) -> Result<Option<Vec<f32>>, StageError> {
    let weights: Vec<f32> = rows.iter().map(|(at, _)| seeds.get(at).map_or(0.0, |seed| seed.weight)).collect();
    if weights.is_empty() {
        return Ok(None);
    }
    let objective = Objective {
        unobserved_weight: model.unobserved_weight,
        regularisation: model.regularisation,
        regularisation_exponent: model.regularisation_exponent,
    };
    let fold_in = FoldIn::new(&model.gramian, model.dimension as usize, model.items, model.mean_weight, objective);
    let vector = fold_in.and_then(|fold_in| fold_in.vector(&rows.values, &weights)).map_err(unfit)?;
    Ok(vector.iter().any(|value| *value != 0.0).then_some(vector))
}

fn unfit(error: Error) -> StageError {
    StageError {
        code: StageErrorCode::Internal,
        message: format!("the factor model does not fit its vectors: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::factor_model;

    #[test]
    fn seeds_pull_the_vector_towards_them() {
        let seeds = [Seed { handle: 1, weight: 1.0 }, Seed { handle: 2, weight: 2.0 }];
        let vector = |rows: Rows| user_vector(&factor_model(), &seeds, &rows);
        let none = vector(Rows { found: vec![], values: vec![] });
        assert_eq!(none.unwrap(), None);
        let vector_of_two = vector(Rows { found: vec![1], values: vec![0.0, 1.0] }).unwrap().unwrap();
        assert!(vector_of_two[0] == 0.0 && vector_of_two[1] > 0.5, "{vector_of_two:?}");
        let both = vector(Rows { found: vec![0, 1], values: vec![1.0, 0.0, 0.0, 1.0] }).unwrap().unwrap();
        assert!(both[1] > both[0] && both[0] > 0.0, "the weightier pulls more: {both:?}");
        assert_eq!(vector(Rows { found: vec![0], values: vec![0.0, 0.0] }).unwrap(), None);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let seeds = [Seed { handle: 1, weight: 1.0 }];
        let error = user_vector(&factor_model(), &seeds, &Rows { found: vec![0], values: vec![1.0; 3] }).unwrap_err();
        assert_eq!(error.code, StageErrorCode::Internal);
        let broken = FactorModel { gramian: vec![1.0], ..factor_model() };
        assert!(user_vector(&broken, &seeds, &Rows { found: vec![0], values: vec![1.0; 2] }).is_err());
    }
}
