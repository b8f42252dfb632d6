//! A rerank rule: lifts items of the categories that the user prefers.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// What the strongest preference lifts an item by, in parts of the distance from the
    /// best score to the worst.
    boost: f32,
}

impl Default for Params {
    fn default() -> Self {
        Self { boost: 0.5 }
    }
}

/// Every position of the list once, best first, with its new score. `categories[i]` is
/// the category of the item in place `i`; `preferred` are categories and how much the
/// user likes them, -1 to 1.
fn lift(scores: &[f32], categories: &[u32], preferred: &[(u32, f32)], boost: f32) -> Vec<(usize, f32)> {
    let best = scores.iter().copied().fold(f32::MIN, f32::max);
    let worst = scores.iter().copied().fold(f32::MAX, f32::min);
    let step = if best > worst { boost * (best - worst) } else { boost };
    let liking = |category| preferred.iter().find(|(one, _)| one == category).map_or(0.0, |(_, liking)| *liking);
    let lifted = scores.iter().zip(categories).map(|(score, category)| score + step * liking(category));
    let mut places: Vec<(usize, f32)> = lifted.enumerate().collect();
    places.sort_by(|one, other| other.1.total_cmp(&one.1));
    places
}

// --- the component: from the request to the function above, and back ---

wit_bindgen::generate!({ world: "rerank", path: "wit", generate_all });

use exports::funnelweb::pipeline::rerank::{Guest, RerankRequest, Reranked};
use funnelweb::{
    pipeline::types::{ColumnKind, ColumnSpec, ParamError, Personal, Requirements, StageError, StageErrorCode},
    tenant::values,
};

const COLUMN: &str = "category";

struct Component;

impl Guest for Component {
    fn check(params: String) -> Result<Requirements, ParamError> {
        read(&params).map_err(|message| ParamError { path: String::new(), message })?;
        let columns = vec![ColumnSpec { name: COLUMN.to_owned(), kind: ColumnKind::Categorical }];
        Ok(Requirements { columns, items: Vec::new(), personal: Personal::PREFERENCES })
    }

    fn rerank(request: RerankRequest) -> Result<Reranked, StageError> {
        let params = read(&request.params).map_err(invalid)?;
        let (table, candidates) = (&request.items, &request.candidates);
        let width = table.categorical_names.len();
        let column = table.categorical_names.iter().position(|name| name == COLUMN);
        // 0, no category, where there is no such column.
        let category = |row: &u32| column.map_or(0, |column| table.categorical[*row as usize * width + column]);
        let categories: Vec<u32> = request.rows.iter().map(category).collect();
        let preferences = request.context.user.preferences.iter().filter(|preference| preference.field == COLUMN);
        let (names, likings): (Vec<_>, Vec<_>) =
            preferences.map(|preference| (preference.value.clone(), preference.score)).unzip();
        let preferred: Vec<(u32, f32)> = values::hash(&names).into_iter().zip(likings).collect();
        let places = lift(&candidates.scores, &categories, &preferred, params.boost * request.weight);
        Ok(Reranked {
            handles: places.iter().map(|(place, _)| candidates.handles[*place]).collect(),
            scores: places.iter().map(|(_, score)| *score).collect(),
            removed: Vec::new(),
        })
    }
}

fn read(params: &str) -> Result<Params, String> {
    if params.is_empty() {
        Ok(Params::default())
    } else {
        serde_json::from_str(params).map_err(|error| error.to_string())
    }
}

fn invalid(message: String) -> StageError {
    StageError { code: StageErrorCode::InvalidInput, message }
}

export!(Component);

#[cfg(test)]
mod tests {
    use super::*;

    const MUSIC: u32 = 7;
    const NEWS: u32 = 8;

    fn places(scores: &[f32], categories: &[u32], preferred: &[(u32, f32)]) -> Vec<usize> {
        lift(scores, categories, preferred, 0.5).into_iter().map(|(place, _)| place).collect()
    }

    #[test]
    fn what_is_liked_rises_and_what_is_disliked_falls() {
        assert_eq!(places(&[0.9, 0.8, 0.4], &[NEWS, MUSIC, MUSIC], &[(MUSIC, 1.0)]), [1, 0, 2]);
        assert_eq!(places(&[0.9, 0.8, 0.4], &[NEWS, MUSIC, MUSIC], &[(NEWS, -1.0)]), [1, 0, 2]);
    }

    #[test]
    fn who_has_no_preferences_gets_the_list_as_it_was() {
        assert_eq!(places(&[0.9, 0.8, 0.8], &[NEWS, MUSIC, 0], &[]), [0, 1, 2]);
        assert!(places(&[], &[], &[(MUSIC, 1.0)]).is_empty());
    }

    #[test]
    fn equal_scores_are_parted_by_the_boost_alone() {
        assert_eq!(lift(&[1.0, 1.0], &[NEWS, MUSIC], &[(MUSIC, 1.0)], 0.5), [(1, 1.5), (0, 1.0)]);
    }
}
