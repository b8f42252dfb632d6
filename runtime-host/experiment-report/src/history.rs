//! How experiments went, from look to look.

use funnelweb_core::limits;
use serde::{Deserialize, Serialize};

use crate::{Preferences, Report};

/// A point of each series at each look, of which in time some are let go: those whose neighbours
/// are nearest to each other, so that what is left is spread over the whole time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History<P> {
    /// When each look was, in milliseconds since 1970.
    at_ms: Vec<u64>,
    /// Each comparison, with a point a look.
    series: Vec<Series<P>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Series<P> {
    metric: String,
    group_id: String,
    control: String,
    points: Vec<Option<P>>,
}

/// What one look says of a group; numbers have six digits.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Lifted {
    /// The group's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// The control's.
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lift: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lift_interval: Option<[f64; 2]>,
}

/// What one look says of a treatment's share of the votes; numbers have six digits.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Shared {
    share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<[f64; 2]>,
}

impl History<Lifted> {
    /// Adds what a report says.
    pub fn add(&mut self, at_ms: u64, report: &Report) {
        let control = report.groups.iter().find(|group| group.is_control);
        let points = report.comparisons.iter().filter_map(|compared| {
            let (metric, control) = (compared.metric.as_str(), control?.group_id.as_str());
            let value = |group_id: &str| {
                let group = report.groups.iter().find(|group| group.group_id == group_id)?;
                group.metrics.get(metric).map(|measured| short(measured.value))
            };
            let point = Lifted {
                value: value(&compared.group_id),
                control: value(control),
                lift: compared.lift.map(short),
                lift_interval: compared.lift_interval.map(|ends| ends.map(short)),
            };
            Some(([metric, &compared.group_id, control], point))
        });
        self.look(at_ms, points);
    }
}

impl History<Shared> {
    /// Adds what a report says.
    pub fn add(&mut self, at_ms: u64, report: &Preferences) {
        let points = report.preferences.iter().map(|of| {
            let interval = of.interval.map(|ends| ends.map(short));
            ([&*of.metric, &*report.treatment, &*report.control], Shared { share: short(of.share), interval })
        });
        self.look(at_ms, points);
    }
}

impl<P: Copy> History<P> {
    /// Adds points, each of a metric, a group and a control.
    fn look<'a>(&mut self, at_ms: u64, points: impl Iterator<Item = ([&'a str; 3], P)>) {
        let looks = self.at_ms.len();
        self.at_ms.push(at_ms);
        self.series.iter_mut().for_each(|series| series.points.push(None));
        for (of, point) in points {
            match self.series.iter_mut().find(|series| [&*series.metric, &*series.group_id, &*series.control] == of) {
                Some(series) => {
                    series.points.pop();
                    series.points.push(Some(point));
                }
                None => {
                    let mut points = vec![None; looks];
                    points.push(Some(point));
                    let [metric, group_id, control] = of.map(str::to_owned);
                    self.series.push(Series { metric, group_id, control, points });
                }
            }
        }
        // The first and the last stay.
        while self.at_ms.len() > 2 && self.at_ms.len() * self.series.len() > limits::EXPERIMENT_POINTS {
            self.thin_out();
        }
    }

    fn thin_out(&mut self) {
        let gaps = self.at_ms.windows(3).enumerate().filter_map(|(at, of)| match of {
            [before, _, after] => Some((after.saturating_sub(*before), at + 1)),
            _ => None,
        });
        let Some((_, at)) = gaps.min() else { return };
        self.at_ms.remove(at);
        for series in self.series.iter_mut().filter(|series| at < series.points.len()) {
            series.points.remove(at);
        }
    }
}

/// A number with six digits.
fn short(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use funnelweb_core::experiment::Metric;

    use super::*;
    use crate::{Act, DraftLooks, Drafts, GroupPlan, Looks, Plan, Rankings, Team, Users};

    /// Reports of more and more users.
    fn reports(groups: usize, looks: u64) -> Vec<Report> {
        let group = |at| GroupPlan { group_id: format!("g{at}"), traffic_ratio: 1.0 / groups as f64 };
        let plan = Plan { groups: (0..groups).map(group).collect(), ..Plan::default() };
        let (mut users, mut known) = (Users::new(&plan).unwrap(), Looks::default());
        let mut report = |look: u64| {
            for user in look * 60..(look + 1) * 60 {
                let (name, group) = (format!("u{user}"), (user as usize) % groups);
                users.shown(&name, group, 0, 10);
                users.took(&name, group, 1000 + user as u32 % 7, 500 + user as u32 % 5);
                (0..user % 3).for_each(|_| users.did(&name, 1, &Act::click()));
            }
            Report::new(&plan, &users, 1.0, &mut known).unwrap()
        };
        (0..looks).map(&mut report).collect()
    }

    #[test]
    fn a_point_of_each_comparison_is_kept_at_each_look() {
        let mut history = History::<Lifted>::default();
        let reports = reports(2, 10);
        reports.iter().zip(0..).for_each(|(report, at)| history.add(at, report));
        let ctr = history.series.iter().find(|series| series.metric == "ctr").unwrap();
        assert_eq!((history.at_ms.len(), ctr.points.len(), ctr.group_id.as_str()), (10, 10, "g1"));
        let (last, report) = (ctr.points[9].unwrap(), &reports[9]);
        let compared = report.comparisons.iter().find(|of| of.metric == Metric::Ctr).unwrap();
        assert!((last.lift.unwrap() - compared.lift.unwrap()).abs() < 1e-4 && last.lift_interval.is_some());
        let value = report.groups[1].metrics["ctr"].value;
        assert!((last.value.unwrap() - value).abs() < 1e-4, "{last:?}");
        let text = serde_json::to_string(&history).unwrap();
        assert_eq!(serde_json::from_str::<History<Lifted>>(&text).unwrap(), history);
    }

    #[test]
    fn of_an_interleaving_the_share_of_votes_is_kept() {
        let (mut history, mut looks) = (History::<Shared>::default(), DraftLooks::default());
        let mut drafts = Drafts::default();
        let rankings = Rankings::of("old".to_owned(), "new".to_owned());
        for look in 0..10_u64 {
            for user in 0..20 {
                let (name, team) = (format!("u{look}-{user}"), if user < 15 { Team::Treatment } else { Team::Control });
                drafts.shown(&name, look, [("a", team)]);
                drafts.did(&name, "a", look, &Act::click());
            }
            history.add(look, &Preferences::new(&rankings, &drafts, 1.0, &mut looks).unwrap());
        }
        let [clicks] = &history.series[..] else { panic!("{history:?}") };
        assert_eq!((&*clicks.metric, &*clicks.group_id, &*clicks.control), ("clicks", "new", "old"));
        assert_eq!((clicks.points.len(), clicks.points[0].unwrap().share), (10, 0.75));
        let width = |at: usize| clicks.points[at].unwrap().interval.map(|[low, high]| high - low).unwrap();
        assert!(width(9) < width(0), "{clicks:?}");
        let text = serde_json::to_string(&history).unwrap();
        assert_eq!(serde_json::from_str::<History<Shared>>(&text).unwrap(), history);
    }

    #[test]
    fn looks_are_thinned_out_evenly_and_the_ends_stay() {
        for groups in [2, 8] {
            let mut history = History::<Lifted>::default();
            let reports = reports(groups, 3);
            for at in 0..500 {
                history.add(at * 1000, &reports[(at as usize).min(2)]);
            }
            let count = history.at_ms.len() * history.series.len();
            assert!(count <= limits::EXPERIMENT_POINTS && 2 * count > limits::EXPERIMENT_POINTS, "{count}");
            assert_eq!((history.at_ms.first(), history.at_ms.last()), (Some(&0), Some(&499_000)));
            let gaps: Vec<u64> = history.at_ms.windows(2).map(|of| of[1] - of[0]).collect();
            // All but the last, which has just begun.
            let gaps = &gaps[..gaps.len() - 1];
            let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
            assert!(most <= &(8 * least), "{gaps:?}");
            assert!(history.series.iter().all(|series| series.points.len() == history.at_ms.len()));
            assert!(serde_json::to_string(&history).unwrap().len() < 100 * limits::EXPERIMENT_POINTS);
        }
    }

    #[test]
    fn another_control_is_another_comparison() {
        let mut history = History::<Lifted>::default();
        let mut reports = reports(2, 2);
        history.add(1, &reports[0]);
        let last = reports.pop().unwrap();
        let groups = last.groups.iter().map(|group| {
            let is_control = !group.is_control;
            crate::GroupReport { is_control, ..group.clone() }
        });
        let comparisons = last.comparisons.iter().map(|of| crate::Compared { group_id: "g0".to_owned(), ..of.clone() });
        let turned = Report { groups: groups.collect(), comparisons: comparisons.collect(), ..last.clone() };
        history.add(2, &turned);
        let of_ctr = history.series.iter().filter(|series| series.metric == "ctr");
        let points: Vec<_> =
            of_ctr.map(|of| (of.control.as_str(), of.points[0].is_some(), of.points[1].is_some())).collect();
        assert_eq!(points, [("g0", true, false), ("g1", false, true)]);
    }
}
