//! Nothing is wrong with these; a host that refuses or fails them is of no use.

use super::{Case, component, of};
use crate::{Expected::Harmless, World, composition, guest::Guest, sections};

pub(super) fn cases() -> Vec<Case> {
    let part = composition::part(r#"(func (export "run") (param i64) (result i64) (local.get 0))"#);
    let rule = Guest::rerank("(drop (call $part (i64.const 1)))").import(composition::IMPORT);
    let debugged = sections::with(
        Guest::new(World::Rerank).component(),
        &[sections::custom("name", b"\xff\xff\xff"), sections::custom(".debug_info", &[7; 10_000])].concat(),
    );
    vec![
        of("plain-recall", "A recall channel that finds nothing", &Guest::new(World::Recall), Harmless),
        of("plain-rank", "A ranker that keeps the scores", &Guest::new(World::Rank), Harmless),
        of("plain-rerank", "A rule that keeps the list", &Guest::new(World::Rerank), Harmless),
        of("plain-aggregate", "A stream operator that says nothing", &Guest::new(World::Aggregate), Harmless),
        component(
            "plain-composed",
            "A rule composed of two components, one of which is the other's import",
            World::Rerank,
            composition::compose(&part, &rule),
            Harmless,
        ),
        component(
            "plain-composed-wac",
            "A rule composed of two components by `wac plug`",
            World::Rerank,
            composition::plug(&part, &rule),
            Harmless,
        ),
        component(
            "plain-custom-sections",
            "A rule with custom sections that other tools would fail on",
            World::Rerank,
            debugged,
            Harmless,
        ),
    ]
}
