//! What can be wrong with a manifest, and where in the file it stands.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML, not a manifest, or not one this host can serve.
    #[error("{}:{line}:{column}: {}{message}", .file.display(), prefix(.key))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// The path of the key, as `component.items.source`; empty for the file itself.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// A required variable got no value.
    #[error("variable `{0}` is required and has no value")]
    NoValue(String),
    /// A template names a variable that does not exist.
    #[error("unknown variable `{0}`")]
    UnknownVariable(String),
    /// An entry of `allowed_outbound_hosts`, after its variables were filled in.
    #[error("component `{component}`: allowed_outbound_hosts: {message}")]
    OutboundHost {
        /// The component's id.
        component: String,
        /// The entry and what is wrong with it.
        message: String,
    },
}

fn prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

/// One step into a TOML document.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Where in the document something stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct KeyPath(Vec<Step>);

impl KeyPath {
    /// The entry `name` of the table at this path.
    pub(crate) fn key(&self, name: &str) -> Self {
        self.step(Step::Key(name.to_owned()))
    }

    /// The `index`th entry of the array at this path.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Self {
        let mut path = self.clone();
        path.0.push(step);
        path
    }

    /// Says what is wrong here.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { path: self.clone(), message: message.into() }
    }

    /// The bytes of the deepest part of the path that is in the document: the
    /// key of a table, the value of anything else.
    fn locate(&self, document: &DeTable<'_>) -> Range<usize> {
        let mut found = 0..0;
        let mut table = Some(document);
        let mut array = None;
        for step in &self.0 {
            let (key, value) = match (step, table, array) {
                (Step::Key(key), Some(table), _) => match table.get_key_value(key.as_str()) {
                    Some((key, value)) => (Some(key.span()), value),
                    None => break,
                },
                (Step::Index(index), _, Some(array)) => match <[_]>::get(array, *index) {
                    Some(value) => (None, value),
                    None => break,
                },
                _ => break,
            };
            table = value.get_ref().as_table();
            array = value.get_ref().as_array().map(|array| &**array);
            found = match (value.get_ref(), key) {
                (DeValue::Table(_), Some(key)) => key,
                _ => value.span(),
            };
        }
        found
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    let dot = if at == 0 { "" } else { "." };
                    let bare =
                        !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
                    if bare { write!(f, "{dot}{key}")? } else { write!(f, "{dot}{key:?}")? }
                }
            }
        }
        Ok(())
    }
}

impl From<&serde_path_to_error::Path> for KeyPath {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment;
        let steps = path.iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { variant } => Some(Step::Key(variant.clone())),
            Segment::Unknown => None,
        });
        Self(steps.collect())
    }
}

/// Something wrong at a path, before it is located in the text.
#[derive(Debug)]
pub(crate) struct Fault {
    path: KeyPath,
    message: String,
}

impl Fault {
    /// Finds the fault's place in the text.
    pub(crate) fn locate(self, source: &Source<'_>, document: &DeTable<'_>) -> Error {
        source.error(self.path.locate(document), &self.path, self.message)
    }
}

/// The text of a manifest and the name of its file.
pub(crate) struct Source<'a> {
    pub(crate) file: &'a Path,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// An error about a range of the text's bytes.
    pub(crate) fn error(&self, span: Range<usize>, key: &KeyPath, message: String) -> Error {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Error::Invalid {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            key: key.to_string(),
            message,
        }
    }

    /// An error of the TOML parser, which knows no key path.
    pub(crate) fn syntax(&self, error: &toml::de::Error) -> Error {
        self.error(error.span().unwrap_or_default(), &KeyPath::default(), error.message().to_owned())
    }

    /// An error of serde: a wrong type, an unknown or a missing key.
    pub(crate) fn shape(&self, error: &serde_path_to_error::Error<toml::de::Error>, document: &DeTable<'_>) -> Error {
        let path = KeyPath::from(error.path());
        let span = error.inner().span().unwrap_or_else(|| path.locate(document));
        // Serde says "field"; a manifest has keys.
        let message = error.inner().message().replacen(" field `", " key `", 1);
        self.error(span, &path, message)
    }
}
