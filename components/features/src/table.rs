//! Joining the columns of the documents with those computed here, row by row,
//! with no allocation per row.

use funnelweb_guest::{
    features::FeaturesRequest,
    table::{Categorical, Multi},
    types::{ColumnKind, ColumnSpec, Handle, NumericColumns, Table},
};

use crate::{
    affinity::{self, Affinities},
    derived::Crosses,
};

/// Which candidates have a row.
pub struct Rows {
    /// One per row of the table.
    pub kept: Vec<Handle>,
    /// The recall score of each row, and its place among the candidates.
    scores: Vec<(f32, usize)>,
    /// Candidates without a row.
    pub removed: Vec<Handle>,
}

impl Rows {
    /// Parts the candidates by the ascending positions that were found.
    pub fn of(request: &FeaturesRequest, found: &[u32]) -> Self {
        let mut rows = Self {
            kept: Vec::with_capacity(found.len()),
            scores: Vec::with_capacity(found.len()),
            removed: Vec::new(),
        };
        let mut found = found.iter().map(|position| *position as usize).peekable();
        let candidates = &request.candidates;
        for (position, (handle, score)) in candidates.handles.iter().zip(&candidates.scores).enumerate() {
            if found.next_if_eq(&position).is_some() {
                rows.kept.push(*handle);
                rows.scores.push((*score, position));
            } else {
                rows.removed.push(*handle);
            }
        }
        rows
    }
}

/// An affinity column, with what it is computed from.
enum Affinity<'a> {
    One(Categorical<'a>, Affinities),
    Many(Multi<'a>, Affinities),
    /// No item has the field.
    Nothing,
}

impl Affinity<'_> {
    fn get(&self, row: usize) -> f32 {
        match self {
            Self::One(column, affinities) => affinities.one(column.get(row)),
            Self::Many(column, affinities) => affinities.many(column.get(row)),
            Self::Nothing => 0.0,
        }
    }
}

/// The cells of a candidate.
fn known(evidence: &NumericColumns, position: usize) -> &[f32] {
    let width = evidence.names.len();
    evidence.cells.get(position * width..(position + 1) * width).unwrap_or_default()
}

/// Whether a column's cells are numbers.
pub fn is_numeric(kind: ColumnKind) -> bool {
    matches!(kind, ColumnKind::Numeric | ColumnKind::Timestamp)
}

/// The documents' table with the computed columns and the evidence joined to its
/// numeric ones. Numeric columns asked for that no item has are there too, all
/// missing.
pub fn build(
    request: &FeaturesRequest,
    asked: &[ColumnSpec],
    mut table: Table,
    rows: &Rows,
    crosses: &Crosses<'_>,
) -> Table {
    let width = table.numeric_names.len();
    let mut names = std::mem::take(&mut table.numeric_names);
    for column in asked.iter().filter(|column| is_numeric(column.kind)) {
        if !names.contains(&column.name) {
            names.push(column.name.clone());
        }
    }
    let absent = names.len() - width;
    let mut affinities = Vec::new();
    for feature in &request.item_features {
        let of_user = || Affinities::of(&request.context.user.preferences, feature);
        let column = match feature.kind {
            ColumnKind::Categorical => {
                table.categorical_column(&feature.name).map(|column| Affinity::One(column, of_user()))
            }
            ColumnKind::MultiCategorical => {
                table.multi_column(&feature.name).map(|column| Affinity::Many(column, of_user()))
            }
            ColumnKind::Numeric | ColumnKind::Timestamp | ColumnKind::Embedding => continue,
        };
        names.push(affinity::name(&feature.name));
        affinities.push(column.unwrap_or(Affinity::Nothing));
    }
    names.extend(crosses.names().map(str::to_owned));
    let derived = crosses.over(&table);
    let evidence = &request.evidence;
    names.extend(evidence.names.iter().cloned());
    names.push("recall:score".to_owned());

    let mut numeric = Vec::with_capacity(rows.kept.len() * names.len());
    for (row, (score, position)) in rows.scores.iter().enumerate() {
        let cells = table.numeric.get(row * width..(row + 1) * width).unwrap_or_default();
        numeric.extend_from_slice(cells);
        numeric.extend(std::iter::repeat_n(f32::NAN, width - cells.len() + absent));
        numeric.extend(affinities.iter().map(|affinity| affinity.get(row)));
        numeric.extend(derived.iter().map(|column| column.get(row)));
        numeric.extend_from_slice(known(evidence, *position));
        numeric.push(*score);
    }
    drop((affinities, derived));
    Table { numeric_names: names, numeric, ..table }
}
