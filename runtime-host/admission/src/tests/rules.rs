//! Each rule at its limit and one over.

use std::fmt::Write;

use funnelweb_core::limits;
use wasmtime::{Config, Engine};

use super::{component, embedded, manifest, ranker, refused, with_manifest};
use crate::{Rule, World, check_size, inspect, rules::FEATURES};

/// What holds of so many holds no more of one more, and the message has both.
#[track_caller]
fn holds(rule: Rule, limit: usize, upload: impl Fn(usize) -> Vec<u8>) {
    inspect(&upload(limit)).unwrap();
    refused(&upload(limit + 1), rule, &format!("{}", limit + 1));
    refused(&upload(limit + 1), rule, &format!("; {limit} is the most"));
}

fn repeated(part: &str, count: usize) -> String {
    part.repeat(count)
}

#[test]
fn a_component_of_each_world_is_taken() {
    for world in World::ALL {
        let inspected = inspect(&component(world, "")).unwrap();
        assert_eq!((inspected.manifest.world, inspected.imports.len(), inspected.memory_bytes), (world, 0, 0));
    }
}

#[test]
fn an_upload_has_so_many_bytes() {
    refused(b"", Rule::Size, "is empty");
    let of = |bytes: usize| {
        let mut wasm = wat::parse_str("(component)").unwrap();
        let rest = bytes - wasm.len();
        wasm.resize(bytes, 0);
        // One section of it all, of an unknown kind.
        wasm[8] = 0x7f;
        assert!(rest > 8);
        wasm
    };
    refused(&of(limits::COMPONENT_BYTES_MOST), Rule::Invalid, "");
    refused(&of(limits::COMPONENT_BYTES_MOST + 1), Rule::Size, &limits::COMPONENT_BYTES_MOST.to_string());
    // What the operator allows is looked at where the bytes come in.
    check_size(limits::COMPONENT_BYTES, limits::COMPONENT_BYTES).unwrap();
    let over = check_size(limits::COMPONENT_BYTES + 1, limits::COMPONENT_BYTES).unwrap_err();
    assert!(over.message.contains(&limits::COMPONENT_BYTES.to_string()), "{over}");
}

#[test]
fn what_is_no_component_is_told_what_it_is() {
    refused(&wat::parse_str("(module)").unwrap(), Rule::Module, "core module");
    refused(b"\x7fELF\x02\x01\x01", Rule::Compiled, "machine code");
    refused(b"  (component)", Rule::Wasm, "text");
    refused(b"\0asm\x0d\0\x02\0", Rule::Wasm, "version or layer");
    for other in [&b"PK\x03\x04"[..], b"hello", b"\0", b"\0asm"] {
        refused(other, Rule::Wasm, "");
    }
}

#[test]
fn machine_code_of_our_own_is_not_taken_either() {
    let code = Engine::default().precompile_component(&wat::parse_str("(component)").unwrap()).unwrap();
    refused(&code, Rule::Compiled, "ELF");
}

#[test]
fn what_is_cut_off_or_invalid_is_told_where() {
    let whole = ranker("(core module (memory 1) (func (result i32) i32.const 1))");
    inspect(&whole).unwrap();
    for bytes in 9..whole.len() {
        let cut = inspect(&whole[..bytes]).unwrap_err();
        assert!(matches!(cut.rule, Rule::Invalid | Rule::Manifest), "{bytes}: {cut:?}");
    }
    let refused = refused(&ranker("(core module (func (result i32) i64.const 1))"), Rule::Invalid, "type mismatch");
    assert!(refused.message.contains("offset"), "{refused}");
    let long = format!("(core module (func (export \"{0}\")) (func (export \"{0}\")))", "x".repeat(5000));
    let message = inspect(&ranker(&long)).unwrap_err().message;
    assert!(message.chars().count() <= 200, "{message}");
}

#[test]
fn a_component_has_so_many_modules() {
    holds(Rule::Modules, limits::COMPONENT_MODULES, |count| ranker(&repeated("(core module)", count)));
    holds(Rule::Modules, limits::COMPONENT_MODULES, |count| {
        ranker(&repeated("(component (core module))", count / 2).replacen(
            "(core module)",
            if count.is_multiple_of(2) { "(core module)" } else { "(core module) (core module)" },
            1,
        ))
    });
}

#[test]
fn components_are_nested_so_deep() {
    holds(Rule::Nesting, limits::COMPONENT_NESTING, |depth| {
        ranker(&format!("{}{}", repeated("(component ", depth), repeated(")", depth)))
    });
    // The type of a component as well.
    let types = |depth| {
        ranker(
            &format!("(type {}{})", repeated("(component (type ", depth), repeated("))", depth)).replace("(type )", ""),
        )
    };
    inspect(&types(limits::COMPONENT_NESTING)).unwrap();
    refused(&types(limits::COMPONENT_NESTING + 2), Rule::Nesting, &limits::COMPONENT_NESTING.to_string());
}

#[test]
fn a_component_has_so_many_imports() {
    let module = |count: usize| {
        let imports: String = (0..count).map(|at| format!("(import \"x\" \"{at}\" (func))")).collect();
        format!("(core module {imports})")
    };
    holds(Rule::Imports, limits::COMPONENT_IMPORTS, |count| ranker(&module(count)));
    holds(Rule::Imports, limits::COMPONENT_IMPORTS, |count| {
        let instances: String = (0..10).map(|at| format!("(import \"x{at}\" (instance))")).collect();
        ranker(&format!("{} (component {instances} {})", module(count / 2), module(count - count / 2 - 10)))
    });
}

#[test]
fn a_component_has_so_many_functions() {
    holds(Rule::Functions, limits::COMPONENT_FUNCTIONS, |count| {
        let module = |count| format!("(core module {})", repeated("(func)", count));
        ranker(&format!("{} (component {})", module(count / 2), module(count - count / 2)))
    });
}

#[test]
fn a_function_takes_and_gives_so_many_values() {
    let of =
        |values: usize, what| ranker(&format!("(core module (type (func ({what} {}))))", repeated("i32 ", values)));
    for what in ["param", "result"] {
        holds(Rule::Functions, limits::COMPONENT_FUNCTION_VALUES, |values| of(values, what));
    }
}

#[test]
fn a_component_has_so_many_types() {
    holds(Rule::Types, limits::COMPONENT_TYPES, |count| ranker(&repeated("(type string)", count)));
    // Those of a module, of a group of recursive ones, of the type of an instance, and of
    // that of a module.
    holds(Rule::Types, limits::COMPONENT_TYPES, |count| {
        let functions = |count| repeated("(type (func))", count);
        let quarter = (count - 3) / 4;
        ranker(&format!(
            "(core module {} (rec {})) (type (instance {})) (core type (module {})) {}",
            functions(quarter),
            functions(quarter),
            functions(quarter),
            functions(quarter),
            repeated("(type u8)", count - 2 - 4 * quarter)
        ))
    });
}

#[test]
fn an_instance_is_made_of_so_many() {
    let of = |count: usize| {
        // Half of it in a component that is instantiated twice.
        let within = count / 3;
        ranker(&format!(
            "(core module $m) (component $c (alias outer 1 $m (core module $m)) {}) (instance (instantiate $c)) \
             (instance (instantiate $c)) {}",
            repeated("(core instance (instantiate $m))", within),
            repeated("(core instance (instantiate $m))", count - 2 * within)
        ))
    };
    assert_eq!(inspect(&of(10)).unwrap().counts.needs.instances, 10);
    holds(Rule::Instances, limits::COMPONENT_INSTANCES, of);
}

/// Each level doubles what is below it: what would be 2⁶⁰ instances takes no time to refuse.
#[test]
fn instances_of_instances_are_counted() {
    let mut text =
        "(core module $m) (component $c0 (alias outer 1 $m (core module $m)) (core instance (instantiate $m)))"
            .to_owned();
    for level in 1..=60 {
        let below = level - 1;
        let twice = "(instance (instantiate $c))".repeat(2);
        write!(text, "(component $c{level} (alias outer 1 $c{below} (component $c)) {twice})").unwrap();
    }
    text.push_str("(instance (instantiate $c60))");
    refused(&ranker(&text), Rule::Instances, &limits::COMPONENT_INSTANCES.to_string());
}

#[test]
fn what_is_instantiated_is_known() {
    for (parts, how) in [
        ("(component (import \"x\" (core module)))", "imports"),
        ("(component (import \"x\" (component)))", "imports"),
        ("(component (core module $m) (export \"x\" (core module $m)))", "exports"),
        ("(component (component $m) (export \"x\" (component $m)))", "exports"),
    ] {
        refused(&ranker(parts), Rule::Instances, how);
    }
}

#[test]
fn memories_begin_with_so_many_bytes() {
    let most = limits::COMPONENT_MEMORY_BYTES / 65536;
    let of = |pages: usize| ranker(&format!("(core module $m (memory {pages})) (core instance (instantiate $m))"));
    assert_eq!(inspect(&of(most)).unwrap().memory_bytes, limits::COMPONENT_MEMORY_BYTES as u64);
    refused(&of(most + 1), Rule::Memories, &limits::COMPONENT_MEMORY_BYTES.to_string());
    // All memories of an instance together.
    let two =
        |pages| ranker(&format!("(core module $m (memory 1) (memory i64 {pages})) (core instance (instantiate $m))"));
    inspect(&two(most - 1)).unwrap();
    refused(&two(most), Rule::Memories, &limits::COMPONENT_MEMORY_BYTES.to_string());
    refused(&two(1 << 48), Rule::Memories, "");
}

#[test]
fn an_instance_has_so_many_memories() {
    let of = |count: usize| {
        ranker(&format!("(core module $m (memory 1)) {}", repeated("(core instance (instantiate $m))", count)))
    };
    holds(Rule::Memories, limits::COMPONENT_MEMORIES, of);
    holds(Rule::Memories, limits::COMPONENT_MEMORIES, |count| {
        ranker(&format!("(core module {})", repeated("(memory 1)", count)))
    });
}

#[test]
fn tables_begin_with_so_many_elements() {
    let of = |elements: usize| ranker(&format!("(core module (table {} funcref) (table 5 funcref))", elements - 5));
    holds(Rule::Tables, limits::COMPONENT_TABLE_ELEMENTS, of);
    holds(Rule::Tables, limits::COMPONENT_TABLES, |count| {
        ranker(&format!("(core module {})", repeated("(table 1 funcref)", count)))
    });
    refused(&ranker("(core module (table i64 0xffffffffffffffff funcref) (table 5 funcref))"), Rule::Tables, "");
}

#[test]
fn the_interface_of_one_world_is_exported() {
    let none = with_manifest(World::Rank, "(component)");
    refused(&none, Rule::Exports, "does not export `funnelweb:pipeline/rank@0.1.0`");
    let of = |exports: &[&str]| {
        let exports: String = exports.iter().map(|name| format!("(export \"{name}\" (instance $own))")).collect();
        with_manifest(World::Rank, &format!("(component (instance $own) {exports})"))
    };
    let rank = World::Rank.interface();
    inspect(&of(&[rank])).unwrap();
    for other in World::ALL.into_iter().filter(|world| *world != World::Rank) {
        let said = format!("exports `{}`", other.interface());
        refused(&of(&[other.interface()]), Rule::Exports, &said);
        refused(&of(&[rank, other.interface()]), Rule::Exports, &said);
    }
    refused(&of(&["funnelweb:pipeline/rank@0.2.0"]), Rule::Exports, "");
    refused(&of(&["wasi:cli/run@0.2.3", rank]), Rule::Exports, "command");
    refused(&of(&[rank, "init"]), Rule::Exports, "the instance `init`");
    let function = "(core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) \
                    (func $f (canon lift (core func $i \"f\"))) (export \"extra\" (func $f))";
    refused(&ranker(function), Rule::Exports, "the func `extra`");
    inspect(&of(&["exports", rank])).unwrap();
    // What is no function cannot do anything.
    inspect(&ranker("(type $t (record (field \"x\" u8))) (export \"shape\" (type $t))")).unwrap();
    let wrong = with_manifest(World::Rank, "(component (type $t string) (export \"x:y/z\" (type $t)))");
    refused(&wrong, Rule::Exports, rank);
}

#[test]
fn only_what_the_world_has_is_imported() {
    let of = |world, name: &str| component(world, &format!("(import \"{name}\" (instance))"));
    for world in World::ALL {
        for name in [
            "funnelweb:pipeline/types@0.1.0",
            "wasi:cli/environment@0.2.0",
            "wasi:cli/stdout@0.3.0",
            "wasi:io/streams@0.2.12",
            "wasi:clocks/wall-clock@0.2.3",
            "wasi:clocks/system-clock@0.3.1",
            "wasi:random/insecure-seed@0.2.9",
            "wasi:filesystem/preopens@0.2.6",
            "wasi:sockets/tcp@0.2.6",
        ] {
            assert_eq!(inspect(&of(world, name)).unwrap().imports, [name]);
        }
        for name in [
            "funnelweb:pipeline/dispatch@0.1.0",
            "funnelweb:pipeline/types@0.2.0",
            "funnelweb:tenant/other@0.1.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:http/types@0.2.10",
            "wasi:keyvalue/store@0.2.0",
            "wasi:io/streams@0.3.0",
            "wasi:io/streams@0.1.0",
            "wasi:io/streams@1.2.0",
            "wasi:io/streams@0.2.0-rc",
            "wasi:io/streams",
            "wasi:io/rivers@0.2.0",
            "spin:key-value/key-value@3.0.0",
            "anything",
        ] {
            refused(&of(world, name), Rule::Imports, &format!("`{name}`"));
        }
        let catalogue = inspect(&of(world, "funnelweb:tenant/catalogue@0.1.0"));
        assert_eq!(catalogue.is_ok(), world == World::Recall);
    }
    let help = refused(&of(World::Rank, "wasi:http/types@0.2.10"), Rule::Imports, "").help;
    assert!(help.contains("--disable"), "{help}");
    refused(&ranker("(import \"wasi:cli/environment@0.2.0\" (func))"), Rule::Imports, "environment");
    let many: String = (0..20).map(|at| format!("(import \"x{at}\" (func))")).collect();
    refused(&ranker(&many), Rule::Imports, "and 12 more");
}

/// What the engines are configured to take, and what is taken here, are the same.
#[test]
fn what_the_engine_takes_is_taken() {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    let engine = Engine::new(&config).unwrap();
    let mut taken = Vec::new();
    for (proposal, parts) in [
        ("multi-value", "(core module (func (result i32 i32) i32.const 1 i32.const 2))"),
        ("simd", "(core module (func (result v128) v128.const i64x2 1 2))"),
        (
            "relaxed-simd",
            "(core module (func (param v128 v128) (result v128) local.get 0 local.get 1 i8x16.relaxed_swizzle))",
        ),
        ("bulk-memory", "(core module (memory 1) (func i32.const 0 i32.const 0 i32.const 0 memory.copy))"),
        ("reference-types", "(core module (table 1 funcref) (func (result funcref) ref.null func))"),
        ("tail-call", "(core module (func $f return_call $f))"),
        ("multi-memory", "(core module (memory 1) (memory 1))"),
        ("memory64", "(core module (memory i64 1))"),
        ("extended-const", "(core module (global i32 (i32.add (i32.const 1) (i32.const 2))))"),
        ("function-references", "(core module (type $t (func)) (func (param (ref $t)) local.get 0 call_ref $t))"),
        ("externref", "(core module (func (param externref)))"),
        ("gc", "(core module (type $t (struct (field i32))) (func (result (ref $t)) i32.const 1 struct.new $t))"),
        ("exceptions", "(core module (tag $t) (func throw $t))"),
        ("threads", "(core module (memory 1 1 shared))"),
        ("atomics", "(core module (memory 1) (func (result i32) i32.const 0 i32.atomic.load))"),
        (
            "wide-arithmetic",
            "(core module (func (param i64 i64) (result i64 i64) local.get 0 local.get 1 i64.mul_wide_s))",
        ),
        ("custom-page-sizes", "(core module (memory 1 (pagesize 1)))"),
        ("stack-switching", "(core module (type $f (func)) (type $c (cont $f)))"),
        ("component-async", "(type (future u8)) (type (stream u8)) (type (func async))"),
        ("error-context", "(type error-context)"),
        ("fixed-length-lists", "(type (list u8 4))"),
        ("map", "(type (map string u8))"),
    ] {
        let wasm = ranker(parts);
        let ours = inspect(&wasm);
        let theirs = engine.precompile_component(&wasm);
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{proposal}: {ours:?} {:?}", theirs.map(drop));
        if ours.is_ok() {
            taken.push(proposal);
        }
    }
    let wanted = ["simd", "relaxed-simd", "tail-call", "memory64", "component-async"];
    assert!(wanted.iter().all(|proposal| taken.contains(proposal)), "{taken:?}");
    for proposal in ["threads", "atomics", "gc", "exceptions", "externref"] {
        assert!(!taken.contains(&proposal), "{proposal}");
    }
    assert!(!FEATURES.threads());
}

#[test]
fn sections_of_others_do_not_matter() {
    let mut wasm = wat::parse_str("(component (@custom \"producers\" \"\\00\") (instance $own) (export \"funnelweb:pipeline/rank@0.1.0\" (instance $own)))").unwrap();
    wasm = embedded(&wasm, &manifest(World::Rank));
    inspect(&wasm).unwrap();
}
