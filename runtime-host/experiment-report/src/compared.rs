//! Each other group against the control, metric by metric.

use funnelweb_core::experiment::Metric;
use funnelweb_experiment_statistics::{
    Alpha, Anytime, Comparison, Estimate, Interval, Look, Plan as Sizes, Power, Side, Users as Counts,
};
use serde::Serialize;

use crate::{
    Error,
    looks::Looks,
    metric::estimate,
    users::{Plan, Users},
};

/// A group against the control.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Which group.
    pub group_id: String,
    /// In what.
    pub metric: Metric,
    /// Whether less of it is better.
    pub less_is_better: bool,
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

/// What is known at a look.
pub(crate) struct Known<'a> {
    pub(crate) plan: &'a Plan,
    /// All metrics that can be told of the control.
    pub(crate) estimates: Vec<Estimates>,
    /// Whether some of it is lost: then nothing is said of chance.
    pub(crate) is_incomplete: bool,
    /// For which it has run.
    pub(crate) days: f64,
}

/// A metric in all groups that it can be told of.
pub(crate) struct Estimates {
    pub(crate) metric: Metric,
    pub(crate) control: Estimate,
    /// By the group's place.
    pub(crate) others: Vec<(usize, Comparison, Estimate)>,
}

impl<'a> Known<'a> {
    pub(crate) fn new(plan: &'a Plan, users: &Users, reported: bool, days: f64) -> Self {
        let of = |metric| {
            let control = estimate(metric, users, plan.control, reported).ok()?;
            let others = (0..plan.groups.len()).filter(|group| *group != plan.control).filter_map(|group| {
                let treatment = estimate(metric, users, group, reported).ok()?;
                Some((group, Comparison::new(treatment, control).ok()?, treatment))
            });
            Some(Estimates { metric, control, others: others.collect() })
        };
        let estimates = Metric::NAMES.into_iter().filter_map(|(_, metric)| of(metric)).collect();
        Self { plan, estimates, is_incomplete: users.begin_is_lost(), days }
    }
}

/// Compares, and remembers it for the next look.
///
/// # Errors
/// [`Error::Statistics`] for a plan whose numbers are out of range.
pub(crate) fn compare(known: &Known<'_>, looks: &mut Looks) -> Result<Vec<Compared>, Error> {
    let Known { plan, estimates, is_incomplete, days } = known;
    let (alpha, power) = (Alpha::new(plan.alpha)?, Power::new(plan.power)?);
    let mut comparisons = Vec::new();
    for Estimates { metric, control, others } in estimates {
        let effect = plan.effect * control.value();
        let rule = looks.rule(metric.as_str(), alpha, power, effect);
        for (group, comparison, treatment) in others {
            let (Some(of), Some(of_control)) = (plan.groups.get(*group), plan.groups.get(plan.control)) else {
                continue;
            };
            let mut compared = Compared::new(&of.group_id, *metric, comparison);
            if !is_incomplete {
                if let Some(rule) = &rule {
                    compared.look(looks, comparison, rule, &of_control.group_id);
                }
                let sizes = Sizes { effect, alpha, power, look: Look::Anytime };
                let side = |variance_per_user, share| Side { variance_per_user, share };
                let control_side = side(control.variance_per_user(), of_control.traffic_ratio);
                let treatment_side = side(control.variance_per_user(), of.traffic_ratio);
                let have = Counts { control: control.users(), treatment: treatment.users() };
                let needed = sizes.users(control_side, treatment_side);
                compared.days_left = needed.ok().and_then(|needed| have.days_left(&needed, *days));
            }
            comparisons.push(compared);
        }
    }
    Ok(comparisons)
}

impl Compared {
    fn new(group_id: &str, metric: Metric, comparison: &Comparison) -> Self {
        Self {
            group_id: group_id.to_owned(),
            metric,
            less_is_better: metric.less_is_better(),
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
        let of = format!("{}/{}/{control}", self.metric.as_str(), self.group_id);
        match comparison.anytime(rule, looks.p_value(&of)) {
            Ok(reading) => {
                self.interval = Some(ends(reading.difference));
                self.lift_interval = reading.lift.map(ends);
                self.p_value = Some(reading.p_value);
                self.is_significant = reading.p_value < rule.alpha().get();
                looks.set_p_value(of, reading.p_value);
            }
            Err(error) => self.missing = Some(error.to_string()),
        }
    }
}

fn ends(interval: Interval) -> [f64; 2] {
    [interval.low, interval.high]
}
