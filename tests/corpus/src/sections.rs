//! Sections of components as bytes: what no tool writes is written here.

use wasm_encoder::Encode;
use wasmparser::{ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentTypeRef, Parser, Payload};

/// The section that an upload's manifest stands in.
pub(crate) const MANIFEST: &str = "funnelweb:component";

/// The preamble of a component.
pub(crate) const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// The preamble of a core module.
pub(crate) const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

/// A custom section.
pub(crate) fn custom(name: &str, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    name.encode(&mut body);
    body.extend_from_slice(data);
    raw(0, &body)
}

/// Any section.
pub(crate) fn raw(id: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    body.encode(&mut bytes);
    bytes
}

/// A section as it is encoded.
pub(crate) fn encoded(section: &impl wasm_encoder::ComponentSection) -> Vec<u8> {
    let mut bytes = Vec::new();
    section.append_to_component(&mut bytes);
    bytes
}

/// A core module inside a component.
pub(crate) fn module(bytes: &[u8]) -> Vec<u8> {
    raw(1, bytes)
}

/// A component inside a component.
pub(crate) fn component(bytes: &[u8]) -> Vec<u8> {
    raw(4, bytes)
}

/// The component with more at its end.
pub(crate) fn with(mut component: Vec<u8>, more: &[u8]) -> Vec<u8> {
    component.extend_from_slice(more);
    component
}

/// How many of its own a component has, which are the indices of the next.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) modules: u32,
    pub(crate) components: u32,
    pub(crate) types: u32,
    /// The index of what it exports first.
    pub(crate) exported: u32,
}

impl Counts {
    pub(crate) fn of(component: &[u8]) -> Self {
        let mut counts = Self::default();
        // Inside of how many others the parser is.
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(component) {
            match payload.expect("a component") {
                Payload::ModuleSection { .. } => {
                    counts.modules += u32::from(depth == 0);
                    depth += 1;
                }
                Payload::ComponentSection { .. } => {
                    counts.components += u32::from(depth == 0);
                    depth += 1;
                }
                Payload::End(_) => depth -= 1,
                Payload::ComponentTypeSection(types) if depth == 0 => counts.types += types.count(),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    let types = imports.into_iter().map(|import| import.expect("an import").ty);
                    let types = types.filter(|ty| matches!(ty, ComponentTypeRef::Type(_)));
                    counts.types += u32::try_from(types.count()).expect("few types");
                }
                Payload::ComponentAliasSection(aliases) if depth == 0 => {
                    let types = aliases.into_iter().map(|alias| alias.expect("an alias"));
                    let types = types.filter(|alias| {
                        matches!(
                            alias,
                            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. }
                                | ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. }
                        )
                    });
                    counts.types += u32::try_from(types.count()).expect("few types");
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    counts.exported = exports.into_iter().next().expect("an export").expect("an export").index;
                }
                _ => {}
            }
        }
        counts
    }
}
