//! Bytes that are no component, or not one any more.

use super::{Case, upload};
use crate::{
    Expected::{Any, Refused},
    World,
    guest::Guest,
    manifest, sections,
};

/// Bits that are flipped, each in an upload of its own.
const FLIPS: usize = 48;

pub(super) fn cases() -> Vec<Case> {
    let good = manifest::upload(Guest::new(World::Rerank).component(), &manifest::manifest("rule", World::Rerank));
    let of = |name, about, bytes: &[u8], rules| upload(name, about, World::Rerank, bytes.to_vec(), Refused(rules));
    let module = wat::parse_str(Guest::new(World::Rerank).module()).expect("a module");
    let manifest_section =
        sections::custom(sections::MANIFEST, manifest::manifest("rule", World::Rerank).to_string().as_bytes());
    let text = format!("(component {})", "(core module)".repeat(3));
    let mut later = good.clone();
    later.splice(4..8, *b"\x0e\0\x01\0");
    let mut module_version = good.clone();
    module_version.splice(4..8, *b"\x01\0\0\0");
    let not_wasm: &[&str] = &["wasm"];
    let large = sections::with(good.clone(), &sections::custom("padding", &vec![0; 9 << 20]));
    let mut cases = vec![
        of("bytes-archive", "A zip archive", b"PK\x03\x04\x14\0\0\0\x08\0component.wasm", not_wasm),
        of("bytes-compiled", "Machine code that Wasmtime compiled", &compiled(), &["compiled"]),
        of("bytes-core-module", "A core module", &sections::with(module, &manifest_section), &["module"]),
        of("bytes-elf", "A program", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0", &["compiled"]),
        of("bytes-empty", "Nothing", b"", &["size"]),
        of("bytes-gzip", "A component that is compressed", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", not_wasm),
        of("bytes-large", "A component of 9 MiB", &large, &["size"]),
        of("bytes-later", "A component of a version that does not exist", &later, &["wasm"]),
        of("bytes-module-version", "A component that says it is a core module", &module_version, &["module"]),
        of("bytes-one", "One byte", b"\0", not_wasm),
        of("bytes-preamble", "The first eight bytes of a component", &sections::COMPONENT, &["manifest"]),
        of("bytes-text", "A component as text", text.as_bytes(), not_wasm),
        of(
            "bytes-trailing",
            "A component with more behind it",
            &sections::with(good.clone(), b"\xff\xff\xff\xff\xff trailing"),
            &["invalid"],
        ),
        of("bytes-twice", "Two components, one behind the other", &[good.clone(), good.clone()].concat(), &["invalid"]),
        of("bytes-zeroes", "A mebibyte of zeroes", &vec![0; 1 << 20], not_wasm),
    ];
    cases.extend((1..16).map(|part| {
        let name = format!("truncated-{part:02}").leak();
        let bytes = good.get(..good.len() * part / 16).unwrap_or_default().to_vec();
        let rules = &["invalid", "manifest"];
        upload(name, "A component that was cut off", World::Rerank, bytes, Refused(rules))
    }));
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    cases.extend((0..FLIPS).map(|at| {
        // xorshift64*
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        let bit = random.wrapping_mul(0x2545_f491_4f6c_dd1d) as usize % (good.len() * 8);
        let mut bytes = good.clone();
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        upload(format!("flipped-{at:02}").leak(), "A component of which one bit is flipped", World::Rerank, bytes, Any)
    }));
    cases
}

/// What a host keeps of a component that it compiled; whoever loads it trusts it.
fn compiled() -> Vec<u8> {
    wasmtime::Engine::default().precompile_component(&sections::COMPONENT).expect("an empty component")
}
