//! Lists that are not what was promised.

use super::{Case, of};
use crate::{
    Expected::{Contained, Harmless},
    World,
    guest::{ANSWER, Guest},
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = rules();
    cases.extend(rankers());
    cases.extend(channels());
    cases
}

/// Adds to a number of the answer.
fn add(offset: u32, more: i32) -> String {
    format!(
        "(i32.store offset={offset} (i32.const {ANSWER})
            (i32.add (i32.load offset={offset} (i32.const {ANSWER})) (i32.const {more})))"
    )
}

/// Replaces the first score of a list that stands at this place of the answer.
fn first_score(list: u32, score: &str) -> String {
    format!("(f32.store (i32.load offset={list} (i32.const {ANSWER})) (f32.const {score}))")
}

fn rules() -> Vec<Case> {
    let handle =
        |code: &str| Guest::spoiled(&format!("(local.set $i (i32.load offset=4 (i32.const {ANSWER}))) {code}"));
    let score = |score: &str| Guest::spoiled(&first_score(12, score));
    let removed = Guest::spoiled(&format!(
        "(i32.store offset=20 (i32.const {ANSWER}) (i32.load offset=4 (i32.const {ANSWER})))
        (i32.store offset=24 (i32.const {ANSWER}) (i32.const 1))"
    ));
    let offered = &["was not offered", "stands twice"];
    vec![
        of("contract-denormal", "A score that is nearly nothing", &score("0x1p-149"), Harmless),
        of("contract-infinite", "A score of infinity", &score("inf"), Contained(&["is not finite"])),
        of("contract-infinite-negative", "A score of minus infinity", &score("-inf"), Contained(&["is not finite"])),
        of(
            "contract-invented",
            "An item that nobody offered",
            &handle("(i64.store (local.get $i) (i64.xor (i64.load (local.get $i)) (i64.const 1)))"),
            Contained(offered),
        ),
        of("contract-kept-removed", "An item that is kept and removed", &removed, Contained(offered)),
        of(
            "contract-lost",
            "An item that is neither kept nor removed",
            &Guest::spoiled(&format!("{} {}", add(8, -1), add(16, -1))),
            Contained(&["lost"]),
        ),
        of("contract-nan", "A score that is no number", &score("nan:0x200001"), Contained(&["is not finite"])),
        of(
            "contract-repeated",
            "An item that stands twice",
            &handle("(i64.store offset=8 (local.get $i) (i64.load (local.get $i)))"),
            Contained(offered),
        ),
        of("contract-scores-long", "More scores than items", &Guest::spoiled(&add(16, 1)), Contained(&["scores for"])),
        of(
            "contract-scores-short",
            "Fewer scores than items",
            &Guest::spoiled(&add(16, -1)),
            Contained(&["scores for"]),
        ),
        of("contract-zero-negative", "A score of minus nothing", &score("-0"), Harmless),
    ]
}

fn rankers() -> Vec<Case> {
    let rank = |after: &str| Guest { after: after.to_owned(), ..Guest::new(World::Rank) };
    vec![
        of("contract-rank-long", "A ranker with a score too many", &rank(&add(8, 1)), Contained(&["scores for"])),
        of(
            "contract-rank-nan",
            "A ranker with a score that is no number",
            &rank(&first_score(4, "nan")),
            Contained(&["is not finite"]),
        ),
        of("contract-rank-short", "A ranker with a score too few", &rank(&add(8, -1)), Contained(&["scores for"])),
    ]
}

fn channels() -> Vec<Case> {
    // So many items, made up, and so many scores.
    let found = |handles: i32, scores: i32, step: i32| Guest {
        after: format!(
            "(drop (memory.grow (i32.const 4)))
            (i32.store offset=4 (i32.const {ANSWER}) (i32.const 65536))
            (i32.store offset=8 (i32.const {ANSWER}) (i32.const {handles}))
            (i32.store offset=12 (i32.const {ANSWER}) (i32.const 196608))
            (i32.store offset=16 (i32.const {ANSWER}) (i32.const {scores}))
            (loop $each
                (i64.store offset=65536 (i32.shl (local.get $i) (i32.const 3)) (i64.extend_i32_u (local.get $j)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (local.set $j (i32.add (local.get $j) (i32.const {step})))
                (br_if $each (i32.lt_u (local.get $i) (i32.const {handles}))))"
        ),
        ..Guest::new(World::Recall)
    };
    vec![
        of(
            "contract-recall-invented",
            "A recall channel that finds items that do not exist",
            &found(5, 5, 1),
            Contained(&["is none that it was given"]),
        ),
        of(
            "contract-recall-many",
            "A recall channel that finds more than it was asked for",
            &found(10_000, 10_000, 1),
            Contained(&["for a limit of"]),
        ),
        of(
            "contract-recall-repeated",
            "A recall channel that finds one item five times",
            &found(5, 5, 0),
            Contained(&["stands twice"]),
        ),
        of(
            "contract-recall-short",
            "A recall channel that has fewer scores than items",
            &found(5, 4, 1),
            Contained(&["4 scores for 5"]),
        ),
    ]
}
