//! A ranker: a weighted sum of the score of recall and two fields of the item.

use serde::Deserialize;

/// The weights.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    recall: f32,
    quality: f32,
    price: f32,
}

impl Default for Params {
    fn default() -> Self {
        Self { recall: 1.0, quality: 1.0, price: -0.1 }
    }
}

/// A score for each list of terms: the sum of weight times value. A value that is missing
/// (NaN) counts nothing.
fn weigh(terms: impl Iterator<Item = [(f32, f32); 3]>) -> Vec<f32> {
    let known = |(weight, value): (f32, f32)| if value.is_nan() { 0.0 } else { weight * value };
    terms.map(|terms| terms.into_iter().map(known).sum()).collect()
}

// --- the component: from the request to the function above, and back ---

wit_bindgen::generate!({ world: "rank", path: "wit", generate_all });

use exports::funnelweb::pipeline::rank::{Guest, RankRequest};
use funnelweb::pipeline::types::{
    ColumnKind, ColumnSpec, ParamError, Personal, Requirements, StageError, StageErrorCode, Table,
};

const QUALITY: &str = "quality";
const PRICE: &str = "price";

struct Component;

impl Guest for Component {
    fn check(params: String) -> Result<Requirements, ParamError> {
        read(&params).map_err(|message| ParamError { path: String::new(), message })?;
        let column = |name: &str| ColumnSpec { name: name.to_owned(), kind: ColumnKind::Numeric };
        let columns = vec![column(QUALITY), column(PRICE)];
        Ok(Requirements { columns, items: Vec::new(), personal: Personal::empty() })
    }

    fn rank(request: RankRequest) -> Result<Vec<f32>, StageError> {
        let params = read(&request.params).map_err(invalid)?;
        let (quality, price) = (column(&request.items, QUALITY), column(&request.items, PRICE));
        let fields = quality.zip(price).map(|(quality, price)| [(params.quality, quality), (params.price, price)]);
        let terms = request.candidates.scores.iter().zip(fields);
        Ok(weigh(terms.map(|(score, [quality, price])| [(params.recall, *score), quality, price])))
    }
}

/// The cells of a column, row by row; all missing (NaN) where there is no such column.
fn column(table: &Table, name: &str) -> impl Iterator<Item = f32> {
    let width = table.numeric_names.len();
    let at = table.numeric_names.iter().position(|one| one == name);
    (0..table.rows as usize).map(move |row| at.map_or(f32::NAN, |at| table.numeric[row * width + at]))
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

    #[test]
    fn a_score_is_the_sum_of_weight_times_value() {
        assert_eq!(weigh([[(1.0, 0.5), (2.0, 0.25), (-0.5, 4.0)]].into_iter()), [-1.0]);
    }

    #[test]
    fn what_is_missing_counts_nothing() {
        assert_eq!(weigh([[(1.0, 0.5), (2.0, f32::NAN), (-0.5, f32::NAN)]].into_iter()), [0.5]);
        assert!(weigh(std::iter::empty()).is_empty());
    }
}
