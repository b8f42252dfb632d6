//! Whether experiments find what is true: the demo's users, whose tastes are known, in
//! experiments of a variant that is truly better and of one that is truly equal, split and
//! interleaved.
//!
//! It starts `target/release/funnelweb up` (or `$FUNNELWEB_BIN`) on a new data directory, with
//! the short videos of the demo for four tenants, and an experiment in each. Then, day after
//! day, users come, new ones and some who were there before; they ask for a slate, look at it
//! from the first item on, and click and watch by their tastes. (A day is a look: no clock is
//! moved, so the report's own days are moments.) At its end the job `experiments` makes the report, and it
//! is read, as somebody would who stops as soon as there is something to see:
//!
//! - *better*: the control ranks by what is popular, the treatment by what the user likes as
//!   well. It must be found better, on any day.
//! - *equal*: the treatment says what the default is. It must not be found to differ, on no
//!   day; who looks every day at an interval for one look would find it one time in five.
//!
//! It prints figures, and fails when the first is not found or the second is.
//!
//! ```sh
//! cargo xtask bench --bench experiments
//! ```
//!
//! Settings, from the environment: `FUNNELWEB_BENCH_DAYS` (20), `_VISITS` of a day (200, by
//! 150 new users and regulars), `_USERS` (3,000), `_ITEMS` (2,000), `_EVENTS`, what users did
//! before (45,000). With these it takes about a minute and a half.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench: it fails loudly, and its figures go to standard output"
)]

#[allow(dead_code, reason = "what the benches share")]
#[path = "../common.rs"]
mod common;
#[allow(dead_code, reason = "what the benches share")]
#[path = "../load/http.rs"]
mod http;
#[allow(dead_code, reason = "what the benches share")]
#[path = "../load/server.rs"]
mod server;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    thread,
};

use funnelweb_core::job::{Kind as Job, State};
use funnelweb_demo::{Event, Kind, SEED, Size, World};
use funnelweb_import::{Client, follow, load_demo};
use http::Connection;
use serde_json::{Map, Value, json};
use server::{Server, Stores};

/// Items of a slate.
const COUNT: u32 = 10;

fn main() -> ExitCode {
    let setting = common::setting;
    let size = Size {
        items: setting("ITEMS", 2_000),
        users: setting("USERS", 3_000),
        events: setting("EVENTS", 45_000).into(),
    };
    let (days, visits) = (setting("DAYS", 20), u64::from(setting("VISITS", 200)));
    let mut server = Server::start(Stores::Embedded);
    let trials = [
        Trial { tenant: "split-better", is_split: true, is_better: true },
        Trial { tenant: "interleaved-better", is_split: false, is_better: true },
        Trial { tenant: "split-equal", is_split: true, is_better: false },
        Trial { tenant: "interleaved-equal", is_split: false, is_better: false },
    ];
    let found: Vec<Outcome> = thread::scope(|scope| {
        let server = &server;
        let runs: Vec<_> =
            trials.iter().map(|trial| scope.spawn(move || trial.run(server, size, days, visits))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    server.stop();
    let mut is_right = true;
    for (trial, outcome) in trials.iter().zip(found) {
        let right = outcome.found_on.is_some() == trial.is_better && outcome.is_for_treatment == trial.is_better;
        println!("{}: {}{}", trial.tenant, outcome.text, if right { "" } else { "  <-- WRONG" });
        is_right &= right;
    }
    if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Trial {
    tenant: &'static str,
    is_split: bool,
    is_better: bool,
}

/// What a trial came to.
struct Outcome {
    /// The day on which a difference was found first.
    found_on: Option<u32>,
    /// Whether it is found in favour of the treatment.
    is_for_treatment: bool,
    text: String,
}

impl Trial {
    fn run(&self, server: &Server, size: Size, days: u32, visits: u64) -> Outcome {
        let world = World::new(Kind::Vlog, size, SEED, common::now_ms()).unwrap();
        let client = Client::new(&server.url(), self.tenant).unwrap();
        load_demo(&client, &world, &mut |_| {}).unwrap();
        client.put_scenario(&scenario(&world).to_string()).unwrap();
        let mut connection = Connection::open(server.address(), self.tenant);
        let path = format!("/api/v1/experiments/{}", world.scenario_id());
        assert!(connection.post(&path, "bench", self.experiment().to_string().as_bytes(), 201));
        assert!(connection.post(&format!("{path}/{}/start", self.tenant), "bench", b"", 200));
        let (mut users, mut truth) = (BTreeSet::new(), Truth::default());
        let mut outcome = Outcome { found_on: None, is_for_treatment: false, text: String::new() };
        for day in 1..=days {
            for number in (u64::from(day) - 1) * visits..u64::from(day) * visits {
                let visit = world.visit(number);
                let user = visit.user_id();
                let answer = client.recommend(&user, world.scenario_id(), COUNT, &json!(visit.context())).unwrap();
                assert_eq!(answer["degraded"], json!([]), "{answer}");
                let items = answer["items"].as_array().unwrap();
                let slate: Vec<&str> = items.iter().map(|item| item["item_id"].as_str().unwrap()).collect();
                truth.add(
                    &answer["experiments"][0]["group_id"],
                    world.mean_affinity(world.user_index(&user).unwrap(), &slate),
                );
                let events = visit.reactions(&slate, common::now_ms());
                client.post_ndjson("/api/v1/behaviors", events.iter().map(Event::to_line)).unwrap();
                users.insert(user);
            }
            let run = client.start_job(world.scenario_id(), Job::Experiments, &Map::new()).unwrap();
            assert_eq!(follow(&client, run, &mut |_| {}).unwrap().state, State::Succeeded);
            let (status, report) = connection.ask("GET", &format!("{path}/{}/report", self.tenant), "bench", b"");
            assert_eq!(status, 200, "{report}");
            let said = self.read(&serde_json::from_str(&report).unwrap(), &truth);
            outcome.is_for_treatment = said.is_significant && said.is_for_treatment;
            outcome.text = format!("day {day}, {} users: {}", users.len(), said.text);
            if said.is_significant {
                outcome.found_on = Some(day);
                break;
            }
        }
        outcome
    }

    fn experiment(&self) -> Value {
        let likes = json!({"rank": {"params": {"weights": {"category": 1.0, "tags": 1.0}}}});
        // As it is without.
        let default = json!({"rank": {"params": {"half_life_hours": 72.0}}});
        let config = if self.is_better { likes } else { default };
        let mut groups = json!([{"group_id": "control"}, {"group_id": "treatment", "config": config}]);
        if self.is_split {
            (groups[0]["traffic_ratio"], groups[1]["traffic_ratio"]) = (json!(0.5), json!(0.5));
        }
        let design = if self.is_split { "split" } else { "interleaving" };
        json!({"experiment_id": self.tenant, "type": design, "groups": groups})
    }

    /// What the report says of clicks.
    fn read(&self, report: &Value, truth: &Truth) -> Said {
        let part = if self.is_split { "comparisons" } else { "preferences" };
        let metric = if self.is_split { "ctr" } else { "clicks" };
        let of = report[part].as_array().unwrap().iter().find(|of| of["metric"] == metric).cloned().unwrap_or_default();
        let number = |name: &str| of[name].as_f64().unwrap_or(f64::NAN);
        let ends = |name: &str| {
            format!(
                "{:.3} to {:.3}",
                of[name][0].as_f64().unwrap_or(f64::NAN),
                of[name][1].as_f64().unwrap_or(f64::NAN)
            )
        };
        let text = if self.is_split {
            let [control, treatment] = ["control", "treatment"].map(|group| truth.of(group));
            format!(
                "lift of CTR {:+.3} ({}), p = {:.2e}; in truth {control:.3} and {treatment:.3}",
                number("lift"),
                ends("lift_interval"),
                number("p_value")
            )
        } else {
            format!(
                "{} for the treatment, {} for the control, {} ties: a share of {:.3} ({}), p = {:.2e}",
                of["treatment_users"],
                of["control_users"],
                of["ties"],
                number("share"),
                ends("interval"),
                number("p_value")
            )
        };
        let is_for_treatment = if self.is_split { number("difference") > 0.0 } else { number("share") > 0.5 };
        Said { is_significant: of["is_significant"] == json!(true), is_for_treatment, text }
    }
}

struct Said {
    is_significant: bool,
    is_for_treatment: bool,
    text: String,
}

/// How likely the items of slates are clicked, by group, as the world knows.
#[derive(Default)]
struct Truth(BTreeMap<String, (f64, f64)>);

impl Truth {
    fn add(&mut self, group: &Value, affinity: f32) {
        let (sum, count) = self.0.entry(group.as_str().unwrap().to_owned()).or_default();
        (*sum, *count) = (*sum + f64::from(affinity), *count + 1.0);
    }

    fn of(&self, group: &str) -> f64 {
        self.0.get(group).map_or(f64::NAN, |(sum, count)| sum / count)
    }
}

/// Ranked by what is popular: of what a user likes, nothing weighs.
fn scenario(world: &World) -> Value {
    let mut scenario: Value = serde_json::from_str(world.scenario_json()).unwrap();
    scenario["config"] = json!({
        "features": {"item_features": [
            {"name": "category", "type": "categorical", "weight": 0.0},
            {"name": "tags", "type": "multi_categorical", "weight": 0.0},
            {"name": "hot_score", "type": "numeric", "weight": 1.0},
        ]},
        "recall": {"strategies": [
            {"name": "hot_items", "weight": 0.5, "limit": 200},
            {"name": "content_based", "weight": 0.4, "limit": 100},
            {"name": "latest", "weight": 0.1, "limit": 100},
        ]},
        "rank": {"model": "linear", "params": {"recall_weight": 0.0}},
    });
    scenario
}
