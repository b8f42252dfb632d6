//! What is said of each group alone.

use std::collections::BTreeMap;

use funnelweb_core::experiment::Metric;
use serde::Serialize;

use crate::{
    metric::estimate,
    spread::Spread,
    users::{Plan, User, Users},
};

/// A group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupReport {
    /// Which.
    pub group_id: String,
    /// Whether it is the one that others are compared with.
    pub is_control: bool,
    /// Its share of the experiment's users, as it should be.
    pub traffic_ratio: f64,
    /// Users who were shown a slate of it.
    pub users: u64,
    /// What they were shown and did.
    pub counts: Counted,
    /// By name; one that nothing can be said of is left out.
    pub metrics: BTreeMap<&'static str, Measured>,
    /// What slates took; none while none was timed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<Timed>,
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

/// What slates of a group took, each counted alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Timed {
    /// Slates.
    pub slates: u64,
    /// From the beginning of a funnel to its end.
    pub latency_ms: Spread,
    /// That stages had, summed over all their calls.
    pub cost_ms: Spread,
}

impl GroupReport {
    pub(crate) fn new(plan: &Plan, users: &Users, group: usize, reported: bool) -> Self {
        let measured = Metric::NAMES.iter().filter_map(|(name, metric)| {
            let estimate = estimate(*metric, users, group, reported).ok()?;
            Some((*name, Measured { value: estimate.value(), standard_error: estimate.standard_error() }))
        });
        let mut counts = Counted::default();
        users.of(group).for_each(|user| counts.add(user));
        let of = plan.groups.get(group);
        let times = users.times(group).and_then(|took| {
            let (latency_ms, cost_ms) = (took.elapsed.spread()?, took.cost.spread()?);
            Some(Timed { slates: took.elapsed.count(), latency_ms, cost_ms })
        });
        Self {
            group_id: of.map(|of| of.group_id.clone()).unwrap_or_default(),
            is_control: group == plan.control,
            traffic_ratio: of.map_or(0.0, |of| of.traffic_ratio),
            users: users.of(group).count() as u64,
            counts,
            metrics: measured.collect(),
            times,
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
