//! Work that takes long: being told how far it is, and stopping it.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};

/// Told which part of the work is done, 0 to 1, from the threads that do it and many
/// times a second; when it returns false, the work stops with
/// [`Error::Stopped`](crate::Error::Stopped).
pub type Watch<'a> = &'a (dyn Fn(f32) -> bool + Sync);

/// A [`Watch`] that lets the work go on.
#[must_use]
pub fn unwatched(_: f32) -> bool {
    true
}

/// Counts rows that are done.
pub(crate) struct Rows<'a> {
    watch: Watch<'a>,
    done: AtomicU32,
    all: u32,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(all: u32, watch: Watch<'a>) -> Self {
        Self { watch, done: AtomicU32::new(0), all }
    }

    /// So many more are about to be.
    pub(crate) fn next(&self, rows: u32) -> Result<()> {
        let done = self.done.fetch_add(rows, Ordering::Relaxed);
        if (self.watch)(done as f32 / self.all.max(1) as f32) { Ok(()) } else { Err(Error::Stopped) }
    }
}
