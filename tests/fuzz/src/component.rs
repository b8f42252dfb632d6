//! Components that are made, or changed as what they are, so that more of them is read.

use std::ops::Range;

use arbitrary::Unstructured;
use funnelweb_admission::{Manifest, World};
use serde_json::{Value, json};
use wasm_smith::{Component, Config, Module};
use wasmparser::BinaryReader;

use crate::{json, random::Random};

const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
/// Ids of sections of a component.
const MODULE: u8 = 1;
const COMPONENT: u8 = 4;
const INSTANCE: u8 = 5;
const EXPORT: u8 = 11;
/// Bytes of choices of one that is made.
const CHOICES: usize = 2048;

/// A sound component with something in it that nobody thought of.
pub fn generate(random: &mut Random) -> Option<Vec<u8>> {
    let choices: Vec<u8> = (0..random.below(CHOICES)).map(|_| random.bits() as u8).collect();
    let mut choices = Unstructured::new(&choices);
    let config = config(random);
    let (id, part) = if random.one_in(2) {
        (MODULE, Module::new(config, &mut choices).ok()?.to_bytes())
    } else {
        (COMPONENT, Component::new(config, &mut choices).ok()?.to_bytes())
    };
    let world = *random.of(&World::ALL);
    let mut wasm = HEADER.to_vec();
    push(&mut wasm, id, &part);
    if random.one_in(3) {
        push(&mut wasm, id, &part);
    }
    // An instance of nothing, under the name of the world's interface.
    push(&mut wasm, INSTANCE, &[1, 1, 0]);
    let name = world.interface().as_bytes();
    let export = [&[1, 0, name.len() as u8], name, &[5, 0, 0]].concat();
    push(&mut wasm, EXPORT, &export);
    let mut manifest = manifest(world);
    if random.one_in(4) {
        json::mutate(&mut manifest, random);
    }
    Some(with_manifest(&wasm, &manifest))
}

/// What is allowed, or more than that.
fn config(random: &mut Random) -> Config {
    let more = random.one_in(4);
    Config {
        exceptions_enabled: more,
        gc_enabled: more,
        threads_enabled: more,
        memory64_enabled: true,
        multi_value_enabled: true,
        relaxed_simd_enabled: true,
        simd_enabled: true,
        tail_call_enabled: true,
        reference_types_enabled: true,
        bulk_memory_enabled: true,
        max_memories: 2,
        max_tables: 3,
        max_instructions: 200,
        ..Config::default()
    }
}

fn manifest(world: World) -> Value {
    let column = json!({"name": "category", "type": "categorical"});
    let mut manifest = json!({"name": "own", "version": "1.0.0", "world": world.as_str()});
    if world != World::Aggregate {
        manifest["reads"] = json!({"columns": [column], "user": ["recent"]});
        manifest["params"] = json!({
            "type": "object", "required": ["days"], "additionalProperties": false,
            "properties": {"days": {"type": "integer", "minimum": 1}, "name": {"pattern": "^[a-z]+$"}, "of": {"enum": [1, "a"]}}
        });
    }
    manifest
}

/// Also one that is refused.
fn with_manifest(wasm: &[u8], manifest: &Value) -> Vec<u8> {
    let text = manifest.to_string();
    Manifest::embed(wasm, &text).unwrap_or_else(|_| {
        let mut wasm = wasm.to_vec();
        let name = b"funnelweb:component";
        let body = [&[name.len() as u8], &name[..], text.as_bytes()].concat();
        push(&mut wasm, 0, &body);
        wasm
    })
}

/// Moves, drops or repeats sections, changes bytes within one so that its length stays
/// right, puts the whole into itself, or changes the manifest.
pub fn mutate(wasm: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut parts = sections(wasm)?;
    let at = random.place(&parts)?;
    match random.below(7) {
        0 => drop(parts.remove(at)),
        1 => parts.insert(random.below(parts.len()), parts[at].clone()),
        2 => {
            let other = random.below(parts.len());
            parts.swap(at, other);
        }
        3 => {
            let place = random.place(&parts[at].1)?;
            parts[at].1[place] = random.bits() as u8;
        }
        4 => {
            // In a part of it.
            let (id, body) = &parts[at];
            let inner = (*id == COMPONENT).then(|| mutate(body, random)).flatten()?;
            parts[at].1 = inner;
        }
        5 => parts.insert(0, (COMPONENT, wasm.to_vec())),
        _ => {
            let mut manifest = Manifest::read(wasm).ok().and_then(|manifest| serde_json::to_value(manifest).ok())?;
            json::mutate(&mut manifest, random);
            return Some(with_manifest(wasm, &manifest));
        }
    }
    let mut changed = HEADER.to_vec();
    for (id, body) in parts {
        push(&mut changed, id, &body);
    }
    Some(changed)
}

fn sections(wasm: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut reader = BinaryReader::new(wasm.strip_prefix(HEADER)?, 0);
    let mut sections = Vec::new();
    while !reader.eof() {
        let id = reader.read_u8().ok()?;
        let Range { start, end } = reader.read_reader().ok()?.range();
        sections.push((id, wasm[HEADER.len()..][start..end].to_vec()));
    }
    Some(sections)
}

fn push(wasm: &mut Vec<u8>, id: u8, body: &[u8]) {
    wasm.push(id);
    let mut length = body.len();
    while length > 0x7f {
        wasm.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    wasm.push(length as u8);
    wasm.extend_from_slice(body);
}
