//! Uploads that keep the rules, and those that break one each.

mod hostile;
mod manifest;
mod rules;
mod schema;

use serde_json::{Value, json};

use crate::{Manifest, Refused, Rule, World, inspect};

fn manifest(world: World) -> Value {
    json!({"name": "own", "version": "1.0.0", "world": world.as_str()})
}

fn embedded(wasm: &[u8], manifest: &Value) -> Vec<u8> {
    Manifest::embed(wasm, &manifest.to_string()).unwrap()
}

/// A component as text with its manifest.
fn with_manifest(world: World, text: &str) -> Vec<u8> {
    embedded(&wat::parse_str(text).unwrap(), &manifest(world))
}

/// One that exports the interface of its world, with nothing in it, and has these parts.
fn component(world: World, parts: &str) -> Vec<u8> {
    let interface = world.interface();
    with_manifest(world, &format!("(component {parts} (instance $own) (export \"{interface}\" (instance $own)))"))
}

/// A ranker with these parts.
fn ranker(parts: &str) -> Vec<u8> {
    component(World::Rank, parts)
}

#[track_caller]
fn refused(wasm: &[u8], rule: Rule, said: &str) -> Refused {
    let refused = inspect(wasm).unwrap_err();
    assert_eq!(refused.rule, rule, "{refused:?}");
    assert!(refused.message.contains(said), "{refused:?} does not say {said:?}");
    assert!(!refused.help.is_empty());
    refused
}
