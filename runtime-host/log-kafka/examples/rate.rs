//! How many events a second go to a broker on this machine and come back, and what an
//! append takes: calls of 1 and of 100 events of 300 bytes, some at a time, then all of
//! them read by one member: `cargo run --release -p funnelweb-log-kafka --example rate`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, run by hand")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use funnelweb_log_kafka::{Change, KafkaLog, KafkaSettings, Record, Start, Subscription, Topic};
use funnelweb_test_servers::Server;

const EVENTS: usize = 400_000;

fn event(number: usize) -> Record {
    // A fixed sequence that looks random.
    let random = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let (user, item) = (random % 1000, (random >> 8) % 100_000);
    let body = format!(
        r#"{{"event_id":"event_{number:012}_{random:x}","scenario_id":"vlog_main_feed","user_id":"user_{user}","item_id":"item_{item}","action_type":"click","timestamp":1700000{number:06},"context":{{"device_type":"mobile","location":"city_{}","session_id":"{:x}"}},"extra":{{"watch_time":{},"position":{}}}}}"#,
        random % 40,
        random.rotate_left(20),
        random % 90,
        random % 20
    );
    Record {
        headers: vec![("event-id".to_owned(), number.to_string().into())],
        ..Record::new(format!("user_{user}"), body)
    }
}

/// CPU time of this process until now, from Linux's clock ticks.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold anything, in parentheses.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[tokio::main]
async fn main() {
    let start = Instant::now();
    let server = Server::kafka(&[]);
    let settings =
        KafkaSettings { connect_timeout_ms: 60_000, ..KafkaSettings::of(format!("127.0.0.1:{}", server.port())) };
    let log = KafkaLog::connect(settings).await.unwrap();
    println!(
        "the broker answers after {:.1} s; an event has {} bytes",
        start.elapsed().as_secs_f64(),
        event(0).payload.len()
    );
    for (calls_at_once, events_per_call) in [(1, 1), (64, 1), (1, 100), (8, 100)] {
        let topic = Topic::Behaviors(format!("rate-{calls_at_once}-{events_per_call}"));
        log.ensure(std::slice::from_ref(&topic)).await.unwrap();
        let producer = Arc::new(log.producer().unwrap());
        producer.append(&topic, vec![event(0)]).await.unwrap();
        let events = if events_per_call == 1 { EVENTS / 100 * calls_at_once.min(20) } else { EVENTS };
        let (start, used) = (Instant::now(), cpu());
        let tasks: Vec<_> = (0..calls_at_once)
            .map(|task| {
                let (producer, topic) = (Arc::clone(&producer), topic.clone());
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    for call in 0..events / calls_at_once / events_per_call {
                        let from = (call * calls_at_once + task) * events_per_call;
                        let records = (from..from + events_per_call).map(event).collect();
                        let start = Instant::now();
                        producer.append(&topic, records).await.unwrap();
                        times.push(start.elapsed());
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.unwrap());
        }
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        let (took, used) = (start.elapsed().as_secs_f64(), cpu() - used);
        let written = times.len() * events_per_call;
        println!(
            "{calls_at_once} × {events_per_call}: {:.0} events/s, {:.1} µs of CPU an event, a call p50 {:.1?} p99 {:.1?}",
            written as f64 / took,
            used.as_secs_f64() * 1e6 / written as f64,
            at(50),
            at(99)
        );
        let (start, used) = (Instant::now(), cpu());
        let mut group = log.join("rate", &Subscription::Topics(vec![topic])).unwrap();
        let Change::Assigned(assigned) = group.next().await.unwrap() else { unreachable!("it has none to lose") };
        let joined = start.elapsed();
        let starts = vec![Start::Oldest; assigned.partitions.len()];
        let tasks: Vec<_> = assigned
            .begin(starts)
            .unwrap()
            .into_iter()
            .map(|mut partition| {
                tokio::spawn(async move {
                    let mut count = 0;
                    loop {
                        match tokio::time::timeout(Duration::from_secs(3), partition.next(1000)).await {
                            Ok(records) => count += records.len(),
                            Err(_) => return (count, Instant::now() - Duration::from_secs(3)),
                        }
                    }
                })
            })
            .collect();
        let (mut read, mut last) = (0, start);
        for task in tasks {
            let (count, end) = task.await.unwrap();
            (read, last) = (read + count, last.max(end));
        }
        let took = (last - start).saturating_sub(joined).as_secs_f64();
        println!(
            "    read {read}: {:.0} events/s, {:.1} µs of CPU an event; joined in {joined:.1?}",
            read as f64 / took,
            (cpu() - used).as_secs_f64() * 1e6 / read as f64
        );
        group.leave().await;
    }
}
