//! The host: one process that reads `spin.toml`, opens the stores, compiles the
//! components, and serves them. [`app`] is where everything is wired together;
//! the binary `funnelweb` adds a command line.

pub mod app;
pub mod evaluation;
mod follower;
mod inside;
mod precompute;
mod replay;
mod reports;
mod revalidate;
pub mod runtime_config;
pub mod sample;
pub mod sample_events;
pub mod stores;
mod sync;
mod works;
