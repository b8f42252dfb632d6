//! The rules over an upload's bytes, in order.

use funnelweb_core::limits;
use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Validator, WasmFeatures};

use crate::{
    Counts, Manifest, Refused, Rule,
    names::{check_exports, check_imports},
    scan::{Scan, scan},
};

/// What the engines take of WebAssembly: Wasmtime's own choice, without threads, a garbage
/// collector and exceptions, which it is not built with.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::WASM3
    .difference(WasmFeatures::THREADS)
    .difference(WasmFeatures::GC_TYPES)
    .difference(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::COMPONENT_MODEL)
    .union(WasmFeatures::CM_ASYNC);

/// What is known of an upload that keeps the rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspected {
    /// What it says of itself.
    pub manifest: Manifest,
    /// How much there is in it.
    pub counts: Counts,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// The bytes of memory that an instance begins with.
    pub memory_bytes: u64,
}

/// Whether an upload keeps the rules. It takes about as long as reading it; the bytes may
/// be any.
///
/// # Errors
/// The first rule that it breaks.
pub fn inspect(wasm: &[u8]) -> Result<Inspected, Refused> {
    check_size(wasm.len(), limits::COMPONENT_BYTES_MOST)?;
    check_kind(wasm)?;
    let Scan { counts, imports, exports } = scan(wasm)?;
    let manifest = Manifest::read(wasm)?;
    check_exports(&exports, manifest.world)?;
    check_imports(&imports, manifest.world)?;
    Validator::new_with_features(FEATURES).validate_all(wasm).map_err(|error| Refused::invalid(&error))?;
    Ok(Inspected {
        manifest,
        counts,
        imports: imports.iter().map(|import| import.name.name.to_owned()).collect(),
        memory_bytes: counts.needs.memory_bytes,
    })
}

/// Whether an upload of so many bytes may be one, where at most `most` are allowed.
///
/// # Errors
/// [`Rule::Size`].
pub fn check_size(bytes: usize, most: usize) -> Result<(), Refused> {
    if bytes == 0 {
        let help = "send the component's bytes as the body of the request";
        return Err(Refused::new(Rule::Size, "it is empty", help));
    }
    if bytes > most {
        let help = "build for size (`opt-level = \"s\"`, `lto = \"fat\"`, `strip = true`), with fewer dependencies, \
                    and strip it with `wasm-tools strip`; the operator may allow more";
        return Err(Refused::new(Rule::Size, format!("it has {bytes} bytes; {most} is the most"), help));
    }
    Ok(())
}

/// Whether it begins as a component does.
pub(crate) fn check_kind(wasm: &[u8]) -> Result<(), Refused> {
    if Parser::is_component(wasm) {
        return Ok(());
    }
    let component = "build it for `wasm32-wasip2`, or make a component of it with `wasm-tools component new`";
    if Parser::is_core_wasm(wasm) {
        return Err(Refused::new(Rule::Module, "it is a core module, and not a component", component));
    }
    if wasm.starts_with(b"\x7fELF") {
        let help = "send the component itself (`.wasm`): machine code is made here, and never taken";
        return Err(Refused::new(Rule::Compiled, "it is machine code (ELF, as in a `.cwasm`)", help));
    }
    if wasm.starts_with(b"\0asm") {
        let message = "it is WebAssembly of a version or layer that is not known here";
        return Err(Refused::new(Rule::Wasm, message, component));
    }
    let text = wasm.trim_ascii_start();
    if text.starts_with(b"(component") || text.starts_with(b"(module") {
        let help = "make bytes of it with `wasm-tools parse`";
        return Err(Refused::new(Rule::Wasm, "it is WebAssembly as text", help));
    }
    Err(Refused::new(Rule::Wasm, "it is not WebAssembly: it does not begin with `\\0asm`", component))
}
