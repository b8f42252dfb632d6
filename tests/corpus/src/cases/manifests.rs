//! Manifests that are wrong, and JSON that is made to be hard to read.

use serde_json::{Map, Value, json};

use super::{Case, upload};
use crate::{
    Expected::{Harmless, Refused, RefusedOr, Unusable},
    World,
    guest::Guest,
    manifest, sections,
};

const REFUSED: crate::Expected = Refused(&["manifest"]);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = texts();
    cases.extend(fields());
    cases.extend(schemas());
    cases
}

fn rule() -> Vec<u8> {
    Guest::new(World::Rerank).component()
}

fn good() -> Vec<u8> {
    manifest::manifest("rule", World::Rerank).to_string().into_bytes()
}

fn with_text(name: &'static str, about: &'static str, text: &[u8]) -> Case {
    upload(name, about, World::Rerank, manifest::with_text(rule(), text), REFUSED)
}

fn texts() -> Vec<Case> {
    let deep = |open: &str, close: &str, depth: usize| {
        format!(
            "{{\"name\":\"rule\",\"version\":\"1.0.0\",\"world\":\"rerank\",\"params\":{}1{}}}",
            open.repeat(depth),
            close.repeat(depth)
        )
        .into_bytes()
    };
    let twice = manifest::with_text(manifest::with_text(rule(), &good()), &good());
    let inside =
        sections::with(rule(), &sections::component(&manifest::with_text(sections::COMPONENT.to_vec(), &good())));
    let in_module = sections::with(
        rule(),
        &sections::module(&sections::with(sections::MODULE.to_vec(), &sections::custom(sections::MANIFEST, &good()))),
    );
    let mut padded = good();
    padded.extend(std::iter::repeat_n(b' ', 40_000));
    let marked = [b"\xef\xbb\xbf", good().as_slice()].concat();
    let trailing = [good().as_slice(), b"{}"].concat();
    let duplicated = br#"{"name":"rule","name":"other","version":"1.0.0","world":"rerank","world":"recall","reads":{"columns":[],"user":[]}}"#;
    let of = |name, about, bytes| upload(name, about, World::Rerank, bytes, REFUSED);
    vec![
        of("manifest-missing", "No manifest", rule()),
        of("manifest-inside", "A manifest that belongs to a component inside", inside),
        of("manifest-module", "A manifest that belongs to a core module inside", in_module),
        of("manifest-twice", "Two manifests", twice),
        with_text("manifest-deep", "A manifest of 15,000 lists in lists", &deep("[", "]", 15_000)),
        with_text("manifest-deep-objects", "A manifest of 5,000 objects in objects", &deep("{\"a\":", "}", 5_000)),
        with_text("manifest-duplicate", "A manifest that says two names", duplicated),
        with_text("manifest-empty", "An empty manifest", b""),
        with_text("manifest-large", "A manifest of 40,000 bytes, of which most are blank", &padded),
        with_text("manifest-list", "A manifest that is a list", b"[]"),
        with_text("manifest-marked", "A manifest with a byte order mark", &marked),
        with_text(
            "manifest-number",
            "A manifest with a number that is too large for any",
            br#"{"name":"rule","version":"1.0.0","world":"rerank","reads":1e99999}"#,
        ),
        with_text("manifest-trailing", "Two manifests in one section", &trailing),
        with_text("manifest-utf8", "A manifest that is no UTF-8", b"{\"name\":\"\xff\xfe\"}"),
        with_text("manifest-utf16", "A manifest that is UTF-16", b"\xff\xfe{\0\"\0n\0a\0m\0e\0\"\0"),
    ]
}

fn fields() -> Vec<Case> {
    let with = |name, about, field: &str, value: Value, expected| {
        let mut manifest = manifest::manifest(name, World::Rerank);
        if let Some(object) = manifest.as_object_mut() {
            object.insert(field.to_owned(), value);
        }
        super::with_manifest(name, about, World::Rerank, rule(), &manifest, expected)
    };
    let column = |name: &str| json!({"name": name, "type": "numeric"});
    let columns: Vec<Value> = (0..500).map(|at| column(&at.to_string())).collect();
    vec![
        with(
            "manifest-columns",
            "A manifest that reads 500 columns",
            "reads",
            json!({"columns": columns, "user": []}),
            REFUSED,
        ),
        with(
            "manifest-column-long",
            "A manifest that reads a column whose name is 20,000 bytes",
            "reads",
            json!({"columns": [column(&"x".repeat(20_000))], "user": []}),
            REFUSED,
        ),
        with(
            "manifest-others",
            "A manifest that reads of other tenants",
            "reads",
            json!({"columns": [], "user": [], "tenants": ["*"]}),
            REFUSED,
        ),
        with("manifest-unknown", "A manifest that says to whom it belongs", "tenant", json!("somebody-else"), REFUSED),
        with(
            "manifest-user",
            "A manifest that reads of users what does not exist",
            "reads",
            json!({"columns": [], "user": ["password"]}),
            REFUSED,
        ),
        with("manifest-world", "A manifest for the world of the endpoints", "world", json!("endpoint"), REFUSED),
        with("manifest-world-type", "A manifest whose world is a number", "world", json!(1), REFUSED),
    ]
}

/// JSON Schemas of params that are made to be hard to check.
fn schemas() -> Vec<Case> {
    let of = |name: &'static str, about, schema: Value, expected, params: String| {
        let mut manifest = manifest::manifest(name, World::Rerank);
        if let Some(object) = manifest.as_object_mut() {
            object.insert("params".to_owned(), schema);
        }
        let case = super::with_manifest(name, about, World::Rerank, rule(), &manifest, expected);
        Case { params, ..case }
    };
    // Each definition is the one before, in either of two ways: 2^20 ways in all.
    let mut definitions = Map::new();
    definitions.insert("d0".to_owned(), json!({"type": "string"}));
    for at in 1..=20 {
        let one = json!({"$ref": format!("#/$defs/d{}", at - 1)});
        definitions.insert(format!("d{at}"), json!({"anyOf": [one, one]}));
    }
    let doubling = json!({"type": "object", "$defs": definitions, "properties": {"a": {"$ref": "#/$defs/d20"}}});
    // 255 alternatives in eight layers.
    let mut nested = json!({"type": "string"});
    for _ in 0..8 {
        nested = json!({"anyOf": [nested, nested]});
    }
    let nested = json!({"type": "object", "properties": {"a": {"items": nested}}});
    let product = json!({"type": "object", "properties": {"a": {"items": {"enum": (0..3000).collect::<Vec<_>>()}}}});
    let mut deep = json!({"type": "string"});
    for _ in 0..100 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    let pattern =
        |pattern: &str| json!({"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}});
    let reference = |to: &str| json!({"type": "object", "properties": {"a": {"$ref": to}}});
    let refused = Refused(&["params"]);
    let or_harmless = RefusedOr(&["params"], &Harmless);
    let wide: Map<String, Value> = (0..800).map(|at| (format!("p{at}"), json!({"type": "number"}))).collect();
    let many = |value: Value| json!({"a": vec![value; 5000]}).to_string();
    let long = json!({"a": format!("{}!", "a".repeat(100))}).to_string();
    let plain = || "{}".to_owned();
    vec![
        of("schema-deep", "A schema of a hundred objects in objects", deep, Refused(&["params", "manifest"]), plain()),
        of(
            "schema-doubling",
            "A schema that refers to itself in a million ways",
            doubling,
            or_harmless,
            many(json!(1)),
        ),
        of(
            "schema-file",
            "A schema that refers to a file of the machine",
            reference("file:///etc/passwd"),
            refused,
            plain(),
        ),
        of(
            "schema-nested",
            "A schema of 255 alternatives, of which none fits, and params of 5,000 values",
            nested,
            Unusable(&["fits none of"]),
            many(json!(1)),
        ),
        of(
            "schema-network",
            "A schema that refers to an address inside of the network",
            reference("http://169.254.169.254/latest/meta-data/"),
            refused,
            plain(),
        ),
        of(
            "schema-pattern",
            "A schema with a pattern that takes exponential time",
            pattern("^(a+)+$|!$"),
            or_harmless,
            long,
        ),
        of(
            "schema-pattern-large",
            "A schema with a pattern that takes gigabytes",
            pattern("((a{1,1000}){1,1000}){1,1000}"),
            or_harmless,
            plain(),
        ),
        of(
            "schema-product",
            "A schema of 3,000 values, and params of 5,000",
            product,
            Unusable(&["must be one of 0, 1, 2"]),
            many(json!(-1)),
        ),
        of(
            "schema-recursive",
            "A schema that refers to itself",
            reference("#/properties/a"),
            or_harmless,
            r#"{"a": {"a": {}}}"#.to_owned(),
        ),
        of("schema-type", "A schema that is none", json!([[], 1, null]), refused, plain()),
        of(
            "schema-wide",
            "A schema of 800 params",
            json!({"type": "object", "properties": wide}),
            or_harmless,
            plain(),
        ),
    ]
}
