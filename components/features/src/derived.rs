//! Derived features: what an item has to do with what the user did and likes
//! ([`Derived`]; affinities are in [`crate::affinity`]).
//!
//! What the user's recent items were is asked of the documents once, and only when a
//! feature needs it.

use std::collections::HashMap;

use funnelweb_core::derived::Derived;
use funnelweb_guest::{
    features::FeaturesRequest,
    table::{Categorical, Multi},
    types::{ColumnKind, ColumnSpec, FeatureSpec, StageError, Table},
};

use crate::{Sources, affinity::Affinities};

/// The columns of a request's derived features.
#[derive(Debug, Default)]
pub struct Crosses<'a> {
    columns: Vec<(&'a str, Cross)>,
}

/// What a column is computed from.
#[derive(Debug)]
enum Cross {
    Overlap(String, Affinities),
    /// By value: 1 / (1 + place) of the newest item that has it.
    Recency(String, HashMap<u32, f32>),
    /// The mean of the recent items' embeddings, of length 1; none without any.
    Similarity(Option<Vec<f32>>),
}

/// The columns that derived features need beside the item features.
#[must_use]
pub fn needed(request: &FeaturesRequest) -> Option<ColumnSpec> {
    let similarity = request.derived_features.iter().any(|name| Derived::parse(name) == Some(Derived::Similarity));
    similarity.then(embedding)
}

fn embedding() -> ColumnSpec {
    ColumnSpec { name: "embedding".to_owned(), kind: ColumnKind::Embedding }
}

impl<'a> Crosses<'a> {
    /// Reads what the request's derived features need of the user's history.
    ///
    /// # Errors
    /// As [`Sources::item_columns`].
    pub fn load(request: &'a FeaturesRequest, sources: &impl Sources) -> Result<Self, StageError> {
        let asked: Vec<(&str, Derived<'_>)> = request
            .derived_features
            .iter()
            .filter_map(|name| Some((name.as_str(), Derived::parse(name)?)))
            .filter(|(_, derived)| matches!(derived, Derived::Overlap(_) | Derived::Recency(_) | Derived::Similarity))
            .collect();
        let history = History::load(&asked, request, sources)?;
        let cross = |derived: Derived<'_>| match derived {
            Derived::Overlap(of) => {
                let affinities = feature(request, of)
                    .map(|feature| Affinities::of(&request.context.user.preferences, feature))
                    .unwrap_or_default();
                Some(Cross::Overlap(of.to_owned(), affinities))
            }
            Derived::Recency(of) => Some(Cross::Recency(of.to_owned(), history.recency(of))),
            Derived::Similarity => Some(Cross::Similarity(history.mean_embedding())),
            _ => None,
        };
        let columns = asked.into_iter().filter_map(|(name, derived)| Some((name, cross(derived)?))).collect();
        Ok(Self { columns })
    }

    /// The columns' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| *name)
    }

    /// The columns of a table's rows, to be read row by row.
    pub(crate) fn over<'t>(&'t self, table: &'t Table) -> Vec<Column<'t>> {
        let column = |(_, cross): &'t (&'a str, Cross)| match cross {
            Cross::Overlap(of, affinities) => Column::Overlap(Values::of(table, of), affinities),
            Cross::Recency(of, places) => Column::Recency(Values::of(table, of), places),
            Cross::Similarity(mean) => Column::Similarity(table, mean.as_deref()),
        };
        self.columns.iter().map(column).collect()
    }
}

/// A derived column over a table.
pub(crate) enum Column<'a> {
    Overlap(Values<'a>, &'a Affinities),
    Recency(Values<'a>, &'a HashMap<u32, f32>),
    Similarity(&'a Table, Option<&'a [f32]>),
}

impl Column<'_> {
    pub(crate) fn get(&self, row: usize) -> f32 {
        match self {
            Self::Overlap(values, affinities) => values.mean(row, |value| f32::from(affinities.one(value) > 0.0)),
            Self::Recency(values, places) => values.most(row, |value| places.get(&value).copied().unwrap_or_default()),
            Self::Similarity(table, mean) => match (table.embedding(row), mean) {
                (Some(item), Some(mean)) => cosine(item, mean),
                _ => 0.0,
            },
        }
    }
}

/// The values of one feature, of either kind.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    One(Categorical<'a>),
    Many(Multi<'a>),
    /// No item has the field.
    Nothing,
}

impl<'a> Values<'a> {
    fn of(table: &'a Table, name: &str) -> Self {
        match (table.categorical_column(name), table.multi_column(name)) {
            (Some(column), _) => Self::One(column),
            (None, Some(column)) => Self::Many(column),
            (None, None) => Self::Nothing,
        }
    }

    fn each(&self, row: usize, mut see: impl FnMut(u32)) {
        match self {
            Self::One(column) => match column.get(row) {
                0 => {}
                value => see(value),
            },
            Self::Many(column) => column.get(row).iter().for_each(|value| see(*value)),
            Self::Nothing => {}
        }
    }

    fn mean(&self, row: usize, of: impl Fn(u32) -> f32) -> f32 {
        let (mut sum, mut count) = (0.0, 0.0_f32);
        self.each(row, |value| {
            sum += of(value);
            count += 1.0;
        });
        if count > 0.0 { sum / count } else { 0.0 }
    }

    fn most(&self, row: usize, of: impl Fn(u32) -> f32) -> f32 {
        let mut most = 0.0_f32;
        self.each(row, |value| most = most.max(of(value)));
        most
    }
}

/// What the user's recent items were, newest first; those that are gone are left out.
struct History {
    /// Of each row of `table`, its place among the recent items.
    places: Vec<u32>,
    table: Table,
}

impl History {
    fn load(
        asked: &[(&str, Derived<'_>)],
        request: &FeaturesRequest,
        sources: &impl Sources,
    ) -> Result<Self, StageError> {
        let context = &request.context;
        let mut columns = Vec::new();
        for (_, derived) in asked {
            match derived {
                Derived::Recency(of) => columns.extend(
                    feature(request, of).map(|feature| ColumnSpec { name: feature.name.clone(), kind: feature.kind }),
                ),
                Derived::Similarity => columns.push(embedding()),
                _ => {}
            }
        }
        if columns.is_empty() || context.user.recent.is_empty() {
            return Ok(Self { places: Vec::new(), table: Table::empty(0) });
        }
        let found = sources.item_columns(&context.scenario_id, &context.user.recent, &columns, context.now_ms)?;
        Ok(Self { places: found.found, table: found.table })
    }

    fn recency(&self, of: &str) -> HashMap<u32, f32> {
        let values = Values::of(&self.table, of);
        let mut by_value = HashMap::new();
        for (row, place) in self.places.iter().enumerate() {
            // Ascending: the first that has a value is the newest.
            values.each(row, |value| {
                by_value.entry(value).or_insert(1.0 / (1.0 + *place as f32));
            });
        }
        by_value
    }

    fn mean_embedding(&self) -> Option<Vec<f32>> {
        let mut sum = vec![0.0_f32; self.table.embedding_dim as usize];
        for row in 0..self.places.len() {
            for (sum, value) in sum.iter_mut().zip(self.table.embedding(row).unwrap_or_default()) {
                *sum += value;
            }
        }
        let length = norm(&sum);
        (length > 0.0 && length.is_finite()).then(|| sum.iter().map(|value| value / length).collect())
    }
}

fn feature<'a>(request: &'a FeaturesRequest, name: &str) -> Option<&'a FeatureSpec> {
    request.item_features.iter().find(|feature| feature.name == name)
}

/// `unit` has length 1. 0 for vectors of different lengths or without a direction.
fn cosine(vector: &[f32], unit: &[f32]) -> f32 {
    if vector.len() != unit.len() {
        return 0.0;
    }
    let dot: f32 = vector.iter().zip(unit).map(|(one, other)| one * other).sum();
    let cosine = dot / norm(vector);
    if cosine.is_finite() { cosine.clamp(-1.0, 1.0) } else { 0.0 }
}

fn norm(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}
