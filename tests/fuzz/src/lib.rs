//! Fuzzing of models and components that are uploaded: what is tried with an input
//! ([`check`], [`admission`]), and how an input is changed so that more than the reading of
//! bytes is reached ([`graph`], [`json`], [`component`]).

pub mod admission;
pub mod check;
pub mod component;
pub mod graph;
pub mod json;
pub mod random;

/// The messages of an ONNX file, as the ranker reads them.
#[path = "../../../components/ranker/src/proto.rs"]
pub mod proto;
