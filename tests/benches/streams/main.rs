//! Behaviours through the log and all operators: how many a second, and how soon the next
//! request differs.
//!
//! It starts `target/release/funnelweb up` (or `$FUNNELWEB_BIN`) on a new data directory
//! and sends behaviours of users and items that are drawn evenly: first as fast as they
//! are taken, until operators have taken them all; then at a steady rate, while a probe
//! does something with an item that nobody knew, as a user whom nobody knew, and asks
//! until the hot list and the profile have it. It prints figures and asserts no time.
//!
//! Settings, from the environment: `FUNNELWEB_BENCH_EVENTS` of the first part (400,000),
//! `_USERS` (100,000), `_ITEMS` (20,000), `_SESSION`, how many behaviours of a user come in
//! a row (10), `_RATE` of the second, a second (5,000; several,
//! one after the other, as `5000,10000`), `_SECONDS` of each rate (20).
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
#[path = "../load/http.rs"]
mod http;
#[allow(dead_code, reason = "what the benches share")]
#[path = "../load/server.rs"]
mod server;

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use http::Connection;
use serde_json::{Value, json};
use server::{Server, Stores};

const TENANT: &str = "bench";
/// Behaviours in one request.
const BATCH: usize = 500;
/// Connections that send behaviours.
const SENDERS: usize = 2;
/// Between two things that the probe does.
const PROBE_EVERY: Duration = Duration::from_millis(50);
const ACTIONS: [&str; 5] = ["impression", "view", "click", "watch", "like"];

fn main() {
    let world = World {
        users: common::setting("USERS", 100_000).into(),
        items: common::setting("ITEMS", 20_000).into(),
        session: common::setting("SESSION", 10).max(1).into(),
        events: common::setting("EVENTS", 400_000) as usize,
    };
    let seconds = Duration::from_secs(common::setting("SECONDS", 20).clamp(1, 600).into());
    let rates = std::env::var("FUNNELWEB_BENCH_RATE").unwrap_or_else(|_| "5000".to_owned());
    let mut server = Server::start(Stores::Embedded);
    world.prepare(&server);
    world.flood(&server);
    for rate in rates.split(',') {
        world.steady(&server, rate.parse().unwrap(), seconds);
    }
    println!("memory: {}", server.memory());
    server.stop();
}

/// Who does what, evenly drawn.
struct World {
    users: u64,
    items: u64,
    session: u64,
    events: usize,
}

impl World {
    /// Two scenarios: one of all items, and the probe's, whose hot list is short.
    fn prepare(&self, server: &Server) {
        let mut connection = Connection::open(server.address(), TENANT);
        for (id, half_life_hours) in [("feed", 24.0), ("probe", 0.1)] {
            let body = json!({
                "scenario_id": id, "scenario_type": "test",
                "config": {
                    "recall": {"strategies": [{"name": "hot_items", "weight": 1.0, "limit": 10}]},
                    "rank": {"model": "linear"},
                    "exposure": {"enabled": false, "log_share": 0.0},
                    "cache": {"enabled": false},
                    "behaviors": {"hot_half_life_hours": half_life_hours}
                }
            });
            assert!(connection.post("/api/v1/scenarios", "sender", body.to_string().as_bytes(), 201));
        }
        for first in (0..self.items).step_by(1000) {
            let item = |at: u64| {
                json!({"item_id": format!("i{at}"),
                       "metadata": {"title": format!("About {at}"), "category": format!("c{}", at % 20),
                                    "tags": [format!("t{}", at % 97), format!("t{}", at % 89)]}})
            };
            let items: Vec<Value> = (first..self.items.min(first + 1000)).map(item).collect();
            let body = Value::Array(items).to_string();
            assert!(connection.post("/api/v1/items/feed", "sender", body.as_bytes(), 200));
        }
    }

    fn batch(&self, number: usize) -> Vec<u8> {
        let event = |at: usize| {
            let place = (number * BATCH + at) as u64;
            let draw = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11;
            let (random, user) = (draw(place), draw(place / self.session) >> 8);
            let action = ACTIONS[(random % 5) as usize];
            let extra = if action == "watch" { json!({"watch_duration": 12.5}) } else { json!({}) };
            json!({"event_id": format!("e{place}"), "scenario_id": "feed",
                   "user_id": format!("u{}", user % self.users),
                   "item_id": format!("i{}", (random >> 30) % self.items), "action_type": action,
                   "context": {"device_type": "mobile"}, "extra": extra})
        };
        Value::Array((0..BATCH).map(event).collect()).to_string().into_bytes()
    }

    /// As fast as they are taken.
    fn flood(&self, server: &Server) {
        let bodies: Vec<Vec<u8>> = (0..self.events.div_ceil(BATCH)).map(|number| self.batch(number)).collect();
        let events = bodies.len() * BATCH;
        let next = AtomicUsize::new(0);
        let (start, cpu) = (Instant::now(), server.cpu());
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    let mut connection = Connection::open(server.address(), TENANT);
                    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                        assert!(connection.post("/api/v1/behaviors", "sender", body, 202));
                    }
                });
            }
        });
        let answered = start.elapsed();
        settle(server);
        let taken = start.elapsed();
        let per_second = |time: Duration| events as f64 / time.as_secs_f64();
        println!(
            "{events} events of {} users, {} in a row, and {} items: {:.0}/s durable, {:.0}/s through all operators ({:.2} s, {:.2} s); \
             {:.1} µs of the server's processor time each; {}",
            self.users,
            self.session,
            self.items,
            per_second(answered),
            per_second(taken),
            answered.as_secs_f64(),
            taken.as_secs_f64(),
            (server.cpu() - cpu).as_secs_f64() * 1e6 / events as f64,
            server.memory()
        );
    }

    /// At a rate, with a probe.
    fn steady(&self, server: &Server, rate: usize, time: Duration) {
        let over = AtomicBool::new(false);
        let sent = AtomicUsize::new(0);
        let first = 1_000_000 + rate;
        let [mut hot, mut profile] = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut connection = Connection::open(server.address(), TENANT);
                let start = Instant::now();
                for number in 0.. {
                    let due = Duration::from_secs_f64((number * BATCH) as f64 / rate as f64);
                    sleep(due.saturating_sub(start.elapsed()));
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let body = self.batch(first + number);
                    assert!(connection.post("/api/v1/behaviors", "sender", &body, 202));
                    sent.fetch_add(BATCH, Ordering::Relaxed);
                }
            });
            let times = probe(server, rate, time);
            over.store(true, Ordering::Relaxed);
            times
        });
        let sent = sent.load(Ordering::Relaxed) as f64 / time.as_secs_f64();
        for (what, times) in [("hot list", &mut hot), ("profile", &mut profile)] {
            let mut millis = |share| common::quantile(times, share).as_secs_f64() * 1e3;
            println!(
                "at {sent:.0} events/s, from a behaviour's answer to the changed {what}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
                millis(0.5),
                millis(0.99),
                millis(1.0)
            );
        }
        settle(server);
    }
}

/// From the answer to a behaviour until the next recommendation shows its item first, and
/// until the profile counts it.
fn probe(server: &Server, run: usize, time: Duration) -> [Vec<Duration>; 2] {
    let mut connection = Connection::open(server.address(), TENANT);
    let (mut hot, mut profile) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let ask = json!({"scenario_id": "probe", "count": 1}).to_string();
    for number in 0.. {
        sleep((PROBE_EVERY * number).saturating_sub(start.elapsed()));
        if start.elapsed() > time {
            break;
        }
        let (item, user) = (format!("p{run}-{number}"), format!("v{run}-{number}"));
        let body = json!([{"item_id": item, "metadata": {"title": "probe", "category": "p"}}]).to_string();
        assert!(connection.post("/api/v1/items/probe", "sender", body.as_bytes(), 200));
        let event = json!({"scenario_id": "probe", "item_id": item, "action_type": "purchase"}).to_string();
        assert!(connection.post("/api/v1/behaviors", &user, event.as_bytes(), 202));
        let answered = Instant::now();
        let (mut is_hot, mut is_known) = (false, false);
        while !(is_hot && is_known) {
            if !is_hot && connection.ask("POST", "/api/v1/recommend", "nobody", ask.as_bytes()).1.contains(&item) {
                is_hot = true;
                hot.push(answered.elapsed());
            }
            let path = format!("/api/v1/profiles/probe/{user}");
            if !is_known && connection.ask("GET", &path, &user, b"").1.contains("total_purchase_count") {
                is_known = true;
                profile.push(answered.elapsed());
            }
            assert!(answered.elapsed() < Duration::from_secs(30), "{item} is not seen");
        }
    }
    [hot, profile]
}

/// Waits until operators have taken everything.
fn settle(server: &Server) {
    let mut connection = Connection::open(server.address(), TENANT);
    while connection.ask("GET", "/metrics", "sender", b"").1.contains("funnelweb_stream_behind_seconds{") {
        sleep(Duration::from_millis(5));
    }
}
