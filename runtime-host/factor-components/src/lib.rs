//! Components that tenants upload: the `components` capability, and how they run.
//!
//! An upload is admitted by rules over its bytes, in a process of its own
//! (`funnelweb-admission`), replayed on recorded requests ([`certify`]), and activated: from
//! the next request on it runs wherever a scenario's config names it. Whatever it does, the
//! request goes on without it: it has a fresh instance per call, with nothing of the machine
//! and of the request only what its manifest asks for ([`sandbox`]); its time, fuel, memory
//! and answers are bounded; and a tenant's components together have a share of the
//! processors, and a version that fails again and again rests ([`gate`]).
//!
//! [`Components`] does everything: [`Components::add`] takes an upload,
//! [`Components::certify`] and [`Components::activate`] bring it into service, and
//! [`Components::pick`] is what a request asks for. Stream operators take the tenant's events
//! instead, from their activation on: those are [`OwnOperator`]s.

mod calls;
mod catalogue;
mod certificate;
pub mod certify;
pub mod certify_operator;
mod components;
mod effect;
mod files;
pub mod gate;
mod handles;
pub mod host;
mod memory;
pub mod metrics;
mod operator;
mod operators;
mod pick;
pub mod record;
pub mod recorder;
mod refusal;
pub mod samples;
pub mod sandbox;
mod serving;
mod share;
mod usage;
mod values;

pub use catalogue::{Catalogue, OfRequest, Sources};
pub use components::{Components, Parts, Settings};
pub use files::ComponentFiles;
pub use funnelweb_admission::World;
pub use operator::OwnOperator;
pub use operators::Logs;
pub use pick::{Missing, NoAnswer, Payer, Picked, Who};
pub use recorder::Recorder;
pub use refusal::Refusal;
pub use sandbox::{Fault, FaultKind, Sandbox};
