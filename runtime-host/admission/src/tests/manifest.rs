//! Manifests at their limits and beyond.

use funnelweb_core::limits;
use serde_json::{Value, json};

use super::{component, embedded, manifest, ranker};
use crate::{Manifest, Refused, Rule, UserPart, World, inspect};

fn parse(manifest: &Value) -> Result<Manifest, Refused> {
    Manifest::parse(&manifest.to_string())
}

/// With one field more or another.
fn with(world: World, pointer: &str, value: Value) -> Result<Manifest, Refused> {
    let mut manifest = manifest(world);
    manifest["reads"] = json!({});
    let (place, field) = pointer.rsplit_once('/').unwrap();
    manifest.pointer_mut(place).unwrap()[field] = value;
    parse(&manifest)
}

#[track_caller]
fn refuses(parsed: Result<Manifest, Refused>, said: &str) {
    let refused = parsed.unwrap_err();
    assert_eq!(refused.rule, Rule::Manifest, "{refused:?}");
    assert!(refused.message.contains(said), "{refused:?} does not say {said:?}");
}

fn columns(count: usize) -> Value {
    (0..count).map(|at| json!({"name": format!("c{at}"), "type": "numeric"})).collect()
}

#[test]
fn what_is_embedded_is_read() {
    let whole = json!({
        "name": "own", "version": "1.0.0", "world": "rank", "description": "é",
        "reads": {
            "columns": [
                {"name": "a", "type": "numeric"}, {"name": "b", "type": "categorical"},
                {"name": "c", "type": "multi_categorical"}, {"name": "d", "type": "timestamp"},
                {"name": "e", "type": "embedding"}
            ],
            "user_columns": [{"name": "a", "type": "numeric"}],
            "user": ["id", "attributes", "preferences", "recent", "context"]
        },
        "params": {"type": "object"},
        "build": {"command": "cargo build", "output": "target/own.wasm"}
    });
    let read = Manifest::read(&embedded(&ranker(""), &whole)).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), whole);
    assert_eq!(read.reads.user[4], UserPart::Context);
    assert!(read.schema().unwrap().is_some());
}

/// The one that is there is replaced, wherever it stands; the rest stays as it is.
#[test]
fn embedding_again_replaces_it() {
    let first = component(World::Rank, "(core module (func))");
    let mut other = manifest(World::Rank);
    other["version"] = json!("2.0.0");
    let second = embedded(&first, &other);
    assert_eq!(Manifest::read(&second).unwrap().version, "2.0.0");
    assert_eq!(embedded(&second, &manifest(World::Rank)), first);
    inspect(&second).unwrap();
    let in_front = [&first[..8], &crate::sections::custom("funnelweb:component", b"{}"), &first[8..]].concat();
    refuses(Manifest::read(&in_front), "there are 2 custom sections");
    assert_eq!(embedded(&in_front, &manifest(World::Rank)), first);
    assert_eq!(Manifest::embed(b"\0asm\x01\0\0\0", &other.to_string()).unwrap_err().rule, Rule::Module);
    assert_eq!(Manifest::embed(&first, "{}").unwrap_err().rule, Rule::Manifest);
}

#[test]
fn it_stands_in_the_outermost_component_once() {
    refuses(Manifest::read(&wat::parse_str("(component)").unwrap()), "no custom section `funnelweb:component`");
    let text = manifest(World::Rank).to_string().replace('"', "\\\"");
    let inner = format!("(component (component (@custom \"funnelweb:component\" \"{text}\")))");
    refuses(Manifest::read(&wat::parse_str(&inner).unwrap()), "no custom section");
    let bad = [&b"\0asm\x0d\0\x01\0"[..], &crate::sections::custom("funnelweb:component", b"\xff")].concat();
    refuses(Manifest::read(&bad), "not UTF-8");
}

#[test]
fn it_has_so_many_bytes() {
    let text = manifest(World::Rank).to_string();
    let of = |bytes: usize| format!("{text}{}", " ".repeat(bytes - text.len()));
    Manifest::parse(&of(limits::COMPONENT_MANIFEST_BYTES)).unwrap();
    let over = of(limits::COMPONENT_MANIFEST_BYTES + 1);
    refuses(Manifest::parse(&over), &limits::COMPONENT_MANIFEST_BYTES.to_string());
    let section = crate::sections::custom("funnelweb:component", over.as_bytes());
    refuses(Manifest::read(&[&b"\0asm\x0d\0\x01\0"[..], &section].concat()), "bytes");
}

#[test]
fn names_and_versions_are_plain() {
    for field in ["name", "version"] {
        let set = |text: &str| with(World::Rank, &format!("/{field}"), json!(text));
        for text in ["a", "wide_deep", "1.0.0-rc.1", &"x".repeat(limits::COMPONENT_NAME_BYTES)] {
            set(text).unwrap();
        }
        let wanted = format!("`{field}`: must be 1 to {} of A-Z a-z 0-9 _ . -", limits::COMPONENT_NAME_BYTES);
        for text in
            ["", "a b", "a:b", "a/b", "é", "а", "ａ", "a\u{200b}", "a\n", &"x".repeat(limits::COMPONENT_NAME_BYTES + 1)]
        {
            refuses(set(text), &wanted);
        }
    }
    // A Cyrillic letter that looks like a Latin one.
    refuses(with(World::Rank, "/name", json!("r\u{430}nk")), "'а' (U+0430) is none of them");
}

#[test]
fn wrong_fields_are_named_with_their_path() {
    refuses(with(World::Rank, "/world", json!("ranker")), "`world`: unknown variant `ranker`, expected");
    refuses(with(World::Rank, "/extra", json!(1)), "unknown field `extra`");
    refuses(with(World::Rank, "/reads/columns", json!([{"name": "a", "type": "text"}])), "`reads.columns[0].type`");
    refuses(with(World::Rank, "/reads/columns", json!([{"name": "a"}])), "`reads.columns[0]`: missing field `type`");
    refuses(with(World::Rank, "/reads/user", json!(["situation"])), "`reads.user[0]`");
    refuses(with(World::Rank, "/build", json!({"command": "x"})), "`build`: missing field `output`");
    refuses(with(World::Rank, "/description", json!("x".repeat(257))), "`description`: must be at most 256 bytes");
    with(World::Rank, "/description", json!("x".repeat(256))).unwrap();
    refuses(Manifest::parse("{"), "EOF");
    refuses(Manifest::parse("[]"), "");
    refuses(Manifest::parse(&format!("{{\"params\": {}", "[".repeat(10_000))), "recursion limit");
    let long = with(World::Rank, &format!("/{}", "x".repeat(20_000)), json!(1)).unwrap_err();
    assert!(long.message.len() < 1000, "{long}");
}

#[test]
fn so_many_columns_are_read() {
    for (world, most) in [
        (World::Recall, limits::STAGE_COLUMNS),
        (World::Rerank, limits::STAGE_COLUMNS),
        (World::Rank, limits::MODEL_COLUMNS),
    ] {
        with(world, "/reads/columns", columns(most)).unwrap();
        let over = with(world, "/reads/columns", columns(most + 1));
        refuses(over, &format!("`reads.columns`: has {} columns; {most} is the most", most + 1));
    }
    with(World::Rank, "/reads/user_columns", columns(limits::MODEL_COLUMNS)).unwrap();
    refuses(with(World::Rank, "/reads/user_columns", columns(limits::MODEL_COLUMNS + 1)), "reads.user_columns");
    let named = |name: &str| with(World::Rank, "/reads/columns", json!([{"name": name, "type": "numeric"}]));
    named(&"x".repeat(limits::NAME_BYTES)).unwrap();
    for name in ["", &"x".repeat(limits::NAME_BYTES + 1)] {
        refuses(named(name), &format!("`reads.columns[0].name`: must be 1 to {} bytes", limits::NAME_BYTES));
    }
    let twice = json!([{"name": "a", "type": "numeric"}, {"name": "a", "type": "timestamp"}]);
    refuses(with(World::Rank, "/reads/columns", twice), "`reads.columns[1].name`: `a` stands there twice");
    refuses(with(World::Rank, "/reads/user", json!(["id", "recent", "id"])), "`reads.user[2]`");
}

#[test]
fn only_what_a_world_is_given_is_read() {
    for world in [World::Recall, World::Rerank] {
        refuses(with(world, "/reads/user_columns", columns(1)), "`reads.user_columns`: only a ranker");
    }
    refuses(with(World::Aggregate, "/reads/columns", columns(1)), "`reads`: a stream operator");
    refuses(with(World::Aggregate, "/params", json!({})), "`params`: a stream operator");
    with(World::Aggregate, "/reads", json!({})).unwrap();
}

#[test]
fn its_schema_is_one_that_can_be_checked() {
    let refused = with(World::Rank, "/params", json!({"properties": {"a/b": {"$ref": "#"}}})).unwrap_err();
    assert_eq!(refused.rule, Rule::Params);
    assert!(refused.message.contains("params/properties/a~1b/$ref"), "{refused}");
}
