//! What is said.

use serde::Serialize;

use crate::{
    Error,
    compared::{Compared, Known, compare},
    groups::GroupReport,
    guarded::{Guarded, judge},
    looks::{Looks, Mismatched},
    users::{Plan, Users},
};

/// The report of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Each group.
    pub groups: Vec<GroupReport>,
    /// Each other group against the control, metric by metric.
    pub comparisons: Vec<Compared>,
    /// Each guardrail in each other group.
    pub guardrails: Vec<Guarded>,
    /// Whether groups got the users that they should have.
    pub sample_ratio_mismatch: Mismatched,
    /// Users who were in two groups, and count in none.
    pub crossed_users: u64,
    /// How often a difference may be found where there is none, over all looks together.
    pub alpha: f64,
    /// What `days_left` is to find: a share of the control's value.
    pub effect: f64,
    /// Whether some of what it is about was kept no more when it was read: then it is of those who
    /// are known, and nothing is said of chance.
    pub incomplete: bool,
    /// Whether there were more users than are counted: then it is of those who came first.
    pub is_full: bool,
}

impl Report {
    /// Of an experiment that has run for so many days. What is valid however often it is looked
    /// at is so of data that only grow: where some were lost, it is [`incomplete`](Self::incomplete).
    ///
    /// # Errors
    /// [`Error::Statistics`] for a plan whose numbers are out of range.
    pub fn new(plan: &Plan, users: &Users, days: f64, looks: &mut Looks) -> Result<Self, Error> {
        let reported = looks.reported(users);
        let groups: Vec<GroupReport> =
            (0..plan.groups.len()).map(|group| GroupReport::new(plan, users, group, reported)).collect();
        let known = Known::new(plan, users, reported, days);
        let comparisons = compare(&known, looks)?;
        let sizes = looks.sizes(plan, &groups, known.is_incomplete)?;
        Ok(Self {
            guardrails: judge(&known, sizes, looks)?,
            groups,
            comparisons,
            sample_ratio_mismatch: sizes,
            crossed_users: users.crossed(),
            alpha: plan.alpha,
            effect: plan.effect,
            incomplete: known.is_incomplete,
            is_full: users.is_full(),
        })
    }
}

#[cfg(test)]
mod tests;
