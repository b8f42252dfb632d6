//! Names that are not what they read like.

use serde_json::{Value, json};

use super::{Case, component, with_manifest};
use crate::{
    Expected::{Refused, RefusedOr, Unusable},
    World,
    guest::Guest,
    manifest, sections, wit,
};

/// Names of components in manifests.
const NAMES: &[(&str, &str, &str)] = &[
    ("name-bidi", "A name that is written in the other direction from its middle on", "rule\u{202e}reknar"),
    ("name-control", "A name with a line's end", "rule\nrule"),
    ("name-dot", "A name that is the folder it would lie in", "."),
    ("name-dots", "A name that is the folder above", ".."),
    ("name-empty", "A name that is empty", ""),
    ("name-homoglyph", "A name with a Cyrillic letter for a Latin one", "rer\u{430}nk"),
    ("name-id", "A name that reads as a name with its version", "rule:1.0.0"),
    ("name-long", "A name of 64 bytes", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ("name-nul", "A name with a zero byte", "rule\0"),
    ("name-path", "A name that reads as a path", "../../../etc/cron.d/rule"),
    ("name-pattern", "A name that reads as a pattern", "*"),
    ("name-space", "A name with a space that is not seen", "rule\u{200b}"),
    ("name-wide", "A name in letters of full width", "\u{ff52}\u{ff55}\u{ff4c}\u{ff45}"),
];

/// Versions.
const VERSIONS: &[(&str, &str, &str)] = &[
    ("name-version-dots", "A version that is the folder above", ".."),
    ("name-version-empty", "A version that is empty", ""),
    ("name-version-id", "A version with a colon", "1.0.0:latest"),
    (
        "name-version-long",
        "A version of 100 bytes",
        "1.0.0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ),
    ("name-version-path", "A version that reads as a path", "../1.0.0"),
];

pub(super) fn cases() -> Vec<Case> {
    let rule = Guest::new(World::Rerank).component();
    let with = |field: &str, value: &str| {
        let mut manifest = manifest::manifest("rule", World::Rerank);
        if let Some(place) = manifest.get_mut(field) {
            *place = json!(value);
        }
        manifest
    };
    let case = |name, about, manifest: &Value| {
        with_manifest(name, about, World::Rerank, rule.clone(), manifest, Refused(&["manifest"]))
    };
    let mut cases: Vec<Case> =
        NAMES.iter().map(|(name, about, value)| case(name, about, &with("name", value))).collect();
    cases.extend(VERSIONS.iter().map(|(name, about, value)| case(name, about, &with("version", value))));
    cases.extend(exports(&rule));
    cases
}

/// What it exports.
fn exports(rule: &[u8]) -> Vec<Case> {
    let of = |name, about, bytes, expected| component(name, about, World::Rerank, bytes, expected);
    let rank = Guest::new(World::Rank);
    let two = {
        // A ranker and a rule in one: the functions of both.
        let module = Guest::new(World::Rerank).with(&rank_functions()).module();
        wit::component("two-roles", &module)
    };
    // Another name for the same instance, behind the right one.
    let also = |name: &str| {
        let mut exports = wasm_encoder::ComponentExportSection::new();
        exports.export(name, wasm_encoder::ComponentExportKind::Instance, sections::Counts::of(rule).exported, None);
        sections::with(rule.to_vec(), &sections::encoded(&exports))
    };
    let lookalike = |package: &str, interface: &str, check: &str| {
        let name = package.replace('%', "").replacen('@', &format!("/{interface}@"), 1);
        let package = format!(
            "package {package}; interface {interface} {{ check: func(params: string) -> {check}; {interface}: func(params: string) -> string; }}
            world w {{ export {interface}; }}"
        );
        let module = format!(
            r#"(module (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "{name}#check") (param i32 i32) (result i32) (i32.const 16))
            (func (export "{name}#{interface}") (param i32 i32) (result i32) (i32.const 16)))"#
        );
        wit::component_of_lookalike(&package, "w", &module)
    };
    vec![
        of(
            "export-case",
            "Exports the interface and another whose name differs by case",
            also("funnelweb:pipeline/RERANK@0.1.0"),
            Refused(&["invalid", "exports"]),
        ),
        of(
            "export-homoglyph",
            "Exports the interface with a Cyrillic letter in its name",
            also("funnelweb:pipeline/rer\u{430}nk@0.1.0"),
            Refused(&["invalid", "exports"]),
        ),
        of(
            "export-twice",
            "Exports the same instance under another version as well",
            also("funnelweb:pipeline/rerank@0.1.1"),
            Refused(&["exports", "invalid"]),
        ),
        of("export-more", "Exports more than its world", also("corpus:extra/thing@1.0.0"), Refused(&["exports"])),
        of("export-none", "Exports nothing", sections::COMPONENT.to_vec(), Refused(&["exports"])),
        of(
            "export-other-world",
            "A ranker whose manifest says that it is a rule",
            rank.component(),
            Refused(&["exports"]),
        ),
        of(
            "export-package",
            "Exports an interface of another package that has the same name",
            lookalike("funnelweb:pipelines@0.1.0", "rerank", "string"),
            Refused(&["exports"]),
        ),
        of("export-two-worlds", "Exports a ranker and a rule at once", two, Refused(&["exports"])),
        of(
            "export-types",
            "Exports the interface with functions of other types",
            lookalike("funnelweb:pipeline@0.1.0", "rerank", "string"),
            RefusedOr(&["exports", "compile"], &Unusable(&["expected"])),
        ),
        component(
            "export-types-aggregate",
            "A stream operator whose functions have other types",
            World::Aggregate,
            lookalike("funnelweb:%stream@0.1.0", "aggregate", "result<string>"),
            RefusedOr(&["exports", "compile"], &Unusable(&["expected"])),
        ),
        of(
            "export-version",
            "Exports a version of the interface that does not exist",
            lookalike("funnelweb:pipeline@0.1.1", "rerank", "string"),
            Refused(&["exports", "compile"]),
        ),
    ]
}

/// The exports of a ranker, to stand beside those of a rule.
fn rank_functions() -> String {
    let interface = World::Rank.interface();
    format!(
        r#"(func (export "{interface}#check") (param i32 i32) (result i32) (i32.const 16))
        (func (export "{interface}#rank") (param i32) (result i32) (unreachable))"#
    )
}
