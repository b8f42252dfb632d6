//! Item rows as the columns of a table.

use std::sync::Arc;

use funnelweb_core::{
    limits,
    row::{self, Cell, ItemRow},
};

use crate::store::{ColumnKind, ColumnSpec, Error, ItemColumns, Table};

const HOUR_MS: f64 = 3_600_000.0;

/// Columns of one call: all of a scenario's features and of its rules.
const COLUMNS: usize = limits::FEATURES + limits::RERANK_RULES * limits::STAGE_COLUMNS;

/// Where a cell comes from; names are hashed once per call.
enum Source {
    Field(u32),
    Age(u32),
    Created,
    Updated,
    Nothing,
}

/// The columns of a call, by kind.
pub struct Plan {
    table: Table,
    numeric: Vec<Source>,
    categorical: Vec<Source>,
    multi: Vec<Source>,
    embedding: bool,
}

impl Plan {
    /// The plan for the columns asked for.
    ///
    /// # Errors
    /// `invalid` when they are too many or one cannot be.
    pub fn new(columns: Vec<ColumnSpec>) -> Result<Self, Error> {
        Error::check_count("columns", columns.len(), 0, COLUMNS)?;
        let mut plan =
            Self { table: Table::default(), numeric: vec![], categorical: vec![], multi: vec![], embedding: false };
        for ColumnSpec { name, kind } in columns {
            let field = match name.as_str() {
                "created_at" | "updated_at" | "embedding" => Source::Nothing,
                name => Source::Field(row::field_hash(name)),
            };
            match kind {
                ColumnKind::Numeric => {
                    plan.numeric.push(field);
                    plan.table.numeric_names.push(name);
                }
                ColumnKind::Timestamp => {
                    plan.numeric.push(match (name.as_str(), field) {
                        ("created_at", _) => Source::Created,
                        ("updated_at", _) => Source::Updated,
                        (_, Source::Field(hash)) => Source::Age(hash),
                        (_, other) => other,
                    });
                    plan.table.numeric_names.push(name);
                }
                ColumnKind::Categorical => {
                    plan.categorical.push(field);
                    plan.table.categorical_names.push(name);
                }
                ColumnKind::MultiCategorical => {
                    plan.multi.push(field);
                    plan.table.multi_names.push(name);
                }
                ColumnKind::Embedding if name == "embedding" => plan.embedding = true,
                ColumnKind::Embedding => {
                    return Err(Error::invalid(
                        "columns",
                        format_args!("`{name}` is no embedding, only `embedding` is"),
                    ));
                }
            }
        }
        Ok(plan)
    }

    /// The table over the active ones of `rows`, which answer the handles asked
    /// for in order.
    #[must_use]
    pub fn fill(self, rows: &[Option<Arc<ItemRow>>], now_ms: u64) -> ItemColumns {
        let Self { mut table, numeric, categorical, multi, embedding } = self;
        let mut found = Vec::with_capacity(rows.len());
        let active =
            || rows.iter().zip(0_u32..).filter_map(|(row, at)| Some((row.as_ref().filter(|row| row.active)?, at)));
        table.numeric.reserve_exact(rows.len() * numeric.len());
        table.categorical.reserve_exact(rows.len() * categorical.len());
        if !multi.is_empty() {
            table.multi_offsets.reserve_exact(rows.len() * multi.len() + 1);
            table.multi_offsets.push(0);
        }
        let dim = if embedding {
            active().map(|(row, _)| row.embedding.len()).find(|length| *length > 0).unwrap_or(0)
        } else {
            0
        };
        table.embeddings.reserve_exact(rows.len() * dim);
        for (row, at) in active() {
            found.push(at);
            table.numeric.extend(numeric.iter().map(|source| number(row, source, now_ms)));
            table.categorical.extend(categorical.iter().map(|source| cell(row, source).map_or(0, Cell::category)));
            for source in &multi {
                table.multi_values.extend_from_slice(cell(row, source).map_or(&[], Cell::values));
                table.multi_offsets.push(u32::try_from(table.multi_values.len()).unwrap_or(u32::MAX));
            }
            if row.embedding.len() == dim {
                table.embeddings.extend_from_slice(&row.embedding);
            } else {
                table.embeddings.extend(std::iter::repeat_n(f32::NAN, dim));
            }
        }
        // Neither passes its limit: handles and values are bounded far below.
        table.rows = u32::try_from(found.len()).unwrap_or(u32::MAX);
        table.embedding_dim = u32::try_from(dim).unwrap_or(u32::MAX);
        ItemColumns { found, table }
    }
}

fn cell<'a>(row: &'a ItemRow, source: &Source) -> Option<&'a Cell> {
    match source {
        Source::Field(hash) | Source::Age(hash) => row.field(*hash),
        Source::Created | Source::Updated | Source::Nothing => None,
    }
}

fn number(row: &ItemRow, source: &Source, now_ms: u64) -> f32 {
    let time_ms = match source {
        Source::Field(hash) => return row.field(*hash).map_or(f32::NAN, Cell::number),
        Source::Nothing => return f32::NAN,
        Source::Created => Some(row.created_ms),
        Source::Updated => Some(row.updated_ms),
        Source::Age(hash) => row.field(*hash).and_then(Cell::time_ms),
    };
    // An age is small beside a time: subtract first, then narrow.
    time_ms.map_or(f32::NAN, |time_ms| ((now_ms as f64 - time_ms as f64) / HOUR_MS) as f32)
}
