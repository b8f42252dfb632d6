//! Why an upload is refused, in words for who made it.

use std::fmt;

use funnelweb_engine::bounded;
use serde::{Deserialize, Serialize};

/// What an upload must be. The names of rules do not change: clients tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// It has bytes, and not too many.
    Size,
    /// It is WebAssembly.
    Wasm,
    /// It is a component, not a core module.
    Module,
    /// It is not compiled yet.
    Compiled,
    /// It is whole and valid, for what the engine takes of WebAssembly.
    Invalid,
    /// It has a manifest, which says what it must.
    Manifest,
    /// The schema of its params is one that can be checked.
    Params,
    /// It exports the interface of its world, and nothing else.
    Exports,
    /// It imports only what its world has.
    Imports,
    /// So many modules and components.
    Modules,
    /// They lie so deep in each other.
    Nesting,
    /// So many instances of modules.
    Instances,
    /// So many functions.
    Functions,
    /// So many types.
    Types,
    /// So many memories, of such a size.
    Memories,
    /// So many tables, of such a size.
    Tables,
    /// It can be compiled, in its time and memory.
    Compile,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Size,
        Self::Wasm,
        Self::Module,
        Self::Compiled,
        Self::Invalid,
        Self::Manifest,
        Self::Params,
        Self::Exports,
        Self::Imports,
        Self::Modules,
        Self::Nesting,
        Self::Instances,
        Self::Functions,
        Self::Types,
        Self::Memories,
        Self::Tables,
        Self::Compile,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Wasm => "wasm",
            Self::Module => "module",
            Self::Compiled => "compiled",
            Self::Invalid => "invalid",
            Self::Manifest => "manifest",
            Self::Params => "params",
            Self::Exports => "exports",
            Self::Imports => "imports",
            Self::Modules => "modules",
            Self::Nesting => "nesting",
            Self::Instances => "instances",
            Self::Functions => "functions",
            Self::Types => "types",
            Self::Memories => "memories",
            Self::Tables => "tables",
            Self::Compile => "compile",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The rule that an upload breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{rule}: {message}")]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Which.
    pub rule: Rule,
    /// What was found, and the limit.
    pub message: String,
    /// How to mend it.
    pub help: String,
}

impl Refused {
    pub(crate) fn new(rule: Rule, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { rule, message: message.into(), help: help.into() }
    }

    /// In the validator's words.
    pub(crate) fn invalid(error: &wasmparser::Error) -> Self {
        Self::new(
            Rule::Invalid,
            bounded(error.to_string()),
            "build it again, with a toolchain that `wasm-tools validate` is content with; it may have been cut off on its way",
        )
    }
}

/// A text of the upload's own, in a message.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", bounded(text.chars().take(200).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_the_same_names_everywhere() {
        for rule in Rule::ALL {
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.as_str());
            assert_eq!(serde_json::from_value::<Rule>(rule.as_str().into()).unwrap(), rule);
        }
    }
}
