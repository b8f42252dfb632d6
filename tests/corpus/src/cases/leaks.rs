//! Handles that are never given back.

use super::{Case, HANDLES, component, of};
use crate::{
    Expected::{Contained, Harmless},
    World, composition,
    guest::{Guest, SCRATCH},
};

/// Does it 100,000 times.
fn often(code: &str) -> Guest {
    times(100_000, code)
}

/// As often as files could be open, which takes no time.
fn some(code: &str) -> Guest {
    times(2000, code)
}

fn times(count: u32, code: &str) -> Guest {
    Guest::rerank(&format!(
        "(loop $more {code}
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const {count}))))"
    ))
}

/// A rule whose part keeps making these; `$make` is its function that makes one.
fn made(about: &'static str, name: &'static str, fields: &str, make: &str, result: &str) -> Case {
    let part = composition::component(&format!(
        r#"{fields}
        (core func $make (canon {make}))
        (core module $m
            (import "" "make" (func $make (result {result})))
            (func (export "run") (param i64) (result i64) (local $i i32)
                (loop $more
                    (drop (call $make))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $more (i32.lt_u (local.get $i) (i32.const 200000))))
                (local.get 0)))
        (core instance $host (export "make" (func $make)))
        (core instance $i (instantiate $m (with "" (instance $host))))
        (func $run (param "request" u64) (result u64) (canon lift (core func $i "run")))"#
    ));
    let rule = Guest::rerank("(drop (call $part (i64.const 0)))").import(composition::IMPORT);
    component(name, about, World::Rerank, composition::compose(&part, &rule), Contained(HANDLES))
}

pub(super) fn cases() -> Vec<Case> {
    let pollables = often("(drop (call $subscribe (i64.const 3600000000000)))").import(
        r#"(import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $subscribe (param i64) (result i32)))"#,
    );
    let outputs = often("(drop (call $stdout))").import(super::hosts::STDOUT);
    let inputs = often("(drop (call $stdin))")
        .import(r#"(import "wasi:cli/stdin@0.2.6" "get-stdin" (func $stdin (result i32)))"#);
    let networks = often("(drop (call $network))")
        .import(r#"(import "wasi:sockets/instance-network@0.2.6" "instance-network" (func $network (result i32)))"#);
    let sockets = some(&format!("(call $socket (i32.const 0) (i32.const {SCRATCH}))")).import(
        r#"(import "wasi:sockets/tcp-create-socket@0.2.6" "create-tcp-socket" (func $socket (param i32 i32)))"#,
    );
    const READ: &str = r#"(import "wasi:cli/stdin@0.3.0" "read-via-stream" (func $read (param i32)))"#;
    let streams = often(&format!("(call $read (i32.const {SCRATCH}))")).import(READ);
    // Each is given back at once, but what the host has begun for it may not have been.
    let streams_dropped = some(&format!(
        "(call $read (i32.const {SCRATCH}))
        (call $drop-stream (i32.load (i32.const {SCRATCH})))
        (call $drop-future (i32.load offset=4 (i32.const {SCRATCH})))"
    ))
    .import(READ)
    .import(
        r#"(import "wasi:cli/stdin@0.3.0" "[stream-drop-readable-0]read-via-stream" (func $drop-stream (param i32)))"#,
    )
    .import(
        r#"(import "wasi:cli/stdin@0.3.0" "[future-drop-readable-1]read-via-stream" (func $drop-future (param i32)))"#,
    );
    // The part's own resources: the host keeps a table of them for it.
    let resources = {
        let part = composition::component(
            r#"(type $t (resource (rep i32)))
            (core func $make (canon resource.new $t))
            (core module $m
                (import "" "make" (func $make (param i32) (result i32)))
                (func (export "run") (param i64) (result i64) (local $i i32)
                    (loop $more
                        (drop (call $make (local.get $i)))
                        (local.set $i (i32.add (local.get $i) (i32.const 1)))
                        (br_if $more (i32.lt_u (local.get $i) (i32.const 200000))))
                    (local.get 0)))
            (core instance $host (export "make" (func $make)))
            (core instance $i (instantiate $m (with "" (instance $host))))
            (func $run (param "request" u64) (result u64) (canon lift (core func $i "run")))"#,
        );
        let rule = Guest::rerank("(drop (call $part (i64.const 0)))").import(composition::IMPORT);
        composition::compose(&part, &rule)
    };
    let wrong = |code: &str| {
        Guest::rerank(code)
            .import(super::hosts::STDOUT)
            .import(r#"(import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))"#)
            .import(r#"(import "wasi:io/poll@0.2.6" "[resource-drop]pollable" (func $drop (param i32)))"#)
            .import(
                r#"(import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $subscribe (param i64) (result i32)))"#,
            )
    };
    vec![
        of(
            "handle-forged",
            "Uses a handle that it was never given",
            &wrong("(call $block (i32.const 4242))"),
            Contained(&["unknown handle index"]),
        ),
        of(
            "handle-dropped",
            "Uses a handle that it gave back",
            &wrong(
                "(local.set $i (call $subscribe (i64.const 0))) (call $drop (local.get $i)) (call $block (local.get $i))",
            ),
            Contained(&["unknown handle index"]),
        ),
        of(
            "handle-type",
            "Uses a handle as one of another type",
            &wrong("(call $block (call $stdout))"),
            Contained(&["handle index"]),
        ),
        of("leak-inputs", "Opens its input 100,000 times", &inputs, Contained(HANDLES)),
        of(
            "leak-inputs-streams",
            "Opens its input 100,000 times, as a stream of WASI 0.3",
            &streams,
            Contained(HANDLES),
        ),
        of(
            "leak-inputs-streams-dropped",
            "Opens its input 2,000 times, as a stream of WASI 0.3, and closes it each time",
            &streams_dropped,
            Harmless,
        ),
        of("leak-networks", "Asks for the network 100,000 times", &networks, Contained(HANDLES)),
        of("leak-outputs", "Opens its output 100,000 times", &outputs, Contained(HANDLES)),
        of("leak-pollables", "Sets 100,000 timers and waits for none", &pollables, Contained(HANDLES)),
        component(
            "leak-resources",
            "Makes 200,000 resources of its own, of which the host keeps a table",
            World::Rerank,
            resources,
            Contained(HANDLES),
        ),
        of("leak-sockets", "Opens 2,000 sockets", &sockets, Harmless),
        made("Makes 200,000 sets of things to wait for", "async-sets", "", "waitable-set.new", "i32"),
        made("Makes 200,000 streams", "async-streams", "(type $s (stream u8))", "stream.new $s", "i64"),
        made("Makes 200,000 futures", "async-futures", "(type $f (future string))", "future.new $f", "i64"),
    ]
}
