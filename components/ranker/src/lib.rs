//! Rankers that are ONNX files: read, checked, and run by tract. The component
//! `rank-onnx` is this behind a border; natively it is tested, and measured beside it.
//!
//! ```text
//! load: file → manifest → graph → plans → golden rows     proto, onnx, manifest, graph, operators, golden
//! rank: tables → cells → plan → scores                    tensors, vocabulary, scorer, trees, dense, embedding
//! ```
//!
//! The format of models is described in `models/README.md`.

mod attributes;
mod dense;
mod embedding;
mod golden;
mod graph;
mod manifest;
mod onnx;
mod operators;
mod proto;
mod refusal;
mod scorer;
mod tensors;
mod trees;
mod vocabulary;

pub use scorer::{Model, ScoreError};

#[cfg(test)]
mod tests;
