//! A model that was read, and what it answers.
//!
//! Rows are scored in tiles of a fixed number, the last one filled up with zeros: one
//! plan, optimised for that number, then serves every request. Up to half a tile takes
//! smaller ones, or a few rows would cost as much as many.

use std::ops::Range;

use funnelweb_guest::{
    model::{LoadError, Loaded},
    types::{Requirements, Table},
};
use prost::bytes::Bytes;
use sha2::{Digest, Sha256};
use tract_hir::internal::*;

use crate::{
    golden,
    graph::Graph,
    manifest::{Element, Input, Manifest, hex},
    onnx::File,
    refusal,
    tensors::Bound,
};

/// Rows of a tile.
pub const TILE_ROWS: usize = 96;
/// Rows of the small tile.
pub const SMALL_TILE_ROWS: usize = 16;

/// A model, ready to score.
pub struct Model {
    inputs: Vec<Input>,
    loaded: Loaded,
    small: Tile,
    large: Tile,
}

/// The graph for a number of rows.
struct Tile {
    rows: usize,
    state: TypedSimpleState,
}

impl Model {
    /// Reads, checks and prepares a model; the manifest is the file's own where none is
    /// given.
    ///
    /// # Errors
    /// With the rule that it breaks.
    pub fn load(manifest: &str, onnx: Vec<u8>) -> Result<Self, LoadError> {
        let onnx = Bytes::from(onnx);
        let file = File::read(onnx.clone())?;
        let inside = manifest.is_empty();
        let json = if inside { file.manifest() } else { Some(manifest) };
        let json = json
            .ok_or_else(|| refusal::manifest("", "there is none: neither beside the file nor in its metadata_props"))?;
        let manifest = Manifest::parse(json)?;
        check_digest(&manifest, &onnx, inside)?;
        let graph = Graph::new(&file, &manifest)?;
        let (small, large) = (Tile::new(&graph, SMALL_TILE_ROWS)?, Tile::new(&graph, TILE_ROWS)?);
        let loaded = Loaded {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            kind: manifest.kind.name().to_owned(),
            objective: manifest.objective.clone(),
            features: manifest.features.clone(),
            schema_hash: manifest.schema_hash.clone(),
            operators: graph.operators(),
            parameter_bytes: graph.parameter_bytes(),
            metrics: manifest.metrics.clone(),
        };
        drop(graph);
        let Manifest { inputs, golden, features, .. } = manifest;
        let mut model = Self { inputs, loaded, small, large };
        golden::check(&mut model, &golden, &features)?;
        Ok(model)
    }

    /// What it says of itself.
    #[must_use]
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The columns that it reads of the table of items. What it reads of the user comes
    /// without being asked for.
    #[must_use]
    pub fn requirements(&self) -> Requirements {
        Requirements::columns(self.loaded.features.iter().filter_map(|feature| {
            let (source, name) = feature.name.split_once(':')?;
            matches!(source, "item" | "derived").then_some((name, feature.kind))
        }))
    }

    /// One score per row of `items`, finite.
    ///
    /// # Errors
    /// With the first row whose score is not, or a value that the graph refuses.
    pub fn score(&mut self, items: &Table, user: &Table) -> Result<Vec<f32>, ScoreError> {
        let bound: Vec<Bound<'_>> = self.inputs.iter().map(|input| Bound::new(input, items, user)).collect();
        let count = items.rows as usize;
        let mut scores = Vec::with_capacity(count);
        while scores.len() < count {
            let (from, left) = (scores.len(), count - scores.len());
            let tile = if left <= TILE_ROWS / 2 { &mut self.small } else { &mut self.large };
            tile.score(&self.inputs, &bound, from..from + left.min(tile.rows), &mut scores)
                .map_err(|error| ScoreError::Graph(refusal::cut(format!("{error:#}"))))?;
        }
        match scores.iter().position(|score| !score.is_finite()) {
            Some(row) => Err(ScoreError::NotFinite { row, score: scores.get(row).copied().unwrap_or(f32::NAN) }),
            None => Ok(scores),
        }
    }
}

/// Why there are no scores.
#[derive(Debug, Clone, PartialEq)]
pub enum ScoreError {
    /// A row scores NaN or infinity.
    NotFinite {
        /// The first such row.
        row: usize,
        /// Its score.
        score: f32,
    },
    /// The graph refuses what it is given.
    Graph(String),
}

impl std::fmt::Display for ScoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFinite { row, score } => write!(f, "row {row} scores {score}"),
            Self::Graph(message) => f.write_str(message),
        }
    }
}

impl Tile {
    fn new(graph: &Graph<'_>, rows: usize) -> Result<Self, LoadError> {
        let state = graph.plan(rows)?.spawn();
        let state = state.map_err(|error| refusal::onnx(format!("the graph cannot be run: {error:#}")))?;
        Ok(Self { rows, state })
    }

    /// Appends the scores of these rows, which are at most a tile.
    fn score(
        &mut self,
        inputs: &[Input],
        bound: &[Bound<'_>],
        rows: Range<usize>,
        scores: &mut Vec<f32>,
    ) -> TractResult<()> {
        let cells = inputs.iter().zip(bound).map(|(input, bound)| self.cells(input, bound, rows.clone()));
        let outputs = self.state.run(cells.collect::<TractResult<_>>()?)?;
        let output = outputs.first().context("the graph has no output")?.try_as_plain_ram()?;
        scores.extend(output.as_slice::<f32>()?.iter().take(rows.len()));
        Ok(())
    }

    fn cells(&self, input: &Input, bound: &Bound<'_>, rows: Range<usize>) -> TractResult<TValue> {
        let shape = [self.rows, input.width];
        let mut tensor = match input.element {
            Element::Float32 => Tensor::zero::<f32>(&shape)?,
            Element::Int64 => Tensor::zero::<i64>(&shape)?,
        };
        let mut cells = tensor.try_as_plain_ram_mut()?;
        match input.element {
            Element::Float32 => bound.fill(rows, cells.as_slice_mut::<f32>()?),
            Element::Int64 => bound.fill(rows, cells.as_slice_mut::<i64>()?),
        }
        Ok(tensor.into_tvalue())
    }
}

/// The manifest beside a file says which file it is about.
fn check_digest(manifest: &Manifest, onnx: &[u8], inside: bool) -> Result<(), LoadError> {
    let actual = || hex(&Sha256::digest(onnx));
    match &manifest.onnx_sha256 {
        Some(_) if inside => {
            Err(refusal::manifest("/onnx_sha256", "a manifest in the file cannot say the file's hash; leave it out"))
        }
        Some(expected) if *expected != actual() => {
            Err(refusal::manifest("/onnx_sha256", format!("the ONNX file has {}", actual())))
        }
        None if !inside => Err(refusal::manifest("/onnx_sha256", "must be there, since the file is another")),
        _ => Ok(()),
    }
}
