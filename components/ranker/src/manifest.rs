//! What a model says of itself: read strictly, every rule with a JSON pointer to
//! what breaks it. The format is described in `models/README.md`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use funnelweb_core::{id::value_hash, limits};
use funnelweb_guest::{
    model::{LoadError, ModelFeature},
    params,
    types::ColumnKind,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{
    golden::{self, Golden},
    refusal,
    vocabulary::Vocabulary,
};

/// A manifest that holds all rules which it can hold alone.
#[derive(Debug)]
pub struct Manifest {
    /// What a scenario's config calls it.
    pub name: String,
    /// Never changed.
    pub version: String,
    /// How it is built.
    pub kind: Kind,
    /// Of its training, as a JSON object.
    pub metrics: String,
    /// What the score estimates.
    pub objective: String,
    /// The graph's inputs, in its order.
    pub inputs: Vec<Input>,
    /// The graph's output that is the score.
    pub output: String,
    /// Of `features`.
    pub schema_hash: String,
    /// All features, each once, by name.
    pub features: Vec<ModelFeature>,
    /// Of the ONNX file, in lower case.
    pub onnx_sha256: Option<String>,
    /// Rows and the scores that they have.
    pub golden: Golden,
}

/// What kind of model it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One tree ensemble.
    Lightgbm,
    /// Factorisation machine and network over the same embeddings.
    Deepfm,
    /// Linear part and network side by side.
    WideDeep,
}

impl Kind {
    /// As manifests write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lightgbm => "lightgbm",
            Self::Deepfm => "deepfm",
            Self::WideDeep => "wide_deep",
        }
    }
}

/// One input of the graph.
#[derive(Debug)]
pub struct Input {
    /// Its name there.
    pub tensor: String,
    /// What its cells are.
    pub element: Element,
    /// From left to right.
    pub columns: Vec<Column>,
    /// Cells of a row.
    pub width: usize,
}

/// What the cells of an input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// Numbers; a place is a number as well.
    Float32,
    /// Places.
    Int64,
}

/// One feature of an input.
#[derive(Debug)]
pub struct Column {
    /// Where the feature is from.
    pub source: Source,
    /// Its name in the table of its source.
    pub name: String,
    /// How it becomes cells.
    pub encoding: Encoding,
}

/// Which table has a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The table of items: a field or statistic.
    Item,
    /// The table of items: made of item and user.
    Derived,
    /// The row of the user: of the profile.
    User,
    /// The row of the user: of the request. The name there has the prefix `context:`.
    Context,
}

/// How a feature becomes cells.
#[derive(Debug)]
pub enum Encoding {
    /// The number, or this.
    Number {
        /// For a row without it.
        missing: f32,
    },
    /// Its place.
    Place(Vocabulary),
    /// The places of its first values that have one, then zeros.
    Places {
        /// By value.
        vocabulary: Vocabulary,
        /// Cells.
        length: usize,
    },
}

/// The manifest as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    name: String,
    version: String,
    kind: Kind,
    objective: String,
    inputs: Vec<WrittenInput>,
    output: WrittenOutput,
    schema_hash: String,
    onnx_sha256: Option<String>,
    #[serde(default)]
    metrics: BTreeMap<String, f64>,
    golden: Golden,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenInput {
    tensor: String,
    r#type: Element,
    columns: Vec<WrittenColumn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenOutput {
    tensor: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenColumn {
    feature: String,
    r#type: ColumnType,
    missing: Option<f32>,
    vocabulary: Option<Vec<String>>,
    length: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ColumnType {
    Numeric,
    Timestamp,
    Categorical,
    MultiCategorical,
}

impl ColumnType {
    fn kind(self) -> ColumnKind {
        match self {
            Self::Numeric => ColumnKind::Numeric,
            Self::Timestamp => ColumnKind::Timestamp,
            Self::Categorical => ColumnKind::Categorical,
            Self::MultiCategorical => ColumnKind::MultiCategorical,
        }
    }
}

/// A kind as manifests write it.
#[must_use]
pub fn kind_name(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Numeric => "numeric",
        ColumnKind::Timestamp => "timestamp",
        ColumnKind::Categorical => "categorical",
        ColumnKind::MultiCategorical => "multi_categorical",
        ColumnKind::Embedding => "embedding",
    }
}

impl Manifest {
    /// Reads a manifest and checks it by itself.
    ///
    /// # Errors
    /// With the pointer of the first thing that is wrong.
    pub fn parse(json: &str) -> Result<Self, LoadError> {
        at_most("", "the manifest", "bytes", json.len(), limits::MODEL_MANIFEST_BYTES)?;
        if json.trim().is_empty() {
            return Err(refusal::manifest("", "is empty"));
        }
        let written: Written = params::parse(json).map_err(|error| refusal::manifest(error.path, error.message))?;
        if written.format != 1 {
            return Err(refusal::manifest("/format", format!("must be 1, got {}", written.format)));
        }
        check_name("/name", &written.name)?;
        check_name("/version", &written.version)?;
        check_name("/objective", &written.objective)?;
        let (inputs, kinds) = inputs(written.inputs)?;
        let features: Vec<ModelFeature> = kinds.into_iter().map(|(name, kind)| ModelFeature { name, kind }).collect();
        check_schema(&features, &written.schema_hash)?;
        golden::check_rows(&features, &written.golden)?;
        let onnx_sha256 = written.onnx_sha256.map(|digest| check_digest(&digest)).transpose()?;
        Ok(Self {
            name: written.name,
            version: written.version,
            kind: written.kind,
            metrics: serde_json::to_string(&written.metrics)
                .map_err(|error| refusal::manifest("/metrics", error.to_string()))?,
            objective: written.objective,
            inputs,
            output: written.output.tensor,
            schema_hash: written.schema_hash,
            features,
            onnx_sha256,
            golden: written.golden,
        })
    }
}

/// The inputs, and the kind of every feature by name.
fn inputs(written: Vec<WrittenInput>) -> Result<(Vec<Input>, BTreeMap<String, ColumnKind>), LoadError> {
    if written.is_empty() {
        return Err(refusal::manifest("/inputs", "must have at least one input"));
    }
    at_most("/inputs", "inputs", "inputs", written.len(), limits::MODEL_INPUTS)?;
    let columns = written.iter().map(|input| input.columns.len()).sum();
    at_most("/inputs", "all inputs together", "columns", columns, limits::MODEL_COLUMNS)?;
    let (mut inputs, mut kinds) = (Vec::new(), BTreeMap::new());
    for (at, input) in written.into_iter().enumerate() {
        let path = format!("/inputs/{at}");
        if input.columns.is_empty() {
            return Err(refusal::manifest(format!("{path}/columns"), "must have at least one column"));
        }
        let mut columns = Vec::new();
        for (place, column) in input.columns.into_iter().enumerate() {
            let path = format!("{path}/columns/{place}");
            let kind = column.r#type.kind();
            let known = *kinds.entry(column.feature.clone()).or_insert(kind);
            if known != kind {
                let message = format!("`{}` is {} in another column", column.feature, kind_name(known));
                return Err(refusal::manifest(format!("{path}/type"), message));
            }
            columns.push(self::column(&path, input.r#type, column)?);
        }
        let width = columns.iter().map(|column| column.encoding.width()).sum();
        inputs.push(Input { tensor: input.tensor, element: input.r#type, columns, width });
    }
    Ok((inputs, kinds))
}

fn column(path: &str, element: Element, written: WrittenColumn) -> Result<Column, LoadError> {
    let at = |field: &str| format!("{path}/{field}");
    let (source, name) = source(&at("feature"), &written.feature)?;
    let numeric = matches!(written.r#type, ColumnType::Numeric | ColumnType::Timestamp);
    let multi = written.r#type == ColumnType::MultiCategorical;
    if source == Source::Derived && written.r#type != ColumnType::Numeric {
        return Err(refusal::manifest(at("type"), "a derived feature is numeric"));
    }
    if numeric && element == Element::Int64 {
        let message = "an int64 input takes categorical and multi_categorical columns only";
        return Err(refusal::manifest(at("type"), message));
    }
    for (field, given, wanted) in [
        ("missing", written.missing.is_some(), numeric),
        ("vocabulary", written.vocabulary.is_some(), !numeric),
        ("length", written.length.is_some(), multi),
    ] {
        let kind = kind_name(written.r#type.kind());
        if given && !wanted {
            return Err(refusal::manifest(at(field), format!("is not for a {kind} column")));
        }
        if wanted && !given && field != "missing" {
            return Err(refusal::manifest(at(field), format!("a {kind} column must have it")));
        }
    }
    let vocabulary = written.vocabulary.map(|values| vocabulary(&at("vocabulary"), &values)).transpose()?;
    let encoding = match (vocabulary, written.length) {
        (None, _) => Encoding::Number { missing: written.missing.unwrap_or(f32::NAN) },
        (Some(vocabulary), None) => Encoding::Place(vocabulary),
        (Some(vocabulary), Some(length)) => {
            if !(1..=limits::MODEL_COLUMN_LENGTH).contains(&length) {
                let message = format!("must be 1 to {}, got {length}", limits::MODEL_COLUMN_LENGTH);
                return Err(refusal::manifest(at("length"), message));
            }
            Encoding::Places { vocabulary, length }
        }
    };
    Ok(Column { source, name, encoding })
}

impl Encoding {
    /// Cells of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Number { .. } | Self::Place(_) => 1,
            Self::Places { length, .. } => *length,
        }
    }
}

/// A feature's source, and its name in that source's table.
fn source(path: &str, feature: &str) -> Result<(Source, String), LoadError> {
    let known = feature.split_once(':').and_then(|(source, name)| {
        Some(match source {
            "item" => (Source::Item, name),
            "derived" => (Source::Derived, name),
            "user" => (Source::User, name),
            "context" => (Source::Context, feature),
            _ => return None,
        })
    });
    let Some((source, name)) = known else {
        let message = format!("must begin with item:, user:, context: or derived:, got `{}`", shown(feature));
        return Err(refusal::manifest(path, message));
    };
    let bare = feature.split_once(':').map_or("", |(_, bare)| bare);
    if !(1..=limits::NAME_BYTES).contains(&bare.len()) {
        let message = format!("must name a feature of 1 to {} bytes, got {}", limits::NAME_BYTES, bare.len());
        return Err(refusal::manifest(path, message));
    }
    Ok((source, name.to_owned()))
}

fn vocabulary(path: &str, values: &[String]) -> Result<Vocabulary, LoadError> {
    at_most(path, "a vocabulary", "values", values.len(), limits::MODEL_VOCABULARY)?;
    let hashes: Vec<u32> = values.iter().map(|value| hash_of(value)).collect();
    let mut seen = HashSet::with_capacity(values.len());
    if let Some((at, value)) = values.iter().enumerate().find(|(_, value)| !seen.insert(value.as_str())) {
        return Err(refusal::manifest(format!("{path}/{at}"), format!("`{}` stands there twice", shown(value))));
    }
    Ok(Vocabulary::new(&hashes))
}

/// The hash of a value; `#` and eight hex digits are a hash that is known alone.
#[must_use]
pub fn hash_of(value: &str) -> u32 {
    let digits = value
        .strip_prefix('#')
        .filter(|digits| digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).map_or_else(|| value_hash(value), |hash| hash.max(1))
}

/// The first 16 hex digits of the SHA-256 of the features' names and types.
#[must_use]
pub fn schema_hash(features: &[ModelFeature]) -> String {
    let lines: BTreeSet<String> =
        features.iter().map(|feature| format!("{} {}\n", feature.name, kind_name(feature.kind))).collect();
    let digest = lines.iter().fold(Sha256::new(), |hash, line| hash.chain_update(line)).finalize();
    hex(&digest).chars().take(16).collect()
}

/// Bytes in hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_schema(features: &[ModelFeature], written: &str) -> Result<(), LoadError> {
    let expected = schema_hash(features);
    if written == expected {
        return Ok(());
    }
    let message = format!("must be {expected}, which the columns make, got `{}`", shown(written));
    Err(refusal::manifest("/schema_hash", message))
}

fn check_digest(digest: &str) -> Result<String, LoadError> {
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digest.to_ascii_lowercase());
    }
    Err(refusal::manifest("/onnx_sha256", "must be 64 hex digits"))
}

fn check_name(path: &str, name: &str) -> Result<(), LoadError> {
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if fits && (1..=limits::MODEL_NAME_BYTES).contains(&name.len()) {
        return Ok(());
    }
    let message = format!("must be 1 to {} of A-Z a-z 0-9 _ . -, got `{}`", limits::MODEL_NAME_BYTES, shown(name));
    Err(refusal::manifest(path, message))
}

/// Refuses a list or text that is too long.
///
/// # Errors
/// With the limit.
pub fn at_most(path: &str, what: &str, unit: &str, got: usize, limit: usize) -> Result<(), LoadError> {
    if got <= limit {
        return Ok(());
    }
    Err(refusal::manifest(path, format!("{what} may have at most {limit} {unit}, got {got}")))
}

/// The beginning of a text that may be long.
fn shown(text: &str) -> String {
    text.chars().take(limits::MODEL_NAME_BYTES).collect()
}

#[cfg(test)]
mod tests;
