//! Bytes that nobody's toolchain makes.

use std::time::{Duration, Instant};

use funnelweb_core::limits;
use proptest::prelude::*;

use super::{ranker, refused};
use crate::{Manifest, Rule, World, inspect, sections};

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn section(id: u8, body: &[u8]) -> Vec<u8> {
    [&[id], &leb(body.len())[..], body].concat()
}

/// A component with this section.
fn with_section(id: u8, body: &[u8]) -> Vec<u8> {
    [&sections::HEADER[..], &section(id, body)].concat()
}

/// A stack would have to be as deep.
#[test]
fn types_in_types_without_end() {
    // An instance's type with one declaration: a type, which is an instance's.
    for of in [0x41_u8, 0x42] {
        let deep = [&[1][..], &[of, 1, 0x01].repeat(4_000_000)].concat();
        refused(&with_section(7, &deep), Rule::Nesting, &limits::COMPONENT_NESTING.to_string());
    }
}

#[test]
fn components_in_components_without_end() {
    let mut wasm = sections::HEADER.to_vec();
    for _ in 0..1000 {
        wasm = with_section(4, &wasm);
    }
    refused(&wasm, Rule::Nesting, &limits::COMPONENT_NESTING.to_string());
}

/// What is said to be there is counted before it is looked for.
#[test]
fn counts_of_what_is_not_there() {
    let most = leb(u32::MAX as usize);
    let module = |id: u8, body: &[u8]| with_section(1, &[&b"\0asm\x01\0\0\0"[..], &section(id, body)].concat());
    for (wasm, rule) in [
        (with_section(7, &most), Rule::Types),
        (with_section(10, &most), Rule::Imports),
        (module(1, &most), Rule::Types),
        (module(2, &most), Rule::Imports),
        (module(3, &most), Rule::Functions),
        (with_section(7, &[&[1, 0x42][..], &most].concat()), Rule::Invalid),
        (with_section(3, &most), Rule::Invalid),
        (with_section(6, &most), Rule::Invalid),
        (with_section(2, &most), Rule::Invalid),
        (module(5, &most), Rule::Invalid),
    ] {
        refused(&wasm, rule, "");
    }
}

/// A part that says it is another kind of thing than it stands for.
#[test]
fn a_component_for_a_module() {
    for (id, inner) in [(1, &sections::HEADER[..]), (4, b"\0asm\x01\0\0\0")] {
        let whole = ranker("");
        let wasm = [&sections::HEADER[..], &section(id, inner), &whole[sections::HEADER.len()..]].concat();
        refused(&wasm, Rule::Invalid, "expected a version header");
    }
}

#[test]
fn what_is_large_is_refused_before_it_is_read() {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    let types = leb(1);
    module.extend(section(1, &[&types[..], &[0x60, 0, 0]].concat()));
    module.extend(section(3, &[leb(4_000_000), vec![0; 4_000_000]].concat()));
    module.extend(section(10, &[leb(4_000_000), [2_u8, 0, 0x0b].repeat(4_000_000)].concat()));
    let begin = Instant::now();
    refused(&with_section(1, &module), Rule::Functions, &limits::COMPONENT_FUNCTIONS.to_string());
    assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
}

fn sample() -> Vec<u8> {
    ranker(
        "(import \"funnelweb:pipeline/types@0.1.0\" (instance $types (type $t (record (field \"a\" u32))) \
         (export \"t\" (type (eq $t))))) (alias export $types \"t\" (type $t)) (core type (module (type (func)))) \
         (core module $m (type (func (param i32))) (memory (export \"m\") 1) (table 2 funcref) (global i32 (i32.const 1)) \
         (func (export \"f\")) (func $g) (elem (i32.const 0) $g) (data (i32.const 0) \"abc\")) \
         (core instance $i (instantiate $m)) (component $c (alias outer 1 $m (core module $n)) \
         (core instance (instantiate $n))) (instance (instantiate $c)) \
         (func $f (canon lift (core func $i \"f\"))) (instance $o (export \"f\" (func $f)))",
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 200 } else { 5000 }, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..500), as_component: bool) {
        let wasm = if as_component { [&sections::HEADER[..], &bytes].concat() } else { bytes };
        prop_assert!(inspect(&wasm).is_err());
    }

    /// Whatever is taken has its manifest, and has it still when it is embedded again.
    #[test]
    fn flipped_bits_do_no_harm(flips in proptest::collection::vec((any::<proptest::sample::Index>(), 0_u8..8), 1..6), cut in proptest::option::of(any::<proptest::sample::Index>())) {
        let mut wasm = sample();
        for (at, bit) in flips {
            let at = at.index(wasm.len());
            wasm[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            wasm.truncate(cut.index(wasm.len()));
        }
        match inspect(&wasm) {
            Ok(inspected) => {
                let manifest = serde_json::to_string(&inspected.manifest).unwrap();
                prop_assert_eq!(inspect(&Manifest::embed(&wasm, &manifest).unwrap()).unwrap(), inspected);
            }
            Err(refused) => prop_assert!(!refused.help.is_empty() && refused.message.len() < 4000),
        }
        let _ = Manifest::embed(&wasm, &super::manifest(World::Rank).to_string());
    }
}

#[test]
fn the_sample_is_taken() {
    let inspected = inspect(&sample()).unwrap();
    assert_eq!((inspected.counts.modules, inspected.counts.needs.instances, inspected.counts.needs.tables), (2, 2, 2));
    assert_eq!(inspected.memory_bytes, 2 * 65536);
}
