//! Experiments: which users get which config, and what may run beside what.
//!
//! A scenario's document holds what runs in it ([`Running`]), so that one read gives a request
//! its config whole. Who is in which group is computed and never stored ([`Running::group_of`]):
//! the same for the same user, whichever process is asked.

mod assignment;
mod check;
mod guardrail;
mod interference;
mod layers;
mod overlay;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use assignment::{BUCKETS, Origin, Part, Subject};
pub use guardrail::{Guarded, Guardrail, Metric, StoppedBy};
pub use interference::interference;
pub use overlay::{merge, overlaid};

/// An experiment as a client writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Unique within the scenario.
    pub experiment_id: String,
    /// Whose requests it is about.
    pub scenario_id: String,
    /// How its groups are compared; `split` unless said otherwise.
    #[serde(default, rename = "type", skip_serializing_if = "Design::is_split")]
    pub design: Design,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is expected of it; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypothesis: Option<String>,
    /// Experiments of one layer share its users out, those of different layers have the
    /// same users independently of each other. `default` unless said otherwise.
    #[serde(default = "default_layer")]
    pub layer: String,
    /// The share of the layer's users that it takes; all unless said otherwise.
    #[serde(default = "whole")]
    pub traffic: f64,
    /// Whom among them it is for; everybody unless said otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targeting: Vec<Condition>,
    /// What its users are split into.
    pub groups: Vec<Group>,
    /// The group that the others are compared with: the one called `control`, else the
    /// first, unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// When it begins to split, RFC 3339; when it is started unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// When it ends; when it is stopped unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    /// What stops it by itself when a group harms it; nothing unless said otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guardrails: Vec<Guardrail>,
    /// Where it stands; set by the server.
    #[serde(default)]
    pub status: Status,
    /// When it was started; set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it was stopped, or came to its end; set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<String>,
    /// Why it was stopped by itself; set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<StoppedBy>,
    /// The last report, and what the next one needs of it; set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Value>,
    /// Set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

/// How the groups of an experiment are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Design {
    /// Each user gets the config of one group.
    #[default]
    Split,
    /// Each user gets slates that the rankings of two groups drafted together.
    Interleaving,
}

impl Design {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Interleaving => "interleaving",
        }
    }

    fn is_split(&self) -> bool {
        *self == Self::Split
    }
}

/// Where an experiment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was not started: everything about it may be changed.
    #[default]
    Draft,
    /// It splits, from its start to its end.
    Running,
    /// It does not split any more, and never will again.
    Stopped,
}

impl Status {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }
}

/// A part of an experiment's users; of an interleaving, a ranking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Unique within the experiment.
    pub group_id: String,
    /// Its share of the experiment's users; all of an experiment add up to 1. None of an
    /// interleaving's, whose users get both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_ratio: Option<f64>,
    /// A merge patch (RFC 7386) of the scenario's `config`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
}

/// What must hold of a request for its user to take part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// `user.` and a feature of the profile, or `context.` and a field of the request's
    /// context; what is nested in that is named with dots.
    pub field: String,
    /// One of its values must be among these.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub among: Option<Vec<String>>,
    /// None of its values may be among these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_in: Option<Vec<String>>,
}

/// An experiment that was started, as its scenario holds it: all that is needed to split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// Which.
    pub experiment_id: String,
    /// Its layer.
    pub layer: String,
    /// The parts of the layer that it takes, of [`BUCKETS`]: from the first, up to the second.
    pub buckets: Vec<(u32, u32)>,
    /// Whom it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targeting: Vec<Condition>,
    /// Its groups.
    pub groups: Vec<Group>,
    /// Of an interleaving, the group that is its control; none of what splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// When it begins to split, in milliseconds since 1970.
    pub start_ms: u64,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_ms: Option<u64>,
}

/// What a scenario says of its experiments.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether any of them split; they do unless said otherwise.
    pub enabled: bool,
    /// The share of users that are in none of them; none unless said otherwise.
    pub holdout: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { enabled: true, holdout: 0.0 }
    }
}

/// What an experiment is in that says nothing of it.
const DEFAULT_LAYER: &str = "default";
/// What the control is called that nobody names.
const CONTROL: &str = "control";

fn default_layer() -> String {
    DEFAULT_LAYER.to_owned()
}

fn whole() -> f64 {
    1.0
}

/// What stands for a group in an interleaving, whose users are in no group.
pub const INTERLEAVED: &str = "interleaved";

/// What stands for a group where there is one text: in slates that are logged, and in what
/// clients send.
#[must_use]
pub fn label(experiment_id: &str, group_id: &str) -> String {
    format!("{experiment_id}:{group_id}")
}

impl Group {
    /// Its share of the users; that of a ranking, which has none, is 0.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.traffic_ratio.unwrap_or_default()
    }
}

impl Running {
    /// Of an interleaving, the places of its control and of its treatment among the groups.
    #[must_use]
    pub fn rankings(&self) -> Option<(usize, usize)> {
        let control = self.control.as_ref()?;
        let control = self.groups.iter().position(|group| group.group_id == *control)?;
        let treatment = (0..self.groups.len()).find(|at| *at != control)?;
        Some((control, treatment))
    }
}

impl Experiment {
    /// The group that the others are compared with.
    #[must_use]
    pub fn control(&self) -> Option<&Group> {
        let named = self.control.as_deref().unwrap_or(CONTROL);
        self.groups.iter().find(|group| group.group_id == named).or_else(|| self.groups.first())
    }

    /// The same of an interleaving; none of what splits.
    #[must_use]
    pub fn interleaved_control(&self) -> Option<String> {
        let control = self.control().filter(|_| self.design == Design::Interleaving);
        control.map(|control| control.group_id.clone())
    }
}

#[cfg(test)]
mod tests;
