//! Computing without end.

use super::{Case, TIME, of};
use crate::{
    Expected::{Contained, Unusable},
    World,
    guest::{Guest, REQUEST_BYTES},
};

pub(super) const ENDLESS: &str = "(loop $endless (br $endless))";

pub(super) fn cases() -> Vec<Case> {
    let at = |world: World| Guest { before: ENDLESS.to_owned(), ..Guest::new(world) };
    let check = Guest { check: ENDLESS.to_owned(), ..Guest::new(World::Rerank) };
    let realloc = Guest {
        realloc: format!("(if (i32.gt_u (local.get $size) (i32.const {REQUEST_BYTES})) (then {ENDLESS}))"),
        ..Guest::new(World::Rerank)
    };
    let post_return = Guest { post_return: Some(ENDLESS.to_owned()), ..Guest::new(World::Rerank) };
    // Never deep, but of so many steps that no machine will see the last.
    let tree = "(func $tree (param $depth i32) (result i32)
        (if (result i32) (i32.eqz (local.get $depth))
            (then (i32.const 1))
            (else
                (i32.add
                    (call $tree (i32.sub (local.get $depth) (i32.const 1)))
                    (call $tree (i32.sub (local.get $depth) (i32.const 1)))))))";
    let recursion = Guest::rerank("(drop (call $tree (i32.const 60)))").with(tree);
    let start = Guest::new(World::Rerank).with(&format!("(func $start {ENDLESS}) (start $start)"));
    let initialize = Guest::new(World::Rerank).with(&format!("(func (export \"_initialize\") {ENDLESS})"));
    let fill = Guest::rerank(
        "(drop (memory.grow (i32.const 900)))
        (loop $endless
            (memory.fill (i32.const 65536) (i32.const 255) (i32.shl (i32.const 900) (i32.const 16)))
            (br $endless))",
    );
    let tail = Guest::rerank("(return_call $ping (local.get $request))").with(
        "(func $ping (param i32) (result i32) (return_call $pong (local.get 0)))
        (func $pong (param i32) (result i32) (return_call $ping (local.get 0)))",
    );
    let contained = Contained(TIME);
    vec![
        of("loop-aggregate", "An endless loop in a stream operator", &at(World::Aggregate), contained),
        of("loop-check", "An endless loop in `check`", &check, Unusable(TIME)),
        of("loop-initialize", "An endless loop in `_initialize`", &initialize, Unusable(TIME)),
        of("loop-memory-fill", "Fills 56 MiB of memory, again and again", &fill, contained),
        of("loop-plain", "An endless loop", &at(World::Rerank), contained),
        of(
            "loop-post-return",
            "An endless loop after the answer, in the post-return function",
            &post_return,
            contained,
        ),
        of("loop-rank", "An endless loop in a ranker", &at(World::Rank), contained),
        of("loop-realloc", "An endless loop where the host asks for memory for the request", &realloc, contained),
        of("loop-recall", "An endless loop in a recall channel", &at(World::Recall), contained),
        of("loop-recursion", "A recursion of 2^60 calls that is never deep", &recursion, contained),
        of("loop-start", "An endless loop in a core module's start function", &start, Unusable(TIME)),
        of("loop-tail-calls", "Two functions that tail-call each other for ever", &tail, contained),
    ]
}
