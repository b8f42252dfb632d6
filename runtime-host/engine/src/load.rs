//! The one place that is `unsafe`: machine code is loaded from a file.
#![allow(unsafe_code, reason = "loading compiled code is trusting it; see the safety note")]

use std::path::Path;

use wasmtime::{Engine, component::Component};

/// Loads what [`crate::ComponentCache`] compiled.
pub(crate) fn component(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file stands in the cache folder, which only this program
    // writes (an upload is always compiled here, never taken compiled), was
    // renamed into place whole, and wasmtime checks that version and settings
    // of the engine are those it was made with.
    unsafe { Component::deserialize_file(engine, path) }
}
