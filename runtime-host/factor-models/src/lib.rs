//! Ranking models of tenants: the `models` capability, and how they rank.
//!
//! A model is an ONNX file. It never runs here: a component with an ONNX runtime is
//! given it in the sandbox, and what its memory is then is kept as the model's image
//! ([`sandbox`]). An image has a few instances, which rank one request after the other.
//! What there is of models stands in the collection `model_configs` ([`record`]); the
//! files are blobs, named by their content.
//!
//! [`Models`] does everything: [`Models::add`] takes an upload through its checks,
//! [`Models::activate`] says which version ranks, [`Models::ranker`] is what a request
//! asks for.

mod check;
mod files;
pub mod host;
mod idle;
mod models;
pub mod record;
mod refusal;
pub mod sandbox;
mod serving;
mod trial;
mod turn;
mod usage;

pub use files::ModelFiles;
pub use models::{Models, Place};
pub use refusal::Refusal;
pub use sandbox::Sandbox;
pub use serving::{Missing, Ranker};
pub use turn::in_turn;
