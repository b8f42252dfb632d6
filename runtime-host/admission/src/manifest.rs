//! What a component says of itself: JSON in the custom section `funnelweb:component` of
//! its outermost level.
//!
//! ```json
//! {"name": "fresh-first", "version": "1.2.0", "world": "rerank",
//!  "description": "Newest items first, within reason.",
//!  "reads": {"columns": [{"name": "created_at", "type": "timestamp"}], "user": ["recent"]},
//!  "params": {"type": "object", "properties": {"days": {"type": "number", "minimum": 0}}}}
//! ```
//!
//! Of items and of the user it is given what `reads` names, and no more.

use std::collections::BTreeSet;

pub use funnelweb_core::scenario::UserPart;
use funnelweb_core::{limits, scenario};
use funnelweb_engine::bounded;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Refused, Rule, Schema,
    refused::quoted,
    sections::{self, sections},
};

/// The name of the custom section.
const SECTION: &str = "funnelweb:component";
/// Bytes of a description.
const DESCRIPTION_BYTES: usize = 256;

/// A component's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1 to [`limits::COMPONENT_NAME_BYTES`] of `A-Z a-z 0-9 _ . -`.
    pub name: String,
    /// Likewise.
    pub version: String,
    /// What it is for.
    pub world: World,
    /// In a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is given.
    #[serde(default, skip_serializing_if = "Reads::is_empty")]
    pub reads: Reads,
    /// The JSON Schema of its params; without one any are good. See [`Schema`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
    /// How it is built: for the command line, which reads the manifest beside the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
}

/// The world that a component targets, of the WIT package `funnelweb:tenant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// A recall channel.
    Recall,
    /// A ranker.
    Rank,
    /// A rerank rule.
    Rerank,
    /// A stream operator.
    Aggregate,
}

impl World {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Recall, Self::Rank, Self::Rerank, Self::Aggregate];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recall => "recall",
            Self::Rank => "rank",
            Self::Rerank => "rerank",
            Self::Aggregate => "aggregate",
        }
    }

    /// The interface that a component of this world exports.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::Recall => "funnelweb:pipeline/recall@0.1.0",
            Self::Rank => "funnelweb:pipeline/rank@0.1.0",
            Self::Rerank => "funnelweb:pipeline/rerank@0.1.0",
            Self::Aggregate => "funnelweb:stream/aggregate@0.1.0",
        }
    }
}

/// What a component is given of items and users.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reads {
    /// Columns of items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// Columns of the user's table, of one row, that rankers are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_columns: Vec<Column>,
    /// Parts of the request that are about somebody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<UserPart>,
}

impl Reads {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// 1 to [`limits::NAME_BYTES`] bytes.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: ColumnType,
}

/// What a column holds, as `column-kind` in WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Numbers.
    Numeric,
    /// Values of a category.
    Categorical,
    /// Any number of them a row.
    MultiCategorical,
    /// Times.
    Timestamp,
    /// Vectors.
    Embedding,
}

/// How a component is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// A command of the shell.
    pub command: String,
    /// The file that it makes.
    pub output: String,
}

impl Manifest {
    /// The manifest in a component.
    ///
    /// # Errors
    /// [`Rule::Manifest`] or [`Rule::Params`], with the JSON path of what is wrong;
    /// [`Rule::Invalid`] when the file cannot be read so far.
    pub fn read(wasm: &[u8]) -> Result<Self, Refused> {
        let custom = sections(wasm)?.into_iter().filter_map(|section| section.custom);
        let mut found = custom.filter(|custom| custom.name == SECTION).map(|custom| custom.data);
        let count = |message: String| {
            let help = "embed the manifest with `funnelweb component build`, which replaces one that is there; \
                        it belongs into the outermost component, and not into its parts";
            Refused::new(Rule::Manifest, message, help)
        };
        let Some(data) = found.next() else {
            return Err(count(format!("there is no custom section `{SECTION}`")));
        };
        let others = found.count();
        if others > 0 {
            return Err(count(format!("there are {} custom sections `{SECTION}`; exactly one is wanted", others + 1)));
        }
        check_bytes(data.len())?;
        let text = std::str::from_utf8(data).map_err(|_| refused("", "is not UTF-8"))?;
        Self::parse(text)
    }

    /// A manifest from its text.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str) -> Result<Self, Refused> {
        check_bytes(text.len())?;
        let manifest: Self = scenario::parse_json(text.as_bytes())
            .map_err(|error| refused(error.field.as_deref().unwrap_or_default(), error.message))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The component with this manifest, in place of any that it has. It stands at the end
    /// of the outermost component.
    ///
    /// # Errors
    /// As [`parse`](Self::parse) for the manifest, and [`Rule::Module`] for a file that is
    /// no component.
    pub fn embed(wasm: &[u8], manifest_json: &str) -> Result<Vec<u8>, Refused> {
        Self::parse(manifest_json)?;
        crate::rules::check_kind(wasm)?;
        let mut embedded = sections::HEADER.to_vec();
        for section in sections(wasm)? {
            if section.custom.is_none_or(|custom| custom.name != SECTION) {
                embedded.extend_from_slice(wasm.get(section.range).unwrap_or_default());
            }
        }
        embedded.extend(sections::custom(SECTION, manifest_json.as_bytes()));
        Ok(embedded)
    }

    /// The schema of its params, if it has one.
    ///
    /// # Errors
    /// [`Rule::Params`]; never for one that was read.
    pub fn schema(&self) -> Result<Option<Schema>, Refused> {
        self.params.as_ref().map(Schema::new).transpose()
    }

    fn check(&self) -> Result<(), Refused> {
        check_name("name", &self.name)?;
        check_name("version", &self.version)?;
        if self.description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_BYTES) {
            return Err(refused("description", format!("must be at most {DESCRIPTION_BYTES} bytes")));
        }
        self.check_reads()?;
        if self.world == World::Aggregate && self.params.is_some() {
            return Err(refused("params", "a stream operator is given none: leave it out"));
        }
        self.schema().map(drop)
    }

    fn check_reads(&self) -> Result<(), Refused> {
        let Reads { columns, user_columns, user } = &self.reads;
        if self.world == World::Aggregate && !self.reads.is_empty() {
            return Err(refused("reads", "a stream operator is given events and nothing else: leave it out"));
        }
        let most = if self.world == World::Rank { limits::MODEL_COLUMNS } else { limits::STAGE_COLUMNS };
        check_columns("reads.columns", columns, most)?;
        if self.world != World::Rank && !user_columns.is_empty() {
            return Err(refused("reads.user_columns", "only a ranker is given them: leave it out, or read `user`"));
        }
        check_columns("reads.user_columns", user_columns, limits::MODEL_COLUMNS)?;
        let mut seen = BTreeSet::new();
        match user.iter().position(|part| !seen.insert(part)) {
            Some(at) => Err(refused(&format!("reads.user[{at}]"), "stands there twice")),
            None => Ok(()),
        }
    }
}

fn check_bytes(bytes: usize) -> Result<(), Refused> {
    if bytes <= limits::COMPONENT_MANIFEST_BYTES {
        return Ok(());
    }
    Err(refused("", format!("has {bytes} bytes; {} is the most", limits::COMPONENT_MANIFEST_BYTES)))
}

/// Names and versions are parts of paths, and two that look alike must be the same.
fn check_name(path: &str, text: &str) -> Result<(), Refused> {
    let allowed = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-');
    let wanted = format!("must be 1 to {} of A-Z a-z 0-9 _ . -", limits::COMPONENT_NAME_BYTES);
    if let Some(other) = text.chars().find(|character| !allowed(character)) {
        return Err(refused(path, format!("{wanted}; {other:?} (U+{:04X}) is none of them", u32::from(other))));
    }
    if matches!(text, "." | "..") {
        return Err(refused(path, "must not be `.` or `..`"));
    }
    if text.is_empty() || text.len() > limits::COMPONENT_NAME_BYTES {
        return Err(refused(path, format!("{wanted}; it has {}", text.len())));
    }
    Ok(())
}

fn check_columns(path: &str, columns: &[Column], most: usize) -> Result<(), Refused> {
    if columns.len() > most {
        return Err(refused(path, format!("has {} columns; {most} is the most", columns.len())));
    }
    let mut seen = BTreeSet::new();
    for (at, Column { name, .. }) in columns.iter().enumerate() {
        let path = || format!("{path}[{at}].name");
        if !(1..=limits::NAME_BYTES).contains(&name.len()) {
            return Err(refused(&path(), format!("must be 1 to {} bytes", limits::NAME_BYTES)));
        }
        if !seen.insert(name) {
            return Err(refused(&path(), format!("{} stands there twice", quoted(name))));
        }
    }
    Ok(())
}

fn refused(path: &str, message: impl Into<String>) -> Refused {
    let subject = if path.is_empty() { "the manifest".to_owned() } else { quoted(path) };
    let message = format!("{subject}: {}", bounded(message.into()));
    let help = "correct the manifest and embed it again with `funnelweb component build`";
    Refused::new(Rule::Manifest, message, help)
}
