//! The one place that is `unsafe`: machine code is loaded from a file, and let go of.
#![allow(unsafe_code, reason = "loading compiled code is trusting it; see the safety notes")]

use std::path::Path;

use rustix::mm::{Advice, madvise};
use wasmtime::{Engine, component::Component};

/// Loads what [`crate::ComponentCache`] compiled.
pub(crate) fn component(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    mapped(engine, path).map(|Mapped(component)| component)
}

pub(crate) fn mapped(engine: &Engine, path: &Path) -> wasmtime::Result<Mapped> {
    // SAFETY: the file stands in the cache folder, which only this program
    // writes (an upload is always compiled here, never taken compiled), was
    // renamed into place whole, and wasmtime checks that version and settings
    // of the engine are those it was made with.
    unsafe { Component::deserialize_file(engine, path) }.map(Mapped)
}

/// A component whose machine code is a file that is mapped: what of it is in memory is there
/// because it was used.
#[derive(Clone)]
pub struct Mapped(Component);

impl Mapped {
    /// The component.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.0
    }

    /// How much of memory it takes at most: all of its file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let image = self.0.image_range();
        (image.end.addr() - image.start.addr()) as u64
    }

    /// Lets go of the memory that its file takes in this process. What is used of it next is
    /// there again: from the system's cache of files for as long as that has it.
    pub fn let_go(&self) {
        let image = self.0.image_range();
        let bytes = image.end.addr() - image.start.addr();
        // SAFETY: the range is a private mapping of a file, from its first page, for as long as
        // `self.0` is there, and nothing writes to it: wasmtime makes it read-only when it is
        // loaded and takes no image that is to be relocated. So whatever a page held, it holds
        // again when it is touched, also by code that runs at this moment.
        let given = unsafe { madvise(image.start.cast_mut().cast(), bytes, Advice::LinuxDontNeed) };
        if let Err(error) = given {
            tracing::warn!(%error, "machine code stays in memory");
        }
    }
}
