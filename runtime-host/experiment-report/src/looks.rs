//! What looks before this one said.

use std::collections::BTreeMap;

use funnelweb_core::experiment::StoppedBy;
use funnelweb_experiment_statistics::{
    Alpha, Anytime, Power,
    mismatch::{self, Group},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    groups::GroupReport,
    users::{Plan, Users},
};

/// Below this p-value groups did not get their users, and nothing else can be believed. It is
/// stricter than the experiment's own: it stops all of it.
const MISMATCH: f64 = 0.001;

/// What looks before this one said, which makes it valid to look again: kept from one to the
/// next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Looks {
    /// Of each metric, how wide its intervals are, fixed when it is first looked at; that of its
    /// guardrail by `guardrail/metric`.
    mixing: BTreeMap<String, f64>,
    /// The least p-value so far, by `metric/group/control`.
    p_values: BTreeMap<String, f64>,
    mismatch: Option<f64>,
    /// Whether clients reported what was seen when they first reported that or clicks: what CTR is
    /// of stays the same.
    reported: Option<bool>,
    /// What was harm once, which stays so, by `metric/group/control`.
    harm: BTreeMap<String, StoppedBy>,
}

/// What the groups' sizes say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mismatched {
    /// Of the ratios being as configured, valid however often it is looked at.
    pub p_value: f64,
    /// Whether they are not: then users were lost or counted twice, and nothing else can be
    /// believed.
    pub found: bool,
}

impl Looks {
    /// Whether CTR is of what clients report as seen.
    pub(crate) fn reported(&mut self, users: &Users) -> bool {
        self.reported = self.reported.or_else(|| users.reports_impressions());
        self.reported.unwrap_or_default()
    }

    /// How wide a metric's intervals are: narrowest where a difference of `effect` is found. It is
    /// fixed at the first look at which there is one; what is known then of the control's value says
    /// nothing of how others differ from it.
    pub(crate) fn rule(&mut self, name: &str, alpha: Alpha, power: Power, effect: f64) -> Option<Anytime> {
        if let Some(mixing) = self.mixing.get(name) {
            return Anytime::new(alpha, *mixing).ok();
        }
        let rule = Anytime::for_effect(alpha, power, effect).ok()?;
        self.mixing.insert(name.to_owned(), rule.mixing());
        Some(rule)
    }

    pub(crate) fn p_value(&self, of: &str) -> f64 {
        self.p_values.get(of).copied().unwrap_or(1.0)
    }

    pub(crate) fn set_p_value(&mut self, of: String, p_value: f64) {
        self.p_values.insert(of, p_value);
    }

    pub(crate) fn harm(&self, of: &str) -> Option<&StoppedBy> {
        self.harm.get(of)
    }

    pub(crate) fn set_harm(&mut self, of: String, by: StoppedBy) {
        self.harm.insert(of, by);
    }

    pub(crate) fn sizes(
        &mut self,
        plan: &Plan,
        groups: &[GroupReport],
        is_incomplete: bool,
    ) -> Result<Mismatched, Error> {
        let sized = plan.groups.iter().zip(groups);
        // A group of nobody has nobody to be missing.
        let sized: Vec<Group> = sized
            .filter(|(of, _)| of.traffic_ratio > 0.0)
            .map(|(of, group)| Group { users: group.users, ratio: of.traffic_ratio })
            .collect();
        let p_value = match sized.len() {
            0 | 1 => 1.0,
            _ if is_incomplete => self.mismatch.unwrap_or(1.0),
            _ => mismatch::sequential(&sized, self.mismatch.unwrap_or(1.0))?.p_value,
        };
        self.mismatch = Some(p_value);
        Ok(Mismatched { p_value, found: p_value < MISMATCH })
    }
}
