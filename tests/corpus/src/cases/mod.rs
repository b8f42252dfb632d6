//! The uploads, by kind.

use serde_json::Value;

use crate::{Case, Expected, World, guest::Guest, manifest};

mod answers;
mod asynchronous;
mod bombs;
mod bytes;
mod checks;
mod contracts;
mod features;
mod hosts;
mod imports;
mod leaks;
mod loops;
mod manifests;
mod memories;
mod names;
mod plain;
mod probes;
mod tables;
mod traps;

/// Its time or its fuel is over, whichever is first.
const TIME: &[&str] = &["no answer within", "fuel"];
/// It was refused more memory.
const MEMORY: &[&str] = &["more memory than its limit", "memory"];
/// It wanted to return more than the host would hold for it.
const BYTES: &[&str] = &["an answer of more bytes than its limit"];
/// It had too many handles.
const HANDLES: &[&str] = &["handle limit exceeded", "no free keys", "handles"];

/// All of them, by kind and name.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = [
        answers::cases(),
        asynchronous::cases(),
        bombs::cases(),
        bytes::cases(),
        checks::cases(),
        contracts::cases(),
        features::cases(),
        hosts::cases(),
        imports::cases(),
        leaks::cases(),
        loops::cases(),
        manifests::cases(),
        memories::cases(),
        names::cases(),
        plain::cases(),
        probes::cases(),
        tables::cases(),
        traps::cases(),
    ]
    .concat();
    cases.sort_by_key(|case| case.name);
    cases
}

/// A component that is spoiled, with a manifest that is not.
fn of(name: &'static str, about: &'static str, guest: &Guest, expected: Expected) -> Case {
    component(name, about, guest.world(), guest.component(), expected)
}

/// A component that was put together otherwise, with a manifest that is not spoiled.
fn component(name: &'static str, about: &'static str, world: World, component: Vec<u8>, expected: Expected) -> Case {
    with_manifest(name, about, world, component, &manifest::manifest(name, world), expected)
}

fn with_manifest(
    name: &'static str,
    about: &'static str,
    world: World,
    component: Vec<u8>,
    manifest: &Value,
    expected: Expected,
) -> Case {
    upload(name, about, world, manifest::upload(component, manifest), expected)
}

/// Any bytes.
fn upload(name: &'static str, about: &'static str, world: World, upload: Vec<u8>, expected: Expected) -> Case {
    Case { name, about, upload, world, params: "{}".to_owned(), expected }
}
