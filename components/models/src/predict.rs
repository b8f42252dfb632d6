//! Scores for rows: each an object of features by their full names, as in a golden
//! batch of the format (`models/README.md`).

use std::time::Instant;

use funnelweb_core::{
    error::{ApiError, Code},
    id, limits,
};
use funnelweb_guest::{
    http::{Head, Reply, json},
    models::{self, Feature},
    types::{ColumnKind, Table},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{answer::refused, find, required};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    rows: Vec<Row>,
}

type Row = Map<String, Value>;

/// `POST /api/v1/models/{name}:predict`.
pub(crate) fn predict(head: &Head, name: &str, body: &[u8]) -> Result<Reply, ApiError> {
    let query = head.query(&["scenario_id", "version"])?;
    let scenario_id = required(query.id("scenario_id")?)?;
    let Asked { rows } = json::object(body)?;
    if !(1..=limits::PREDICT_ROWS).contains(&rows.len()) {
        let message = format!("must have 1 to {} elements, got {}", limits::PREDICT_ROWS, rows.len());
        return Err(ApiError::field(Code::InvalidField, "rows", message));
    }
    let version = find(&scenario_id, name, query.id("version")?)?;
    let rows = read(&rows, &version.features)?;
    let mut scores = Vec::with_capacity(rows.len());
    let is_of_user = |feature: &&Feature| feature.name.starts_with("user:") || feature.name.starts_with("context:");
    let (user, items): (Vec<&Feature>, Vec<&Feature>) = version.features.iter().partition(is_of_user);
    let start = Instant::now();
    // A model is given one user at a time.
    for same in rows.chunk_by(|one, other| user.iter().all(|feature| one.get(feature) == other.get(feature))) {
        if start.elapsed() > limits::REQUEST_TIMEOUT {
            // An upload may take longer, by the same route.
            let seconds = limits::REQUEST_TIMEOUT.as_secs();
            return Err(ApiError::new(Code::Timeout, format!("the rows were not scored within {seconds} s")));
        }
        let (items, user) = (table(same, &items), table(same.get(..1).unwrap_or_default(), &user));
        let predicted = models::predict(&scenario_id, name, Some(&version.version), &items, &user).map_err(refused)?;
        scores.extend(predicted.scores);
    }
    Reply::json(StatusCode::OK, &json!({"model": name, "version": version.version, "scores": scores}))
}

/// A cell of a row.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Missing,
    Number(f32),
    Values(Vec<u32>),
}

/// A row's cells, in the order of the features.
#[derive(Debug)]
struct Cells<'a> {
    features: &'a [Feature],
    cells: Vec<Cell>,
}

impl Cells<'_> {
    fn get(&self, feature: &Feature) -> Option<&Cell> {
        let at = self.features.iter().position(|other| other.name == feature.name)?;
        self.cells.get(at)
    }
}

fn read<'a>(rows: &[Row], features: &'a [Feature]) -> Result<Vec<Cells<'a>>, ApiError> {
    let row = |(at, row): (usize, &Row)| {
        let invalid = |name: &str, message: String| {
            Err(ApiError::field(Code::InvalidField, format!("rows[{at}].{name}"), message))
        };
        if let Some(unknown) = row.keys().find(|name| !features.iter().any(|feature| feature.name == **name)) {
            let known: Vec<&str> = features.iter().map(|feature| feature.name.as_str()).collect();
            return invalid(unknown, format!("the model does not read it; it reads {}", known.join(", ")));
        }
        let mut cells = Vec::with_capacity(features.len());
        for feature in features {
            match cell(row.get(&feature.name).unwrap_or(&Value::Null), feature.kind) {
                Some(cell) => cells.push(cell),
                None => return invalid(&feature.name, format!("must be {}", wanted(feature.kind))),
            }
        }
        Ok(Cells { features, cells })
    };
    rows.iter().enumerate().map(row).collect()
}

fn wanted(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Numeric => "a number",
        ColumnKind::Timestamp => "an age in hours",
        ColumnKind::Categorical => "a text, number or boolean",
        ColumnKind::MultiCategorical => "an array of texts, numbers or booleans",
        ColumnKind::Embedding => "left out",
    }
}

fn cell(value: &Value, kind: ColumnKind) -> Option<Cell> {
    match (kind, value) {
        (_, Value::Null) => Some(Cell::Missing),
        (ColumnKind::Numeric, Value::Bool(value)) => Some(Cell::Number(f32::from(*value))),
        (ColumnKind::Numeric | ColumnKind::Timestamp, Value::Number(number)) => {
            let number = number.as_f64()? as f32;
            number.is_finite().then_some(Cell::Number(number))
        }
        (ColumnKind::Categorical, value) => Some(Cell::Values(vec![hash(value)?])),
        (ColumnKind::MultiCategorical, Value::Array(values)) => {
            values.iter().map(hash).collect::<Option<_>>().map(Cell::Values)
        }
        _ => None,
    }
}

/// `#` and eight hex digits stand for a hash itself.
fn hash(value: &Value) -> Option<u32> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return None,
    };
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 8);
    let hash = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    Some(hash.unwrap_or_else(|| id::value_hash(&text)))
}

/// Rows as a ranker takes them: under bare names, but for those of the context.
fn table(rows: &[Cells<'_>], features: &[&Feature]) -> Table {
    let bare = |feature: &Feature| match feature.name.split_once(':') {
        Some((source, name)) if source != "context" => name.to_owned(),
        _ => feature.name.clone(),
    };
    let of = |kinds: &[ColumnKind]| -> Vec<&Feature> {
        features.iter().copied().filter(|feature| kinds.contains(&feature.kind)).collect()
    };
    let names = |features: &[&Feature]| features.iter().map(|feature| bare(feature)).collect();
    let numeric = of(&[ColumnKind::Numeric, ColumnKind::Timestamp]);
    let (categorical, multi) = (of(&[ColumnKind::Categorical]), of(&[ColumnKind::MultiCategorical]));
    let mut table = Table::empty(u32::try_from(rows.len()).unwrap_or(u32::MAX));
    (table.numeric_names, table.categorical_names, table.multi_names) =
        (names(&numeric), names(&categorical), names(&multi));
    if !multi.is_empty() {
        table.multi_offsets.push(0);
    }
    for row in rows {
        table.numeric.extend(numeric.iter().map(|feature| match row.get(feature) {
            Some(Cell::Number(number)) => *number,
            _ => f32::NAN,
        }));
        table.categorical.extend(categorical.iter().map(|feature| match row.get(feature) {
            Some(Cell::Values(values)) => values.first().copied().unwrap_or(0),
            _ => 0,
        }));
        for feature in &multi {
            if let Some(Cell::Values(values)) = row.get(feature) {
                table.multi_values.extend(values);
            }
            table.multi_offsets.push(u32::try_from(table.multi_values.len()).unwrap_or(u32::MAX));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features() -> Vec<Feature> {
        let feature = |name: &str, kind| Feature { name: name.to_owned(), kind };
        vec![
            feature("item:price", ColumnKind::Numeric),
            feature("item:category", ColumnKind::Categorical),
            feature("item:tags", ColumnKind::MultiCategorical),
            feature("context:hour", ColumnKind::Numeric),
            feature("derived:tags:overlap", ColumnKind::Numeric),
        ]
    }

    fn rows(text: &str) -> Vec<Row> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn rows_become_tables() {
        let features = features();
        let text = r##"[{"item:price": 2.5, "item:category": "fun", "item:tags": ["a", "#0000000a"], "context:hour": 7},
                       {"item:tags": [], "derived:tags:overlap": true}]"##;
        let rows = rows(text);
        let cells = read(&rows, &features).unwrap();
        let (context, items): (Vec<&Feature>, Vec<&Feature>) =
            features.iter().partition(|feature| feature.name.starts_with("context:"));
        let made = table(&cells, &items);
        assert_eq!(made.numeric_names, ["price", "tags:overlap"]);
        assert!(made.numeric[0] == 2.5 && made.numeric[1].is_nan() && made.numeric[2].is_nan());
        assert_eq!(made.numeric[3], 1.0);
        assert_eq!(made.categorical, [id::value_hash("fun"), 0]);
        assert_eq!((made.multi_offsets, made.multi_values), (vec![0, 2, 2], vec![id::value_hash("a"), 10]));
        assert_eq!(table(&cells[..1], &context).numeric_names, ["context:hour"]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let field = |text: &str| read(&rows(text), &features()).unwrap_err().field.unwrap();
        assert_eq!(field(r#"[{}, {"item:color": "red"}]"#), "rows[1].item:color");
        assert_eq!(field(r#"[{"item:price": "much"}]"#), "rows[0].item:price");
        assert_eq!(field(r#"[{"item:price": 1e39}]"#), "rows[0].item:price");
        assert_eq!(field(r#"[{"item:category": ["a"]}]"#), "rows[0].item:category");
        assert_eq!(field(r#"[{"item:tags": "a"}]"#), "rows[0].item:tags");
    }
}
