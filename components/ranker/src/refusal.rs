//! Why a model is refused, made where it is seen.

use funnelweb_core::limits;
use funnelweb_guest::model::{LoadError, LoadRule};

/// The manifest breaks a rule at this JSON pointer.
pub fn manifest(pointer: impl Into<String>, message: impl Into<String>) -> LoadError {
    LoadError { rule: LoadRule::Manifest(cut(pointer.into())), message: cut(message.into()) }
}

/// The file cannot be read, or not be run.
pub fn onnx(message: impl Into<String>) -> LoadError {
    LoadError { rule: LoadRule::Onnx, message: cut(message.into()) }
}

/// An input, or the output, is not what the manifest says.
pub fn input(name: &str, message: impl Into<String>) -> LoadError {
    LoadError { rule: LoadRule::Input(cut(name.to_owned())), message: cut(message.into()) }
}

/// Operators of the graph are not on the list.
pub fn operators(mut names: Vec<String>) -> LoadError {
    let more = names.len().saturating_sub(limits::MODEL_MESSAGE_NAMES);
    names.truncate(limits::MODEL_MESSAGE_NAMES);
    let names: Vec<String> = names.into_iter().map(cut).collect();
    let mut message = format!("these operators are not supported: {}", names.join(", "));
    if more > 0 {
        message.push_str(&format!(", and {more} more"));
    }
    LoadError { rule: LoadRule::Operator(names), message: cut(message) }
}

/// The beginning of a text that quotes the file: its names are as long as it likes.
pub fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limits::MODEL_MESSAGE_BYTES));
    text
}
