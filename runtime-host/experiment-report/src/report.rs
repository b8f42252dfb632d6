//! What is said.

use std::collections::BTreeMap;

use funnelweb_experiment_statistics::{
    Alpha, Anytime, Comparison, Interval, Look, Plan as Sizes, Power, Side, Users as Counts,
    mismatch::{self, Group},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    metric::{METRICS, estimate},
    users::{Plan, User, Users},
};

/// Below this p-value groups did not get their users, and nothing else can be believed. It is
/// stricter than the experiment's own: it stops all of it.
const MISMATCH: f64 = 0.001;

/// What looks before this one said, which makes it valid to look again: kept from one to the
/// next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Looks {
    /// Of each metric, how wide its intervals are, fixed when it is first looked at.
    mixing: BTreeMap<String, f64>,
    /// The least p-value so far, by `metric/group/control`.
    p_values: BTreeMap<String, f64>,
    mismatch: Option<f64>,
    /// Whether clients reported what was seen when there was something first: what CTR is of
    /// stays the same.
    reported: Option<bool>,
}

/// The report of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Each group.
    pub groups: Vec<GroupReport>,
    /// Each other group against the control, metric by metric.
    pub comparisons: Vec<Compared>,
    /// Whether groups got the users that they should have.
    pub sample_ratio_mismatch: Mismatched,
    /// Users who were in two groups, and count in none.
    pub crossed_users: u64,
    /// How often a difference may be found where there is none, over all looks together.
    pub alpha: f64,
    /// What `days_left` is to find: a share of the control's value.
    pub effect: f64,
    /// Whether what is known of its begin is kept no more: then it is of those who were there
    /// lately, and nothing is said of chance.
    pub incomplete: bool,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupReport {
    /// Which.
    pub group_id: String,
    /// Whether it is the one that others are compared with.
    pub is_control: bool,
    /// Users who were shown a slate of it.
    pub users: u64,
    /// What they were shown and did.
    pub counts: Counted,
    /// By name; one that nothing can be said of is left out.
    pub metrics: BTreeMap<String, Measured>,
}

/// Sums over a group's users.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Counted {
    /// Items of slates.
    pub served: u64,
    /// What clients reported as seen.
    pub impressions: u64,
    /// Clicks.
    pub clicks: u64,
    /// What was watched, and for how long.
    pub watches: u64,
    /// In seconds.
    pub watched_s: f64,
    /// What the scenario is there for.
    pub conversions: u64,
    /// What it brought in.
    pub revenue: f64,
}

/// A metric in a group.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Its value.
    pub value: f64,
    /// The standard error of that, by the delta method for ratios.
    pub standard_error: f64,
}

/// A group against the control.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Which group.
    pub group_id: String,
    /// In what.
    pub metric: String,
    /// Its value less the control's.
    pub difference: f64,
    /// That as a share of the control's; none when that is zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lift: Option<f64>,
    /// An interval of the difference that holds at every look at once; none with too few users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// The same of the lift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lift_interval: Option<[f64; 2]>,
    /// Of no difference, valid however often it is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// Whether it is below the experiment's alpha.
    pub is_significant: bool,
    /// Days until a difference of `effect` would be found, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_left: Option<u64>,
    /// Why something is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
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

impl Report {
    /// Of an experiment that has run for so many days. What is valid however often it is looked
    /// at is so of data that only grow: where its begin is lost, it is [`incomplete`](Self::incomplete).
    ///
    /// # Errors
    /// [`Error::Statistics`] for a plan whose numbers are out of range.
    pub fn new(plan: &Plan, users: &Users, days: f64, looks: &mut Looks) -> Result<Self, Error> {
        let (alpha, power) = (Alpha::new(plan.alpha)?, Power::new(plan.power)?);
        if !users.is_empty() {
            looks.reported.get_or_insert(users.has_impressions());
        }
        let reported = looks.reported.unwrap_or_default();
        let groups: Vec<GroupReport> =
            (0..plan.groups.len()).map(|group| GroupReport::new(plan, users, group, reported)).collect();
        let mut comparisons = Vec::new();
        for metric in METRICS {
            let Ok(control) = estimate(metric, users, plan.control, reported) else { continue };
            let rule = looks.rule(metric, alpha, power, plan.effect * control.value());
            for group in (0..plan.groups.len()).filter(|group| *group != plan.control) {
                let Ok(treatment) = estimate(metric, users, group, reported) else { continue };
                let Ok(comparison) = Comparison::new(treatment, control) else { continue };
                let Some(of) = plan.groups.get(group) else { continue };
                let mut compared = Compared::new(&of.group_id, metric, &comparison);
                if users.begin_is_lost() {
                    comparisons.push(compared);
                    continue;
                }
                if let (Some(rule), Some(control)) = (&rule, plan.groups.get(plan.control)) {
                    compared.look(looks, &comparison, rule, &control.group_id);
                }
                let side = |variance_per_user, at: usize| Side {
                    variance_per_user,
                    share: plan.groups.get(at).map_or(0.0, |group| group.traffic_ratio),
                };
                let sizes = Sizes { effect: plan.effect * control.value(), alpha, power, look: Look::Anytime };
                let sides = (side(control.variance_per_user(), plan.control), side(control.variance_per_user(), group));
                let have = Counts { control: control.users(), treatment: treatment.users() };
                compared.days_left =
                    sizes.users(sides.0, sides.1).ok().and_then(|needed| have.days_left(&needed, days));
                comparisons.push(compared);
            }
        }
        Ok(Self {
            sample_ratio_mismatch: looks.sizes(plan, &groups, users.begin_is_lost())?,
            groups,
            comparisons,
            crossed_users: users.crossed(),
            alpha: plan.alpha,
            effect: plan.effect,
            incomplete: users.begin_is_lost(),
        })
    }
}

impl Looks {
    /// How wide a metric's intervals are: narrowest where a difference of `effect` is found. It is
    /// fixed at the first look at which there is one; what is known then of the control's value says
    /// nothing of how others differ from it.
    fn rule(&mut self, metric: &str, alpha: Alpha, power: Power, effect: f64) -> Option<Anytime> {
        if let Some(mixing) = self.mixing.get(metric) {
            return Anytime::new(alpha, *mixing).ok();
        }
        let rule = Anytime::for_effect(alpha, power, effect).ok()?;
        self.mixing.insert(metric.to_owned(), rule.mixing());
        Some(rule)
    }

    fn sizes(&mut self, plan: &Plan, groups: &[GroupReport], is_incomplete: bool) -> Result<Mismatched, Error> {
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

impl GroupReport {
    fn new(plan: &Plan, users: &Users, group: usize, reported: bool) -> Self {
        let measured = METRICS.iter().filter_map(|metric| {
            let estimate = estimate(metric, users, group, reported).ok()?;
            let measured = Measured { value: estimate.value(), standard_error: estimate.standard_error() };
            Some(((*metric).to_owned(), measured))
        });
        let mut counts = Counted::default();
        users.of(group).for_each(|user| counts.add(user));
        Self {
            group_id: plan.groups.get(group).map(|of| of.group_id.clone()).unwrap_or_default(),
            is_control: group == plan.control,
            users: users.of(group).count() as u64,
            counts,
            metrics: measured.collect(),
        }
    }
}

impl Counted {
    fn add(&mut self, user: &User) {
        self.served += u64::from(user.served);
        self.impressions += u64::from(user.impressions);
        self.clicks += u64::from(user.clicks);
        self.watches += u64::from(user.watches);
        self.watched_s += user.watched_s;
        self.conversions += u64::from(user.conversions);
        self.revenue += user.revenue;
    }
}

impl Compared {
    fn new(group_id: &str, metric: &str, comparison: &Comparison) -> Self {
        Self {
            group_id: group_id.to_owned(),
            metric: metric.to_owned(),
            difference: comparison.difference().value(),
            lift: comparison.lift(),
            interval: None,
            lift_interval: None,
            p_value: None,
            is_significant: false,
            days_left: None,
            missing: None,
        }
    }

    /// Adds what this look says, and remembers it for the next.
    fn look(&mut self, looks: &mut Looks, comparison: &Comparison, rule: &Anytime, control: &str) {
        let of = format!("{}/{}/{control}", self.metric, self.group_id);
        let before = looks.p_values.get(&of).copied().unwrap_or(1.0);
        match comparison.anytime(rule, before) {
            Ok(reading) => {
                let ends = |interval: Interval| [interval.low, interval.high];
                self.interval = Some(ends(reading.difference));
                self.lift_interval = reading.lift.map(ends);
                self.p_value = Some(reading.p_value);
                self.is_significant = reading.p_value < rule.alpha().get();
                looks.p_values.insert(of, reading.p_value);
            }
            Err(error) => self.missing = Some(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
