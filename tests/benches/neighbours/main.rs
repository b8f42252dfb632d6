//! What a tenant feels of a neighbour whose components are hostile.
//!
//! It starts `target/release/funnelweb up` (or `$FUNNELWEB_BIN`) on a new data directory,
//! with the limits as shipped, for tenants that have the demo's catalogue each. Of the
//! corpus of hostile uploads (`tests/corpus`) one after the other is uploaded by a tenant A
//! and has an operator activate it, whatever certification would say of it. Then, three
//! stretches of the same length, a tenant B asks for recommendations at a steady rate:
//!
//! - *silent*: A does nothing;
//! - *sound*: A asks as fast as it is answered, and its scenario names a component of the
//!   same world that behaves;
//! - *hostile*: A asks as fast as it is answered, and its scenario names the hostile one.
//!   Where no scenario takes it, since its `check` gives no answer, A writes that scenario
//!   again and again. Of a stream operator A's users act instead, as fast as that is
//!   answered.
//!
//! What a hostile component does to B is the difference between the last two: a tenant that
//! asks all the time takes its part of the machine, whatever it runs. Times of B are from
//! the moment at which a request was to be sent, so that one that waits behind a late one
//! is late as well. Clients and server share the machine. Four tenants take turns at being
//! A: each begins with the whole of the processors' time that its components may save up.
//!
//! It prints figures and asserts no time; it fails when a request of B is not answered, or
//! not by all stages, or one of A is not answered as it should be. Components during whose
//! stretches other processes had a tenth of the processors are shown, and left out of what
//! is said of all together.
//!
//! ```sh
//! cargo xtask bench --bench neighbours
//! FUNNELWEB_BENCH_SECONDS=1 FUNNELWEB_BENCH_COMPONENTS=30 cargo xtask bench --bench neighbours
//! FUNNELWEB_BENCH_ONLY=loop,leak-timers FUNNELWEB_BENCH_ROUNDS=4 cargo xtask bench --bench neighbours
//! ```
//!
//! Settings, from the environment: `FUNNELWEB_BENCH_SECONDS` of each stretch (2),
//! `_COMPONENTS`, how many, drawn evenly (0: all; with 1 second, 30 take two minutes, and
//! all with 2 seconds take 25), `_ONLY`, what their names begin with, `_ROUNDS` (1), `_RATE`
//! of B, a second (100), `_CLIENTS` of A (4), `_PACE` of A, a second (0: as fast as it is
//! answered), `_PATIENCE`, seconds to wait before each component for other processes to
//! leave the processors alone (0), `_ITEMS` (2,000), `_USERS` (200), `_EVENTS` (8,000) of
//! each tenant.
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
mod machine;
mod report;
#[allow(dead_code, reason = "what the benches share")]
#[path = "../load/server.rs"]
mod server;
mod tenants;
mod traffic;

use std::{process::ExitCode, thread, time::Duration};

use funnelweb_corpus::{Case, Expected, World};
use funnelweb_demo::{Kind, Size};
use machine::Moment;
use report::{Report, Row};
use server::Server;
use tenants::{TOKEN, Villain};
use traffic::{Answers, Traffic};

const NEIGHBOUR: &str = "neighbour";
/// Of B, so that a late answer does not keep the next request back.
const CONNECTIONS: usize = 4;
/// Between two stretches, for what is under way to end.
const PAUSE: Duration = Duration::from_millis(150);
/// How often a component is measured, with patience, if others disturb it.
const ATTEMPTS: usize = 3;

fn main() -> ExitCode {
    let size = Size {
        items: common::setting("ITEMS", 2_000),
        users: common::setting("USERS", 200),
        events: common::setting("EVENTS", 8_000).into(),
    };
    let world = funnelweb_demo::World::new(Kind::Vlog, size, funnelweb_demo::SEED, common::now_ms()).unwrap();
    let bench = Bench {
        server: Server::start_with(&format!("[components]\noperator_token = '{TOKEN}'\n")),
        users: (0..size.users).map(|user| world.user_id(user)).collect(),
        body: common::request(&world),
        time: Duration::from_secs(common::setting("SECONDS", 2).clamp(1, 600).into()),
        rate: common::setting("RATE", 100).clamp(1, 10_000).into(),
        clients: common::setting("CLIENTS", 4).clamp(1, 256) as usize,
        pace: Some(common::setting("PACE", 0)).filter(|pace| *pace > 0).map(f64::from),
    };
    tenants::prepare(&bench.server, NEIGHBOUR, &world);
    let villains = tenants::VILLAINS.map(|tenant| Villain::new(&bench.server, tenant, &world));
    tenants::settle(&bench.server);
    let asked = bench.neighbour().run(Duration::from_secs(3)).times.len();
    println!(
        "{} items; B asks {} times a second ({asked} before it begins), A by {} connections{}; stretches of {:?}\n",
        size.items,
        bench.rate,
        bench.clients,
        bench.pace.map_or_else(String::new, |pace| format!(", {pace} times a second")),
        bench.time,
    );
    let patience = Duration::from_secs(common::setting("PATIENCE", 0).into());
    let mut report = Report::default();
    let mut turns = villains.iter().cycle();
    for _ in 0..common::setting("ROUNDS", 1) {
        for case in &cases() {
            for attempt in 1.. {
                machine::wait(&bench.server, patience);
                let row = bench.row(turns.next().unwrap(), case);
                let is_last = attempt == ATTEMPTS || patience.is_zero();
                if is_last || row.as_ref().is_none_or(|row| !row.is_disturbed()) {
                    report.add(row);
                    break;
                }
            }
        }
    }
    report.print();
    println!("memory: {}", bench.server.memory());
    if report.failed() > 0 {
        eprintln!("{} requests failed", report.failed());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Those that may be admitted, as the settings have them.
fn cases() -> Vec<Case> {
    let only = std::env::var("FUNNELWEB_BENCH_ONLY").unwrap_or_default();
    let mut cases = funnelweb_corpus::cases();
    cases.retain(|case| {
        !matches!(case.expected, Expected::Refused(_)) && only.split(',').any(|begin| case.name.starts_with(begin))
    });
    let count = common::setting("COMPONENTS", 0) as usize;
    if (1..cases.len()).contains(&count) {
        let all = cases.len();
        cases = (0..count).map(|at| cases[at * all / count].clone()).collect();
    }
    cases
}

struct Bench {
    server: Server,
    users: Vec<String>,
    body: Vec<u8>,
    /// Of a stretch.
    time: Duration,
    /// Of B.
    rate: f64,
    /// Of A.
    clients: usize,
    pace: Option<f64>,
}

impl Bench {
    fn neighbour(&self) -> Traffic<'_> {
        Traffic {
            address: self.server.address(),
            tenant: NEIGHBOUR,
            method: "POST",
            path: "/api/v1/recommend",
            users: &self.users,
            body: &self.body,
            connections: CONNECTIONS,
            rate: Some(self.rate),
        }
    }

    /// The three stretches of a component; None when it is not admitted.
    fn row(&self, villain: &Villain, case: &Case) -> Option<Row> {
        let attack = villain.take(case)?;
        let later = [funnelweb_corpus::VICTIM.to_owned()];
        let users = if matches!(case.expected, Expected::Later(_)) { &later[..] } else { &self.users };
        let asks =
            Traffic { tenant: villain.tenant, users, connections: self.clients, rate: self.pace, ..self.neighbour() };
        let config = attack.config.to_string();
        let path = format!("/api/v1/scenarios/{}", attack.config["scenario_id"].as_str().unwrap());
        let act = self.behavior();
        let is_operator = case.world == World::Aggregate;
        // An operator takes what A's users do.
        let asks = if is_operator { Traffic { path: "/api/v1/behaviors", body: act.as_bytes(), ..asks } } else { asks };
        let hostile = if attack.is_taken {
            asks
        } else {
            Traffic { method: "PUT", path: &path, body: config.as_bytes(), ..asks }
        };

        let moment = Moment::now(&self.server);
        let (silent, _) = self.stretch(None);
        villain.behave(&attack, case.world);
        let (sound, of_sound) = self.stretch(Some(&asks));
        villain.misbehave(&attack, case.world);
        let before = villain.taken(&self.server);
        let (hostile, of_hostile) = self.stretch(Some(&hostile));
        let taken = villain.taken(&self.server).since(&before);
        let others = moment.others(&self.server);
        villain.let_go(&self.server, &attack);
        Some(Row {
            name: case.name,
            is_taken: attack.is_taken,
            status: if is_operator { 202 } else { 200 },
            time: self.time,
            others,
            silent,
            sound,
            hostile,
            of_sound,
            of_hostile,
            taken,
        })
    }

    /// Something that one of A's users does.
    fn behavior(&self) -> String {
        let scenario: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        let event = serde_json::json!({
            "scenario_id": scenario["scenario_id"], "item_id": "vlog_000001", "action_type": "click",
        });
        event.to_string()
    }

    /// What B is answered, and A.
    fn stretch(&self, villain: Option<&Traffic<'_>>) -> (Answers, Answers) {
        thread::sleep(PAUSE);
        thread::scope(|scope| {
            let villain = villain.map(|villain| scope.spawn(|| villain.run(self.time)));
            let neighbour = self.neighbour().run(self.time);
            (neighbour, villain.map_or_else(Answers::default, |villain| villain.join().unwrap()))
        })
    }
}
