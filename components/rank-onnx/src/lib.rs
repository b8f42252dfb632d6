//! A ranker that is an ONNX file, run by tract in the sandbox. One component serves
//! every kind of model: the host gives it one, once, and keeps its memory with the
//! model read and optimised as that model's image. What reads the file, which
//! somebody uploaded, thus runs in the sandbox as well.
//!
//! All of it but the border is in `components/ranker`.

use std::sync::{Mutex, PoisonError};

use funnelweb_guest::{
    model::{self, LoadError, Loaded},
    params,
    rank::{self, RankRequest},
    types::{ParamError, Requirements, StageError, StageErrorCode},
};
use funnelweb_ranker::Model;
use serde::Deserialize;

/// The component.
pub struct Stage;

/// The model of this instance.
static MODEL: Mutex<Option<Model>> = Mutex::new(None);

const NO_MODEL: &str = "this ranker was given no model";

/// There are none: a model says all of itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {}

impl model::Guest for Stage {
    fn load(manifest: String, onnx: Vec<u8>) -> Result<Loaded, LoadError> {
        let model = Model::load(&manifest, onnx)?;
        let loaded = model.loaded().clone();
        *MODEL.lock().unwrap_or_else(PoisonError::into_inner) = Some(model);
        Ok(loaded)
    }
}

impl rank::Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        params::parse::<Params>(&params)?;
        let model = MODEL.lock().unwrap_or_else(PoisonError::into_inner);
        model.as_ref().map(Model::requirements).ok_or_else(|| params::refuse("", NO_MODEL))
    }

    fn rank(request: RankRequest) -> Result<Vec<f32>, StageError> {
        params::parse::<Params>(&request.params)?;
        let count = request.candidates.handles.len();
        if request.items.rows as usize != count {
            let message = format!("{count} candidates, {} rows of features", request.items.rows);
            return Err(StageError { code: StageErrorCode::InvalidInput, message });
        }
        let fault = |message: String| StageError { code: StageErrorCode::Internal, message };
        let mut model = MODEL.lock().unwrap_or_else(PoisonError::into_inner);
        let model = model.as_mut().ok_or_else(|| fault(NO_MODEL.to_owned()))?;
        model.score(&request.items, &request.user).map_err(|error| fault(error.to_string()))
    }
}

funnelweb_guest::export_model!(Stage);

#[cfg(test)]
mod tests {
    use funnelweb_guest::{
        fixtures::{candidates, context},
        rank::Guest as _,
        types::Table,
    };

    use super::*;

    const DEEPFM: &[u8] = include_bytes!("../../ranker/fixtures/deepfm.onnx");

    fn request(rows: usize) -> RankRequest {
        RankRequest {
            context: context(),
            candidates: candidates(&vec![0.0; rows]),
            items: Table::empty(2),
            user: Table::empty(1),
            item_features: Vec::new(),
            objective: "click_rate".to_owned(),
            params: String::new(),
        }
    }

    #[test]
    fn the_stage_is_given_a_model_and_ranks_with_it() {
        assert_eq!(Stage::rank(request(2)).unwrap_err().message, NO_MODEL);
        assert_eq!(Stage::check(String::new()).unwrap_err().message, NO_MODEL);
        let loaded = <Stage as model::Guest>::load(String::new(), DEEPFM.to_vec()).unwrap();
        assert_eq!(loaded.name, "deepfm");
        assert_eq!(Stage::check("{}".to_owned()).unwrap().columns.len(), 4);
        assert_eq!(Stage::check(r#"{"tile": 1}"#.to_owned()).unwrap_err().path, "/tile");
        let scores = Stage::rank(request(2)).unwrap();
        assert_eq!((scores.len(), scores[0].to_bits()), (2, scores[1].to_bits()));
        let error = Stage::rank(request(3)).unwrap_err();
        assert_eq!(error.code, StageErrorCode::InvalidInput);
        assert_eq!(error.message, "3 candidates, 2 rows of features");
    }
}
