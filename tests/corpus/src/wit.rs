//! The interfaces that components are built against, and how a core module becomes one.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What the cases import beside the project's own.
const IMPORTS: &str = include_str!("imports.wit");

/// The component of a core module (as text) for a world of `imports.wit`.
pub(crate) fn component(world: &str, module: &str) -> Vec<u8> {
    component_of(IMPORTS, world, module)
}

/// The same for a world of another package.
pub(crate) fn component_of(package: &str, world: &str, module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    for folder in ["pipeline", "stream", "tenant"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit").join(folder);
        resolve.push_dir(folder).expect("the project's interfaces");
    }
    let package = resolve.push_str("imports.wit", package).expect("the interfaces of a case");
    encode(&resolve, package, world, module)
}

/// The same for a package that depends on none of the project's, and may have their names.
pub(crate) fn component_of_lookalike(package: &str, world: &str, module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("lookalike.wit", package).expect("the interfaces of a case");
    encode(&resolve, package, world, module)
}

fn encode(resolve: &Resolve, package: wit_parser::PackageId, world: &str, module: &str) -> Vec<u8> {
    let world = resolve.select_world(&[package], Some(world)).expect("a world");
    let mut module = wat::parse_str(module).unwrap_or_else(|error| unreachable!("{error}\n{module}"));
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).expect("metadata");
    let mut encoder = ComponentEncoder::default().validate(false).module(&module).expect("a module of the world");
    encoder.encode().expect("a component")
}
