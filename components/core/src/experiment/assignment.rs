//! Who is in which group: a function of the user and of what the scenario says, and of
//! nothing else.
//!
//! A user has a place in each layer, one of [`BUCKETS`], by a hash of the layer's name: of
//! experiments of one layer, which have different places, it is in one at most, and of
//! those of different layers independently. Within an experiment the group is the one that
//! wins a weighted draw (rendezvous hashing: Thaler and Ravishankar 1998; with weights,
//! Schindelhauer and Schomaker 2005): each group draws -ln(u) / ratio from a hash of its own,
//! and the smallest wins. When a group is added and the others give of theirs in proportion,
//! nobody changes but to the new one.

use super::{Condition, Running, Settings};
use crate::{id, scenario::Scenario};

/// The places of a layer.
pub const BUCKETS: u32 = 1_000_000;

/// Whom an experiment may be for.
pub trait Subject {
    /// What a user is told apart by.
    fn unit(&self) -> &str;

    /// Whether one of the values of a field is among these.
    fn has(&self, origin: Origin, field: &str, values: &[String]) -> bool;
}

/// What an experiment is to one of its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It gets the config of this group, by its place.
    Of(usize),
    /// It gets what the rankings of these two drafted: the control's place, and the treatment's.
    Both(usize, usize),
}

/// Where a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In the profile of the user.
    User,
    /// In the context of the request.
    Context,
}

impl Scenario {
    /// The experiments that a user takes part in, as places in `experiments`, and how. Nobody
    /// that cannot be told apart takes part.
    #[must_use]
    pub fn assign(&self, subject: &impl Subject, now_ms: u64) -> Vec<(usize, Part)> {
        if !self.splits(subject.unit()) || self.holds_out(subject.unit()) {
            return Vec::new();
        }
        let all = self.experiments.iter().enumerate();
        let part = |(at, running): (usize, &Running)| Some((at, running.part_of(&self.scenario_id, subject, now_ms)?));
        all.filter_map(part).collect()
    }

    /// Whether a user is in no experiment since it is held out of all.
    #[must_use]
    pub fn holds_out(&self, unit: &str) -> bool {
        self.splits(unit) && self.config.experiments.holds_out(&self.scenario_id, unit)
    }

    fn splits(&self, unit: &str) -> bool {
        !self.experiments.is_empty() && self.config.experiments.enabled && !unit.is_empty()
    }
}

impl Settings {
    fn holds_out(self, scenario_id: &str, unit: &str) -> bool {
        self.holdout > 0.0 && f64::from(bucket(&["holdout", scenario_id, unit])) < self.holdout * f64::from(BUCKETS)
    }
}

impl Running {
    /// Whether it splits at this time.
    #[must_use]
    pub fn is_on(&self, now_ms: u64) -> bool {
        self.start_ms <= now_ms && self.end_ms.is_none_or(|end_ms| now_ms < end_ms)
    }

    /// What a user gets, if it takes part.
    #[must_use]
    pub fn part_of(&self, scenario_id: &str, subject: &impl Subject, now_ms: u64) -> Option<Part> {
        if !self.is_on(now_ms) || !self.takes(bucket(&["layer", scenario_id, &self.layer, subject.unit()])) {
            return None;
        }
        if !self.targeting.iter().all(|condition| condition.holds(subject)) {
            return None;
        }
        match self.rankings() {
            Some((control, treatment)) => Some(Part::Both(control, treatment)),
            None => self.drawn(scenario_id, subject.unit()).map(Part::Of),
        }
    }

    fn takes(&self, bucket: u32) -> bool {
        self.buckets.iter().any(|(from, to)| (*from..*to).contains(&bucket))
    }

    /// The group that wins the draw of this user.
    fn drawn(&self, scenario_id: &str, unit: &str) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        for (at, group) in self.groups.iter().enumerate() {
            // A group of nobody.
            if group.ratio() <= 0.0 {
                continue;
            }
            let hash = hash(&["group", scenario_id, &self.experiment_id, &group.group_id, unit]);
            // Above 0, and at most 1.
            let uniform = ((hash >> 11) + 1) as f64 / (1_u64 << 53) as f64;
            // The same bits wherever it is computed, which the platform's own is not.
            let draw = -libm::log(uniform) / group.ratio();
            if best.is_none_or(|(least, _)| draw < least) {
                best = Some((draw, at));
            }
        }
        best.map(|(_, at)| at)
    }
}

impl Condition {
    fn holds(&self, subject: &impl Subject) -> bool {
        // It was checked when it was written.
        let Some((origin, field)) = self.place() else { return false };
        self.among.as_ref().is_none_or(|values| subject.has(origin, field, values))
            && self.not_in.as_ref().is_none_or(|values| !subject.has(origin, field, values))
    }

    /// Where its field is, and what it is called there.
    pub(super) fn place(&self) -> Option<(Origin, &str)> {
        match self.field.split_once('.')? {
            (_, "") => None,
            ("user", field) => Some((Origin::User, field)),
            ("context", field) => Some((Origin::Context, field)),
            _ => None,
        }
    }
}

fn bucket(parts: &[&str]) -> u32 {
    // What is left over of 2^64 is one in 10^13.
    (hash(parts) % u64::from(BUCKETS)) as u32
}

/// No id has a line break: no two lists of parts have the same text.
fn hash(parts: &[&str]) -> u64 {
    id::handle(&parts.join("\n"))
}
