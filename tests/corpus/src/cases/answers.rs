//! Answers that are none, or more than one can hold.

use super::{BYTES, Case, of};
use crate::{
    Expected::Contained,
    World,
    guest::{ANSWER, Guest},
};

pub(super) fn cases() -> Vec<Case> {
    let set = |offset: u32, value: i64| format!("(i32.store offset={offset} (i32.const {ANSWER}) (i32.const {value}))");
    let handles = |at: i64, length: i64| Guest::spoiled(&format!("{} {}", set(4, at), set(8, length)));
    let five_million = Guest::spoiled(&format!(
        "(drop (memory.grow (i32.const 800))) {} {} {} {}",
        set(4, 65536),
        set(8, 5_000_000),
        set(12, 65536),
        set(16, 5_000_000)
    ));
    let message = |bytes: &[u8]| {
        let mut guest = Guest::new(World::Rerank);
        let say = guest.say(bytes);
        guest.before = say;
        guest
    };
    let long = |bytes: u32| {
        Guest::rerank(&format!(
            "(drop (memory.grow (i32.const 900)))
            (memory.fill (i32.const 65536) (i32.const 120) (i32.const {bytes}))
            (return (call $say (i32.const 65536) (i32.const {bytes})))"
        ))
    };
    let outside = &["out of bounds", "pointer out of bounds of memory"];
    let tag = Guest::spoiled(&format!("(i32.store8 (i32.const {ANSWER}) (i32.const 7))"));
    let code = Guest::rerank(&format!(
        "(drop (call $say (i32.const 0) (i32.const 0))) (i32.store8 offset=4 (i32.const {ANSWER}) (i32.const 200)) (return (i32.const {ANSWER}))"
    ));
    let nowhere = |at: i64| Guest::rerank(&format!("(return (i32.const {at}))"));
    let accumulators = Guest {
        // As many accumulators as there are batches, but all of them the same 8 MiB.
        after: format!(
            "(drop (memory.grow (i32.const 200)))
            (local.set $i (i32.load offset=4 (i32.const {ANSWER})))
            (local.set $length (i32.const 65536))
            (i32.store offset=8 (i32.const {ANSWER}) (i32.const 1))
            (i32.store (local.get $i) (i32.const 65536))
            (i32.store offset=4 (local.get $i) (i32.const 8388608))"
        ),
        ..Guest::new(World::Aggregate)
    };
    vec![
        of(
            "answer-accumulator",
            "An accumulator of 8 MiB",
            &accumulators,
            Contained(&["an answer of more bytes than its limit", "bytes"]),
        ),
        of("answer-code", "An error whose code does not exist", &code, Contained(&["discriminant"])),
        of(
            "answer-long",
            "A list of 100 million, of which nothing is there",
            &handles(65536, 100_000_000),
            Contained(outside),
        ),
        of(
            "answer-long-over",
            "A list so long that its bytes cannot be counted",
            &handles(65536, -1),
            Contained(&["out of bounds", "overflow"]),
        ),
        of(
            "answer-message-escapes",
            "An error whose message has escape sequences and directions of text",
            &message("\u{1b}[2J\u{202e}no\0\r\n\u{2028}yes".as_bytes()),
            Contained(&["yes"]),
        ),
        of("answer-message-huge", "An error whose message is 50 MB", &long(50_000_000), Contained(BYTES)),
        of(
            "answer-message-invalid",
            "An error whose message is no UTF-8",
            &message(b"\xed\xa0\x80\xff"),
            Contained(&["utf-8"]),
        ),
        of("answer-message-long", "An error whose message is 3 MB", &long(3_000_000), Contained(&["xxxxxxxx"])),
        of("answer-much", "Two lists of five million, with all their cells", &five_million, Contained(BYTES)),
        of("answer-nowhere", "An answer outside of its memory", &nowhere(-8), Contained(outside)),
        of("answer-tag", "An answer that is neither a list nor an error", &tag, Contained(&["discriminant"])),
        of("answer-unaligned", "An answer at an odd place", &nowhere(65), Contained(&["aligned"])),
        of("answer-unaligned-list", "A list at an odd place", &handles(65537, 1), Contained(&["aligned"])),
        of(
            "answer-within-itself",
            "A list that lies where the answer itself lies",
            &handles(i64::from(ANSWER), 4),
            Contained(&["scores for", "was not offered"]),
        ),
        of(
            "answer-empty-outside",
            "An empty list that lies outside of its memory",
            &Guest::spoiled(&set(20, -16)),
            Contained(outside),
        ),
    ]
}
