//! The rules of an experiment that need nothing but itself.

use std::collections::BTreeSet;

use super::{Condition, Design, Experiment, Group, INTERLEAVED, Settings, label};
use crate::{
    error::{ApiError, Code},
    id, limits,
    scenario::{check_text, config, field, parse_json},
    time,
};

/// How far from 1 the ratios of all groups may be: a third written with four digits is
/// one.
const RATIO_TOLERANCE: f64 = 1e-3;

/// One user in a million.
const LEAST_RATIO: f64 = 1e-6;
/// Parts of a config that are not a request's: who is in a group, what is learned from
/// everybody, work in the background, and what is kept of requests and tried on them.
const OF_NO_GROUP: [&str; 5] = ["behaviors", "experiments", "jobs", "recording", "shadow"];
/// Parts of a config that are about the slate, and of neither of the rankings that draft it.
const OF_NO_RANKING: [&str; 4] = ["cache", "components", "exploration", "exposure"];
/// Groups of an interleaving.
const RANKINGS: usize = 2;

impl Experiment {
    /// Reads and checks an experiment, all but its overlays, which are checked over their
    /// scenario's config.
    ///
    /// # Errors
    /// `invalid_json` with line and column for what is not JSON; otherwise `invalid_field`
    /// with the JSON path.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let experiment: Self = parse_json(body)?;
        experiment.check()?;
        Ok(experiment)
    }

    fn check(&self) -> Result<(), ApiError> {
        for (path, text) in [("experiment_id", &self.experiment_id), ("scenario_id", &self.scenario_id)] {
            id::check(text).map_err(|error| field(path, error))?;
        }
        id::check(&self.layer).map_err(|error| field("layer", error))?;
        if let Some(name) = &self.name {
            check_text("name", name, 0, limits::NAME_BYTES)?;
        }
        if let Some(hypothesis) = &self.hypothesis {
            check_text("hypothesis", hypothesis, 0, limits::HYPOTHESIS_BYTES)?;
        }
        // False for NaN too.
        if !(self.traffic > 0.0 && self.traffic <= 1.0) {
            return Err(field("traffic", format!("must be above 0 and at most 1, got {}", self.traffic)));
        }
        check_count("targeting", self.targeting.len(), 0, limits::EXPERIMENT_CONDITIONS)?;
        for (at, condition) in self.targeting.iter().enumerate() {
            condition.check(&format!("targeting[{at}]"))?;
        }
        self.check_groups()?;
        self.check_guardrails()?;
        self.check_times()
    }

    fn check_groups(&self) -> Result<(), ApiError> {
        let interleaves = self.design == Design::Interleaving;
        let most = if interleaves { RANKINGS } else { limits::EXPERIMENT_GROUPS };
        check_count("groups", self.groups.len(), 2, most)?;
        let bytes = label(&self.experiment_id, INTERLEAVED).len();
        if interleaves && bytes > limits::ID_BYTES {
            let most = limits::ID_BYTES;
            return Err(field(
                "experiment_id",
                format!("with `:{INTERLEAVED}` it must be at most {most} bytes, got {bytes}"),
            ));
        }
        let mut known = BTreeSet::new();
        for (at, Group { group_id, traffic_ratio, config }) in self.groups.iter().enumerate() {
            let path = |name: &str| format!("groups[{at}].{name}");
            id::check(group_id).map_err(|error| field(&path("group_id"), error))?;
            // Both together, with a colon, are the label of what came of a group.
            let bytes = self.experiment_id.len() + 1 + group_id.len();
            if bytes > limits::ID_BYTES {
                let most = limits::ID_BYTES;
                let message =
                    format!("with the experiment's id and a colon it must be at most {most} bytes, got {bytes}");
                return Err(field(&path("group_id"), message));
            }
            if !known.insert(group_id) {
                return Err(field(&path("group_id"), format!("`{group_id}` is there twice")));
            }
            if group_id.contains(':') {
                return Err(field(
                    &path("group_id"),
                    "may hold no colon, which is behind the experiment's id in labels",
                ));
            }
            check_ratio(&path("traffic_ratio"), *traffic_ratio, self.design)?;
            let bytes = serde_json::to_vec(config).map_or(usize::MAX, |json| json.len());
            if bytes > limits::EXPERIMENT_OVERLAY_BYTES {
                let most = limits::EXPERIMENT_OVERLAY_BYTES;
                return Err(field(&path("config"), format!("must be at most {most} bytes of JSON, got {bytes}")));
            }
            if let Some(name) = OF_NO_GROUP.iter().find(|name| config.contains_key(**name)) {
                return Err(field(&path(&format!("config.{name}")), "is of the scenario, and of no group"));
            }
            if let Some(name) = OF_NO_RANKING.iter().find(|name| interleaves && config.contains_key(**name)) {
                let message = "is of the whole slate, and of neither ranking in it; an experiment of the type `split` can change it";
                return Err(field(&path(&format!("config.{name}")), message));
            }
        }
        let sum: f64 = self.groups.iter().map(Group::ratio).sum();
        if !interleaves && (sum - 1.0).abs() > RATIO_TOLERANCE {
            return Err(field("groups", format!("their traffic_ratio must add up to 1, and add up to {sum:.4}")));
        }
        match &self.control {
            Some(control) if !known.contains(control) => {
                Err(field("control", format!("no group is called `{control}`")))
            }
            _ => Ok(()),
        }
    }

    /// Both times, in milliseconds since 1970.
    ///
    /// # Errors
    /// `invalid_field` for one that cannot be read.
    pub fn times_ms(&self) -> Result<(Option<u64>, Option<u64>), ApiError> {
        let read = |path: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => match time::parse_ms(text) {
                Some(ms) => Ok(Some(ms)),
                None => Err(field(path, format!("must be a time as in RFC 3339, got `{text}`"))),
            },
        };
        Ok((read("start_time", &self.start_time)?, read("end_time", &self.end_time)?))
    }

    fn check_times(&self) -> Result<(), ApiError> {
        match self.times_ms()? {
            (Some(start), Some(end)) if end <= start => {
                let start = self.start_time.as_deref().unwrap_or_default();
                Err(field("end_time", format!("must be after start_time, which is {start}")))
            }
            _ => Ok(()),
        }
    }
}

impl Condition {
    fn check(&self, path: &str) -> Result<(), ApiError> {
        let at = |name: &str| format!("{path}.{name}");
        check_text(&at("field"), &self.field, 1, limits::NAME_BYTES)?;
        if self.place().is_none() {
            let message = format!("must be `user.` or `context.` and a field, got `{}`", self.field);
            return Err(field(&at("field"), message));
        }
        if self.among.is_none() && self.not_in.is_none() {
            return Err(field(path, "must have `in` or `not_in`"));
        }
        for (name, values) in [("in", &self.among), ("not_in", &self.not_in)] {
            let Some(values) = values else { continue };
            check_count(&at(name), values.len(), 1, limits::EXPERIMENT_VALUES)?;
            for (place, value) in values.iter().enumerate() {
                check_text(&format!("{path}.{name}[{place}]"), value, 0, limits::TERM_BYTES)?;
            }
        }
        Ok(())
    }
}

impl Settings {
    pub(crate) fn check(self) -> Result<(), ApiError> {
        if (0.0..=1.0).contains(&self.holdout) {
            return Ok(());
        }
        Err(config("config.experiments.holdout", format!("must be 0 to 1, got {}", self.holdout)))
    }
}

/// A group that splits users has a share of them, a ranking has all.
fn check_ratio(path: &str, ratio: Option<f64>, design: Design) -> Result<(), ApiError> {
    match (design, ratio) {
        (Design::Interleaving, None) => Ok(()),
        (Design::Interleaving, Some(_)) => {
            Err(field(path, "is for the type `split`: of an interleaving every user gets both groups' rankings"))
        }
        (Design::Split, None) => Err(field(path, "missing field `traffic_ratio`")),
        (Design::Split, Some(ratio)) if ratio != 0.0 && !(LEAST_RATIO..=1.0).contains(&ratio) => {
            Err(field(path, format!("must be 0, or {LEAST_RATIO} to 1, got {ratio}")))
        }
        (Design::Split, Some(_)) => Ok(()),
    }
}

pub(super) fn check_count(path: &str, count: usize, least: usize, most: usize) -> Result<(), ApiError> {
    if (least..=most).contains(&count) {
        return Ok(());
    }
    Err(ApiError::field(Code::InvalidField, path, format!("must have a length of {least} to {most}, got {count}")))
}
