//! Redis and MongoDB go away and come back while the product is used: what was
//! acknowledged is there, what could not be done was refused as it should be, and
//! nobody had to start anything again.
//!
//! `FUNNELWEB_OUTAGE_CUTS` says how often each store goes (4: once in every way),
//! `_DOWN_MS` and `_UP_MS` for how long (800, 700).

use std::{
    collections::HashSet,
    fmt::Write,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use funnelweb_test_servers::{
    Kind, Server as Store,
    proxy::{Fault, Proxy},
};
use serde_json::{Value, json};

use crate::{
    fixtures::{FEED, import, item, scenario, strings},
    harness::{Client, Options, Reply, Server, workspace},
};

/// Events in one request; one item is written between two of them.
const EVENTS: usize = 5;
/// Batches of one user, so that a history fits on a page.
const USER_BATCHES: usize = 100;
/// Users who are recommended to.
const READERS: usize = 20;
/// From the store's return to a request that succeeds.
const RECOVERY: Duration = Duration::from_secs(10);
/// Until a request is refused while a store is away.
const REFUSAL: Duration = Duration::from_secs(30);
/// What a request may take: the deadlines of one call of each store, and a margin.
const PATIENCE: Duration = Duration::from_secs(9);
/// Until what was written is read back: a server without indexes, beside other work,
/// may need more than a call's deadline for it at times.
const READ_BACK: Duration = Duration::from_secs(60);
/// Memory that may come on top over the second half.
const MORE_MEMORY: u64 = 48 << 20;

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(format!("FUNNELWEB_OUTAGE_{name}"));
    value.map_or(default, |value| value.parse().unwrap())
}

/// What came of one kind of request.
#[derive(Default)]
struct Count {
    done: AtomicU64,
    refused: AtomicU64,
}

impl Count {
    /// Whether it was done; anything but that and an honest refusal is a failure.
    fn is_done(&self, begin: Instant, reply: &Reply, done: u16) -> bool {
        let took = begin.elapsed();
        assert!(took < PATIENCE, "an answer after {took:?}: {}", reply.text());
        reply.assert_status(&[done, 503]);
        if reply.status == done {
            self.done.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        assert_eq!(reply.json_code(), "store_unavailable", "{}", reply.text());
        assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|s| s > 0), "{:?}", reply.headers);
        self.refused.fetch_add(1, Ordering::Relaxed);
        false
    }

    fn text(&self) -> String {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!("{} done and {} refused", of(&self.done), of(&self.refused))
    }
}

/// What was acknowledged.
#[derive(Default)]
struct Written {
    events: Vec<(String, usize)>,
    items: Vec<String>,
}

fn event_id(batch: usize, at: usize) -> String {
    format!("b{batch}-{at}")
}

fn user(batch: usize) -> String {
    format!("writer{}", batch / USER_BATCHES)
}

fn write(client: &Client, events: &Count, items: &Count, stop: &AtomicBool) -> Written {
    let mut written = Written::default();
    for batch in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let event = |at| {
            json!({"event_id": event_id(batch, at), "scenario_id": FEED, "user_id": user(batch),
                   "item_id": format!("i{}", (batch + at) % 40), "action_type": "click"})
        };
        let body = Value::Array((0..EVENTS).map(event).collect());
        let (begin, reply) = (Instant::now(), client.post("/api/v1/behaviors", &body).send());
        if events.is_done(begin, &reply, 202) {
            assert_eq!(reply.json()["accepted"], EVENTS, "{}", reply.text());
            written.events.push((user(batch), batch));
        }
        let id = format!("new{batch}");
        let new = item(&id, "new", "new");
        let (begin, reply) = (Instant::now(), client.post("/api/v1/items/feed", &new).send());
        if items.is_done(begin, &reply, 201) {
            written.items.push(id);
        }
        sleep(Duration::from_millis(40));
    }
    written
}

fn read(client: &Client, slates: &Count, stop: &AtomicBool) {
    let body = json!({"scenario_id": FEED, "count": 5});
    for at in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let user = format!("reader{}", at % READERS);
        let (begin, reply) = (Instant::now(), client.post("/api/v1/recommend", &body).user(&user).send());
        if slates.is_done(begin, &reply, 200) {
            let found = strings(&reply.json()["items"], "item_id");
            assert!(!found.is_empty() || !reply.json()["degraded"].as_array().unwrap().is_empty(), "{}", reply.text());
        }
        sleep(Duration::from_millis(5));
    }
}

/// Every store goes away in every way, again and again.
fn cut(stores: &[(&str, Proxy)], client: &Client, events: &Count, memory: &mut dyn FnMut() -> u64) -> (u64, u64) {
    let cuts = setting("CUTS", 4);
    let (down, up) = (setting("DOWN_MS", 800), setting("UP_MS", 700));
    let faults = [Fault::Cut, Fault::Stall, Fault::HalfAReply, Fault::Slow(Duration::from_millis(50))];
    let mut at_half = 0;
    for round in 0..cuts {
        if round == cuts / 2 {
            at_half = memory();
        }
        for (shift, (name, proxy)) in stores.iter().enumerate() {
            let fault = faults[(round as usize + shift) % faults.len()];
            proxy.set(fault);
            sleep(Duration::from_millis(down));
            // What is tried again for a while may get through all the same: once, longer.
            let since = Instant::now();
            while *name == "MongoDB" && fault == Fault::Cut && events.refused.load(Ordering::Relaxed) == 0 {
                assert!(since.elapsed() < REFUSAL, "no event was refused without {name}");
                sleep(Duration::from_millis(20));
            }
            proxy.set(Fault::None);
            let back = Instant::now();
            let body = json!({"scenario_id": FEED, "user_id": "probe", "item_id": "i0", "action_type": "view"});
            while client.post("/api/v1/behaviors", &body).send().status != 202 {
                assert!(back.elapsed() < RECOVERY, "{name} is back since {:?} and unused", back.elapsed());
                sleep(Duration::from_millis(20));
            }
            sleep(Duration::from_millis(up));
        }
    }
    (at_half, memory())
}

/// What is there, once the store answers.
fn read_back(client: &Client, path: &str) -> Reply {
    let begin = Instant::now();
    loop {
        let reply = client.get(path).send();
        if reply.status != 503 || begin.elapsed() > READ_BACK {
            reply.assert_status(&[200]);
            return reply;
        }
        sleep(Duration::from_millis(100));
    }
}

/// The ids of a user's events, each as often as it is there.
fn history(client: &Client, user: &str) -> Vec<String> {
    let page = read_back(client, &format!("/api/v1/behaviors?user_id={user}&limit=1000")).json();
    assert!(page["next_before"].is_null(), "more than a page");
    strings(&page["events"], "event_id")
}

#[test]
fn nothing_acknowledged_is_lost_while_stores_come_and_go() {
    let (redis, mongodb) = (Store::redis(Kind::Redis, &[]), Store::ferretdb(&[]));
    let stores = [("Redis", Proxy::before(redis.port())), ("MongoDB", Proxy::before(mongodb.port()))];
    let [redis_url, mongodb_url] = [("redis", &stores[0].1), ("mongodb", &stores[1].1)]
        .map(|(scheme, proxy)| format!("{scheme}://127.0.0.1:{}", proxy.port()));
    let server = Server::with(Options {
        args: vec!["--runtime-config".into(), workspace().join("runtime-host/config/remote.toml").into()],
        env: vec![
            ("FUNNELWEB_REDIS_URL".to_owned(), redis_url.into()),
            ("FUNNELWEB_MONGODB_URL".to_owned(), mongodb_url.into()),
        ],
        ..Options::default()
    });
    let client = server.tenant("outage");
    client.post("/api/v1/scenarios", &scenario(FEED)).expect(201);
    import(&client, &(0..40).map(|at| item(&format!("i{at}"), ["a", "b"][at % 2], "t")).collect::<Vec<_>>());
    let stop = AtomicBool::new(false);
    let (events, items, slates) = (Count::default(), Count::default(), Count::default());
    let (written, (at_half, at_end)) = scope(|scope| {
        let writer = scope.spawn(|| write(&client, &events, &items, &stop));
        let reader = scope.spawn(|| read(&client, &slates, &stop));
        let cutter = scope.spawn(|| cut(&stores, &client, &events, &mut || server.memory_bytes()));
        while !cutter.is_finished() && !writer.is_finished() && !reader.is_finished() {
            sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap();
        reader.join().unwrap();
        (written, cutter.join().unwrap())
    });
    let mut report = String::new();
    writeln!(report, "events: {}; items: {}; slates: {}", events.text(), items.text(), slates.text()).unwrap();
    writeln!(report, "memory: {} MiB at half, {} MiB at the end", at_half >> 20, at_end >> 20).unwrap();
    println!("{report}");
    assert!(at_end < at_half + MORE_MEMORY, "{report}");
    assert!(events.refused.load(Ordering::Relaxed) > 0 && events.done.load(Ordering::Relaxed) > 20, "{report}");
    // Recommendations go on without MongoDB, and without most of Redis.
    assert!(slates.done.load(Ordering::Relaxed) > 20 * slates.refused.load(Ordering::Relaxed), "{report}");

    let mut users: Vec<&String> = written.events.iter().map(|(user, _)| user).collect();
    users.dedup();
    for user in users {
        let found = history(&client, user);
        let distinct: HashSet<&String> = found.iter().collect();
        assert_eq!(distinct.len(), found.len(), "an event of {user} is there twice");
        for (_, batch) in written.events.iter().filter(|(other, _)| other == user) {
            for id in (0..EVENTS).map(|at| event_id(*batch, at)) {
                assert!(distinct.contains(&id), "{id} of {user} was acknowledged and is lost");
            }
        }
    }
    for id in &written.items {
        read_back(&client, &format!("/api/v1/items/feed/{id}"));
    }
}
