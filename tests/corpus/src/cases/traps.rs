//! Traps and exits, in a call and before it.

use super::{Case, of};
use crate::{
    Expected::{Contained, Harmless, RefusedOr, Unusable},
    World,
    guest::{Guest, SCRATCH},
};

const OUTSIDE: &[&str] = &["out of bounds"];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = in_calls();
    cases.extend(before_calls());
    cases
}

fn in_calls() -> Vec<Case> {
    let types = "(type $number (func (result i32))) (type $long (func (result i64)))
        (table 4 funcref) (elem (i32.const 0) $seven) (func $seven (type $long) (i64.const 7))";
    let call = |at: i32| Guest::rerank(&format!("(drop (call_indirect (type $number) (i32.const {at})))")).with(types);
    let exit = |status: i32| {
        Guest::rerank(&format!("(call $exit (i32.const {status}))"))
            .import(r#"(import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))"#)
    };
    let post_return = Guest { post_return: Some("(unreachable)".to_owned()), ..Guest::new(World::Rerank) };
    let leaving = Guest { post_return: Some("(drop (call $now))".to_owned()), ..Guest::new(World::Rerank) }
        .import(r#"(import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $now (result i64)))"#);
    // The names of functions stand where a trap is told of.
    let name = format!("\\1b[31m\\0a{}", "x".repeat(100_000));
    let named = Guest::rerank("(call $named)").with(&format!("(func $named (@name \"{name}\") (unreachable))"));
    vec![
        of("exit-failure", "Exits with a failure", &exit(1), Contained(&["exit"])),
        of("exit-success", "Exits with success", &exit(0), Contained(&["exit"])),
        of(
            "trap-call-missing",
            "An indirect call of a function that is not there",
            &call(1),
            Contained(&["uninitialized element"]),
        ),
        of(
            "trap-call-outside",
            "An indirect call outside of the table",
            &call(-1),
            Contained(&["undefined element", "out of bounds"]),
        ),
        of(
            "trap-call-type",
            "An indirect call of a function of another type",
            &call(0),
            Contained(&["indirect call type mismatch"]),
        ),
        of(
            "trap-convert",
            "Makes an integer of what is no number",
            &Guest::rerank("(drop (i32.trunc_f32_s (f32.const nan)))"),
            Contained(&["invalid conversion to integer"]),
        ),
        of(
            "trap-divide",
            "Divides by zero",
            &Guest::rerank("(drop (i32.div_u (local.get $request) (i32.const 0)))"),
            Contained(&["divide by zero"]),
        ),
        of(
            "trap-memory",
            "Reads outside of its memory",
            &Guest::rerank("(drop (i32.load offset=4294967292 (local.get $request)))"),
            Contained(OUTSIDE),
        ),
        of(
            "trap-memory-near",
            "Reads one byte beyond its memory",
            &Guest::rerank("(drop (i64.load (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 7))))"),
            Contained(OUTSIDE),
        ),
        of(
            "trap-name",
            "Traps in a function whose name is 100,000 bytes, with escape sequences",
            &named,
            Contained(&["unreachable"]),
        ),
        of(
            "trap-post-return",
            "Traps after the answer, in the post-return function",
            &post_return,
            Contained(&["unreachable"]),
        ),
        of(
            "trap-post-return-host",
            "Calls the host after the answer, in the post-return function",
            &leaving,
            Contained(&["cannot leave component instance"]),
        ),
        of("trap-unreachable", "Traps", &Guest::rerank("(unreachable)"), Contained(&["unreachable"])),
    ]
}

fn before_calls() -> Vec<Case> {
    let with = |fields: &str| Guest::new(World::Rerank).with(fields);
    let start_exit = with("(func $start (call $exit (i32.const 0))) (start $start)")
        .import(r#"(import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))"#);
    let initialize_prints = {
        let mut guest = Guest::new(World::Rerank).import(super::hosts::STDOUT).import(
            r#"(import "wasi:io/streams@0.2.6" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))"#,
        );
        let text = guest.text(b"hello before the beginning\n");
        guest
            .with(&format!("(func (export \"_initialize\") (call $write (call $stdout) {text} (i32.const {SCRATCH})))"))
    };
    vec![
        of(
            "trap-data",
            "A data segment that lies outside of the memory",
            &with("(data (i32.const 131070) \"beyond\")"),
            RefusedOr(&["invalid", "compile"], &Unusable(OUTSIDE)),
        ),
        of(
            "trap-data-wrap",
            "A data segment at the end of what can be said",
            &with("(data (i32.const -1) \"beyond\")"),
            RefusedOr(&["invalid", "compile"], &Unusable(OUTSIDE)),
        ),
        of(
            "trap-element",
            "An element segment that lies outside of its table",
            &with("(table 1 funcref) (elem (i32.const 7) $realloc)"),
            RefusedOr(&["invalid", "compile"], &Unusable(OUTSIDE)),
        ),
        of(
            "trap-initialize",
            "Traps in `_initialize`",
            &with("(func (export \"_initialize\") (unreachable))"),
            Unusable(&["unreachable"]),
        ),
        of(
            "trap-start",
            "Traps in a core module's start function",
            &with("(func $start (unreachable)) (start $start)"),
            Unusable(&["unreachable"]),
        ),
        of("exit-start", "Exits in a core module's start function", &start_exit, Unusable(&["exit", "cannot leave"])),
        of("print-initialize", "Prints in `_initialize`", &initialize_prints, Harmless),
    ]
}
