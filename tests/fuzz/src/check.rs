//! What is tried with an input, and what must hold. A test of `components/ranker` does
//! the same with every input that is kept.

use funnelweb_core::{id::value_hash, limits};
use funnelweb_guest::{
    model::{LoadError, LoadRule},
    types::{ColumnKind, Table},
};
use funnelweb_ranker::{Model, ScoreError};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Rows of a request: none, those of the small tile, and the large one with a rest.
const ROWS: [u32; 3] = [0, 3, 75];

/// Numbers that are seldom thought of.
const ODD: [f32; 14] = [
    0.0,
    f32::NAN,
    -1.0,
    1.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    1e-45,
    -0.0,
    16_777_217.0,
    0.5,
    -9.3e18,
];

/// An ONNX file with its manifest inside: loaded, and scored if it loads. `manifest` is
/// the one inside, for a caller that can read it.
///
/// # Panics
/// When the ranker breaks a promise.
pub fn upload(onnx: &[u8], manifest: Option<&str>) {
    let manifest: Value = manifest.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    match Model::load("", onnx.to_vec()) {
        Ok(model) => score_all(model, &manifest),
        Err(error) => with_golden_of(&error, manifest, onnx),
    }
}

/// A manifest beside an ONNX file: as it is, and as it is but for the file's hash.
///
/// # Panics
/// When the ranker breaks a promise.
pub fn manifest(text: &str) {
    let onnx = file_of(text);
    let written: Value = serde_json::from_str(text).unwrap_or_default();
    match Model::load(text, onnx.to_vec()) {
        Ok(model) => score_all(model, &written),
        Err(error) => assert_sound(&error),
    }
    if written.is_object() {
        let written = about(written, onnx);
        match Model::load(&written.to_string(), onnx.to_vec()) {
            Ok(model) => score_all(model, &written),
            Err(error) => with_golden_of(&error, written, onnx),
        }
    }
}

/// The ONNX file that a manifest stands beside: of the kind that it names.
fn file_of(manifest: &str) -> &'static [u8] {
    if manifest.contains("\"lightgbm\"") {
        include_bytes!("../../../components/ranker/fixtures/lightgbm.onnx")
    } else if manifest.contains("\"wide_deep\"") {
        include_bytes!("../../../components/ranker/fixtures/wide_deep.onnx")
    } else {
        include_bytes!("../../../components/ranker/fixtures/deepfm.onnx")
    }
}

/// A changed graph seldom has the scores that its manifest says, and then nothing would be
/// known of how it serves. What it does score is in the refusal: that becomes the golden
/// score of that row, the only one.
fn with_golden_of(error: &LoadError, mut manifest: Value, onnx: &[u8]) {
    assert_sound(error);
    let LoadRule::Golden(mismatch) = &error.rule else { return };
    assert!(mismatch.got.is_finite(), "{error:?}");
    let Some(row) = manifest.pointer(&format!("/golden/rows/{}", mismatch.row)).cloned() else { return };
    if let Some(golden) = manifest.get_mut("golden") {
        *golden = json!({"rows": [row], "scores": [mismatch.got]});
    }
    let manifest = about(manifest, onnx);
    match Model::load(&manifest.to_string(), onnx.to_vec()) {
        Ok(model) => score_all(model, &manifest),
        Err(error) => assert_sound(&error),
    }
}

/// The manifest with the hash of the file beside it.
fn about(mut manifest: Value, onnx: &[u8]) -> Value {
    if let Some(fields) = manifest.as_object_mut() {
        let digest: String = Sha256::digest(onnx).iter().map(|byte| format!("{byte:02x}")).collect();
        fields.insert("onnx_sha256".to_owned(), digest.into());
    }
    manifest
}

fn score_all(mut model: Model, manifest: &Value) {
    score(&mut model, &Table::empty(5), &Table::empty(1));
    let user = table(&model, manifest, 1, true);
    for rows in ROWS {
        let items = table(&model, manifest, rows, false);
        score(&mut model, &items, &user);
    }
}

fn score(model: &mut Model, items: &Table, user: &Table) {
    let answer = model.score(items, user);
    match &answer {
        Ok(scores) => {
            assert_eq!(scores.len(), items.rows as usize, "one score per row");
            assert!(scores.iter().all(|score| score.is_finite()), "{scores:?}");
        }
        Err(ScoreError::NotFinite { row, score }) => {
            assert!(*row < items.rows as usize && !score.is_finite(), "row {row} scores {score}");
        }
        Err(ScoreError::Graph(message)) => assert_short(message),
    }
    // As text: NaN, which is not itself, is among the answers.
    assert_eq!(format!("{answer:?}"), format!("{:?}", model.score(items, user)), "the same rows again");
}

fn assert_sound(error: &LoadError) {
    assert_short(&error.message);
    match &error.rule {
        LoadRule::Manifest(pointer) => assert_short(pointer),
        LoadRule::Input(name) => assert_short(name),
        LoadRule::Operator(names) => {
            assert!(names.len() <= limits::MODEL_MESSAGE_NAMES, "{} names", names.len());
            names.iter().for_each(|name| assert_short(name));
        }
        LoadRule::Onnx | LoadRule::Golden(_) | LoadRule::NotFinite(_) => {}
    }
}

/// It is an answer to a request, which must not grow with the file.
fn assert_short(message: &str) {
    assert!(message.len() <= limits::MODEL_MESSAGE_BYTES, "a message of {} bytes", message.len());
}

/// A table of the columns that the model reads, of items or of the user.
fn table(model: &Model, manifest: &Value, rows: u32, of_user: bool) -> Table {
    let mut table = Table::empty(rows);
    let of_table = model.loaded().features.iter().filter_map(|feature| {
        let (source, bare) = feature.name.split_once(':')?;
        let name = if source == "context" { &feature.name } else { bare };
        (matches!(source, "user" | "context") == of_user).then_some((name, feature))
    });
    let columns: Vec<_> =
        of_table.map(|(name, feature)| (name, feature.kind, hashes(manifest, &feature.name))).collect();
    for (name, kind, _) in &columns {
        match kind {
            ColumnKind::Numeric | ColumnKind::Timestamp => table.numeric_names.push((*name).to_owned()),
            ColumnKind::Categorical => table.categorical_names.push((*name).to_owned()),
            ColumnKind::MultiCategorical => table.multi_names.push((*name).to_owned()),
            ColumnKind::Embedding => {}
        }
    }
    if !table.multi_names.is_empty() {
        table.multi_offsets.push(0);
    }
    for row in 0..rows as usize {
        for (at, (_, kind, hashes)) in columns.iter().enumerate() {
            let pick = row + 5 * at;
            match kind {
                ColumnKind::Numeric | ColumnKind::Timestamp => table.numeric.extend(ODD.get(pick % ODD.len())),
                ColumnKind::Categorical => table.categorical.extend(hashes.get(pick % hashes.len())),
                ColumnKind::MultiCategorical => {
                    table.multi_values.extend(hashes.iter().cycle().skip(pick % hashes.len()).take(pick % 70));
                    table.multi_offsets.push(table.multi_values.len() as u32);
                }
                ColumnKind::Embedding => {}
            }
        }
    }
    table
}

/// Hashes that are missing, unknown, and those of a feature's vocabulary.
fn hashes(manifest: &Value, feature: &str) -> Vec<u32> {
    let inputs = manifest.get("inputs").and_then(Value::as_array).into_iter().flatten();
    let columns = inputs.filter_map(|input| input.get("columns")?.as_array()).flatten();
    let of_feature = columns.filter(|column| column.get("feature").and_then(Value::as_str) == Some(feature));
    let words =
        of_feature.filter_map(|column| column.get("vocabulary")?.as_array()).flatten().filter_map(Value::as_str);
    let words = words.take(64).map(|word| match word.strip_prefix('#').map(|digits| u32::from_str_radix(digits, 16)) {
        Some(Ok(hash)) => hash,
        _ => value_hash(word),
    });
    [0, 1, u32::MAX].into_iter().chain(words).collect()
}
