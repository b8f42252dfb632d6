use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus as Random;

use funnelweb_core::experiment::Metric;

use super::*;
use crate::{
    Counted,
    users::{Act, GroupPlan},
};

fn plan(ratios: &[f64]) -> Plan {
    let group = |(at, ratio): (usize, &f64)| GroupPlan { group_id: format!("g{at}"), traffic_ratio: *ratio };
    Plan { groups: ratios.iter().enumerate().map(group).collect(), ..Plan::default() }
}

fn uniform(random: &mut Random) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// A population that comes day by day: each user is shown ten items and clicks as its group does.
struct Simulated {
    users: Users,
    random: Random,
    rates: Vec<f64>,
    came: u32,
}

impl Simulated {
    fn new(plan: &Plan, rates: &[f64], seed: u64) -> Self {
        let users = Users::new(plan).unwrap();
        Self { users, random: Random::seed_from_u64(seed), rates: rates.to_vec(), came: 0 }
    }

    fn day(&mut self, count: u32) {
        for user in self.came..self.came + count {
            let group = user as usize % self.rates.len();
            let name = format!("u{user}");
            self.users.shown(&name, group, 1000, 10);
            // Users differ from each other.
            let rate = self.rates[group] * 2.0 * uniform(&mut self.random);
            for _ in 0..10 {
                if uniform(&mut self.random) < rate {
                    self.users.did(&name, 2000, &Act::click());
                }
            }
        }
        self.came += count;
    }
}

fn ctr(report: &Report) -> &Compared {
    report.comparisons.iter().find(|of| of.metric == Metric::Ctr).unwrap()
}

#[test]
fn a_better_group_is_found_and_an_equal_one_is_not() {
    let plan = plan(&[0.5, 0.5]);
    for (rates, differs) in [([0.10, 0.12], true), ([0.10, 0.10], false)] {
        let (mut simulated, mut looks) = (Simulated::new(&plan, &rates, 7), Looks::default());
        let mut found = false;
        for day in 1..=20 {
            simulated.day(1000);
            let report = Report::new(&plan, &simulated.users, f64::from(day), &mut looks).unwrap();
            assert!(!report.sample_ratio_mismatch.found);
            found |= ctr(&report).is_significant;
        }
        assert_eq!(found, differs, "{rates:?}");
        let report = Report::new(&plan, &simulated.users, 20.0, &mut looks).unwrap();
        let [low, high] = ctr(&report).interval.unwrap();
        assert!((low..=high).contains(&(rates[1] - rates[0])), "{low} to {high}");
        assert_eq!(ctr(&report).difference > 0.01, differs);
    }
}

#[test]
fn looking_every_day_finds_no_more_than_it_may() {
    let plan = plan(&[0.5, 0.5]);
    let experiments = 1000;
    let found = (0..experiments)
        .filter(|seed| {
            let (mut simulated, mut looks) = (Simulated::new(&plan, &[0.1, 0.1], *seed), Looks::default());
            (1..=14).any(|day| {
                simulated.day(400);
                let report = Report::new(&plan, &simulated.users, f64::from(day), &mut looks).unwrap();
                ctr(&report).is_significant
            })
        })
        .count();
    // The nominal rate.
    assert!(found <= 50, "{found} of {experiments}");
}

#[test]
fn users_who_are_lost_are_noticed() {
    let plan = plan(&[0.5, 0.5]);
    let mut users = Users::new(&plan).unwrap();
    for user in 0..10_000_u32 {
        // One in ten of the second group's users never tells.
        let group = user as usize % 2;
        if group == 0 || user % 20 != 1 {
            users.shown(&format!("u{user}"), group, 0, 10);
        }
    }
    let mut looks = Looks::default();
    let report = Report::new(&plan, &users, 1.0, &mut looks).unwrap();
    assert!(report.sample_ratio_mismatch.found, "{:?}", report.sample_ratio_mismatch);
    // It stays found.
    let again = Report::new(&plan, &Users::new(&plan).unwrap(), 2.0, &mut looks).unwrap();
    assert!(again.sample_ratio_mismatch.p_value <= report.sample_ratio_mismatch.p_value);
}

#[test]
fn what_counts_is_what_came_after_the_first_slate() {
    let plan = plan(&[0.5, 0.5]);
    let mut users = Users::new(&plan).unwrap();
    users.shown("ann", 0, 100, 20);
    users.shown("bob", 1, 100, 20);
    users.shown("eve", 0, 100, 20);
    users.shown("eve", 1, 200, 20);
    users.shown("", 1, 100, 20);
    users.shown("dan", 9, 100, 20);
    let watch = |seconds| Act { action_type: "watch", watch_s: Some(seconds), revenue: None };
    let buy = |revenue| Act { action_type: "purchase", watch_s: None, revenue: Some(revenue) };
    users.did("ann", 99, &Act::click());
    users.did("ann", 100, &Act::click());
    users.did("ann", 150, &watch(12.0));
    users.did("ann", 151, &watch(f64::NAN));
    users.did("bob", 150, &buy(9.5));
    users.did("bob", 151, &buy(-1.0));
    users.did("eve", 300, &Act::click());
    users.did("zoe", 300, &Act::click());
    let report = Report::new(&plan, &users, 1.0, &mut Looks::default()).unwrap();
    let [control, treatment] = &report.groups[..] else { panic!("two groups") };
    assert_eq!((control.users, treatment.users, report.crossed_users), (1, 1, 1));
    let expected = Counted { served: 20, clicks: 1, watches: 1, watched_s: 12.0, ..Counted::default() };
    assert_eq!(control.counts, expected);
    assert_eq!(treatment.counts, Counted { served: 20, conversions: 2, revenue: 9.5, ..Counted::default() });
    // Of one user there is no variance, and so nothing is said.
    assert!(report.comparisons.is_empty() && control.metrics.is_empty());
}

#[test]
fn clients_that_report_impressions_are_believed() {
    let plan = plan(&[0.5, 0.5]);
    let mut users = Users::new(&plan).unwrap();
    let seen = Act { action_type: "impression", watch_s: None, revenue: None };
    for user in 0..400_u32 {
        let (name, group) = (format!("u{user}"), user as usize % 2);
        users.shown(&name, group, 0, 20);
        (0..5).for_each(|_| users.did(&name, 1, &seen));
        if user % 4 < 2 {
            users.did(&name, 2, &Act::click());
        }
    }
    let report = Report::new(&plan, &users, 1.0, &mut Looks::default()).unwrap();
    assert!((report.groups[0].metrics["ctr"].value - 0.1).abs() < 1e-9, "{:?}", report.groups[0]);
    assert!(!report.groups[0].metrics.contains_key("revenue"), "nobody gave any");
    assert!(ctr(&report).days_left.is_some_and(|days| days > 0));
}

#[test]
fn what_ctr_is_of_is_known_when_somebody_reports_something() {
    let plan = plan(&[0.5, 0.5]);
    let mut users = Users::new(&plan).unwrap();
    let mut looks = Looks::default();
    ["ann", "amy"].iter().for_each(|user| users.shown(user, 0, 0, 20));
    users.shown("bob", 1, 0, 20);
    // Clients that report what was seen have not done so yet.
    Report::new(&plan, &users, 1.0, &mut looks).unwrap();
    let seen = Act { action_type: "impression", watch_s: None, revenue: None };
    (0..10).for_each(|_| users.did("ann", 1, &seen));
    users.did("ann", 1, &Act::click());
    let ctr = |users: &Users, looks: &mut Looks| {
        Report::new(&plan, users, 1.0, looks).unwrap().groups[0].metrics["ctr"].value
    };
    assert_eq!(ctr(&users, &mut looks), 0.1);
    // Of others there are clicks first: it stays what it was of then.
    let (mut users, mut looks) = (Users::new(&plan).unwrap(), Looks::default());
    ["ann", "amy"].iter().for_each(|user| users.shown(user, 0, 0, 20));
    users.did("ann", 1, &Act::click());
    assert_eq!(ctr(&users, &mut looks), 0.025);
    (0..5).for_each(|_| users.did("ann", 1, &seen));
    assert_eq!(ctr(&users, &mut looks), 0.025);
}

#[test]
fn a_report_is_json_and_looks_are_kept() {
    let plan = plan(&[0.5, 0.5]);
    let mut simulated = Simulated::new(&plan, &[0.1, 0.12], 3);
    simulated.day(2000);
    let mut looks = Looks::default();
    let first = Report::new(&plan, &simulated.users, 1.0, &mut looks).unwrap();
    let text = serde_json::to_string(&looks).unwrap();
    let mut kept: Looks = serde_json::from_str(&text).unwrap();
    assert_eq!(kept, looks);
    let again = Report::new(&plan, &simulated.users, 1.0, &mut kept).unwrap();
    assert_eq!(again.comparisons, first.comparisons);
    let report = serde_json::to_value(&first).unwrap();
    assert_eq!(report["groups"][0]["group_id"], "g0");
    assert_eq!(report["comparisons"][0]["metric"], "ctr");
    assert!(report["comparisons"][0]["interval"].is_array());
}

#[test]
fn a_plan_that_compares_nothing_is_refused() {
    assert!(Users::new(&plan(&[1.0])).is_err());
    assert!(Users::new(&Plan { control: 2, ..plan(&[0.5, 0.5]) }).is_err());
    let out_of_range = Plan { alpha: 0.0, ..plan(&[0.5, 0.5]) };
    let users = Users::new(&out_of_range).unwrap();
    assert!(Report::new(&out_of_range, &users, 1.0, &mut Looks::default()).is_err());
}

#[test]
fn of_what_has_lost_its_begin_nothing_is_said_of_chance() {
    let plan = plan(&[0.5, 0.5]);
    let (mut simulated, mut looks) = (Simulated::new(&plan, &[0.1, 0.2], 5), Looks::default());
    simulated.day(2000);
    let whole = Report::new(&plan, &simulated.users, 1.0, &mut looks).unwrap();
    assert!(!whole.incomplete && ctr(&whole).is_significant);
    let before = looks.clone();
    simulated.users.lose_begin();
    let report = Report::new(&plan, &simulated.users, 2.0, &mut looks).unwrap();
    let of_ctr = ctr(&report);
    assert!(report.incomplete && of_ctr.difference > 0.0);
    assert_eq!((of_ctr.p_value, of_ctr.interval, of_ctr.days_left), (None, None, None));
    assert_eq!(looks, before);
}

#[test]
fn another_control_begins_anew_and_ctr_stays_of_what_it_was() {
    let first = plan(&[0.3, 0.4, 0.3]);
    let mut users = Users::new(&first).unwrap();
    let mut random = Random::seed_from_u64(9);
    for user in 0..6000_u32 {
        let (name, group) = (format!("u{user}"), user as usize % 3);
        users.shown(&name, group, 0, 10);
        // The last two are equal, and twice the first.
        let rate = if group == 0 { 0.1 } else { 0.2 };
        (0..10).filter(|_| uniform(&mut random) < rate).for_each(|_| users.did(&name, 1, &Act::click()));
    }
    let mut looks = Looks::default();
    let of = |report: &Report, group: &str| {
        let of = |of: &&Compared| of.metric == Metric::Ctr && of.group_id == group;
        report.comparisons.iter().find(of).unwrap().clone()
    };
    let report = Report::new(&first, &users, 1.0, &mut looks).unwrap();
    assert!(of(&report, "g2").is_significant);
    let other = Plan { control: 1, ..first };
    assert!(!of(&Report::new(&other, &users, 1.0, &mut looks).unwrap(), "g2").is_significant);
    // One client in thousands begins to report what is seen.
    users.did("u1", 2, &Act { action_type: "impression", watch_s: None, revenue: None });
    let later = Report::new(&other, &users, 2.0, &mut looks).unwrap();
    assert_eq!(later.groups[1].metrics["ctr"], report.groups[1].metrics["ctr"]);
}

#[test]
fn several_groups_are_each_compared_with_the_control() {
    let plan = Plan { control: 1, ..plan(&[0.3, 0.4, 0.3]) };
    let mut users = Users::new(&plan).unwrap();
    for user in 0..3000_u32 {
        let (name, group) = (format!("u{user}"), [0, 0, 0, 1, 1, 1, 1, 2, 2, 2][user as usize % 10]);
        users.shown(&name, group, 0, 10);
        (0..user % 3).for_each(|_| users.did(&name, 1, &Act::click()));
    }
    let report = Report::new(&plan, &users, 1.0, &mut Looks::default()).unwrap();
    let of_ctr = report.comparisons.iter().filter(|of| of.metric == Metric::Ctr).map(|of| of.group_id.as_str());
    assert_eq!(of_ctr.collect::<Vec<_>>(), ["g0", "g2"]);
    assert_eq!(report.groups.iter().map(|group| group.is_control).collect::<Vec<_>>(), [false, true, false]);
    assert!(!report.sample_ratio_mismatch.found);
}
