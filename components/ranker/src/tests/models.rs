//! Scores.

use base64::{Engine, prelude::BASE64_STANDARD};
use funnelweb_guest::types::ColumnKind;

use super::*;
use crate::golden::GoldenValue;

const KINDS: [&str; 5] =
    ["lightgbm.onnx", "lightgbm_binary.onnx", "lightgbm_lambdarank.onnx", "deepfm.onnx", "wide_deep.onnx"];

/// Golden rows as one table; users are not read by the fixtures.
fn golden_table(manifest: &Manifest) -> Table {
    let rows: Vec<Table> =
        manifest.golden.rows.iter().map(|row| tables(&complete(manifest, row), &manifest.features).0).collect();
    let mut all = rows[0].clone();
    for row in &rows[1..] {
        assert_eq!((&row.numeric_names, &row.categorical_names), (&all.numeric_names, &all.categorical_names));
        all.numeric.extend(&row.numeric);
        all.categorical.extend(&row.categorical);
    }
    all.rows = rows.len() as u32;
    all
}

/// A row that names every feature, so that all rows have the same columns.
fn complete(manifest: &Manifest, row: &BTreeMap<String, GoldenValue>) -> BTreeMap<String, GoldenValue> {
    let value = |name: &String| row.get(name).cloned().unwrap_or(GoldenValue::Null);
    manifest.features.iter().map(|feature| (feature.name.clone(), value(&feature.name))).collect()
}

/// The largest difference to the golden scores, all rows at once.
fn difference(onnx: &[u8]) -> f32 {
    let mut model = Model::load("", onnx.to_vec()).unwrap_or_else(|error| panic!("{error:?}"));
    let manifest = manifest_of(onnx);
    let scores = model.score(&golden_table(&manifest), &Table::empty(1)).unwrap();
    assert_eq!(scores.len(), manifest.golden.scores.len());
    let pairs = scores.iter().zip(&manifest.golden.scores);
    pairs.map(|(got, expected)| (got - expected).abs() / expected.abs().max(1.0)).fold(0.0, f32::max)
}

#[test]
fn every_kind_scores_as_onnxruntime_does() {
    for name in KINDS {
        let difference = difference(&fixture(name));
        assert!(difference < 1e-5, "{name}: {difference}");
    }
}

#[test]
fn every_operator_computes_as_onnxruntime_does() {
    let cases: BTreeMap<String, String> = serde_json::from_slice(&fixture("operators.json")).unwrap();
    assert!(cases.len() > 100);
    let mut wrong = Vec::new();
    for (name, onnx) in cases {
        let onnx = BASE64_STANDARD.decode(onnx).unwrap();
        match Model::load("", onnx.clone()) {
            Ok(_) if difference(&onnx) < 1e-5 => {}
            Ok(_) => wrong.push(format!("{name}: {}", difference(&onnx))),
            Err(error) => wrong.push(format!("{name}: {error:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn scores_do_not_depend_on_how_many_rows_there_are() {
    for name in KINDS {
        let onnx = fixture(name);
        let (mut model, manifest) = (Model::load("", onnx.clone()).unwrap(), manifest_of(&onnx));
        let few = golden_table(&manifest);
        let mut many = few.clone();
        for _ in 0..2 {
            many.rows += few.rows;
            many.numeric.extend(&few.numeric);
            many.categorical.extend(&few.categorical);
        }
        let user = Table::empty(1);
        let scores = model.score(&many, &user).unwrap();
        for rows in [1, 7, 8, 9, 63, 64, 65, 100, 129, 192] {
            many.rows = rows;
            let part = model.score(&many, &user).unwrap();
            assert!(
                part.iter().zip(&scores).all(|(one, other)| one.to_bits() == other.to_bits()),
                "{name}, {rows} rows"
            );
            assert_eq!(part.len(), rows as usize);
        }
        many.rows = 0;
        assert!(model.score(&many, &user).unwrap().is_empty());
    }
}

#[test]
fn a_model_says_what_it_is_and_what_it_reads() {
    let onnx = fixture("wide_deep.onnx");
    let model = Model::load("", onnx.clone()).unwrap();
    let loaded = model.loaded();
    assert_eq!((loaded.name.as_str(), loaded.kind.as_str(), loaded.version.as_str()), ("wide_deep", "wide_deep", "v1"));
    assert_eq!((loaded.objective.as_str(), loaded.metrics.as_str()), ("click_rate", "{}"));
    assert_eq!(loaded.features.len(), 9);
    assert!(loaded.operators > 10 && loaded.parameter_bytes > 1000);
    let columns = model.requirements().columns;
    let names: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    assert_eq!(names[0], ("c0", ColumnKind::Categorical));
    assert_eq!(names[8], ("n4", ColumnKind::Numeric));
}
