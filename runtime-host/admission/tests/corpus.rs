//! Every input that fuzzing (`tests/fuzz`) kept, once.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

use std::{
    fs, panic,
    path::Path,
    time::{Duration, Instant},
};

#[path = "../../../tests/fuzz/src/admission.rs"]
mod admission;

#[test]
fn uploads_are_refused_or_taken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/admission");
    let mut inputs = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let bytes = fs::read(&file).unwrap();
        let start = Instant::now();
        assert!(panic::catch_unwind(|| admission::upload(&bytes)).is_ok(), "{}", file.display());
        assert!(start.elapsed() < Duration::from_secs(5), "{} took {:?}", file.display(), start.elapsed());
        inputs += 1;
    }
    assert!(inputs > 20, "{inputs} inputs");
}
