//! Taking memory.

use super::{Case, MEMORY, component, of};
use crate::{
    Expected::{Contained, Harmless, Refused, RefusedOr, Unusable},
    World, composition,
    guest::{Guest, REQUEST_BYTES},
};

pub(super) fn cases() -> Vec<Case> {
    let memory = |memory: &str| Guest { memory: memory.to_owned(), ..Guest::new(World::Rerank) };
    let second = |memory: &str| Guest::new(World::Rerank).with(memory);
    let realloc = |answer: &str| Guest {
        realloc: format!("(if (i32.gt_u (local.get $size) (i32.const {REQUEST_BYTES})) (then {answer}))"),
        ..Guest::new(World::Rerank)
    };
    let grow = Guest::rerank(
        "(loop $more
            (local.set $i (memory.grow (i32.const 1)))
            (if (i32.eq (local.get $i) (i32.const -1)) (then (unreachable)))
            (i32.store (i32.shl (local.get $i) (i32.const 16)) (i32.const 1))
            (br $more))",
    );
    let at_once = Guest::rerank("(if (i32.eq (memory.grow (i32.const 65534)) (i32.const -1)) (then (unreachable)))");
    let touch = Guest::rerank(
        "(if (i32.eq (memory.grow (i32.sub (i32.const 512) (memory.size))) (i32.const -1)) (then (unreachable)))
        (memory.fill (global.get $heap) (i32.const 0xa5) (i32.sub (i32.const 0x2000000) (global.get $heap)))",
    );
    // Each is well below the limit.
    let both = {
        let part = composition::part(
            "(memory (export \"memory\") 1)
            (func (export \"run\") (param i64) (result i64) (i64.extend_i32_s (memory.grow (i32.const 700))))",
        );
        let rule = Guest::rerank(
            "(if (i32.or
                    (i32.eq (memory.grow (i32.const 700)) (i32.const -1))
                    (i64.eq (call $part (i64.const 0)) (i64.const -1)))
                (then (unreachable)))",
        );
        composition::compose(&part, &rule.import(composition::IMPORT))
    };
    let many: String = (0..40).map(|_| "(memory 1)").collect();
    let gibibytes = "(if (i32.eq (memory.grow (i32.const 65534)) (i32.const -1)) (then (unreachable)))";
    vec![
        of("memory-at-once", "Grows its memory to 4 GiB at once", &at_once, Contained(MEMORY)),
        component(
            "memory-both",
            "Two components in one, whose memories are too large together when they have grown",
            World::Rerank,
            both,
            Contained(MEMORY),
        ),
        of("memory-grow", "Grows its memory page by page, and writes to each", &grow, Contained(MEMORY)),
        of(
            "memory-initial",
            "A memory of 65 MiB to begin with",
            &memory("(memory (export \"memory\") 1040)"),
            Refused(&["memories"]),
        ),
        of(
            "memory-initial-4g",
            "A memory of 4 GiB to begin with",
            &memory("(memory (export \"memory\") 65536)"),
            Refused(&["memories"]),
        ),
        of(
            "memory-64",
            "A second memory of 2^62 bytes",
            &second("(memory i64 0x400000000000)"),
            Refused(&["memories", "invalid", "compile"]),
        ),
        of("memory-many", "Forty memories more", &second(&many), Refused(&["memories", "compile"])),
        of(
            "memory-second",
            "A second memory in one core module",
            &second("(memory 1)"),
            RefusedOr(&["memories", "compile"], &Unusable(&["pooling allocator"])),
        ),
        of(
            "memory-shared",
            "A memory that threads share",
            &second("(memory 1 1 shared)"),
            Refused(&["invalid", "memories"]),
        ),
        of(
            "memory-sum",
            "Two memories that are too large together",
            &second("(memory 1023)"),
            RefusedOr(&["memories", "compile"], &Harmless),
        ),
        of("memory-touch", "Writes to half of the memory that it may have, and leaves it like that", &touch, Harmless),
        of(
            "realloc-4g",
            "Wants 4 GiB where the host asks for memory for the request",
            &realloc(gibibytes),
            Contained(MEMORY),
        ),
        of(
            "realloc-null",
            "Gives the host no memory for the request, but its own beginning",
            &realloc("(return (i32.const 0))"),
            // By what of the request lies in its answer's place then.
            Contained(&["discriminant", "out of bounds", "aligned", "was not offered"]),
        ),
        of(
            "realloc-outside",
            "Gives the host memory that it does not have",
            &realloc("(return (i32.const -65536))"),
            Contained(&["realloc return: beyond end of memory"]),
        ),
        of(
            "realloc-unaligned",
            "Gives the host memory that is not aligned",
            &realloc("(return (i32.const 65537))"),
            Contained(&["realloc return: result not aligned"]),
        ),
        of(
            "realloc-trap",
            "Traps where the host asks for memory for the request",
            &realloc("(unreachable)"),
            Contained(&["unreachable"]),
        ),
    ]
}
