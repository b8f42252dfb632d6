//! What WebAssembly has and the host leaves out, and what it takes with care.

use super::{Case, component, of};
use crate::{
    Expected::{Harmless, Refused, RefusedOr},
    World, composition,
    guest::{ANSWER, Guest},
    sections,
};

pub(super) fn cases() -> Vec<Case> {
    // A core module beside that of the rule, which is never instantiated.
    let with = |name, about, fields: &str, expected| {
        let module = wat::parse_str(format!("(module {fields})")).expect("a module");
        let bytes = sections::with(Guest::new(World::Rerank).component(), &sections::module(&module));
        component(name, about, World::Rerank, bytes, expected)
    };
    let errors = composition::component(
        r#"(core module $libc (memory (export "memory") 20))
        (core instance $libc (instantiate $libc))
        (core func $new (canon error-context.new (memory $libc "memory") string-encoding=utf8))
        (core module $m
            (import "" "new" (func $new (param i32 i32) (result i32)))
            (func (export "run") (param i64) (result i64)
                (loop $endless (drop (call $new (i32.const 0) (i32.const 1000000))) (br $endless))
                (local.get 0)))
        (core instance $host (export "new" (func $new)))
        (core instance $i (instantiate $m (with "" (instance $host))))
        (func $run (param "request" u64) (result u64) (canon lift (core func $i "run")))"#,
    );
    let rule = Guest::rerank("(drop (call $part (i64.const 0)))").import(composition::IMPORT);
    // What relaxed instructions answer is up to the processor, unless the host says otherwise.
    let relaxed = Guest::spoiled(&format!(
        "(f32.store (i32.load offset=12 (i32.const {ANSWER}))
            (f32x4.extract_lane 0 (f32x4.relaxed_madd
                (f32x4.splat (f32.const 0x1.000002p0))
                (f32x4.splat (f32.const 0x1.000002p0))
                (f32x4.splat (f32.const -0x1.000004p0)))))"
    ));
    // The bits of what is no number are up to the processor as well; they are made a score.
    let nan = Guest::spoiled(&format!(
        "(f32.store (i32.load offset=12 (i32.const {ANSWER}))
            (f32.convert_i32_u (i32.shr_u
                (i32.reinterpret_f32 (f32.div (f32.const 0) (f32.sub (local.get $f) (local.get $f))))
                (i32.const 8))))"
    ));
    let invalid = Refused(&["invalid"]);
    vec![
        component(
            "feature-error-contexts",
            "Has the host keep messages of a megabyte",
            World::Rerank,
            composition::compose(&errors, &rule),
            invalid,
        ),
        with("feature-exceptions", "Exceptions", "(tag $t) (func (throw $t))", invalid),
        with(
            "feature-gc",
            "Structures that the host would collect",
            "(type $s (struct (field i64))) (func (loop $l (drop (struct.new $s (i64.const 1))) (br $l)))",
            invalid,
        ),
        with("feature-page-size", "A memory of pages of one byte", "(memory 1 (pagesize 1))", invalid),
        of("feature-nan-bits", "Scores by the bits of what is no number", &nan, Harmless),
        of(
            "feature-relaxed-simd",
            "Scores by an instruction whose answer is the processor's",
            &relaxed,
            RefusedOr(&["invalid"], &Harmless),
        ),
        with(
            "feature-stack-switching",
            "Stacks of its own",
            "(type $f (func)) (type $c (cont $f)) (func (param (ref $c)) (resume $c (local.get 0)))",
            invalid,
        ),
        with(
            "feature-threads",
            "Waits for another thread",
            "(memory 1 1 shared) (func (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))",
            invalid,
        ),
    ]
}
