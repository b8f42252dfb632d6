use serde_json::{Value, json};

use super::*;
use funnelweb_guest::model::LoadRule;

fn sound() -> Value {
    json!({
        "format": 1,
        "name": "deepfm",
        "version": "v1.0",
        "kind": "deepfm",
        "objective": "click_rate",
        "inputs": [
            {"tensor": "dense", "type": "float32", "columns": [
                {"feature": "item:duration", "type": "numeric", "missing": 0.0},
                {"feature": "derived:category:affinity", "type": "numeric"},
                {"feature": "context:hour", "type": "numeric", "missing": 12.0}]},
            {"tensor": "ids", "type": "int64", "columns": [
                {"feature": "item:category", "type": "categorical", "vocabulary": ["music", "sport"]},
                {"feature": "item:tags", "type": "multi_categorical", "vocabulary": ["live", "#1c9a01ff"], "length": 8},
                {"feature": "user:country", "type": "categorical", "vocabulary": []}]}
        ],
        "output": {"tensor": "score"},
        "schema_hash": "438be5c469a71bab",
        "metrics": {"auc": 0.85},
        "golden": {"rows": [{"item:duration": 12.5, "item:tags": ["live"], "user:country": null}], "scores": [0.137]}
    })
}

/// The pointer and message of what is wrong after a change.
fn wrong(change: impl FnOnce(&mut Value)) -> (String, String) {
    let mut manifest = sound();
    change(&mut manifest);
    let error = Manifest::parse(&manifest.to_string()).unwrap_err();
    match error.rule {
        LoadRule::Manifest(path) => (path, error.message),
        rule => panic!("{rule:?}"),
    }
}

/// Changes one value, at the pointer that the error must have.
fn refused(pointer: &str, value: Value) -> String {
    let (path, message) = wrong(|manifest| *manifest.pointer_mut(pointer).unwrap() = value);
    assert_eq!(path, pointer, "{message}");
    message
}

#[test]
fn a_manifest_is_read() {
    let manifest = Manifest::parse(&sound().to_string()).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.kind, manifest.output.as_str()), ("deepfm", Kind::Deepfm, "score"));
    assert_eq!(manifest.inputs.iter().map(|input| input.width).collect::<Vec<_>>(), [3, 10]);
    let columns: Vec<_> = manifest
        .inputs
        .iter()
        .flat_map(|input| &input.columns)
        .map(|column| (column.source, column.name.as_str()))
        .collect();
    assert_eq!(
        columns,
        [
            (Source::Item, "duration"),
            (Source::Derived, "category:affinity"),
            (Source::Context, "context:hour"),
            (Source::Item, "category"),
            (Source::Item, "tags"),
            (Source::User, "country"),
        ]
    );
    assert_eq!(manifest.metrics, r#"{"auc":0.85}"#);
    let Encoding::Places { vocabulary, .. } = &manifest.inputs[1].columns[1].encoding else { panic!() };
    assert_eq!((vocabulary.place(value_hash("live")), vocabulary.place(0x1c9a_01ff)), (1, 2));
}

#[test]
fn hashes_stand_for_values() {
    assert_eq!(hash_of("#1c9a01ff"), 0x1c9a_01ff);
    assert_eq!(hash_of("#00000000"), 1);
    for text in ["#1c9a01f", "#1c9a01ffa", "#1c9a01fg", "1c9a01ff", "#+c9a01ff", ""] {
        assert_eq!(hash_of(text), value_hash(text));
    }
}

#[test]
fn every_rule_names_what_breaks_it() {
    assert_eq!(refused("/format", json!(2)), "must be 1, got 2");
    for pointer in ["/name", "/version", "/objective"] {
        assert!(refused(pointer, json!("a b")).contains("of A-Z a-z 0-9 _ . -, got `a b`"));
        refused(pointer, json!(""));
        refused(pointer, json!("x".repeat(limits::MODEL_NAME_BYTES + 1)));
    }
    refused("/kind", json!("xgboost"));
    refused("/inputs", json!([]));
    refused("/inputs/0/columns", json!([]));
    refused("/inputs/0/type", json!("float64"));
    refused("/inputs/0/columns/0/feature", json!("duration"));
    refused("/inputs/0/columns/0/feature", json!("item:"));
    refused("/inputs/0/columns/0/feature", json!(format!("item:{}", "x".repeat(limits::NAME_BYTES + 1))));
    refused("/inputs/0/columns/0/type", json!("embedding"));
    assert_eq!(
        wrong(|manifest| manifest["inputs"][0]["columns"][0]["vocabulary"] = json!([])),
        ("/inputs/0/columns/0/vocabulary".to_owned(), "is not for a numeric column".to_owned())
    );
    assert_eq!(
        wrong(|manifest| drop(manifest["inputs"][1]["columns"][0].as_object_mut().unwrap().remove("vocabulary"))),
        ("/inputs/1/columns/0/vocabulary".to_owned(), "a categorical column must have it".to_owned())
    );
    assert_eq!(
        wrong(|manifest| drop(manifest["inputs"][1]["columns"][1].as_object_mut().unwrap().remove("length"))).0,
        "/inputs/1/columns/1/length"
    );
    assert_eq!(
        wrong(|manifest| manifest["inputs"][1]["columns"][0]["vocabulary"] = json!(["a", "b", "a"])),
        ("/inputs/1/columns/0/vocabulary/2".to_owned(), "`a` stands there twice".to_owned())
    );
    assert_eq!(refused("/inputs/0/columns/0/missing", json!(1e300)), "number out of range");
    assert_eq!(
        wrong(|manifest| manifest["inputs"][1]["columns"][2] = json!({"feature": "item:duration", "type": "numeric"}))
            .1,
        "an int64 input takes categorical and multi_categorical columns only"
    );
    assert_eq!(
        wrong(|manifest| {
            manifest["inputs"][1]["columns"][2] =
                json!({"feature": "item:duration", "type": "categorical", "vocabulary": []});
        }),
        ("/inputs/1/columns/2/type".to_owned(), "`item:duration` is numeric in another column".to_owned())
    );
    assert_eq!(
        wrong(|manifest| {
            manifest["inputs"][1]["columns"][2] =
                json!({"feature": "derived:x", "type": "categorical", "vocabulary": []});
        })
        .1,
        "a derived feature is numeric"
    );
    assert!(refused("/schema_hash", json!("0000000000000000")).contains("438be5c469a71bab"));
    assert_eq!(wrong(|manifest| manifest["onnx_sha256"] = json!("12")).0, "/onnx_sha256");
    refused("/metrics/auc", json!("high"));
    assert_eq!(wrong(|manifest| manifest["author"] = json!("me")).0, "/author");
    assert_eq!(Manifest::parse(" ").unwrap_err().message, "is empty");
}

#[test]
fn golden_rows_fit_the_columns() {
    refused("/golden/rows", json!([]));
    assert_eq!(refused("/golden/scores", json!([0.1, 0.2])), "must be one per row: 1 rows, got 2");
    assert_eq!(refused("/golden/scores/0", json!(1e300)), "number out of range");
    assert_eq!(refused("/golden/rows/0/item:duration", json!("long")), "is no value of a numeric feature");
    assert_eq!(refused("/golden/rows/0/item:tags", json!("live")), "is no value of a multi_categorical feature");
    refused("/golden/rows/0/user:country", json!(["de"]));
    let (path, message) = wrong(|manifest| manifest["golden"]["rows"][0]["item:a/b"] = json!(1));
    assert_eq!((path.as_str(), message.as_str()), ("/golden/rows/0/item:a~1b", "no column reads this feature"));
}

#[test]
fn everything_has_a_limit() {
    let column = json!({"feature": "item:duration", "type": "numeric"});
    let input = |columns: usize| json!({"tensor": "x", "type": "float32", "columns": vec![column.clone(); columns]});
    let message = refused("/inputs", json!(vec![input(1); limits::MODEL_INPUTS + 1]));
    assert_eq!(
        message,
        format!("inputs may have at most {} inputs, got {}", limits::MODEL_INPUTS, limits::MODEL_INPUTS + 1)
    );
    let message = refused("/inputs", json!([input(limits::MODEL_COLUMNS), input(1)]));
    assert!(message.contains(&limits::MODEL_COLUMNS.to_string()), "{message}");
    let vocabulary: Vec<String> = (0..=limits::MODEL_VOCABULARY).map(|at| format!("v{at}")).collect();
    let message = refused("/inputs/1/columns/0/vocabulary", json!(vocabulary));
    assert!(message.contains(&limits::MODEL_VOCABULARY.to_string()), "{message}");
    let message = refused("/inputs/1/columns/1/length", json!(limits::MODEL_COLUMN_LENGTH + 1));
    assert_eq!(
        message,
        format!("must be 1 to {}, got {}", limits::MODEL_COLUMN_LENGTH, limits::MODEL_COLUMN_LENGTH + 1)
    );
    refused("/inputs/1/columns/1/length", json!(0));
    let rows = json!(vec![json!({}); limits::MODEL_GOLDEN_ROWS + 1]);
    assert!(refused("/golden/rows", rows).contains(&limits::MODEL_GOLDEN_ROWS.to_string()));
    let long = format!("{}{}", sound(), " ".repeat(limits::MODEL_MANIFEST_BYTES));
    assert!(Manifest::parse(&long).unwrap_err().message.contains(&limits::MODEL_MANIFEST_BYTES.to_string()));
}
