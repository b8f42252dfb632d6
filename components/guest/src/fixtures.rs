//! Requests and tables by the handful, for the native tests and benches of
//! stages. Every field has a plain value; a test sets those it is about.

#[cfg(feature = "http")]
use funnelweb_core::job::Kind;

#[cfg(feature = "http")]
use crate::{
    dispatch::{CheckError, Role},
    http::config::Ask,
    types::Requirements,
};
use crate::{
    learned::FactorModel,
    recall::RecallRequest,
    rerank::{RerankRequest, Reranked},
    types::{Attribute, Candidates, Handle, Preference, RequestContext, Table, User},
};

/// The time of every fixture: 2024-01-31T12:00:00Z.
pub const NOW_MS: u64 = 1_706_702_400_000;

/// Takes every job, and knows all stages but one called `nothing`.
#[cfg(feature = "http")]
#[derive(Debug, Clone, Copy)]
pub struct Known;

#[cfg(feature = "http")]
impl Ask for Known {
    fn stage(&self, _: Role, stage: &str, _: &str) -> Result<Requirements, CheckError> {
        if stage == "nothing" { Err(CheckError::Unknown(Vec::new())) } else { Ok(Requirements::columns([])) }
    }

    fn job(&self, _: Kind, _: &str) -> Result<(), (String, String)> {
        Ok(())
    }
}

/// Scenario `s`, user `u` without a history, 10 items asked for.
#[must_use]
pub fn context() -> RequestContext {
    let user = User {
        id: "u".to_owned(),
        attributes: Vec::new(),
        preferences: Vec::new(),
        recent: Vec::new(),
        recent_weights: Vec::new(),
    };
    RequestContext { scenario_id: "s".to_owned(), user, context: Vec::new(), now_ms: NOW_MS, count: 10, seed: 0 }
}

/// A model of two orthogonal items in two dimensions, in the spaces `items` and
/// `users`.
#[must_use]
pub fn factor_model() -> FactorModel {
    FactorModel {
        version: 1,
        item_space: "items".to_owned(),
        user_space: "users".to_owned(),
        dimension: 2,
        gramian: vec![1.0, 0.0, 0.0, 1.0],
        items: 2,
        mean_weight: 1.0,
        unobserved_weight: 0.01,
        regularisation: 0.01,
        regularisation_exponent: 1.0,
    }
}

/// An attribute with these values.
#[must_use]
pub fn attribute(name: &str, values: &[&str]) -> Attribute {
    Attribute { name: name.to_owned(), values: values.iter().map(|value| (*value).to_owned()).collect() }
}

/// A preference of the user.
#[must_use]
pub fn preference(field: &str, value: &str, score: f32) -> Preference {
    Preference { field: field.to_owned(), value: value.to_owned(), score }
}

/// Candidates 1, 2, 3, … with these scores, all from channel 0.
#[must_use]
pub fn candidates(scores: &[f32]) -> Candidates {
    Candidates { handles: (1..).take(scores.len()).collect(), scores: scores.to_vec(), sources: vec![1; scores.len()] }
}

/// A request for `limit` items without those of `exclude`.
#[must_use]
pub fn recall_request(limit: u32, exclude: &[Handle], params: &str) -> RecallRequest {
    RecallRequest { context: context(), limit, exclude: exclude.to_vec(), params: params.to_owned() }
}

/// Candidates 1, 2, 3, … with these scores; candidate `i` is row `i − 1`.
#[must_use]
pub fn rerank_request(scores: &[f32], items: Table, weight: f32, params: &str) -> RerankRequest {
    let candidates = candidates(scores);
    let rows = (0..).take(scores.len()).collect();
    RerankRequest { context: context(), candidates, rows, items, weight, params: params.to_owned() }
}

/// What is wrong with what a rule returned: every candidate must stand once,
/// among `handles` or in `removed`, with finite scores that do not rise.
///
/// # Errors
/// With the rule of the contract that is broken.
pub fn check_partition(request: &RerankRequest, reranked: &Reranked) -> Result<(), String> {
    let sorted = |handles: &mut Vec<Handle>| {
        handles.sort_unstable();
        std::mem::take(handles)
    };
    let mut all: Vec<Handle> = reranked.handles.iter().chain(&reranked.removed).copied().collect();
    if sorted(&mut all) != sorted(&mut request.candidates.handles.clone()) {
        return Err(format!("not a partition of the candidates: {reranked:?}"));
    }
    if reranked.handles.len() != reranked.scores.len() || !reranked.scores.iter().all(|score| score.is_finite()) {
        return Err(format!("not one finite score each: {reranked:?}"));
    }
    if !reranked.scores.is_sorted_by(|one, other| one >= other) {
        return Err(format!("scores rise: {reranked:?}"));
    }
    Ok(())
}

impl Table {
    /// This table with one more numeric column, a value per row.
    #[must_use]
    pub fn with_numeric(mut self, name: &str, values: &[f32]) -> Self {
        self.numeric = widen(&self.numeric, self.numeric_names.len(), values);
        self.numeric_names.push(name.to_owned());
        self
    }

    /// This table with one more categorical column, a value hash per row.
    #[must_use]
    pub fn with_categorical(mut self, name: &str, values: &[u32]) -> Self {
        self.categorical = widen(&self.categorical, self.categorical_names.len(), values);
        self.categorical_names.push(name.to_owned());
        self
    }

    /// This table with one more multi-categorical column, value hashes per row.
    #[must_use]
    pub fn with_multi(mut self, name: &str, values: &[Vec<u32>]) -> Self {
        let (mut offsets, mut all) = (vec![0], Vec::new());
        for (row, values) in values.iter().enumerate() {
            for earlier in &self.multi_names {
                all.extend(self.multi_column(earlier).map_or(&[][..], |column| column.get(row)));
                offsets.push(all.len() as u32);
            }
            all.extend(values);
            offsets.push(all.len() as u32);
        }
        self.multi_names.push(name.to_owned());
        (self.multi_offsets, self.multi_values) = (offsets, all);
        self
    }

    /// This table with embeddings of `dim` values; None is missing.
    #[must_use]
    pub fn with_embeddings(mut self, dim: u32, embeddings: &[Option<Vec<f32>>]) -> Self {
        self.embedding_dim = dim;
        let missing = || vec![f32::NAN; dim as usize];
        self.embeddings = embeddings.iter().flat_map(|values| values.clone().unwrap_or_else(missing)).collect();
        self
    }
}

/// Row-major cells of `width` columns with one more column.
fn widen<T: Copy>(cells: &[T], width: usize, values: &[T]) -> Vec<T> {
    let row = |at: usize| cells.get(at * width..(at + 1) * width).unwrap_or_default();
    values.iter().enumerate().flat_map(|(at, value)| row(at).iter().chain(std::iter::once(value)).copied()).collect()
}
