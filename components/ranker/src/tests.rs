//! Models of every kind and every operator against the scores of onnxruntime, and
//! files that must be refused. (`tests/benches/rankers` makes the fixtures.)

use std::{collections::BTreeMap, fs, path::Path};

use funnelweb_guest::{model::LoadError, types::Table};

use super::*;
use crate::{golden::tables, manifest::Manifest, onnx::File};

mod hostile;
mod models;

/// A file of `fixtures`.
fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).unwrap()
}

/// The manifest that a file has in it.
fn manifest_of(onnx: &[u8]) -> Manifest {
    Manifest::parse(File::read(onnx.to_vec().into()).unwrap().manifest().unwrap()).unwrap()
}
