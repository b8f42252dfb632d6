//! Runs stages by the names that scenario configs give them: the host's side of
//! `funnelweb:pipeline/dispatch`.
//!
//! A stage runs in a store of its own, with the tenant bound to it, limits on
//! its time, memory and output, and no more imports than its world has. What
//! comes back is checked against the stage's contract in one place
//! ([`funnelweb_bindings::contract`]); a trap, a refusal, a late answer and a broken contract are
//! the same to the caller: the request goes on without that stage, and a report
//! says why.

mod call;
mod checks;
mod effort;
mod fingerprint;
mod host;
pub mod metrics;
mod rank;
mod recall;
mod rerank;
mod runner;
mod shown;
mod stages;
mod taped;
mod uploads;

pub use funnelweb_bindings::dispatch::Role;
pub use host::{DispatchCtx, add_to_linker};
pub use stages::{Capabilities, Dispatcher, Error};
