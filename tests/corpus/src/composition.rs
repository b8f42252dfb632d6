//! Components of components: a rule whose import another component beside it fulfils.

use wac_graph::{CompositionGraph, EncodeOptions, types::Package};
use wasm_encoder::{
    Alias, ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentInstanceSection,
};
use wasmparser::{Parser, Payload};

use crate::{World, guest::Guest, sections, wit};

const PART: &str = "corpus:parts/part@0.1.0";
const TYPES: &str = "funnelweb:pipeline/types@0.1.0";

/// The import of the part's function, as `$part`: a number to a number.
pub(crate) const IMPORT: &str = r#"(import "corpus:parts/part@0.1.0" "run" (func $part (param i64) (result i64)))"#;

/// A part of a core module (as text) that exports `run`, a number to a number, without
/// imports, and its memory.
pub(crate) fn part(fields: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $m {fields})
        (core instance $i (instantiate $m))
        (func $run (param "request" u64) (result u64) (canon lift (core func $i "run")))"#
    ))
}

/// A part of any text that ends with the function `$run`.
pub(crate) fn component(fields: &str) -> Vec<u8> {
    let text = format!(
        r#"(component {fields}
        (instance $part (export "run" (func $run)))
        (export "{PART}" (instance $part)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| unreachable!("{error}\n{text}"))
}

/// The rule, which imports [`IMPORT`], with its part.
pub(crate) fn compose(part: &[u8], rule: &Guest) -> Vec<u8> {
    let rule = wit::component("composed", &rule.module());
    let mut bytes = sections::COMPONENT.to_vec();
    // The types are the outer component's import as they are the rule's: the same sections.
    bytes.extend_from_slice(&first_import(&rule));
    bytes.extend_from_slice(&sections::component(part));
    bytes.extend_from_slice(&sections::component(&rule));

    let mut instances = ComponentInstanceSection::new();
    instances.instantiate::<_, &str>(0, []);
    bytes.extend_from_slice(&sections::encoded(&instances));
    let mut aliases = ComponentAliasSection::new();
    aliases.alias(Alias::InstanceExport { instance: 1, kind: ComponentExportKind::Instance, name: PART });
    bytes.extend_from_slice(&sections::encoded(&aliases));

    let mut instances = ComponentInstanceSection::new();
    let instance = |index| (ComponentExportKind::Instance, index);
    instances.instantiate(1, [(TYPES, instance(0).0, instance(0).1), (PART, instance(2).0, instance(2).1)]);
    bytes.extend_from_slice(&sections::encoded(&instances));
    let mut aliases = ComponentAliasSection::new();
    let name = World::Rerank.interface();
    aliases.alias(Alias::InstanceExport { instance: 3, kind: ComponentExportKind::Instance, name });
    bytes.extend_from_slice(&sections::encoded(&aliases));

    let mut exports = ComponentExportSection::new();
    exports.export(name, ComponentExportKind::Instance, 4, None);
    bytes.extend_from_slice(&sections::encoded(&exports));
    bytes
}

/// The same, by the tool that tenants are told to compose with.
pub(crate) fn plug(part: &[u8], rule: &Guest) -> Vec<u8> {
    let mut graph = CompositionGraph::new();
    let mut register = |name: &str, bytes: &[u8]| {
        let package = Package::from_bytes(name, None, bytes, graph.types_mut()).expect("a component");
        graph.register_package(package).expect("a package of a name of its own")
    };
    let part = register("corpus:part", part);
    let rule = register("corpus:rule", &wit::component("composed", &rule.module()));
    wac_graph::plug(&mut graph, vec![part], rule).expect("a part for the rule's import");
    graph.encode(EncodeOptions::default()).expect("a component")
}

/// The sections of a component up to its first imports.
fn first_import(component: &[u8]) -> Vec<u8> {
    let end = Parser::new(0).parse_all(component).find_map(|payload| match payload {
        Ok(Payload::ComponentImportSection(imports)) => Some(imports.range().end),
        _ => None,
    });
    component.get(sections::COMPONENT.len()..end.expect("an import")).expect("sections").to_vec()
}
