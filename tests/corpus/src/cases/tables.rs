//! Tables, and the stack.

use super::{Case, MEMORY, of};
use crate::{
    Expected::{Contained, Harmless, Refused},
    World,
    guest::{Guest, REQUEST_BYTES},
};

const STACK: &[&str] = &["call stack exhausted"];

pub(super) fn cases() -> Vec<Case> {
    let table = |table: &str| Guest::new(World::Rerank).with(table);
    let grow = Guest::rerank(
        "(loop $more
            (if (i32.eq (table.grow (ref.null func) (i32.const 500)) (i32.const -1)) (then (unreachable)))
            (br $more))",
    )
    .with("(table 1 funcref)");
    let at_once =
        Guest::rerank("(if (i32.eq (table.grow (ref.null func) (i32.const -2)) (i32.const -1)) (then (unreachable)))")
            .with("(table 1 funcref)");
    let dirty = Guest::rerank(
        "(drop (table.grow (ref.null func) (i32.const 4000)))
        (table.fill (i32.const 0) (ref.func $answer) (i32.const 4000))",
    )
    .with("(table 1 funcref) (elem declare func $answer)");
    let many: String = (0..60).map(|_| "(table 10 funcref)").collect();
    let sum: String = (0..5).map(|_| "(table 5000 funcref)").collect();

    let recursion = Guest::rerank("(drop (call $deeper (i32.const 0)))").with(
        "(func $deeper (param i32) (result i32)
            (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))",
    );
    // A frame of 3,000 numbers that must all be there after the call.
    let wide: String =
        (0..3000).map(|at| format!("(local.set {} (i64.load offset={} (local.get 0)))\n", at + 1, at * 8)).collect();
    let sum_up: String = (0..3000).map(|at| format!("(i64.xor (local.get {}))\n", at + 1)).collect();
    let frames = Guest::rerank("(drop (call $wide (i32.const 0)))").with(&format!(
        "(func $wide (param i32) (result i64) (local {}) {wide} (call $wide (local.get 0)) {sum_up})",
        "i64 ".repeat(3000)
    ));
    let in_check =
        Guest { check: "(drop (call $deeper (i32.const 0)))".to_owned(), before: String::new(), ..recursion.clone() };
    // The host is below on the stack when it asks for memory.
    let in_realloc = Guest {
        realloc: format!(
            "(if (i32.gt_u (local.get $size) (i32.const {REQUEST_BYTES})) (then (drop (call $deeper (i32.const 0)))))"
        ),
        before: String::new(),
        ..recursion.clone()
    };
    let host = Guest {
        realloc: format!(
            "(if (i32.gt_u (local.get $size) (i32.const {REQUEST_BYTES})) (then (call $random (i64.const 1000) (i32.const 128))))"
        ),
        ..Guest::new(World::Rerank)
    }
    .import(r#"(import "wasi:random/random@0.2.6" "get-random-bytes" (func $random (param i64 i32)))"#);
    vec![
        of("stack-check", "A recursion without end in `check`", &in_check, crate::Expected::Unusable(STACK)),
        of("stack-frames", "A recursion without end of frames of 24 KB", &frames, Contained(STACK)),
        of(
            "stack-host",
            "Calls the host from where the host asks for memory, which would do so again",
            &host,
            Contained(&["cannot leave component instance"]),
        ),
        of("stack-realloc", "A recursion without end where the host asks for memory", &in_realloc, Contained(STACK)),
        of("stack-recursion", "A recursion without end", &recursion, Contained(STACK)),
        of("table-at-once", "Grows a table to 2^32 elements at once", &at_once, Contained(&["memory", "fuel"])),
        of("table-dirty", "Fills a table and leaves it like that", &dirty, Harmless),
        of("table-grow", "Grows a table until it is refused", &grow, Contained(MEMORY)),
        of(
            "table-initial",
            "A table of 200,000 elements to begin with",
            &table("(table 200000 funcref)"),
            Refused(&["tables"]),
        ),
        of(
            "table-initial-most",
            "A table of as many elements as can be said",
            &table("(table 0xffffffff funcref)"),
            Refused(&["tables", "invalid"]),
        ),
        of("table-many", "Sixty tables", &table(&many), Refused(&["tables", "compile"])),
        of("table-sum", "Five tables that are too large together", &table(&sum), Refused(&["tables"])),
    ]
}
