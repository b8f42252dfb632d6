//! Keeping the host at work.

use super::{BYTES, Case, TIME, of};
use crate::{
    Expected::{Contained, Harmless},
    World,
    guest::{Guest, SCRATCH},
};

const CLOCK: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $now (result i64)))"#;
const SUBSCRIBE: &str =
    r#"(import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $subscribe (param i64) (result i32)))"#;
const BLOCK: &str = r#"(import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))"#;
const POLL: &str = r#"(import "wasi:io/poll@0.2.6" "poll" (func $poll (param i32 i32 i32)))"#;
const DROP: &str = r#"(import "wasi:io/poll@0.2.6" "[resource-drop]pollable" (func $drop (param i32)))"#;
const RANDOM: &str = r#"(import "wasi:random/random@0.2.6" "get-random-bytes" (func $random (param i64 i32)))"#;
pub(super) const STDOUT: &str = r#"(import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))"#;
const WRITE: &str = r#"(import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush"
    (func $write (param i32 i32 i32 i32)))"#;
const WRITE_AT_ONCE: &str = r#"(import "wasi:io/streams@0.2.6" "[method]output-stream.write"
    (func $write (param i32 i32 i32 i32)))"#;
const WRITE_ZEROES: &str = r#"(import "wasi:io/streams@0.2.6" "[method]output-stream.write-zeroes"
    (func $zeroes (param i32 i64 i32)))"#;

/// Again and again, each time with what was given out before free again.
fn again(code: &str) -> Guest {
    Guest::rerank(&format!(
        "(local.set $k (global.get $heap))
        (loop $endless (global.set $heap (local.get $k)) {code} (br $endless))"
    ))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = calls();
    cases.extend(prints());
    cases.extend(catalogue());
    cases
}

fn calls() -> Vec<Case> {
    let clock = again("(drop (call $now))").import(CLOCK);
    let random = again(&format!("(call $random (i64.const 65536) (i32.const {SCRATCH}))")).import(RANDOM);
    let random_huge =
        Guest::rerank(&format!("(call $random (i64.const 0x10000000000) (i32.const {SCRATCH}))")).import(RANDOM);
    let sleep =
        Guest::rerank("(call $block (call $subscribe (i64.const 3600000000000)))").import(SUBSCRIBE).import(BLOCK);
    let for_ever = Guest::rerank("(call $block (call $subscribe (i64.const -1)))").import(SUBSCRIBE).import(BLOCK);
    let task = Guest::rerank("(call $wait (i64.const 3600000000000))")
        .import(r#"(import "wasi:clocks/monotonic-clock@0.3.0" "wait-for" (func $wait (param i64)))"#);
    let naps = again(
        "(local.set $i (call $subscribe (i64.const 0))) (call $block (local.get $i)) (call $drop (local.get $i))",
    )
    .import(SUBSCRIBE)
    .import(BLOCK)
    .import(DROP);
    let empty = Guest::rerank(&format!("(call $poll (i32.const 0) (i32.const 0) (i32.const {SCRATCH}))")).import(POLL);
    let many = Guest::rerank(&format!(
        "(local.set $i (call $subscribe (i64.const 0)))
        (local.set $j (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 16000000)))
        (loop $fill
            (i32.store (i32.add (local.get $j) (local.get $k)) (local.get $i))
            (local.set $k (i32.add (local.get $k) (i32.const 4)))
            (br_if $fill (i32.lt_u (local.get $k) (i32.const 16000000))))
        (call $poll (local.get $j) (i32.const 4000000) (i32.const {SCRATCH}))"
    ))
    .import(SUBSCRIBE)
    .import(POLL);
    vec![
        of("host-clock", "Reads the clock for ever", &clock, Contained(TIME)),
        of("host-random", "Asks for random bytes for ever", &random, Contained(TIME)),
        of(
            "host-random-huge",
            "Asks for a tebibyte of random bytes",
            &random_huge,
            Contained(&["exceeds limit", "random"]),
        ),
        of("host-sleep", "Sleeps for an hour", &sleep, Harmless),
        // However short it is: who is not asynchronous may not wait for who is.
        of("host-sleep-task", "Sleeps for an hour, in a task of WASI 0.3", &task, Contained(&["cannot block"])),
        of("host-sleep-for-ever", "Sleeps until the clock has run over", &for_ever, Harmless),
        of("host-naps", "Sleeps for no time, again and again", &naps, Contained(TIME)),
        of("host-poll-nothing", "Waits for the first of nothing", &empty, Contained(&["empty poll list"])),
        of("host-poll-much", "Waits for four million times the same", &many, Contained(BYTES)),
    ]
}

fn prints() -> Vec<Case> {
    let print = |bytes: &[u8], ever: bool| {
        let mut guest = Guest::new(World::Rerank).import(STDOUT).import(WRITE);
        let text = guest.text(bytes);
        let write = format!("(call $write (local.get $j) {text} (i32.const {SCRATCH}))");
        let write = if ever { format!("(loop $endless {write} (br $endless))") } else { write };
        guest.before = format!("(local.set $j (call $stdout)) {write}");
        guest
    };
    let line = Guest::rerank(&format!(
        "(local.set $j (call $stdout))
        (drop (memory.grow (i32.const 10)))
        (memory.fill (i32.const 655360) (i32.const 120) (i32.const 4096))
        (loop $more
            (call $write (local.get $j) (i32.const 655360) (i32.const 4096) (i32.const {SCRATCH}))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 256))))"
    ))
    .import(STDOUT)
    .import(WRITE);
    let large = Guest::rerank(&format!(
        "(drop (memory.grow (i32.const 800)))
        (call $write (call $stdout) (i32.const 65536) (i32.const 50000000) (i32.const {SCRATCH}))"
    ))
    .import(STDOUT)
    .import(WRITE_AT_ONCE);
    let zeroes =
        Guest::rerank(&format!("(call $zeroes (call $stdout) (i64.const 0x10000000000) (i32.const {SCRATCH}))"))
            .import(STDOUT)
            .import(WRITE_ZEROES);
    let escapes = b"\x1b]0;owned\x07\x1b[2J\x1b[31mERROR all is lost\r\n{\"level\":\"error\"}\0\n".as_slice();
    let mut blaming = print(escapes, false);
    blaming.before.push_str("(unreachable)");
    vec![
        of("print-blame", "Prints what reads as the host's own log, then traps", &blaming, Contained(&["unreachable"])),
        of("print-endless", "Prints for ever", &print(b"spam spam spam spam\n", true), Contained(TIME)),
        of(
            "print-escapes",
            "Prints escape sequences of terminals and lines that look like a log",
            &print(escapes, false),
            Harmless,
        ),
        of("print-invalid", "Prints what is no UTF-8", &print(b"\xff\xfe\x80\xc0\xaf\n\xed\xa0\x80", false), Harmless),
        of("print-line", "Prints a line of a mebibyte", &line, Harmless),
        of("print-much", "Prints 48 MiB at once", &large, Contained(BYTES)),
        of(
            "print-zeroes",
            "Has the host print a tebibyte of zeroes",
            &zeroes,
            Contained(&["cannot write more zeroes"]),
        ),
    ]
}

/// A recall channel and its catalogue.
fn catalogue() -> Vec<Case> {
    const HOT: &str = r#"(import "funnelweb:tenant/catalogue@0.1.0" "hot" (func $hot (param i32 i32)))"#;
    const COLUMNS: &str =
        r#"(import "funnelweb:tenant/catalogue@0.1.0" "columns" (func $columns (param i32 i32 i32 i32 i32)))"#;
    const SIMILAR: &str =
        r#"(import "funnelweb:tenant/catalogue@0.1.0" "similar" (func $similar (param i32 i32 i32 i32)))"#;
    let at = |guest: Guest| Guest { before: guest.before, imports: guest.imports, ..Guest::new(World::Recall) };
    let ever = at(again(&format!("(call $hot (i32.const 1000) (i32.const {SCRATCH}))")).import(HOT));
    // The answers must be errors: the first byte of each result is 1.
    let refused = format!("(if (i32.eqz (i32.load8_u (i32.const {SCRATCH}))) (then (unreachable)))");
    let greedy = at(Guest::rerank(&format!(
        "(call $hot (i32.const -1) (i32.const {SCRATCH})) {refused}
        (call $hot (i32.const 0) (i32.const {SCRATCH})) {refused}
        (drop (memory.grow (i32.const 20)))
        (call $similar (i32.const 65536) (i32.const 100000) (i32.const 1000) (i32.const {SCRATCH})) {refused}
        (call $columns (i32.const 65536) (i32.const 100000) (i32.const 0) (i32.const 0) (i32.const {SCRATCH})) {refused}"
    ))
    .import(HOT)
    .import(SIMILAR)
    .import(COLUMNS));
    let amplified = at(Guest::rerank(&format!(
        // 40,000 columns whose names are the same mebibyte.
        "(drop (memory.grow (i32.const 60)))
        (memory.fill (i32.const 2097152) (i32.const 120) (i32.const 1048576))
        (loop $fill
            (i32.store offset=65536 (local.get $i) (i32.const 2097152))
            (i32.store offset=65540 (local.get $i) (i32.const 1048576))
            (local.set $i (i32.add (local.get $i) (i32.const 12)))
            (br_if $fill (i32.lt_u (local.get $i) (i32.const 480000))))
        (call $columns (i32.const 0) (i32.const 0) (i32.const 65536) (i32.const 40000) (i32.const {SCRATCH}))"
    ))
    .import(COLUMNS));
    vec![
        of(
            "catalogue-amplified",
            "Asks the catalogue for 40,000 columns whose long names are one text",
            &amplified,
            Contained(BYTES),
        ),
        of("catalogue-endless", "Asks the catalogue for what is hot, for ever", &ever, Contained(TIME)),
        of("catalogue-greedy", "Asks the catalogue for more than there may be at once", &greedy, Harmless),
    ]
}
