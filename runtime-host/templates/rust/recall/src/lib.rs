//! A recall channel: hot items of the categories that the user likes most.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// How many of the categories that the user likes most are looked into.
    categories: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { categories: 3 }
    }
}

/// An item with its heat and its category.
struct Hot {
    handle: u64,
    heat: f32,
    category: u32,
}

/// Those of the categories `liked`, best first: the share that an item has of the greatest
/// heat, times how much the user likes its category (above 0, at most 1).
fn pick(items: &[Hot], liked: &[(u32, f32)], exclude: &[u64], limit: usize) -> Vec<(u64, f32)> {
    let most = items.iter().map(|item| item.heat).fold(0.0, f32::max);
    let score = |item: &Hot| {
        let (_, liking) = liked.iter().find(|(category, _)| *category == item.category)?;
        let score = item.heat / most * liking;
        (score > 0.0).then_some((item.handle, score))
    };
    let mut picked: Vec<(u64, f32)> =
        items.iter().filter(|item| !exclude.contains(&item.handle)).filter_map(score).collect();
    picked.sort_by(|one, other| other.1.total_cmp(&one.1));
    picked.truncate(limit);
    picked
}

// --- the component: from the request to the function above, and back ---

wit_bindgen::generate!({ world: "recall", path: "wit", generate_all });

use exports::funnelweb::pipeline::recall::{Guest, RecallRequest, Recalled};
use funnelweb::{
    pipeline::types::{ColumnKind, ColumnSpec, ParamError, Personal, Requirements, StageError, StageErrorCode},
    tenant::{
        catalogue::{self, CatalogueError},
        values,
    },
};

const COLUMN: &str = "category";
/// As many as the catalogue gives at a time.
const HOT: u32 = 1000;

struct Component;

impl Guest for Component {
    fn check(params: String) -> Result<Requirements, ParamError> {
        read(&params).map_err(|message| ParamError { path: String::new(), message })?;
        Ok(Requirements { columns: Vec::new(), items: Vec::new(), personal: Personal::PREFERENCES })
    }

    fn recall(request: RecallRequest) -> Result<Recalled, StageError> {
        let params = read(&request.params).map_err(|message| failed(StageErrorCode::InvalidInput, message))?;
        let preferences = request.context.user.preferences.iter();
        let (names, likings): (Vec<_>, Vec<_>) = preferences
            .filter(|preference| preference.field == COLUMN && preference.score > 0.0)
            .take(params.categories)
            .map(|preference| (preference.value.clone(), preference.score))
            .unzip();
        if names.is_empty() {
            return Ok(Recalled { handles: Vec::new(), scores: Vec::new() });
        }
        let liked: Vec<(u32, f32)> = values::hash(&names).into_iter().zip(likings).collect();
        let items = hot().map_err(unavailable)?;
        let (handles, scores) = pick(&items, &liked, &request.exclude, request.limit as usize).into_iter().unzip();
        Ok(Recalled { handles, scores })
    }
}

fn hot() -> Result<Vec<Hot>, CatalogueError> {
    let hot = catalogue::hot(HOT)?;
    let column = ColumnSpec { name: COLUMN.to_owned(), kind: ColumnKind::Categorical };
    let columns = catalogue::columns(&hot.handles, &[column])?;
    let item = |(at, category): (&u32, &u32)| {
        let at = *at as usize;
        Hot { handle: hot.handles[at], heat: hot.scores[at], category: *category }
    };
    Ok(columns.found.iter().zip(&columns.table.categorical).map(item).collect())
}

fn read(params: &str) -> Result<Params, String> {
    if params.is_empty() {
        Ok(Params::default())
    } else {
        serde_json::from_str(params).map_err(|error| error.to_string())
    }
}

fn unavailable(error: CatalogueError) -> StageError {
    match error {
        CatalogueError::Invalid(message) => failed(StageErrorCode::Internal, message),
        CatalogueError::Unavailable(message) => failed(StageErrorCode::Unavailable, message),
    }
}

fn failed(code: StageErrorCode, message: String) -> StageError {
    StageError { code, message }
}

export!(Component);

#[cfg(test)]
mod tests {
    use super::*;

    const MUSIC: u32 = 7;
    const NEWS: u32 = 8;

    fn items() -> Vec<Hot> {
        let items = [(1, 8.0, NEWS), (2, 4.0, MUSIC), (3, 2.0, MUSIC), (4, 1.0, 0)];
        items.map(|(handle, heat, category)| Hot { handle, heat, category }).into()
    }

    #[test]
    fn the_hottest_of_what_is_liked_comes_first() {
        assert_eq!(pick(&items(), &[(MUSIC, 1.0)], &[], 10), [(2, 0.5), (3, 0.25)]);
        assert_eq!(pick(&items(), &[(MUSIC, 1.0), (NEWS, 0.25)], &[], 2), [(2, 0.5), (1, 0.25)]);
    }

    #[test]
    fn what_was_shown_is_left_out() {
        assert_eq!(pick(&items(), &[(MUSIC, 1.0)], &[2], 10), [(3, 0.25)]);
    }

    #[test]
    fn who_likes_nothing_gets_nothing() {
        assert!(pick(&items(), &[], &[], 10).is_empty());
        assert!(pick(&[], &[(MUSIC, 1.0)], &[], 10).is_empty());
    }
}
