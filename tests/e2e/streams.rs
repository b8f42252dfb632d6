//! What operators make of the log, seen at `/metrics`: soon, once, whatever is killed
//! when.
//!
//! `FUNNELWEB_STREAM_EVENTS` and `FUNNELWEB_STREAM_KILLS` make the crash test longer, and
//! `FUNNELWEB_KAFKA_EVENTS` and `FUNNELWEB_KAFKA_KILLS` that over Kafka.

use std::{
    collections::BTreeMap,
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use funnelweb_test_servers::{Kind, Server as Process};
use serde_json::{Value, json};

use crate::{
    fixtures::{FEED, feed},
    harness::{Client, Options, Server, eventually, shared, workspace},
};

/// A tenant's counters, with all their labels but the tenant.
pub fn counters(client: &Client) -> BTreeMap<String, f64> {
    let text = client.get("/metrics").expect(200).text();
    assert!(text.ends_with("# EOF\n"));
    let tenant = format!("tenant=\"{}\"", client.name());
    let own = text.lines().filter(|line| line.contains(&tenant));
    own.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let name = name.replace(&format!("{tenant},"), "").replace(&tenant, "");
        (name.strip_prefix("funnelweb_").unwrap().to_owned(), value.parse().unwrap())
    })
    .collect()
}

/// A label that is empty is not shown.
fn series(name: &str, action: &str, group: &str) -> String {
    let labels = [("action", action), ("group", group), ("scenario", FEED)];
    let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

fn behaviors(action: &str, group: &str) -> String {
    series("behaviors_total", action, group)
}

#[test]
fn what_users_do_is_counted_by_scenario_and_group() {
    let server = shared();
    let (client, other) = (server.tenant("stream-counts"), server.tenant("stream-none"));
    feed(&client);
    feed(&other);
    let event = |action: &str, group: Option<&str>, watched: Option<f64>| {
        let context = group.map_or(json!({}), |group| json!({"experiment_group": group}));
        let extra = watched.map_or(json!({}), |watched| json!({"watch_duration": watched}));
        json!({"scenario_id": FEED, "user_id": "ann", "item_id": "i", "action_type": action,
               "context": context, "extra": extra})
    };
    let events = json!([
        event("impression", Some("blue"), None),
        event("impression", Some("blue"), None),
        event("click", Some("blue"), None),
        event("watch", Some("blue"), Some(12.5)),
        event("watch", None, Some(0.25)),
        // What is no group is none.
        event("impression", Some("a/b"), None),
    ]);
    client.post("/api/v1/behaviors", &events).expect(202);
    let sent = Instant::now();
    let expected = BTreeMap::from([
        (behaviors("click", "blue"), 1.0),
        (behaviors("impression", ""), 1.0),
        (behaviors("impression", "blue"), 2.0),
        (behaviors("watch", ""), 1.0),
        (behaviors("watch", "blue"), 1.0),
        (series("watch_seconds_total", "", ""), 0.25),
        (series("watch_seconds_total", "", "blue"), 12.5),
        (series("watches_total", "", ""), 1.0),
        (series("watches_total", "", "blue"), 1.0),
    ]);
    eventually("the counters", Duration::from_secs(20), || (counters(&client) == expected).then_some(()));
    println!("counted {} ms after the answer", sent.elapsed().as_millis());
    assert_eq!(counters(&other), BTreeMap::new());
    // A scenario takes its counters along.
    client.delete(&format!("/api/v1/scenarios/{FEED}")).expect(204);
    eventually("the end of the counters", Duration::from_secs(20), || counters(&client).is_empty().then_some(()));
}

#[test]
fn metrics_tell_of_requests_and_stages() {
    let client = shared().tenant("stream-host");
    feed(&client);
    client.post("/api/v1/recommend", &json!({"scenario_id": FEED, "count": 1})).expect(200);
    client.get("/api/v1/items/feed/none").expect(404);
    let reply = client.get("/metrics").expect(200);
    assert_eq!(reply.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = reply.text();
    for line in [
        "# TYPE funnelweb_http_requests counter",
        "funnelweb_http_requests_total{component=\"recommend\",status=\"200\"}",
        "funnelweb_http_requests_total{component=\"items\",status=\"404\"}",
        "funnelweb_http_request_seconds_bucket{le=\"+Inf\",component=\"recommend\"}",
        "funnelweb_http_requests_at_work ",
        "funnelweb_stage_calls_total{component=\"features\",status=\"ok\"}",
        "funnelweb_stage_seconds_count{component=\"features\"}",
    ] {
        assert!(text.lines().any(|have| have.starts_with(line)), "{line} is not in\n{text}");
    }
}

const ACTIONS: [&str; 4] = ["impression", "click", "watch", "like"];

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Events that are sent while the host is killed again and again.
struct Crashes {
    events: usize,
    /// Events in a request.
    batch: usize,
    kills: usize,
    /// Milliseconds that the host has between two kills, at most.
    most_ms: u64,
    /// Until all is counted.
    patience: Duration,
}

impl Crashes {
    fn batches(&self) -> usize {
        self.events.div_ceil(self.batch)
    }

    /// The events of a batch; the same whenever it is sent.
    fn batch(&self, number: usize) -> Value {
        let event = |at: usize| {
            let place = number * self.batch + at;
            let group = ["", "a", "b"][place % 3];
            json!({"event_id": format!("e{place}"), "scenario_id": FEED, "user_id": format!("u{}", place % 97),
                   "item_id": format!("i{}", place % 31), "action_type": ACTIONS[place % 4],
                   "context": {"experiment_group": group},
                   "extra": if place % 4 == 2 { json!({"watch_duration": 0.25}) } else { json!({}) }})
        };
        Value::Array((0..self.batch).map(event).collect())
    }

    fn expected(&self) -> BTreeMap<String, f64> {
        let mut expected: BTreeMap<String, f64> = BTreeMap::new();
        for place in 0..self.batches() * self.batch {
            let group = ["", "a", "b"][place % 3];
            *expected.entry(behaviors(ACTIONS[place % 4], group)).or_default() += 1.0;
            if place % 4 == 2 {
                *expected.entry(series("watches_total", "", group)).or_default() += 1.0;
                *expected.entry(series("watch_seconds_total", "", group)).or_default() += 0.25;
            }
        }
        expected
    }

    /// Sends everything, however often the host has to be started; every event counts once.
    fn run(&self, mut server: Server) {
        let (batches, kills) = (self.batches(), self.kills);
        feed(&server.tenant("stream-crash"));
        let begin = Instant::now();
        let (mut next, mut seed) = (0, 7_u64);
        for kill in 0..=kills {
            let client = server.tenant("stream-crash");
            // As far as it comes; a batch without an answer is sent again.
            let end = batches * (kill + 1) / (kills + 1);
            next += scope(|scope| {
                let sender = scope.spawn(move || {
                    let sent = |number: &usize| {
                        let call = client.post("/api/v1/behaviors", &self.batch(*number));
                        call.try_send().is_ok_and(|reply| reply.status == 202)
                    };
                    (next..end).take_while(sent).count()
                });
                if kill < kills {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    // While it is sending, mostly.
                    sleep(Duration::from_millis(2 + (seed >> 33) % self.most_ms));
                    server.kill9();
                }
                sender.join().unwrap()
            });
            if kill < kills {
                server.restart();
            }
        }
        assert_eq!(next, batches);
        let client = server.tenant("stream-crash");
        let all = |counters: &BTreeMap<String, f64>| {
            let counted: f64 =
                counters.iter().filter(|(name, _)| name.starts_with("behaviors")).map(|(_, value)| value).sum();
            counted >= (batches * self.batch) as f64
        };
        eventually("all events", self.patience, || all(&counters(&client)).then_some(()));
        // Time for what would be too much.
        sleep(Duration::from_millis(500));
        let expected = self.expected();
        eventually("exactly these, and nothing that is behind", Duration::from_secs(10), || {
            (counters(&client) == expected).then_some(())
        });
        println!("{} events, {kills} kills, {} ms", batches * self.batch, begin.elapsed().as_millis());
    }
}

#[test]
fn every_event_counts_once_however_often_the_host_is_killed() {
    let (events, kills) = (setting("FUNNELWEB_STREAM_EVENTS", 20_000), setting("FUNNELWEB_STREAM_KILLS", 8));
    // A round's batches take some 40 ms.
    let patience = Duration::from_secs(120);
    let crashes = Crashes { events, batch: 500, kills, most_ms: 60, patience };
    crashes.run(Server::start());
}

/// The same where behaviours go over Kafka to operators that share its partitions. The
/// server that stands for MongoDB takes the writes of one process only.
#[test]
fn every_event_on_kafka_counts_once_however_often_the_host_is_killed() {
    let (redis, mongo) = (Process::redis(Kind::Redis, &[]), Process::ferretdb(&[]));
    let kafka = Process::kafka(&[]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("kafka.toml");
    let shipped = std::fs::read_to_string(workspace().join("runtime-host/config/remote.toml")).unwrap();
    // This server answers nobody any more once many updates wait for its own connections.
    let shipped = shipped.replace("pool_max = 64", "pool_max = 4");
    let ours = format!(
        "[kafka]\nbootstrap_servers = [\"127.0.0.1:{}\"]\npartitions = 3\nsession_timeout_ms = 6000\n",
        kafka.port()
    );
    std::fs::write(&config, format!("{shipped}\n{ours}")).unwrap();
    let server = Server::with(Options {
        args: vec!["--runtime-config".into(), config.into()],
        env: vec![
            ("FUNNELWEB_MONGODB_URL".to_owned(), format!("mongodb://127.0.0.1:{}", mongo.port()).into()),
            ("FUNNELWEB_REDIS_URL".to_owned(), format!("redis://127.0.0.1:{}", redis.port()).into()),
        ],
        ..Options::default()
    });
    let (events, kills) = (setting("FUNNELWEB_KAFKA_EVENTS", 2_000), setting("FUNNELWEB_KAFKA_KILLS", 4));
    // Also long enough for partitions to be given out.
    let crashes = Crashes { events, batch: 20, kills, most_ms: 8_000, patience: Duration::from_secs(180) };
    crashes.run(server);
}
