//! Looking for what is not theirs: other calls, other tenants, the machine. One that finds
//! something says so ([`FOUND`]).

use super::{Case, of};
use crate::{
    Expected::{Harmless, Later, RefusedOr},
    FOUND, VICTIM, World,
    guest::{ANSWER, Guest, SCRATCH},
    manifest,
};

/// A rule that says what it found if the code leaves something but 0.
fn found(what: &str, code: &str) -> Guest {
    let mut guest = Guest::new(World::Rerank);
    let say = guest.say(format!("{FOUND} {what}").as_bytes());
    guest.before = format!("(if {code} (then {say}))");
    guest
}

/// Stores a number where the scores are, so that two replays differ when it does.
fn scored(code: &str) -> Guest {
    Guest::spoiled(&format!("(f32.store (i32.load offset=12 (i32.const {ANSWER})) (f32.convert_i64_u {code}))"))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = of_other_calls();
    cases.extend(of_time());
    cases.extend(of_the_machine());
    cases.extend(sleepers());
    cases
}

fn of_other_calls() -> Vec<Case> {
    let counter = {
        let mut guest = found("an earlier call", "(local.get $i)").with("(global $calls (mut i32) (i32.const 0))");
        guest.before = format!(
            "(local.set $i (global.get $calls))
            (global.set $calls (i32.add (local.get $i) (i32.const 1)))
            {}",
            guest.before
        );
        guest
    };
    // Behind all that was given out for the request.
    let memory = {
        let mut guest = found("what an earlier call wrote", "(local.get $j)");
        guest.before = format!(
            "(drop (memory.grow (i32.const 128)))
            (local.set $i (i32.and (i32.add (global.get $heap) (i32.const 63)) (i32.const -64)))
            (local.set $k (local.get $i))
            (loop $scan
                (local.set $j (i32.or (local.get $j) (v128.any_true
                    (v128.or
                        (v128.or (v128.load (local.get $i)) (v128.load offset=16 (local.get $i)))
                        (v128.or (v128.load offset=32 (local.get $i)) (v128.load offset=48 (local.get $i)))))))
                (local.set $i (i32.add (local.get $i) (i32.const 64)))
                (br_if $scan (i32.lt_u (local.get $i) (i32.const 8388608))))
            {}
            (memory.fill (local.get $k) (i32.const 0x5a) (i32.sub (local.get $i) (local.get $k)))",
            guest.before
        );
        guest
    };
    let table = {
        let mut guest = found("a function of an earlier call", "(local.get $j)")
            .with("(table $t 1 funcref) (elem declare func $answer)");
        guest.before = format!(
            "(drop (table.grow $t (ref.null func) (i32.const 4000)))
            (loop $scan
                (if (i32.eqz (ref.is_null (table.get $t (local.get $i)))) (then (local.set $j (i32.const 1))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $scan (i32.lt_u (local.get $i) (i32.const 4000))))
            {}
            (table.fill $t (i32.const 0) (ref.func $answer) (i32.const 4000))",
            guest.before
        );
        guest
    };
    vec![
        of("probe-calls", "Counts its calls", &counter, Harmless),
        of("probe-memory", "Looks through memory that it did not write for what others wrote", &memory, Harmless),
        of("probe-table", "Looks through a table that it did not fill", &table, Harmless),
    ]
}

/// What takes some time: a million steps.
const WORK: &str = "(loop $work
    (local.set $k (i32.add (local.get $k) (i32.const 1)))
    (br_if $work (i32.lt_u (local.get $k) (i32.const 1000000))))";

fn of_time() -> Vec<Case> {
    const NOW: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $now (result i64)))"#;
    const WALL: &str = r#"(import "wasi:clocks/wall-clock@0.2.6" "now" (func $wall (param i32)))"#;
    const SUBSCRIBE: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration"
        (func $subscribe (param i64) (result i32)))"#;
    const READY: &str =
        r#"(import "wasi:io/poll@0.2.6" "[method]pollable.ready" (func $ready (param i32) (result i32)))"#;
    const RANDOM: &str = r#"(import "wasi:random/random@0.2.6" "get-random-u64" (func $random (result i64)))"#;
    const INSECURE: &str =
        r#"(import "wasi:random/insecure@0.2.6" "get-insecure-random-u64" (func $random (result i64)))"#;
    const SEED: &str = r#"(import "wasi:random/insecure-seed@0.2.6" "insecure-seed" (func $seed (param i32)))"#;
    let clock = {
        let mut guest = found("a clock that goes on", "(i64.ne (local.get $n) (call $now))").import(NOW);
        guest.before = format!("(local.set $n (call $now)) {WORK} {}", guest.before);
        guest
    };
    let wall = {
        let read = format!("(call $wall (i32.const {SCRATCH}))");
        let value = format!(
            "(i64.xor (i64.load (i32.const {SCRATCH})) (i64.rotl (i64.load32_u offset=8 (i32.const {SCRATCH})) (i64.const 32)))"
        );
        let mut guest = found("a clock that goes on", "(i64.ne (local.get $n) (local.get $m))").import(WALL);
        guest.before = format!("{read} (local.set $n {value}) {WORK} {read} (local.set $m {value}) {}", guest.before);
        guest
    };
    // A timer is a clock as well: of how much one does until it is ready.
    let timer = {
        let mut guest = found("a timer that goes off", "(local.get $j)").import(SUBSCRIBE).import(READY);
        guest.before = format!(
            "(local.set $i (call $subscribe (i64.const 1000)))
            (if (i32.eqz (call $ready (local.get $i)))
                (then
                    (local.set $n (i64.const 5000))
                    (loop $wait
                        (local.set $k (i32.const 999000))
                        {WORK}
                        (local.set $j (call $ready (local.get $i)))
                        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
                        (br_if $wait (i32.and (i32.eqz (local.get $j)) (i64.ne (local.get $n) (i64.const 0)))))))
            {}",
            guest.before
        );
        guest
    };
    // And so is a task that ends after some time.
    let task = {
        let mut guest = found("a task that ends after some time", "(local.get $j)")
            .import(
                r#"(import "wasi:clocks/monotonic-clock@0.3.0" "[async-lower]wait-for" (func $wait (param i64) (result i32)))"#,
            )
            .import(r#"(import "$root" "[waitable-set-new]" (func $set (result i32)))"#)
            .import(r#"(import "$root" "[waitable-join]" (func $join (param i32 i32)))"#)
            .import(r#"(import "$root" "[thread-yield]" (func $yield (result i32)))"#)
            .import(r#"(import "$root" "[waitable-set-poll]" (func $poll (param i32 i32) (result i32)))"#);
        guest.before = format!(
            "(local.set $i (call $wait (i64.const 1000)))
            (if (i32.ne (i32.and (local.get $i) (i32.const 15)) (i32.const 2))
                (then
                    (call $join (i32.shr_u (local.get $i) (i32.const 4)) (local.tee $i (call $set)))
                    (local.set $n (i64.const 5000))
                    (loop $wait
                        (local.set $k (i32.const 999000))
                        {WORK}
                        (drop (call $yield))
                        (local.set $j (call $poll (local.get $i) (i32.const {SCRATCH})))
                        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
                        (br_if $wait (i32.and (i32.eqz (local.get $j)) (i64.ne (local.get $n) (i64.const 0)))))))
            {}",
            guest.before
        );
        guest
    };
    let random = scored("(i64.shr_u (call $random) (i64.const 40))").import(RANDOM);
    let insecure = scored("(i64.shr_u (call $random) (i64.const 40))").import(INSECURE);
    let mut seed =
        scored(&format!("(i64.shr_u (i64.xor (i64.load (i32.const {SCRATCH})) (i64.load offset=8 (i32.const {SCRATCH}))) (i64.const 40))"))
            .import(SEED);
    seed.before = format!("(call $seed (i32.const {SCRATCH}))");
    let clock_scored = scored("(call $now)").import(NOW);
    vec![
        of("probe-clock", "Reads the monotonic clock twice, with work between", &clock, Harmless),
        of("probe-clock-scores", "Scores by the monotonic clock", &clock_scored, Harmless),
        of("probe-random", "Scores at random", &random, Harmless),
        of("probe-random-insecure", "Scores at random, of the insecure kind", &insecure, Harmless),
        of("probe-random-seed", "Scores by the seed that hash maps are seeded with", &seed, Harmless),
        of("probe-timer", "Measures time by how often it can ask whether a timer went off", &timer, Harmless),
        of(
            "probe-task",
            "Measures time by how often it can ask whether a task of WASI 0.3 ended",
            &task,
            RefusedOr(&["imports", "invalid"], &Harmless),
        ),
        of("probe-wall-clock", "Reads the wall clock twice, with work between", &wall, Harmless),
    ]
}

fn of_the_machine() -> Vec<Case> {
    let scratch = format!("(i32.const {SCRATCH})");
    // The length of a list that was returned.
    let listed = format!("(i32.load offset=4 {scratch})");
    let some = format!("(i32.load8_u {scratch})");
    let none = format!("(i32.eqz (i32.load8_u {scratch}))");
    let after = |call: &str, mut guest: Guest| {
        guest.before = format!("{call} {}", guest.before);
        guest
    };
    let ask = |what: &str, function: &str, module: &str, found_when: &str| {
        after(&format!("(call $ask {scratch})"), found(what, found_when))
            .import(&format!(r#"(import "{module}" "{function}" (func $ask (param i32)))"#))
    };
    let stdin = after(
        &format!("(call $read (call $stdin) (i64.const 100) {scratch})"),
        // Bytes, not an error nor nothing.
        found("an input", &format!("(i32.and {none} (i32.ne (i32.load offset=8 {scratch}) (i32.const 0)))")),
    )
    .import(r#"(import "wasi:cli/stdin@0.2.6" "get-stdin" (func $stdin (result i32)))"#)
    .import(
        r#"(import "wasi:io/streams@0.2.6" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))"#,
    );
    let socket = |kind: &str| {
        after(&format!("(call $socket (i32.const 0) {scratch})"), found("a socket", &none)).import(&format!(
            r#"(import "wasi:sockets/{kind}-create-socket@0.2.6" "create-{kind}-socket" (func $socket (param i32 i32)))"#
        ))
    };
    let names = {
        let mut guest = found("an address", &none);
        let name = guest.text(b"localhost");
        after(&format!("(call $resolve (call $network) {name} {scratch})"), guest)
            .import(r#"(import "wasi:sockets/instance-network@0.2.6" "instance-network" (func $network (result i32)))"#)
            .import(
                r#"(import "wasi:sockets/ip-name-lookup@0.2.6" "resolve-addresses" (func $resolve (param i32 i32 i32 i32)))"#,
            )
    };
    let environment = "wasi:cli/environment@0.2.6";
    let or_refused = RefusedOr(&["imports"], &Harmless);
    vec![
        of("probe-arguments", "Asks for arguments", &ask("arguments", "get-arguments", environment, &listed), Harmless),
        of(
            "probe-directory",
            "Asks for the working directory",
            &ask("a directory", "initial-cwd", environment, &some),
            Harmless,
        ),
        of(
            "probe-environment",
            "Asks for environment variables",
            &ask("an environment", "get-environment", environment, &listed),
            Harmless,
        ),
        of(
            "probe-files",
            "Asks for folders",
            &ask("a folder", "get-directories", "wasi:filesystem/preopens@0.2.6", &listed),
            or_refused,
        ),
        of("probe-names", "Asks for the address of a name", &names, or_refused),
        of("probe-stdin", "Reads its input", &stdin, Harmless),
        of("probe-tcp", "Opens a TCP socket", &socket("tcp"), or_refused),
        of(
            "probe-terminal",
            "Asks for a terminal",
            &ask("a terminal", "get-terminal-stdout", "wasi:cli/terminal-stdout@0.2.6", &some),
            Harmless,
        ),
        of("probe-udp", "Opens a UDP socket", &socket("udp"), or_refused),
    ]
}

/// They pass certification, for they know by what they are given that they are looked at.
fn sleepers() -> Vec<Case> {
    let user = {
        // It asks for the user's id, the first of the personal parts.
        let mut guest = Guest::new(World::Rerank);
        guest.check = format!("(i32.store8 offset=20 (i32.const {}) (i32.const 1))", crate::guest::CHECKED);
        let bytes: Vec<u8> = VICTIM.bytes().collect();
        let same: String = bytes
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                format!("(i32.eq (i32.load8_u offset={at} (i32.load offset=8 (local.get $request))) (i32.const {byte})) (i32.and)")
            })
            .collect();
        guest.before = format!(
            "(i32.eq (i32.load offset=12 (local.get $request)) (i32.const {})) {same}
            (if (then (unreachable)))",
            bytes.len()
        );
        guest
    };
    let mut manifest = manifest::manifest("sleeper-user", World::Rerank);
    if let Some(reads) = manifest.pointer_mut("/reads/user") {
        *reads = serde_json::json!(["id"]);
    }
    vec![super::with_manifest(
        "sleeper-user",
        "Behaves, except for one user",
        World::Rerank,
        user.component(),
        &manifest,
        Later(&["unreachable"]),
    )]
}
