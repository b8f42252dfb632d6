//! Every input that fuzzing (`tests/fuzz`) kept, once.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

use std::{
    fs, panic,
    path::{Path, PathBuf},
    time::Instant,
};

use funnelweb_core::limits;
use prost::Message;

#[path = "../../../tests/fuzz/src/check.rs"]
mod check;
#[path = "../src/proto.rs"]
mod proto;

fn each(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(target);
    let files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 100, "{} inputs of {target}", files.len());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let start = Instant::now();
        assert!(panic::catch_unwind(|| run(&bytes)).is_ok(), "{}", file.display());
        assert!(start.elapsed() < limits::MODEL_LOAD_TIMEOUT, "{} took {:?}", file.display(), start.elapsed());
    }
}

#[test]
fn uploads_are_refused_or_rank() {
    each("upload", |bytes| {
        let file = proto::ModelProto::decode(bytes).unwrap_or_default();
        let manifest = file.metadata_props.iter().find(|entry| entry.key == "funnelweb.manifest");
        check::upload(bytes, manifest.map(|entry| entry.value.as_str()));
    });
}

#[test]
fn manifests_are_refused_or_rank() {
    each("manifest", |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            check::manifest(text);
        }
    });
}
