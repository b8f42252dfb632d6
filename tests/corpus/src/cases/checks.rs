//! What `check` can do, beside computing without end.

use super::{BYTES, Case, of};
use crate::{
    Expected::{Harmless, Unusable},
    FOUND, World,
    guest::{CHECKED, Guest},
};

/// A `check` that asks for columns: `columns` of them, all with this text for a name.
fn columns(count: u32, name_bytes: u32) -> Guest {
    Guest {
        check: format!(
            "(drop (memory.grow (i32.const 100)))
            (memory.fill (i32.const 2097152) (i32.const 120) (i32.const {name_bytes}))
            (loop $fill
                (i32.store offset=65536 (local.get $i) (i32.const 2097152))
                (i32.store offset=65540 (local.get $i) (i32.const {name_bytes}))
                (local.set $i (i32.add (local.get $i) (i32.const 12)))
                (br_if $fill (i32.lt_u (local.get $i) (i32.const {}))))
            (i32.store offset=4 (i32.const {CHECKED}) (i32.const 65536))
            (i32.store offset=8 (i32.const {CHECKED}) (i32.const {count}))",
            count * 12
        ),
        ..Guest::new(World::Rerank)
    }
}

pub(super) fn cases() -> Vec<Case> {
    let check = |check: String| Guest { check, ..Guest::new(World::Rerank) };
    let items = check(format!(
        "(drop (memory.grow (i32.const 20)))
        (i32.store offset=12 (i32.const {CHECKED}) (i32.const 65536))
        (i32.store offset=16 (i32.const {CHECKED}) (i32.const 100000))"
    ));
    let flags = check(format!("(i32.store8 offset=20 (i32.const {CHECKED}) (i32.const 0xe0))"));
    // Of the user it asks for all, of which its manifest says nothing, and tells what it got.
    let mut curious = check(format!("(i32.store8 offset=20 (i32.const {CHECKED}) (i32.const 0x1f))"));
    let told = curious.say(format!("{FOUND} the user").as_bytes());
    curious.before = format!("(if (i32.load offset=12 (local.get $request)) (then {told}))");
    vec![
        of(
            "check-amplified",
            "`check` asks for 40,000 columns whose long names are one text",
            &columns(40_000, 1_000_000),
            Unusable(BYTES),
        ),
        of(
            "check-columns",
            "`check` asks for 10,000 columns",
            &columns(10_000, 1),
            Unusable(&["which its manifest does not read"]),
        ),
        of(
            "check-curious",
            "`check` asks for what is known of users, and its manifest does not",
            &curious,
            Unusable(&["that its manifest does not read"]),
        ),
        of("check-flags", "`check` asks for what does not exist", &flags, Harmless),
        of("check-items", "`check` asks for 100,000 items", &items, Unusable(&["items, "])),
        of(
            "check-name",
            "`check` asks for a column whose name is a megabyte",
            &columns(1, 1_000_000),
            Unusable(&["which its manifest does not read"]),
        ),
        of("check-trap", "`check` traps", &check("(unreachable)".to_owned()), Unusable(&["unreachable"])),
    ]
}
