//! Why a model is refused, made where it is seen.

use funnelweb_guest::model::{LoadError, LoadRule};

/// The manifest breaks a rule at this JSON pointer.
pub fn manifest(pointer: impl Into<String>, message: impl Into<String>) -> LoadError {
    LoadError { rule: LoadRule::Manifest(pointer.into()), message: message.into() }
}

/// The file cannot be read, or not be run.
pub fn onnx(message: impl Into<String>) -> LoadError {
    LoadError { rule: LoadRule::Onnx, message: message.into() }
}

/// An input, or the output, is not what the manifest says.
pub fn input(name: &str, message: impl Into<String>) -> LoadError {
    LoadError { rule: LoadRule::Input(name.to_owned()), message: message.into() }
}
