//! What was exported, and what was not.

use std::fmt;

use serde::Serialize;

/// What was exported, and what was not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Slates in the log.
    pub slates: u64,
    /// Items in them: as many as `rows` and all that was left out.
    pub items: u64,
    /// Rows in the file.
    pub rows: u64,
    /// Columns of features.
    pub features: u64,
    /// The part that is learned from.
    pub train: PartReport,
    /// The part that says when to stop.
    pub valid: PartReport,
    /// The part that is measured on.
    pub test: PartReport,
    /// Items without a row.
    pub left_out: LeftOut,
    /// Behaviours of the scenario.
    pub behaviors: BehaviorsReport,
    /// Cells that are null because the feature had another kind when they were shown
    /// than it had last.
    pub old_kind_cells: u64,
}

/// What is in a part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PartReport {
    /// Requests with a row.
    pub requests: u64,
    /// Rows.
    pub rows: u64,
    /// Those with a `label_click`.
    pub clicks: u64,
    /// Those with a `label_conversion`.
    pub conversions: u64,
    /// Those with a `label_watch_time`.
    pub watched: u64,
}

/// Items without a row, by why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LeftOut {
    /// Shown to a session, whose behaviours nobody could attribute.
    pub sessions: u64,
    /// Shown at another time than was asked for.
    pub outside: u64,
    /// Of a request whose id an earlier slate has.
    pub repeated: u64,
    /// Their window has not ended.
    pub unfinished: u64,
    /// Perhaps not seen.
    pub unseen: u64,
}

/// Behaviours of the scenario.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct BehaviorsReport {
    /// In the log.
    pub read: u64,
    /// On an item that was shown to the user, within the window.
    pub attributed: u64,
    /// Of those, not told to the row, since they happened in the next part's time.
    pub cut: u64,
}

impl LeftOut {
    /// Altogether.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { sessions, outside, repeated, unfinished, unseen } = self;
        sessions + outside + repeated + unfinished + unseen
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, outside, repeated, unfinished, unseen } = self;
        let reasons = [
            (sessions, "shown to sessions without a user"),
            (outside, "shown outside of the time asked for"),
            (repeated, "of requests with an id that was used before"),
            (unfinished, "whose window has not ended (--unfinished keeps them, --window-hours shortens it)"),
            (unseen, "not known to be seen"),
        ];
        let given = reasons.iter().filter(|(count, _)| **count > 0);
        let given: Vec<String> = given.map(|(count, reason)| format!("{count} {reason}")).collect();
        to.write_str(&given.join(", "))
    }
}
