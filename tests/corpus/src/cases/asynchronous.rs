//! The component model's own concurrency.

use super::{Case, TIME, component};
use crate::{
    Expected::{Contained, Refused, RefusedOr, Unusable},
    World, composition,
    guest::Guest,
    wit,
};

/// A rule whose part is written in full.
fn composed(name: &'static str, about: &'static str, part: &str, expected: crate::Expected) -> Case {
    let rule = Guest::rerank("(drop (call $part (i64.const 0)))").import(composition::IMPORT);
    let part = composition::component(part);
    component(name, about, World::Rerank, composition::compose(&part, &rule), expected)
}

/// It would wait where nothing can come.
const BLOCKED: &[&str] = &["cannot block"];

pub(super) fn cases() -> Vec<Case> {
    // Waits for what never comes.
    let wait = r#"
        (core module $libc (memory (export "memory") 1))
        (core instance $libc (instantiate $libc))
        (core func $set (canon waitable-set.new))
        (core func $wait (canon waitable-set.wait (memory $libc "memory")))
        (core module $m
            (import "" "set" (func $set (result i32)))
            (import "" "wait" (func $wait (param i32 i32) (result i32)))
            (func (export "run") (param i64) (result i64)
                (drop (call $wait (call $set) (i32.const 0)))
                (local.get 0)))
        (core instance $host (export "set" (func $set)) (export "wait" (func $wait)))
        (core instance $i (instantiate $m (with "" (instance $host))))
        (func $run (param "request" u64) (result u64) (canon lift (core func $i "run")))"#;
    let read = r#"
        (core module $libc (memory (export "memory") 1))
        (core instance $libc (instantiate $libc))
        (type $s (stream u8))
        (core func $new (canon stream.new $s))
        (core func $read (canon stream.read $s (memory $libc "memory")))
        (core module $m
            (import "" "new" (func $new (result i64)))
            (import "" "read" (func $read (param i32 i32 i32) (result i32)))
            (func (export "run") (param i64) (result i64)
                (drop (call $read (i32.wrap_i64 (call $new)) (i32.const 0) (i32.const 100)))
                (local.get 0)))
        (core instance $host (export "new" (func $new)) (export "read" (func $read)))
        (core instance $i (instantiate $m (with "" (instance $host))))
        (func $run (param "request" u64) (result u64) (canon lift (core func $i "run")))"#;
    // Its two ends are both its own, and what is written is never read.
    let write = r#"
        (core module $libc (memory (export "memory") 1))
        (core instance $libc (instantiate $libc))
        (type $s (stream u8))
        (core func $new (canon stream.new $s))
        (core func $write (canon stream.write $s async (memory $libc "memory")))
        (core module $m
            (import "" "new" (func $new (result i64)))
            (import "" "write" (func $write (param i32 i32 i32) (result i32)))
            (func (export "run") (param i64) (result i64) (local $i i32)
                (loop $more
                    (drop (call $write
                        (i32.wrap_i64 (i64.shr_u (call $new) (i64.const 32))) (i32.const 0) (i32.const 60000)))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $more (i32.lt_u (local.get $i) (i32.const 200000))))
                (local.get 0)))
        (core instance $host (export "new" (func $new)) (export "write" (func $write)))
        (core instance $i (instantiate $m (with "" (instance $host))))
        (func $run (param "request" u64) (result u64) (canon lift (core func $i "run")))"#;
    let yields = r#"
        (core func $yield (canon thread.yield))
        (core module $m
            (import "" "yield" (func $yield (result i32)))
            (func (export "run") (param i64) (result i64)
                (loop $endless (drop (call $yield)) (br $endless))
                (local.get 0)))
        (core instance $host (export "yield" (func $yield)))
        (core instance $i (instantiate $m (with "" (instance $host))))
        (func $run (param "request" u64) (result u64) (canon lift (core func $i "run")))"#;
    let backpressure = r#"
        (core func $inc (canon backpressure.inc))
        (core module $m
            (import "" "inc" (func $inc))
            (func (export "run") (param i64) (result i64) (local $i i32)
                (loop $more
                    (call $inc)
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $more (i32.lt_u (local.get $i) (i32.const 70000))))
                (local.get 0)))
        (core instance $host (export "inc" (func $inc)))
        (core instance $i (instantiate $m (with "" (instance $host))))
        (func $run (param "request" u64) (result u64) (canon lift (core func $i "run")))"#;
    // Two components, of which one starts tasks of the other: their callbacks wait for ever.
    let slow = |lowered: &str, result: &str, code: &str| {
        format!(
            r#"
        (component $slow
            (core module $m
                (func (export "run") (result i32) (i32.const 1))
                (func (export "callback") (param i32 i32 i32) (result i32) (i32.const 1)))
            (core instance $i (instantiate $m))
            (func (export "slow") async (result u32)
                (canon lift (core func $i "run") async (callback (func $i "callback")))))
        (component $caller
            (import "slow" (func $slow async (result u32)))
            (core module $libc (memory (export "memory") 1))
            (core instance $libc (instantiate $libc))
            (core func $start {lowered})
            (core module $m
                (import "" "start" (func $start {result}))
                (func (export "run") (param i64) (result i64) (local $i i32) {code} (local.get 0)))
            (core instance $host (export "start" (func $start)))
            (core instance $i (instantiate $m (with "" (instance $host))))
            (func (export "run") (param "request" u64) (result u64) (canon lift (core func $i "run"))))
        (instance $slow (instantiate $slow))
        (instance $caller (instantiate $caller (with "slow" (func $slow "slow"))))
        (alias export $caller "run" (func $run))"#
        )
    };
    let unfinished = slow(
        r#"(canon lower (func $slow) async (memory $libc "memory"))"#,
        "(param i32) (result i32)",
        "(loop $more
            (drop (call $start (i32.const 16)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 200000))))",
    );
    // Called as if it were not asynchronous, it has to be waited for.
    let never = slow("(canon lower (func $slow))", "(result i32)", "(drop (call $start))");
    let async_export = {
        let package = "package funnelweb:pipeline@0.1.0;
            interface rerank { check: async func(params: string) -> string; rerank: async func(params: string) -> string; }
            world w { export rerank; }";
        let module = r#"(module (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "funnelweb:pipeline/rerank@0.1.0#check") (param i32 i32) (result i32) (i32.const 16))
            (func (export "funnelweb:pipeline/rerank@0.1.0#rerank") (param i32 i32) (result i32) (i32.const 16)))"#;
        wit::component_of_lookalike(package, "w", module)
    };
    vec![
        composed(
            "async-backpressure",
            "Holds calls back 70,000 times",
            backpressure,
            Contained(&["backpressure counter overflow"]),
        ),
        component(
            "async-export",
            "Exports functions that are asynchronous",
            World::Rerank,
            async_export,
            RefusedOr(&["exports", "compile"], &Unusable(&["expected"])),
        ),
        composed("async-never", "Waits for a task of its own that never ends", &never, Contained(BLOCKED)),
        // To read without being asynchronous is not among what is taken.
        composed("async-read", "Reads from a stream that nobody writes to", read, Refused(&["invalid"])),
        composed(
            "async-tasks",
            "Starts 200,000 tasks that never end",
            &unfinished,
            Contained(&["no answer within", "handle limit exceeded", "no free keys", "fuel"]),
        ),
        composed("async-wait", "Waits for the first of an empty set of tasks", wait, Contained(BLOCKED)),
        composed("async-write", "Writes to 200,000 streams that nobody reads", write, Contained(super::HANDLES)),
        composed("async-yield", "Gives way for ever", yields, Contained(TIME)),
    ]
}
