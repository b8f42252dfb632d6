//! Changes of a manifest as JSON, so that it stays some.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::random::Random;

/// Words of the format, to be mistaken for one another.
const WORDS: [&str; 33] = [
    "",
    "numeric",
    "timestamp",
    "categorical",
    "multi_categorical",
    "embedding",
    "float32",
    "int64",
    "lightgbm",
    "deepfm",
    "wide_deep",
    "click_rate",
    "score",
    "x",
    "k",
    "ids",
    "dense",
    "item:f0",
    "item:c0",
    "item:",
    "user:age",
    "user:",
    "context:hour",
    "context:context:hour",
    "derived:category:affinity",
    "derived:recall:score",
    "item:item:a/b~c",
    ":",
    "#00000000",
    "#ffffffff",
    "#0000000g",
    "../\u{0}\u{1f980}",
    "true",
];

/// Fields of the format.
const FIELDS: [&str; 19] = [
    "format",
    "name",
    "version",
    "kind",
    "objective",
    "inputs",
    "tensor",
    "type",
    "columns",
    "feature",
    "missing",
    "vocabulary",
    "length",
    "output",
    "schema_hash",
    "metrics",
    "golden",
    "rows",
    "scores",
];

/// Changes a manifest at a few places.
pub fn mutate(manifest: &mut Value, random: &mut Random) {
    loop {
        let mut pointers = Vec::new();
        collect(manifest, String::new(), &mut pointers);
        let (at, other) = (random.of(&pointers).clone(), random.of(&pointers).clone());
        let other = manifest.pointer(&other).cloned().unwrap_or_default();
        if let Some(value) = manifest.pointer_mut(&at) {
            change(value, other, random);
        }
        if !random.one_in(3) {
            break;
        }
    }
    if !random.one_in(12) {
        fix_schema_hash(manifest);
    }
}

fn collect(value: &Value, pointer: String, pointers: &mut Vec<String>) {
    match value {
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                collect(value, format!("{pointer}/{at}"), pointers);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect(value, format!("{pointer}/{name}"), pointers);
            }
        }
        _ => {}
    }
    pointers.push(pointer);
}

fn change(value: &mut Value, other: Value, random: &mut Random) {
    match (random.below(8), value) {
        (0, value) => *value = other,
        (1, value) => *value = any(random),
        (_, Value::Array(values)) => change_array(values, other, random),
        (_, Value::Object(fields)) => change_object(fields, other, random),
        (_, Value::String(text)) => change_text(text, random),
        (_, value) => *value = any(random),
    }
}

fn change_array(values: &mut Vec<Value>, other: Value, random: &mut Random) {
    let Some(at) = random.place(values) else {
        values.push(if random.one_in(2) { other } else { any(random) });
        return;
    };
    let value = values[at].clone();
    match random.below(6) {
        0 => drop(values.remove(at)),
        1 => values.insert(at, value),
        2 => values.extend(std::iter::repeat_n(value, *random.of(&[2, 16, 17, 64, 65, 512, 513]))),
        3 => values.insert(at, any(random)),
        4 => values.insert(at, other),
        _ => {
            let last = random.below(values.len());
            values.swap(at, last);
        }
    }
}

fn change_object(fields: &mut Map<String, Value>, other: Value, random: &mut Random) {
    let names: Vec<String> = fields.keys().cloned().collect();
    let name = random.place(&names).map(|at| names[at].clone()).unwrap_or_default();
    match random.below(4) {
        0 => drop(fields.remove(&name)),
        1 => {
            let value = if random.one_in(2) { other } else { any(random) };
            fields.insert((*random.of(&FIELDS)).to_owned(), value);
        }
        2 => {
            let value = fields.remove(&name).unwrap_or_default();
            fields.insert((*random.of(&WORDS)).to_owned(), value);
        }
        _ => drop(fields.insert(name, any(random))),
    }
}

fn change_text(text: &mut String, random: &mut Random) {
    match random.below(5) {
        0 => *text = text.repeat(*random.of(&[2, 8, 64])),
        1 => drop(text.pop()),
        2 => text.push(*random.of(&['a', '0', ':', '/', '~', '\0', '\u{1f980}', '#'])),
        _ => *text = (*random.of(&WORDS)).to_owned(),
    }
}

fn any(random: &mut Random) -> Value {
    match random.below(12) {
        0 => Value::Null,
        1 => random.one_in(2).into(),
        2 => json!([]),
        3 => json!({}),
        4 => f64::from(random.float()).into(),
        5 => random.bits().into(),
        6 => json!(*random.of(&[1e39, -1e39, 1e308, 1e-310, 0.1, -0.0, 1e16])),
        7 => (*random.of(&WORDS)).into(),
        8 => vec![*random.of(&WORDS); random.below(5)].into(),
        9 => {
            let depth = *random.of(&[1, 50, 100, 120]);
            (0..depth).fold(Value::Null, |inner, _| json!([inner]))
        }
        _ => random.int().into(),
    }
}

/// Else every change of a column would end there.
fn fix_schema_hash(manifest: &mut Value) {
    let inputs = manifest.get("inputs").and_then(Value::as_array).into_iter().flatten();
    let columns = inputs.filter_map(|input| input.get("columns")?.as_array()).flatten();
    let mut lines: Vec<String> = columns
        .filter_map(|column| Some(format!("{} {}\n", column.get("feature")?.as_str()?, column.get("type")?.as_str()?)))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    let digest = Sha256::digest(lines.concat());
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    if let Some(written) = manifest.get_mut("schema_hash") {
        *written = hash.into();
    }
}
