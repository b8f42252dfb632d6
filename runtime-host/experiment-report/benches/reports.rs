//! What an experiment's users cost that are kept from one report to the next: time to take slates
//! and behaviours, bytes and time to keep and read it, time to make the report.
//!
//! `cargo bench -p funnelweb-experiment-report -- [--users N] [--days N]`; without, 100,000 and
//! 1,000,000 users, who come on each of 7 days.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints a table or fails")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bincode::{Decode, Encode, config::standard};
use funnelweb_core::limits;
use funnelweb_experiment_report::{
    Act, DraftLooks, Drafts, GroupPlan, Looks, Plan, Preferences, Rankings, Report, Team, Users,
};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const DAY_MS: u64 = 24 * 3600 * 1000;
/// Items of a slate.
const ITEMS: u32 = 20;
/// Of a slate's items one in so many is clicked, and then watched.
const CLICKED: u64 = 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse().ok()
    };
    let days = value("--days").unwrap_or(7);
    for users in value("--users").map_or(vec![100_000, limits::EXPERIMENT_USERS as u64], |users| vec![users]) {
        split(users, days);
        interleaved(users, days);
    }
}

/// Users of two groups, each with a slate a day.
fn split(count: u64, days: u64) {
    let group = |group_id: &str| GroupPlan { group_id: group_id.to_owned(), traffic_ratio: 0.5 };
    let plan = Plan { groups: vec![group("control"), group("treatment")], ..Plan::default() };
    let (mut users, mut looks) = (Users::new(&plan).unwrap(), Looks::default());
    let names: Vec<String> = (0..count).map(|user| format!("user_{user}")).collect();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    println!("{count} users of two groups:");
    for day in 1..=days {
        let (mut slates, mut acts) = (Rate::default(), Rate::default());
        slates.time(count, || {
            for (user, name) in names.iter().enumerate() {
                users.shown(name, user % 2, at(day, user, count), ITEMS);
                users.took(name, user % 2, 2000, 1000);
            }
        });
        acts.time(count * u64::from(ITEMS) / CLICKED, || {
            for (user, name) in names.iter().enumerate() {
                for _ in 0..u64::from(ITEMS) / CLICKED {
                    let watch_s = Some((random.next_u64() % 60) as f64);
                    users.did(name, at(day, user, count) + 1000, &Act { watch_s, ..Act::click() });
                }
            }
        });
        users = kept(day == days, count, &users, [("slates", slates), ("behaviours", acts)]);
        let start = Instant::now();
        black_box(Report::new(&plan, &users, day as f64, &mut looks).unwrap());
        if day == days {
            println!("  report {:.1} ms", millis(start.elapsed()));
        }
    }
}

/// The same users, to whom two rankings are shown as one.
fn interleaved(count: u64, days: u64) {
    let rankings = Rankings::of("control".to_owned(), "treatment".to_owned());
    let (mut drafts, mut looks) = (Drafts::default(), DraftLooks::default());
    let names: Vec<String> = (0..count).map(|user| format!("user_{user}")).collect();
    let items: Vec<String> = (0..20_000).map(|item| format!("item_{item}")).collect();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    println!("{count} users of an interleaving:");
    for day in 1..=days {
        let (mut slates, mut acts) = (Rate::default(), Rate::default());
        let first = |user: usize| (user * 31 + day as usize * 7) % (items.len() - ITEMS as usize);
        let shown = |user: usize| items.iter().skip(first(user)).take(ITEMS as usize);
        slates.time(count, || {
            for (user, name) in names.iter().enumerate() {
                let teams = [Team::Control, Team::Treatment].into_iter().cycle();
                drafts.shown(name, at(day, user, count), shown(user).map(String::as_str).zip(teams));
            }
        });
        acts.time(count * u64::from(ITEMS) / CLICKED, || {
            for (user, name) in names.iter().enumerate() {
                for item in shown(user).step_by(CLICKED as usize) {
                    let watch_s = Some((random.next_u64() % 60) as f64);
                    drafts.did(name, item, at(day, user, count) + 1000, &Act { watch_s, ..Act::click() });
                }
            }
        });
        drafts = kept(day == days, count, &drafts, [("slates", slates), ("behaviours", acts)]);
        let start = Instant::now();
        black_box(Preferences::new(&rankings, &drafts, day as f64, &mut looks).unwrap());
        if day == days {
            println!("  report {:.1} ms", millis(start.elapsed()));
        }
    }
}

/// When a user comes on a day.
fn at(day: u64, user: usize, users: u64) -> u64 {
    day * DAY_MS + user as u64 * DAY_MS / users
}

/// How many in how much time.
#[derive(Default)]
struct Rate(u64, Duration);

impl Rate {
    fn time(&mut self, count: u64, work: impl FnOnce()) {
        let start = Instant::now();
        work();
        *self = Self(count, start.elapsed());
    }
}

/// A state as it is read again after it was kept.
fn kept<S: Encode + Decode<()>>(is_told: bool, users: u64, state: &S, rates: [(&str, Rate); 2]) -> S {
    let start = Instant::now();
    let bytes = bincode::encode_to_vec(state, standard()).unwrap();
    let (wrote, start) = (start.elapsed(), Instant::now());
    let state = bincode::decode_from_slice(&bytes, standard()).unwrap().0;
    if is_told {
        for (what, Rate(count, time)) in rates {
            println!("  {what} {:.1} million/s", count as f64 / time.as_secs_f64() / 1e6);
        }
        println!(
            "  kept {:.1} MB, {:.0} bytes a user; written in {:.0} ms, read in {:.0} ms",
            bytes.len() as f64 / 1e6,
            bytes.len() as f64 / users as f64,
            millis(wrote),
            millis(start.elapsed())
        );
    }
    state
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
