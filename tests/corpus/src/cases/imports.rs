//! Asking for what is others' or not there.

use wasm_encoder::{
    ComponentImportSection, ComponentType, ComponentTypeRef, ComponentTypeSection, ComponentValType, CoreTypeSection,
    ModuleType, PrimitiveValType, TypeBounds,
};

use super::{Case, component, of};
use crate::{
    Expected::{Harmless, Refused, RefusedOr},
    World, composition,
    guest::Guest,
    sections, wit,
};

/// Imports that no world has, which are all of one shape.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("import-documents", "Imports the documents of the store", "funnelweb:capabilities/documents@0.1.0"),
    ("import-events", "Imports the log of behaviours", "funnelweb:capabilities/events@0.1.0"),
    ("import-http", "Imports outbound HTTP", "wasi:http/outgoing-handler@0.2.6"),
    ("import-key-value", "Imports the key-value store of endpoints", "spin:key-value/key-value@3.0.0"),
    ("import-keyvalue-wasi", "Imports `wasi:keyvalue`", "wasi:keyvalue/store@0.2.0-draft2"),
    ("import-others", "Imports another tenant's component", "somebody:elses/ranker@1.0.0"),
    ("import-unfulfilled", "Imports the part of a composition that is not there", "corpus:parts/part@0.1.0"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = FORBIDDEN
        .iter()
        .map(|(name, about, import)| {
            let function = if import.starts_with("corpus") {
                composition::IMPORT.to_owned()
            } else {
                format!(r#"(import "{import}" "peek" (func $peek (param i32 i32) (result i32)))"#)
            };
            of(name, about, &Guest::new(World::Rerank).import(&function), Refused(&["imports"]))
        })
        .collect();
    let hot = r#"(import "funnelweb:tenant/catalogue@0.1.0" "hot" (func $hot (param i32 i32)))"#;
    cases.extend([
        of(
            "import-catalogue-rank",
            "A ranker that imports the catalogue",
            &Guest::new(World::Rank).import(hot),
            Refused(&["imports"]),
        ),
        of(
            "import-catalogue-rerank",
            "A rule that imports the catalogue",
            &Guest::new(World::Rerank).import(hot),
            Refused(&["imports"]),
        ),
        of(
            "import-catalogue-aggregate",
            "A stream operator that imports the catalogue",
            &Guest::new(World::Aggregate).import(hot),
            Refused(&["imports"]),
        ),
    ]);
    cases.extend(lookalikes());
    cases.extend(shapes());
    cases
}

/// A rule that imports one function of one interface of a package.
fn of_package(package: &str, import: &str) -> Vec<u8> {
    let world = format!(
        "package corpus:lookalike; {package} world w {{ import {import}; export funnelweb:pipeline/rerank@0.1.0; }}"
    );
    let module =
        Guest::new(World::Rerank).import(&format!(r#"(import "{import}" "now" (func $now (result i64)))"#)).module();
    wit::component_of(&world, "w", &module)
}

/// Names that are nearly those of what may be imported.
fn lookalikes() -> Vec<Case> {
    let clock = |version: &str| {
        of_package(
            &format!("package wasi:clocks@{version} {{ interface monotonic-clock {{ now: func() -> u64; }} }}"),
            &format!("wasi:clocks/monotonic-clock@{version}"),
        )
    };
    let named = |package: &str, interface: &str| {
        of_package(
            &format!("package {package} {{ interface {interface} {{ now: func() -> u64; }} }}"),
            &package.replacen('@', &format!("/{interface}@"), 1),
        )
    };
    let mistyped = {
        let world = "package corpus:lookalike;
            package wasi:clocks@0.2.6 { interface monotonic-clock { now: func() -> string; } }
            world w { import wasi:clocks/monotonic-clock@0.2.6; export funnelweb:pipeline/rerank@0.1.0; }";
        let guest = Guest::rerank("(call $now (i32.const 128))")
            .import(r#"(import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $now (param i32)))"#);
        wit::component_of(world, "w", &guest.module())
    };
    let rule = |name, about, bytes, expected| component(name, about, World::Rerank, bytes, expected);
    vec![
        rule(
            "import-version-later",
            "Imports a version of WASI that is not there yet, and compatible",
            clock("0.2.99"),
            RefusedOr(&["imports"], &Harmless),
        ),
        rule(
            "import-version-major",
            "Imports a version of WASI that does not exist",
            clock("7.0.0"),
            Refused(&["imports"]),
        ),
        rule("import-version-prerelease", "Imports a prerelease of WASI", clock("0.2.6-rc.1"), Refused(&["imports"])),
        rule(
            "import-lookalike-namespace",
            "Imports from a namespace that reads like WASI's",
            named("wa-si:clocks@0.2.6", "monotonic-clock"),
            Refused(&["imports"]),
        ),
        rule(
            "import-lookalike-catalogue",
            "Imports another interface of the tenant's package",
            named("funnelweb:tenant@0.1.0-x", "catalogue"),
            Refused(&["imports"]),
        ),
        rule(
            "import-mistyped",
            "Imports a function of WASI as one of another type",
            mistyped,
            Refused(&["imports", "compile"]),
        ),
    ]
}

/// Imports that are no instances.
fn shapes() -> Vec<Case> {
    let rule = Guest::new(World::Rerank).component();
    // The next type of the rule's, and an import of that type.
    let with = |name: &str, types: &ComponentTypeSection, of: fn(u32) -> ComponentTypeRef| {
        let mut imports = ComponentImportSection::new();
        imports.import(name, of(sections::Counts::of(&rule).types));
        sections::with(rule.clone(), &[sections::encoded(types), sections::encoded(&imports)].concat())
    };
    let mut component_type = ComponentTypeSection::new();
    component_type.component(&ComponentType::new());
    let mut function_type = ComponentTypeSection::new();
    function_type.function().params::<_, ComponentValType>([]).result(Some(PrimitiveValType::String.into()));
    let other = |name: &str| with(name, &component_type, ComponentTypeRef::Component);
    let module = {
        let mut types = CoreTypeSection::new();
        types.ty().module(&ModuleType::new());
        let mut imports = ComponentImportSection::new();
        imports.import("code", ComponentTypeRef::Module(0));
        sections::with(rule.clone(), &[sections::encoded(&types), sections::encoded(&imports)].concat())
    };
    let resource = with("handle", &component_type, |_| ComponentTypeRef::Type(TypeBounds::SubResource));
    let refused = Refused(&["imports", "instances"]);
    vec![
        component("import-component", "Imports a whole component", World::Rerank, other("other"), refused),
        component(
            "import-function",
            "Imports a function that belongs to no interface",
            World::Rerank,
            with("secret", &function_type, ComponentTypeRef::Func),
            refused,
        ),
        component("import-module", "Imports a core module", World::Rerank, module, refused),
        component(
            "import-resource",
            "Imports a resource that belongs to no interface",
            World::Rerank,
            resource,
            refused,
        ),
        component(
            "import-url",
            "Imports what is to be fetched from an address",
            World::Rerank,
            other("url=<https://example.com/evil.wasm>"),
            Refused(&["imports", "instances", "invalid"]),
        ),
        component(
            "import-locked",
            "Imports what is to be found in a registry",
            World::Rerank,
            other("unlocked-dep=<corpus:evil@{>=1.0.0}>"),
            Refused(&["imports", "instances", "invalid"]),
        ),
    ]
}
