//! Wasmtime, set up for the kinds of component there are.
//!
//! * *Stages without a model* get a fresh instance per call. Resetting memory
//!   decides whether that scales, so their engine pools instances and asks the
//!   kernel which pages were touched (`PAGEMAP_SCAN`) instead of dropping all.
//! * *Endpoints and model-bearing stages* live longer and have larger images,
//!   for which that scan costs more than it saves; their engine does without
//!   it, and their instances are reused.
//!
//! A component with a model is initialised once and kept as it is then: [`Template`].
//!
//! All bound what a guest may take: see [`Limiter`] and [`deadline`].
//!
//! ```no_run
//! use funnelweb_engine::{ComponentCache, Engines};
//! let engines = Engines::new()?;
//! let cache = ComponentCache::new("data/cache")?;
//! let component = cache.load(engines.stages(), "target/stage.wasm".as_ref())?;
//! # Ok::<(), funnelweb_engine::Error>(())
//! ```

mod cache;
mod engines;
mod failure;
mod functions;
mod histogram;
mod limiter;
mod load;
mod log;
pub mod sealed;
mod template;

pub use cache::{ComponentCache, sha256};
pub use engines::{Engines, TimedOut, deadline, give_way, strict_deadline};
pub use failure::{Failure, Kind, bounded, breaks_a_line};
pub use functions::Functions;
pub use histogram::Histogram;
pub use limiter::Limiter;
pub use load::Mapped;
pub use log::Log;
pub use template::Template;

use std::path::PathBuf;

/// Why an engine or a component could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Wasmtime refused the configuration of an engine.
    #[error("engine: {0:#}")]
    Engine(wasmtime::Error),
    /// The memory of an instance could not be kept.
    #[error("image: {0:#}")]
    Image(wasmtime::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a component, or not one that can be compiled.
    #[error("{path}: {source:#}")]
    Compile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: wasmtime::Error,
    },
}
