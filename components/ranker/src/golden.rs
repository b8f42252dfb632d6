//! The golden rows: a model is taken when it scores them as its trainer did. They go
//! through the same tables, columns and tiles as a request.

use std::collections::BTreeMap;

use funnelweb_core::limits;
use funnelweb_guest::{
    model::{GoldenMismatch, LoadError, LoadRule, ModelFeature},
    params,
    types::{ColumnKind, Table},
};
use serde::Deserialize;

use crate::{
    manifest::{at_most, hash_of, kind_name},
    refusal,
    scorer::{Model, ScoreError},
};

/// Rows and the scores that the trainer's own runtime gives them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// By feature; one that a row lacks is missing.
    pub rows: Vec<BTreeMap<String, GoldenValue>>,
    /// As long.
    pub scores: Vec<f32>,
}

/// A feature's value in a golden row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum GoldenValue {
    /// Missing.
    Null,
    /// A categorical `true` or `false`.
    Flag(bool),
    /// Of a numeric or timestamp feature, or a categorical one in its JSON spelling.
    Number(serde_json::Number),
    /// Categorical.
    Text(String),
    /// Multi-categorical.
    Texts(Vec<String>),
}

/// How far a score may be from the golden one.
const TOLERANCE: f32 = 1e-4;

/// Checks that golden rows fit the features of a manifest.
///
/// # Errors
/// With the pointer of the first value that does not.
pub fn check_rows(features: &[ModelFeature], golden: &Golden) -> Result<(), LoadError> {
    if golden.rows.is_empty() {
        return Err(refusal::manifest("/golden/rows", "must have at least one row"));
    }
    at_most("/golden/rows", "golden", "rows", golden.rows.len(), limits::MODEL_GOLDEN_ROWS)?;
    if golden.rows.len() != golden.scores.len() {
        let message = format!("must be one per row: {} rows, got {}", golden.rows.len(), golden.scores.len());
        return Err(refusal::manifest("/golden/scores", message));
    }
    for (row, values) in golden.rows.iter().enumerate() {
        for (name, value) in values {
            let path = || format!("/golden/rows/{row}{}", params::pointer(name));
            let Ok(at) = features.binary_search_by(|feature| feature.name.cmp(name)) else {
                return Err(refusal::manifest(path(), "no column reads this feature"));
            };
            let kind = features.get(at).map_or(ColumnKind::Numeric, |feature| feature.kind);
            if !value.fits(kind) {
                return Err(refusal::manifest(path(), format!("is no value of a {} feature", kind_name(kind))));
            }
        }
    }
    Ok(())
}

impl GoldenValue {
    fn fits(&self, kind: ColumnKind) -> bool {
        match kind {
            ColumnKind::Numeric | ColumnKind::Timestamp => matches!(self, Self::Null | Self::Number(_)),
            ColumnKind::Categorical => !matches!(self, Self::Texts(_)),
            ColumnKind::MultiCategorical => matches!(self, Self::Null | Self::Texts(_)),
            ColumnKind::Embedding => false,
        }
    }
}

/// Scores each row by itself, since each may have a user of its own.
///
/// # Errors
/// With the first row that scores otherwise.
pub fn check(model: &mut Model, golden: &Golden, features: &[ModelFeature]) -> Result<(), LoadError> {
    for (row, (values, expected)) in golden.rows.iter().zip(&golden.scores).enumerate() {
        let (items, user) = tables(values, features);
        let got = match model.score(&items, &user) {
            Ok(scores) => scores.first().copied().unwrap_or(f32::NAN),
            Err(ScoreError::NotFinite { score, .. }) => {
                let message = format!("golden row {row} scores {score}");
                return Err(LoadError { rule: LoadRule::NotFinite(row as u32), message });
            }
            Err(error) => return Err(refusal::onnx(format!("golden row {row}: {error}"))),
        };
        if (got - expected).abs() > TOLERANCE {
            let message = format!("golden row {row} scores {got}, the manifest says {expected}");
            let rule = LoadRule::Golden(GoldenMismatch { row: row as u32, expected: *expected, got });
            return Err(LoadError { rule, message });
        }
    }
    Ok(())
}

/// A row as the feature stage would give it: the item's table and the user's.
#[must_use]
pub fn tables(values: &BTreeMap<String, GoldenValue>, features: &[ModelFeature]) -> (Table, Table) {
    let (mut items, mut user) = (Row::default(), Row::default());
    for (feature, value) in features.iter().filter_map(|feature| Some((feature, values.get(&feature.name)?))) {
        let (source, bare) = feature.name.split_once(':').unwrap_or_default();
        match source {
            "user" => user.put(bare, feature.kind, value),
            "context" => user.put(&feature.name, feature.kind, value),
            _ => items.put(bare, feature.kind, value),
        }
    }
    (items.table(), user.table())
}

/// A table of one row, made column by column.
#[derive(Default)]
struct Row {
    numeric: Vec<(String, f32)>,
    categorical: Vec<(String, u32)>,
    multi: Vec<(String, Vec<u32>)>,
}

impl Row {
    fn put(&mut self, name: &str, kind: ColumnKind, value: &GoldenValue) {
        let name = name.to_owned();
        match kind {
            ColumnKind::Numeric | ColumnKind::Timestamp => self.numeric.push((name, number(value))),
            ColumnKind::Categorical => self.categorical.push((name, hash(value))),
            ColumnKind::MultiCategorical => {
                let GoldenValue::Texts(texts) = value else { return };
                self.multi.push((name, texts.iter().map(|text| hash_of(text)).collect()));
            }
            ColumnKind::Embedding => {}
        }
    }

    fn table(self) -> Table {
        let mut table = Table::empty(1);
        (table.numeric_names, table.numeric) = self.numeric.into_iter().unzip();
        (table.categorical_names, table.categorical) = self.categorical.into_iter().unzip();
        if !self.multi.is_empty() {
            table.multi_offsets.push(0);
        }
        for (name, values) in self.multi {
            table.multi_names.push(name);
            table.multi_values.extend(values);
            table.multi_offsets.push(table.multi_values.len() as u32);
        }
        table
    }
}

fn number(value: &GoldenValue) -> f32 {
    match value {
        GoldenValue::Number(number) => number.as_f64().map_or(f32::NAN, |number| number as f32),
        _ => f32::NAN,
    }
}

fn hash(value: &GoldenValue) -> u32 {
    match value {
        GoldenValue::Text(text) => hash_of(text),
        GoldenValue::Flag(flag) => hash_of(if *flag { "true" } else { "false" }),
        GoldenValue::Number(number) => hash_of(&number.to_string()),
        GoldenValue::Null | GoldenValue::Texts(_) => 0,
    }
}
