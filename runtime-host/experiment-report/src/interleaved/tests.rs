use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus as Random;

use funnelweb_core::experiment::Metric;

use super::*;
use crate::{GroupPlan, Looks, Plan as SplitPlan, Report, Users};

fn rankings() -> Rankings {
    Rankings::of("old".to_owned(), "new".to_owned())
}

fn act(action_type: &str) -> Act<'_> {
    Act { action_type, watch_s: None, revenue: None }
}

fn of<'a>(report: &'a Preferences, metric: &str) -> Option<&'a Preferred> {
    report.preferences.iter().find(|of| of.metric == metric)
}

#[test]
fn credit_is_of_whoever_drafted_the_last_place() {
    let mut drafts = Drafts::default();
    drafts.shown("ann", 2000, [("a", Team::Treatment), ("b", Team::Control), ("c", Team::Nobody)]);
    drafts.shown("ann", 1000, [("a", Team::Control), ("d", Team::Control)]);
    drafts.shown("bob", 1000, [("a", Team::Control), ("c", Team::Treatment)]);
    drafts.shown("bob", 1000, [("c", Team::Nobody)]);
    drafts.shown("eve", 1000, [("a", Team::Control)]);
    drafts.shown("", 1000, [("a", Team::Control)]);
    // Before and after it was drafted anew, and once each time.
    for at_ms in [999, 1000, 1999, 2000, 2001] {
        drafts.did("ann", "a", at_ms, &Act::click());
    }
    let watch = |seconds| Act { action_type: "watch", watch_s: Some(seconds), revenue: None };
    drafts.did("ann", "a", 3000, &watch(12.0));
    drafts.did("ann", "a", 3000, &watch(f64::NAN));
    drafts.did("ann", "b", 3000, &watch(2.0));
    drafts.did("ann", "d", 3000, &act("purchase"));
    drafts.did("ann", "d", 3000, &act("order"));
    // Of nobody's place, of no place, and of nobody.
    for (user, item) in [("ann", "c"), ("bob", "c"), ("bob", "b"), ("zoe", "a"), ("", "a")] {
        drafts.did(user, item, 3000, &Act::click());
    }
    drafts.did("bob", "a", 3000, &Act::click());
    let report = Preferences::new(&rankings(), &drafts, 1.0, &mut DraftLooks::default()).unwrap();
    assert_eq!((report.users, &*report.control, &*report.treatment), (3, "old", "new"));
    assert_eq!(report.places, Drafted { control: 5, treatment: 2, nobody: 2 });
    let told = |metric: &str| {
        let of = of(&report, metric).unwrap();
        ((of.control_credit, of.treatment_credit), (of.control_users, of.treatment_users, of.ties))
    };
    assert_eq!(told("clicks"), ((2.0, 1.0), (1, 0, 2)));
    assert_eq!(told("watch_time"), ((2.0, 12.0), (0, 1, 2)));
    assert_eq!(told("conversions"), ((1.0, 0.0), (1, 0, 2)));
    let clicks = of(&report, "clicks").unwrap();
    assert!((clicks.share, clicks.preference) == (0.0, -1.0 / 6.0) && !clicks.is_significant, "{clicks:?}");
}

#[test]
fn what_nobody_did_is_not_told() {
    let mut drafts = Drafts::default();
    drafts.shown("ann", 1000, [("a", Team::Treatment)]);
    drafts.did("ann", "a", 1000, &Act::click());
    let report = Preferences::new(&rankings(), &drafts, 1.0, &mut DraftLooks::default()).unwrap();
    assert_eq!(report.preferences.iter().map(|of| of.metric.as_str()).collect::<Vec<_>>(), ["clicks"]);
    let out_of_range = Rankings { effect: 0.0, ..rankings() };
    assert!(Preferences::new(&out_of_range, &drafts, 1.0, &mut DraftLooks::default()).is_err());
}

#[test]
fn of_what_has_lost_its_begin_nothing_is_said_of_chance() {
    let mut drafts = Drafts::default();
    for user in 0..200 {
        drafts.shown(&format!("u{user}"), 0, [("a", Team::Treatment), ("b", Team::Control)]);
        drafts.did(&format!("u{user}"), "a", 1, &Act::click());
    }
    let mut looks = DraftLooks::default();
    let whole = Preferences::new(&rankings(), &drafts, 1.0, &mut looks).unwrap();
    assert!(!whole.incomplete && of(&whole, "clicks").unwrap().is_significant, "{whole:?}");
    drafts.lose_begin();
    let before = looks.clone();
    let report = Preferences::new(&rankings(), &drafts, 2.0, &mut looks).unwrap();
    let clicks = of(&report, "clicks").unwrap();
    assert!(report.incomplete && (clicks.share - 1.0).abs() < 1e-9 && looks == before);
    assert_eq!((clicks.p_value, clicks.interval, clicks.sign_test, clicks.days_left), (None, None, None, None));
    // What was found stays found.
    let mut kept: DraftLooks = serde_json::from_str(&serde_json::to_string(&looks).unwrap()).unwrap();
    let mut other = Drafts::default();
    other.shown("u", 0, [("a", Team::Control)]);
    other.did("u", "a", 1, &Act::click());
    let later = Preferences::new(&rankings(), &other, 3.0, &mut kept).unwrap();
    assert_eq!(of(&later, "clicks").unwrap().p_value, of(&whole, "clicks").unwrap().p_value);
}

#[test]
fn so_many_places_are_remembered_the_last_ones() {
    let mut drafts = Drafts::default();
    let slate = ["a"; 4096].map(|item| (item, Team::Control));
    drafts.shown("bob", 1, [("b", Team::Treatment)]);
    (0..limits::INTERLEAVED_PLACES / slate.len()).for_each(|_| drafts.shown("ann", 2, slate));
    drafts.did("bob", "b", 3, &Act::click());
    assert_eq!(drafts.places.len(), limits::INTERLEAVED_PLACES, "the oldest is gone");
    drafts.did("ann", "a", 3, &Act::click());
    let report = Preferences::new(&rankings(), &drafts, 1.0, &mut DraftLooks::default()).unwrap();
    assert_eq!((report.places.treatment, report.places.control), (1, limits::INTERLEAVED_PLACES as u64));
    let clicks = of(&report, "clicks").unwrap();
    assert_eq!((clicks.control_credit, clicks.treatment_credit), (1.0, 0.0));
    // All of one moment, and beyond what is kept for a while.
    (0..=limits::INTERLEAVED_PLACES / slate.len()).for_each(|_| drafts.shown("ann", 2, slate));
    assert_eq!(drafts.places.len(), limits::INTERLEAVED_PLACES);
}

#[test]
fn what_is_kept_is_read_as_it_was_and_goes_on() {
    let mut drafts = Drafts::default();
    drafts.shown("ann", 1000, [("a", Team::Treatment)]);
    drafts.shown("bob", 1000, [("a", Team::Control)]);
    drafts.did("ann", "a", 1500, &Act::click());
    let bytes = bincode::encode_to_vec(&drafts, bincode::config::standard()).unwrap();
    let mut read: Drafts = bincode::decode_from_slice(&bytes, bincode::config::standard()).unwrap().0;
    assert_eq!(read, drafts);
    // Clicked again, and late.
    read.shown("ann", 3000, [("b", Team::Control)]);
    read.did("ann", "a", 2000, &Act::click());
    read.did("bob", "a", 2000, &Act::click());
    let told = |drafts: &Drafts| {
        let report = Preferences::new(&rankings(), drafts, 1.0, &mut DraftLooks::default()).unwrap();
        let clicks = of(&report, "clicks").unwrap();
        (report.users, clicks.control_credit, clicks.treatment_credit)
    };
    assert_eq!(told(&read), (2, 1.0, 1.0));
    read.forget(&[id::handle("bob")].into_iter().collect());
    assert_eq!((told(&read), read.places.len()), ((1, 0.0, 1.0), 2));
}

#[test]
fn beyond_so_many_users_none_is_added() {
    let mut drafts = Drafts::default();
    for user in 0..limits::EXPERIMENT_USERS {
        drafts.shown(&format!("u{user}"), 1, [("a", Team::Control)]);
    }
    assert!(!drafts.is_full);
    drafts.shown("one more", 2, [("a", Team::Treatment)]);
    drafts.shown("u0", 2, [("b", Team::Control)]);
    drafts.did("one more", "a", 3, &Act::click());
    let report = Preferences::new(&rankings(), &drafts, 1.0, &mut DraftLooks::default()).unwrap();
    assert!(report.is_full && report.preferences.is_empty());
    let drafted = Drafted { control: limits::EXPERIMENT_USERS as u64 + 1, treatment: 0, nobody: 0 };
    assert_eq!((report.users, report.places), (limits::EXPERIMENT_USERS as u64, drafted));
}

fn uniform(random: &mut Random) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Users who come anew and come back every other day, each with a rate of clicks of its own, most
/// of them low: the same people, to whom two rankings are shown either way.
struct Population {
    random: Random,
    rates: Vec<f64>,
    /// How much more of the treatment's items is clicked.
    lead: f64,
    plan: SplitPlan,
    users: Users,
    drafts: Drafts,
    now_ms: u64,
}

impl Population {
    fn new(lead: f64, seed: u64) -> Self {
        let group = |name: &str| GroupPlan { group_id: name.to_owned(), traffic_ratio: 0.5 };
        let plan = SplitPlan { groups: vec![group("old"), group("new")], ..SplitPlan::default() };
        let users = Users::new(&plan).unwrap();
        let random = Random::seed_from_u64(seed);
        Self { random, rates: Vec::new(), lead, plan, users, drafts: Drafts::default(), now_ms: 0 }
    }

    /// Ten items for each who comes: of one ranking, or five of each.
    fn day(&mut self, new: usize, interleaves: bool) {
        for _ in 0..new {
            self.rates.push(0.4 * uniform(&mut self.random).powi(3));
        }
        let mut acts = Vec::new();
        for (user, rate) in self.rates.iter().enumerate() {
            let is_new = user + new >= self.rates.len();
            if !is_new && uniform(&mut self.random) < 0.5 {
                continue;
            }
            self.now_ms += 1;
            let (name, treated) = (format!("u{user}"), user % 2);
            // A coin a round.
            let first = (self.random.next_u64() >> 32) as usize;
            let team = |at: usize| {
                [Team::Control, Team::Treatment][if interleaves { (first >> (at / 2)) + at } else { treated } % 2]
            };
            let items: Vec<(String, Team)> = (0..10).map(|at| (format!("i{at}"), team(at))).collect();
            if interleaves {
                self.drafts.shown(&name, self.now_ms, items.iter().map(|(item, team)| (item.as_str(), *team)));
            } else {
                self.users.shown(&name, treated, self.now_ms, 10);
            }
            for (item, team) in items {
                let rate = if team == Team::Treatment { rate * (1.0 + self.lead) } else { *rate };
                if uniform(&mut self.random) < rate {
                    acts.push((name.clone(), item, self.now_ms));
                }
            }
        }
        for (user, item, at_ms) in acts {
            self.drafts.did(&user, &item, at_ms, &Act::click());
            self.users.did(&user, at_ms, &Act::click());
        }
    }

    /// How many users there are on the day on which a difference is found, of both at most.
    fn found(mut self, days: u32, new: usize, interleaves: bool) -> Option<usize> {
        let (mut looks, mut draft_looks) = (Looks::default(), DraftLooks::default());
        (1..=days).find_map(|day| {
            self.day(new, interleaves);
            let days = f64::from(day);
            let found = if interleaves {
                let report = Preferences::new(&rankings(), &self.drafts, days, &mut draft_looks).unwrap();
                of(&report, "clicks").is_some_and(|of| of.is_significant && (self.lead == 0.0 || of.share > 0.5))
            } else {
                let report = Report::new(&self.plan, &self.users, days, &mut looks).unwrap();
                report.comparisons.iter().any(|of| of.metric == Metric::Ctr && of.is_significant)
            };
            found.then_some(self.rates.len())
        })
    }
}

#[test]
fn looking_every_day_at_equal_rankings_finds_no_more_than_it_may() {
    let experiments = 1000;
    let found = (0..experiments).filter(|seed| Population::new(0.0, *seed).found(10, 20, true).is_some()).count();
    println!("equal rankings: {found} of {experiments} were found to differ");
    // The nominal rate.
    assert!(found <= 50, "{found} of {experiments}");
}

#[test]
fn a_better_ranking_is_found_with_fewer_users_than_a_split_takes() {
    let seeds = 11_u64;
    let of = |interleaves: bool| {
        let found = |seed| Population::new(0.2, 5000 + seed).found(16, 100, interleaves);
        let mut users: Vec<usize> = (0..seeds).map(|seed| found(seed).unwrap_or(usize::MAX)).collect();
        users.sort_unstable();
        users[seeds as usize / 2]
    };
    let (interleaved, split) = (of(true), of(false));
    println!("20 % more clicks: found with {interleaved} users interleaved, with {split} split");
    assert!(2 * interleaved < split, "{interleaved} against {split}");
}
