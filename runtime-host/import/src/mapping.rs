//! The mapping file: which column of a source becomes which field of the API.
//!
//! A mapping is TOML. `runtime-host/config/mappings/` holds the shipped ones, and
//! a README with the whole format; an unknown key is an error.
//!
//! ```
//! use funnelweb_import::{Kind, Mapping};
//!
//! let mapping = Mapping::parse("books.toml", r#"
//!     kind = "items"
//!
//!     [fields.item_id]
//!     column = "isbn"
//!     prefix = "book_"
//!
//!     [fields."metadata.tags"]
//!     column = "subjects"
//!     type = "list"
//!     separator = ";"
//! "#)?;
//! assert_eq!(mapping.kind, Kind::Items);
//! # Ok::<(), funnelweb_import::Error>(())
//! ```

mod check;

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The mappings that come with the product, by name.
pub const SHIPPED: [(&str, &str); 12] = [
    ("diginetica-items", include_str!("../../config/mappings/diginetica-items.toml")),
    ("diginetica-views", include_str!("../../config/mappings/diginetica-views.toml")),
    ("goodbooks-10k-books", include_str!("../../config/mappings/goodbooks-10k-books.toml")),
    ("goodbooks-10k-ratings", include_str!("../../config/mappings/goodbooks-10k-ratings.toml")),
    ("movielens-100k-items", include_str!("../../config/mappings/movielens-100k-items.toml")),
    ("movielens-100k-ratings", include_str!("../../config/mappings/movielens-100k-ratings.toml")),
    ("movielens-movies", include_str!("../../config/mappings/movielens-movies.toml")),
    ("movielens-ratings", include_str!("../../config/mappings/movielens-ratings.toml")),
    ("pairs-behaviors", include_str!("../../config/mappings/pairs-behaviors.toml")),
    ("pairs-items", include_str!("../../config/mappings/pairs-items.toml")),
    ("user-lists-behaviors", include_str!("../../config/mappings/user-lists-behaviors.toml")),
    ("user-lists-items", include_str!("../../config/mappings/user-lists-items.toml")),
];

/// What a source holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Items, one a line.
    Items,
    /// Behaviours.
    Behaviors,
}

/// How a source is written whose columns are named as the API's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlainFormat {
    /// Commas between the columns, which the first line names.
    Csv,
    /// Tabs.
    Tsv,
    /// One JSON object a line.
    Ndjson,
}

impl PlainFormat {
    /// By the end of a file's name: `.ndjson`, `.jsonl`, `.json`; `.tsv`, `.tab`; else
    /// CSV. A `.gz` at the end does not count.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let name = name.to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".ndjson", ".jsonl", ".json"]) {
            Self::Ndjson
        } else if ends(&[".tsv", ".tab"]) {
            Self::Tsv
        } else {
            Self::Csv
        }
    }
}

/// A mapping, read and checked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// What the source holds.
    pub kind: Kind,
    /// How the source is written.
    #[serde(default)]
    pub(crate) source: SourceSpec,
    /// Further files to look values up in, by a name of your choice.
    #[serde(default)]
    pub(crate) tables: BTreeMap<String, TableSpec>,
    /// By field of the API (`item_id`, `metadata.title`, `extra.rating`). None at
    /// all: the columns are themselves named so.
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, FieldSpec>,
    /// The file or shipped name, for errors.
    #[serde(skip)]
    pub(crate) file: String,
}

/// How a text file is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SourceSpec {
    pub(crate) format: Format,
    pub(crate) layout: Layout,
    /// One ASCII character.
    pub(crate) delimiter: String,
    /// Whether `"` encloses values.
    pub(crate) quoting: bool,
    /// Whether the first line names the columns.
    pub(crate) header: bool,
    /// The columns' names when there is no header.
    pub(crate) columns: Vec<String>,
    pub(crate) encoding: Encoding,
    /// What stands for a missing value, besides nothing at all.
    pub(crate) missing: Vec<String>,
    /// Of several rows with one `item_id`, only the first counts.
    pub(crate) distinct: bool,
}

impl Default for SourceSpec {
    fn default() -> Self {
        Self {
            format: Format::Csv,
            layout: Layout::Rows,
            delimiter: ",".to_owned(),
            quoting: true,
            header: true,
            columns: Vec::new(),
            encoding: Encoding::Utf8,
            missing: Vec::new(),
            distinct: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    /// Columns between delimiters: CSV, TSV and the like.
    Csv,
    /// One JSON object a line; a column is a path in it (`author.name`).
    Ndjson,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Layout {
    /// One row a line.
    Rows,
    /// A user and then that user's items, in order of time. Each item is a row
    /// with the columns `user`, `item` and `position` (from 0).
    UserLists,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Encoding {
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "latin-1")]
    Latin1,
}

/// A further file, of which a key has one or several values.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableSpec {
    /// Beside the source; also found with `.gz` at its end.
    pub(crate) file: String,
    /// The column to look up by.
    pub(crate) key: String,
    /// The column that is looked up.
    pub(crate) value: String,
    /// Another table that the value is translated by; a value that is not there
    /// is left out.
    #[serde(default)]
    pub(crate) names: Option<String>,
    /// How it is written; CSV with a header unless said otherwise.
    #[serde(default)]
    pub(crate) source: SourceSpec,
}

/// How one field is made.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FieldSpec {
    /// The column it comes from.
    pub(crate) column: Option<String>,
    /// Several columns: joined by a space, or one list; with `flags`, the columns
    /// that may be set.
    pub(crate) columns: Vec<String>,
    /// The columns hold 0 or 1: the names of those that are set make a list.
    pub(crate) flags: bool,
    /// The same for every row.
    pub(crate) constant: Option<serde_json::Value>,
    /// The column is a key of this table: its values make a list.
    pub(crate) table: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: FieldType,
    /// Between the values of a list.
    pub(crate) separator: Option<String>,
    /// Values of a list that are left out.
    pub(crate) drop: Vec<String>,
    /// Most values of a list; the first count.
    pub(crate) limit: Option<usize>,
    /// Of a list, its first value only, as a string.
    pub(crate) first: bool,
    /// In front of a string: `movie_`.
    pub(crate) prefix: Option<String>,
    /// Renames strings; one that is not here stays as it is.
    pub(crate) values: BTreeMap<String, String>,
    /// Turns a number into a string: the first whose `at_least` it reaches.
    pub(crate) thresholds: Vec<Threshold>,
    /// When it reaches none.
    pub(crate) otherwise: Option<String>,
    /// Of a timestamp: `auto`, `unix-seconds`, `unix-milliseconds` or a strptime
    /// pattern (`%d-%b-%Y`).
    pub(crate) format: Option<String>,
    /// A column of milliseconds to add to a timestamp.
    pub(crate) add_ms: Option<String>,
    /// Of a sequence: the time of position 0.
    pub(crate) start: Option<String>,
    /// Of a sequence: the time between positions, in seconds.
    pub(crate) step_s: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Threshold {
    pub(crate) at_least: f64,
    pub(crate) value: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FieldType {
    #[default]
    String,
    /// A whole number; `2008.0` counts as one.
    Int,
    Float,
    /// `1`, `true`, `yes`, `0`, `false`, `no`.
    Bool,
    /// A number or boolean if it reads as one, else a string.
    Auto,
    /// Strings.
    List,
    /// Numbers.
    Vector,
    /// A point in time.
    Timestamp,
    /// A made-up time, by the position of the row, for sources that have an order
    /// but no times.
    Sequence,
}

impl Mapping {
    /// The shipped mapping of that name, or else the file of that name.
    ///
    /// # Errors
    /// When there is neither, or it is wrong.
    pub fn load(name_or_path: &str) -> Result<Self> {
        if let Some(mapping) = Self::shipped(name_or_path) {
            return mapping;
        }
        match std::fs::read_to_string(name_or_path) {
            Ok(text) => Self::parse(name_or_path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
                let message = format!("no such file; the mappings that come with the product are {}", names.join(", "));
                Err(Error::Mapping { file: name_or_path.to_owned(), key: "(file)".to_owned(), message })
            }
            Err(source) => Err(Error::Io { path: name_or_path.into(), source }),
        }
    }

    /// The shipped mapping of that name, if there is one.
    ///
    /// # Errors
    /// None, in fact: they are right, which a test sees to.
    #[must_use]
    pub fn shipped(name: &str) -> Option<Result<Self>> {
        SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(name, text)| Self::parse(name, text))
    }

    /// The further files that it wants beside the source.
    pub fn further_files(&self) -> impl Iterator<Item = &str> {
        self.tables.values().map(|table| table.file.as_str())
    }

    /// Reads a mapping; `file` is its name in errors.
    ///
    /// # Errors
    /// [`Error::Mapping`] naming the file and the key: for what is not TOML, for
    /// unknown keys, and for keys that contradict each other.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let fault = |key: String, message: String| Error::Mapping { file: file.to_owned(), key, message };
        let reader = toml::Deserializer::parse(text)
            .map_err(|error| fault("(not toml)".to_owned(), error.to_string().trim().to_owned()))?;
        let mut mapping: Self = serde_path_to_error::deserialize(reader)
            .map_err(|error| fault(error.path().to_string(), error.inner().message().to_owned()))?;
        mapping.file = file.to_owned();
        mapping.check()?;
        Ok(mapping)
    }

    /// The mapping for a source whose columns are named as the API's fields, by the
    /// end of its name ([`PlainFormat::of_name`]).
    #[must_use]
    pub fn plain(kind: Kind, source: &Path) -> Self {
        let name = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self::plain_as(kind, PlainFormat::of_name(&name))
    }

    /// The mapping for a source whose columns are named as the API's fields.
    #[must_use]
    pub fn plain_as(kind: Kind, format: PlainFormat) -> Self {
        let (format, delimiter) = match format {
            PlainFormat::Csv => (Format::Csv, ","),
            PlainFormat::Tsv => (Format::Csv, "\t"),
            PlainFormat::Ndjson => (Format::Ndjson, ","),
        };
        let delimiter = delimiter.to_owned();
        Self {
            kind,
            source: SourceSpec { format, delimiter, ..SourceSpec::default() },
            tables: BTreeMap::new(),
            fields: BTreeMap::new(),
            file: "(none)".to_owned(),
        }
    }

    /// The mapping of a plain CSV, known once its header is. It follows the API's own
    /// reading of CSV: of items, a column that is no field is one of `metadata`.
    pub(crate) fn with_fields_from(&self, header: &[String]) -> Result<Self> {
        let mut mapping = self.clone();
        for column in header {
            let own = match self.kind {
                Kind::Items => {
                    // The scenario is the import's, and the server keeps its own time of change.
                    if matches!(column.as_str(), "scenario_id" | "updated_at") {
                        continue;
                    }
                    matches!(column.as_str(), "item_id" | "status" | "created_at" | "embedding")
                }
                Kind::Behaviors if column == "scenario_id" => continue,
                Kind::Behaviors => true,
            };
            let name =
                if own || column.starts_with("metadata.") { column.clone() } else { format!("metadata.{column}") };
            let (kind, separator) = match name.as_str() {
                "created_at" | "timestamp" => (FieldType::Timestamp, None),
                "embedding" => (FieldType::Vector, Some(" ".to_owned())),
                "metadata.tags" => (FieldType::List, Some("|".to_owned())),
                "item_id" | "user_id" | "event_id" | "action_type" | "status" => (FieldType::String, None),
                "metadata.title" | "metadata.category" => (FieldType::String, None),
                _ => (FieldType::Auto, None),
            };
            let spec = FieldSpec { column: Some(column.clone()), kind, separator, ..FieldSpec::default() };
            mapping.fields.insert(name, spec);
        }
        mapping.check()?;
        Ok(mapping)
    }

    pub(crate) fn fault(&self, key: impl Into<String>, message: impl Into<String>) -> Error {
        Error::Mapping { file: self.file.clone(), key: key.into(), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_mappings_are_valid() {
        for (name, _) in SHIPPED {
            let mapping = Mapping::load(name).unwrap();
            let items = name.ends_with("items") || name.ends_with("movies") || name.ends_with("books");
            assert_eq!(mapping.kind == Kind::Items, items, "{name}");
        }
    }

    #[test]
    fn a_mapping_that_is_nowhere_names_those_there_are() {
        let error = Mapping::load("movielens").unwrap_err().to_string();
        assert!(error.starts_with("mapping movielens: (file): no such file; "), "{error}");
        assert!(error.contains("movielens-100k-items"), "{error}");
    }
}
