//! Looking for what is not theirs: other calls, other tenants, the machine. One that finds
//! something says so ([`FOUND`]).

use super::{Case, of};
use crate::{
    Expected::{Harmless, Later},
    FOUND, VICTIM, World,
    guest::{ANSWER, Guest},
    manifest,
};

mod cache;
mod machine;
mod time;

/// A rule that says what it found if the code leaves something but 0.
fn found(what: &str, code: &str) -> Guest {
    let mut guest = Guest::new(World::Rerank);
    let say = guest.say(format!("{FOUND} {what}").as_bytes());
    guest.before = format!("(if {code} (then {say}))");
    guest
}

/// What takes some time: a million steps.
const WORK: &str = "(loop $work
    (local.set $k (i32.add (local.get $k) (i32.const 1)))
    (br_if $work (i32.lt_u (local.get $k) (i32.const 1000000))))";

/// Stores a number where the scores are, so that two replays differ when it does.
fn scored(code: &str) -> Guest {
    Guest::spoiled(&format!("(f32.store (i32.load offset=12 (i32.const {ANSWER})) (f32.convert_i64_u {code}))"))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = of_other_calls();
    cases.extend(time::cases());
    cases.extend(cache::cases());
    cases.extend(machine::cases());
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
