//! Fuzzing of models that are uploaded: what is tried with an input ([`check`]), and how
//! an input is changed so that more than the reading of bytes is reached ([`graph`],
//! [`json`]).

pub mod check;
pub mod graph;
pub mod json;
pub mod random;

/// The messages of an ONNX file, as the ranker reads them.
#[path = "../../../components/ranker/src/proto.rs"]
pub mod proto;
