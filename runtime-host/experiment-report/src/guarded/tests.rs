use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus as Random;

use super::*;
use crate::{Act, GroupPlan, Report, Users, users::Plan};

fn plan(guardrails: &[(Of, f64)]) -> Plan {
    let group = |name: &str| GroupPlan { group_id: name.to_owned(), traffic_ratio: 0.5 };
    let guardrails = guardrails.iter().map(|(metric, margin)| Rule { metric: *metric, margin: *margin }).collect();
    Plan { groups: vec![group("control"), group("treatment")], guardrails, ..Plan::default() }
}

fn uniform(random: &mut Random) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// So many more users, of ten items each, who click as their group does and wait as long.
fn come(users: &mut Users, random: &mut Random, from: u32, rates: [f64; 2], waits_us: [u32; 2]) {
    for user in from..from + 300 {
        let (name, group) = (format!("u{user}"), user as usize % 2);
        users.shown(&name, group, 0, 10);
        let about = 0.5 + uniform(random);
        users.took(&name, group, (f64::from(waits_us[group]) * about) as u32, 1000);
        let rate = rates[group] * 2.0 * uniform(random);
        (0..10).filter(|_| uniform(random) < rate).for_each(|_| users.did(&name, 1, &Act::click()));
    }
}

/// What an experiment is stopped by within ten daily looks, and on which day.
fn stopped(plan: &Plan, seed: u64, rates: [f64; 2], waits_us: [u32; 2]) -> Option<(u32, StoppedBy)> {
    let mut random = Random::seed_from_u64(seed);
    let (mut users, mut looks) = (Users::new(plan).unwrap(), Looks::default());
    (1..=10).find_map(|day| {
        come(&mut users, &mut random, 300 * (day - 1), rates, waits_us);
        let report = Report::new(plan, &users, f64::from(day), &mut looks).unwrap();
        report.guardrails.iter().find_map(Guarded::harm).map(|by| (day, by))
    })
}

const CTR: Of = Of::Metric(Metric::Ctr);
const LATENCY: Of = Of::Metric(Metric::LatencyMs);

#[test]
fn of_experiments_that_harm_nothing_no_more_are_stopped_than_may_be() {
    let experiments = 300;
    // Within the margin by nothing: as bad as it may be. Both at once share the nominal rate.
    let both = plan(&[(CTR, 0.1), (LATENCY, 0.2), (Of::SampleRatio, 0.0)]);
    let wrong = (0..experiments).filter(|seed| stopped(&both, *seed, [0.1, 0.09], [10_000, 12_000]).is_some()).count();
    assert!(wrong <= experiments as usize / 20, "{wrong} of {experiments}");
    // Nor are those of equal groups, without any margin.
    let none = plan(&[(CTR, 0.0), (LATENCY, 0.0)]);
    let wrong = (0..experiments).filter(|seed| stopped(&none, *seed, [0.1, 0.1], [10_000, 10_000]).is_some()).count();
    assert!(wrong <= experiments as usize / 20, "{wrong} of {experiments}");
}

#[test]
fn one_that_harms_is_stopped_and_says_by_what() {
    let plan = plan(&[(CTR, 0.05), (LATENCY, 0.2)]);
    for seed in 0..20 {
        let (day, by) = stopped(&plan, seed, [0.1, 0.06], [10_000, 10_000]).unwrap();
        assert!(day < 10 && by.metric == CTR && by.group_id.as_deref() == Some("treatment"), "{day} {by:?}");
        assert!(by.lift_bounds.unwrap()[1] < -0.05, "{by:?}");
        let (_, by) = stopped(&plan, seed, [0.1, 0.1], [10_000, 15_000]).unwrap();
        assert!(by.metric == LATENCY && by.lift_bounds.unwrap()[0] > 0.2, "{by:?}");
    }
    // A better one is not.
    assert_eq!(stopped(&plan, 7, [0.1, 0.15], [10_000, 5_000]), None);
}

#[test]
fn verdicts_stand_in_the_report_and_harm_stays() {
    let plan = plan(&[(CTR, 0.05), (LATENCY, 0.2), (Of::SampleRatio, 0.0)]);
    let mut random = Random::seed_from_u64(7);
    let (mut users, mut looks) = (Users::new(&plan).unwrap(), Looks::default());
    let verdicts = |users: &Users, looks: &mut Looks| -> Vec<Said> {
        let report = Report::new(&plan, users, 1.0, looks).unwrap();
        report.guardrails.iter().map(|of| of.verdict).collect()
    };
    assert_eq!(verdicts(&users, &mut looks), [Said::Open; 3]);
    (0..10).for_each(|day| come(&mut users, &mut random, 300 * day, [0.2, 0.1], [10_000, 8_000]));
    let said = verdicts(&users, &mut looks);
    assert_eq!(said, [Said::Harm, Said::Safe, Said::Open]);
    // As it does in what is kept, whatever comes after.
    let kept = serde_json::to_string(&looks).unwrap();
    let mut looks: Looks = serde_json::from_str(&kept).unwrap();
    (10..60).for_each(|day| come(&mut users, &mut random, 300 * day, [0.1, 0.2], [10_000, 8_000]));
    assert_eq!(verdicts(&users, &mut looks)[0], Said::Harm);
    // Of an experiment whose begin is lost nothing new is said.
    users.lose_begin();
    let report = Report::new(&plan, &users, 1.0, &mut Looks::default()).unwrap();
    assert!(report.guardrails[0].verdict == Said::Open && report.guardrails[0].missing.is_some());
}

#[test]
fn users_who_are_lost_stop_it() {
    let plan = plan(&[(Of::SampleRatio, 0.0)]);
    let mut users = Users::new(&plan).unwrap();
    for user in 0..10_000_u32 {
        let group = user as usize % 2;
        if group == 0 || user % 20 != 1 {
            users.shown(&format!("u{user}"), group, 0, 10);
        }
    }
    let report = Report::new(&plan, &users, 1.0, &mut Looks::default()).unwrap();
    let by = report.guardrails[0].harm().unwrap();
    assert!(by.metric == Of::SampleRatio && by.group_id.is_none() && by.p_value.unwrap() < 0.001, "{by:?}");
}
