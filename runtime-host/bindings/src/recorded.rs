//! A request as its stages saw it, to be replayed.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    parts::empty,
    types::{Candidates, RequestContext, Table},
};

/// A request as its stages saw it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorded {
    /// What every stage is told.
    pub context: RequestContext,
    /// What recall was not to return.
    pub exclude: Vec<u64>,
    /// What was ranked; candidate `i` is row `i` of `items`.
    pub candidates: Candidates,
    /// The feature table.
    #[serde(with = "cells")]
    pub items: Table,
    /// One row.
    #[serde(with = "cells")]
    pub user: Table,
    /// What the rerank rules were given, best first.
    pub ranked: Candidates,
    /// Candidate `i` of it is row `rows[i]` of `items`.
    pub rows: Vec<u32>,
    /// What the rules made of it, best first.
    pub slate: Vec<u64>,
}

impl Recorded {
    /// One that begins.
    #[must_use]
    pub fn new(context: RequestContext) -> Self {
        let none = || Candidates { handles: Vec::new(), scores: Vec::new(), sources: Vec::new() };
        Self {
            context,
            exclude: Vec::new(),
            candidates: none(),
            items: empty(),
            user: empty(),
            ranked: none(),
            rows: Vec::new(),
            slate: Vec::new(),
        }
    }

    /// Says what was ranked, and how.
    pub fn ranked(&mut self, candidates: Candidates, items: Table, user: Table, scores: &[f32]) {
        let rows = candidates.handles.iter().zip(&candidates.sources).zip(scores).zip(0_u32..);
        let mut order: Vec<(f32, u64, u32, u32)> =
            rows.map(|(((handle, sources), score), row)| (*score, *handle, *sources, row)).collect();
        order.sort_unstable_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        self.slate = order.iter().map(|entry| entry.1).collect();
        self.ranked = Candidates {
            handles: self.slate.clone(),
            scores: order.iter().map(|entry| entry.0).collect(),
            sources: order.iter().map(|entry| entry.2).collect(),
        };
        self.rows = order.iter().map(|entry| entry.3).collect();
        (self.candidates, self.items, self.user) = (candidates, items, user);
    }

    /// Says what the rerank rules were given, and what they made of it.
    pub fn reranked(&mut self, candidates: Candidates, rows: Vec<u32>, slate: &[u64]) {
        (self.ranked, self.rows, self.slate) = (candidates, rows, slate.to_vec());
    }

    /// Whether it came so far that anything can be replayed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.candidates.handles.is_empty() && self.items.rows as usize == self.candidates.handles.len()
    }

    /// About what it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let table = |table: &Table| {
            let cells = table.numeric.len() + table.categorical.len() + table.multi_offsets.len();
            let names = [&table.numeric_names, &table.categorical_names, &table.multi_names];
            let names: usize = names.iter().flat_map(|names| names.iter()).map(|name| name.len() + 24).sum();
            4 * (cells + table.multi_values.len() + table.embeddings.len()) + names
        };
        let user = &self.context.user;
        let texts: usize = user
            .attributes
            .iter()
            .chain(&self.context.context)
            .map(|attribute| {
                attribute.name.len() + 48 + attribute.values.iter().map(|value| value.len() + 24).sum::<usize>()
            })
            .sum();
        let preferences: usize = user.preferences.iter().map(|of| of.field.len() + of.value.len() + 56).sum();
        let lists = 8 * (self.exclude.len() + self.slate.len()) + 12 * user.recent.len() + 4 * self.rows.len();
        let candidates = 16 * (self.candidates.handles.len() + self.ranked.handles.len());
        512 + table(&self.items) + table(&self.user) + texts + preferences + lists + candidates
    }

    /// Reads requests that were written one a line.
    ///
    /// # Errors
    /// When a line is none; its number.
    pub fn read(from: impl Read) -> io::Result<Vec<Self>> {
        let lines = BufReader::new(from).lines().enumerate();
        lines
            .map(|(at, line)| {
                serde_json::from_str(&line?)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {error}", at + 1)))
            })
            .collect()
    }

    /// Writes requests, one a line.
    ///
    /// # Errors
    /// Those of the file.
    pub fn write(requests: &[Arc<Self>], to: &mut impl Write) -> io::Result<()> {
        for request in requests {
            serde_json::to_writer(&mut *to, request.as_ref())?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// Tables as text, which has no NaN: a cell that is missing is `null`.
mod cells {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::types::Table;

    #[derive(Serialize, Deserialize)]
    struct Cells {
        rows: u32,
        numeric_names: Vec<String>,
        numeric: Vec<Option<f32>>,
        categorical_names: Vec<String>,
        categorical: Vec<u32>,
        multi_names: Vec<String>,
        multi_offsets: Vec<u32>,
        multi_values: Vec<u32>,
        embedding_dim: u32,
        embeddings: Vec<Option<f32>>,
    }

    pub(super) fn serialize<S: Serializer>(table: &Table, to: S) -> Result<S::Ok, S::Error> {
        let known = |cells: &[f32]| cells.iter().map(|cell| (!cell.is_nan()).then_some(*cell)).collect();
        let table = table.clone();
        Cells {
            rows: table.rows,
            numeric: known(&table.numeric),
            numeric_names: table.numeric_names,
            categorical_names: table.categorical_names,
            categorical: table.categorical,
            multi_names: table.multi_names,
            multi_offsets: table.multi_offsets,
            multi_values: table.multi_values,
            embedding_dim: table.embedding_dim,
            embeddings: known(&table.embeddings),
        }
        .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Table, D::Error> {
        let or_nan = |cells: Vec<Option<f32>>| cells.into_iter().map(|cell| cell.unwrap_or(f32::NAN)).collect();
        let cells = Cells::deserialize(from)?;
        Ok(Table {
            rows: cells.rows,
            numeric_names: cells.numeric_names,
            numeric: or_nan(cells.numeric),
            categorical_names: cells.categorical_names,
            categorical: cells.categorical,
            multi_names: cells.multi_names,
            multi_offsets: cells.multi_offsets,
            multi_values: cells.multi_values,
            embedding_dim: cells.embedding_dim,
            embeddings: or_nan(cells.embeddings),
        })
    }
}
