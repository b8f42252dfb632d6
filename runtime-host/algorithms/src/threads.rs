//! Threads of a training's own, so that it takes no more than it was given.

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// A pool of that many threads; 0 is one a core.
pub(crate) fn pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|at| format!("train-{at}"))
        .build()
        .map_err(|error| Error::Threads { threads, message: error.to_string() })
}
