//! Clocks, and what could be one: timers, tasks, and chance, which is other each time.

use super::{Case, WORK, found, of, scored};
use crate::{
    Expected::Harmless,
    guest::{Guest, NOW_MS, SCRATCH},
};

pub(super) const NOW: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $now (result i64)))"#;
const NOW_P3: &str = r#"(import "wasi:clocks/monotonic-clock@0.3.0" "now" (func $now (result i64)))"#;
const WALL: &str = r#"(import "wasi:clocks/wall-clock@0.2.6" "now" (func $wall (param i32)))"#;
const WALL_P3: &str = r#"(import "wasi:clocks/system-clock@0.3.0" "now" (func $wall (param i32)))"#;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = clocks();
    cases.extend(waiting());
    cases.extend(chance());
    cases
}

/// Leaves the time of the wall clock in a local, in nanoseconds.
fn read_wall(into: &str) -> String {
    format!(
        "(call $wall (i32.const {SCRATCH}))
        (local.set {into}
            (i64.add
                (i64.mul (i64.load (i32.const {SCRATCH})) (i64.const 1000000000))
                (i64.load32_u offset=8 (i32.const {SCRATCH}))))"
    )
}

/// Whether the time in `$n`, in nanoseconds, is another than the request's.
fn is_another() -> String {
    format!("(i64.ne (local.get $n) (i64.mul (i64.load offset={NOW_MS} (local.get $request)) (i64.const 1000000)))")
}

fn clocks() -> Vec<Case> {
    let twice = |import: &str| {
        let mut guest = found("a clock that goes on", "(i64.ne (local.get $n) (call $now))").import(import);
        guest.before = format!("(local.set $n (call $now)) {WORK} {}", guest.before);
        guest
    };
    let wall_twice = |import: &str| {
        let mut guest = found("a clock that goes on", "(i64.ne (local.get $n) (local.get $m))").import(import);
        guest.before = format!("{} {WORK} {} {}", read_wall("$n"), read_wall("$m"), guest.before);
        guest
    };
    // A clock that stands may still tell something: when the process began, or what time it is.
    let of_request = {
        let other = format!("(i32.and (i64.ne (local.get $n) (i64.const 0)) {})", is_another());
        let mut guest = found("a time that is neither 0 nor the request's", &other).import(NOW);
        guest.before = format!("(local.set $n (call $now)) {}", guest.before);
        guest
    };
    let wall_of_request = |import: &str| {
        let mut guest = found("a time that is not the request's", &is_another()).import(import);
        guest.before = format!("{} {}", read_wall("$n"), guest.before);
        guest
    };
    vec![
        of("probe-clock", "Reads the monotonic clock twice, with work between", &twice(NOW), Harmless),
        of(
            "probe-clock-p3",
            "Reads the monotonic clock of WASI 0.3 twice, with work between",
            &twice(NOW_P3),
            Harmless,
        ),
        of("probe-clock-request", "Compares the monotonic clock with the request's time", &of_request, Harmless),
        of("probe-clock-scores", "Scores by the monotonic clock", &scored("(call $now)").import(NOW), Harmless),
        of(
            "probe-system-clock",
            "Reads the system clock of WASI 0.3 twice, with work between",
            &wall_twice(WALL_P3),
            Harmless,
        ),
        of(
            "probe-system-clock-request",
            "Compares the system clock of WASI 0.3 with the request's time",
            &wall_of_request(WALL_P3),
            Harmless,
        ),
        of("probe-wall-clock", "Reads the wall clock twice, with work between", &wall_twice(WALL), Harmless),
        of(
            "probe-wall-clock-request",
            "Compares the wall clock with the request's time",
            &wall_of_request(WALL),
            Harmless,
        ),
    ]
}

fn waiting() -> Vec<Case> {
    const SUBSCRIBE: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration"
        (func $subscribe (param i64) (result i32)))"#;
    const READY: &str =
        r#"(import "wasi:io/poll@0.2.6" "[method]pollable.ready" (func $ready (param i32) (result i32)))"#;
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
    vec![
        of("probe-timer", "Measures time by how often it can ask whether a timer went off", &timer, Harmless),
        of("probe-task", "Measures time by how often it can ask whether a task of WASI 0.3 ended", &task, Harmless),
    ]
}

/// Answers would differ from those to the same request.
fn chance() -> Vec<Case> {
    let number = |interface: &str, function: &str| {
        scored("(i64.shr_u (call $random) (i64.const 40))")
            .import(&format!(r#"(import "wasi:random/{interface}" "{function}" (func $random (result i64)))"#))
    };
    let seed = |version: &str, function: &str| {
        let both = format!("(i64.xor (i64.load (i32.const {SCRATCH})) (i64.load offset=8 (i32.const {SCRATCH})))");
        let guest = scored(&format!("(i64.shr_u {both} (i64.const 40))")).import(&format!(
            r#"(import "wasi:random/insecure-seed@{version}" "{function}" (func $seed (param i32)))"#
        ));
        Guest { before: format!("(call $seed (i32.const {SCRATCH}))"), ..guest }
    };
    let insecure = "get-insecure-random-u64";
    vec![
        of("probe-random", "Scores at random", &number("random@0.2.6", "get-random-u64"), Harmless),
        of("probe-random-p3", "Scores at random, by WASI 0.3", &number("random@0.3.0", "get-random-u64"), Harmless),
        of(
            "probe-random-insecure",
            "Scores at random, of the insecure kind",
            &number("insecure@0.2.6", insecure),
            Harmless,
        ),
        of(
            "probe-random-insecure-p3",
            "Scores at random, of the insecure kind of WASI 0.3",
            &number("insecure@0.3.0", insecure),
            Harmless,
        ),
        of(
            "probe-random-seed",
            "Scores by the seed that hash maps are seeded with",
            &seed("0.2.6", "insecure-seed"),
            Harmless,
        ),
        of(
            "probe-random-seed-p3",
            "Scores by the seed of WASI 0.3 that hash maps are seeded with",
            &seed("0.3.0", "get-insecure-seed"),
            Harmless,
        ),
    ]
}
