//! Operators on the partitions of a real Kafka, by processes that come and go.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test suite: a failed check is a panic"
)]

mod finishing;
mod world;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use funnelweb_factor_documents::store::Documents;
use funnelweb_factor_events::{publish::Announcer, store::Error};
use funnelweb_log_kafka::{Change, KafkaLog, Record, Start, Subscription, Topic};
use funnelweb_store_mongodb::{MongoDocuments, MongoEvents, MongoStreams};
use funnelweb_stream::store::StreamStore;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
};
use tokio::task::block_in_place;
use world::{BROKEN, NoLive, PATIENCE, SECOND, SIZE_MS, Stutter, USERS, World, by_item, item, now_ms, operator};

/// Processes come, go and die, the broker is killed, and records come twice and in another
/// order: every event counts once, and windows say what a recount of all events does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_event_counts_once_whoever_comes_and_goes() {
    let mut world = World::new().await;
    let stutter = Stutter::new(world.publisher());
    let events = world.events(stutter.clone());
    let mut processes = vec![world.process(&["seen", "other"]).await];
    // Times that ascend, with some that are far behind.
    let begin_ms = now_ms() - 600 * SECOND;
    let mut times: Vec<u64> = Vec::new();
    for round in 0..12 {
        let from = times.len();
        for batch in 0..5 {
            let first = times.len();
            let new = (first..first + 8 + batch).map(|number| {
                let late = if number % 11 == 0 { 40 * SECOND } else { 0 };
                begin_ms + 50 * SECOND + number as u64 * 137 - late
            });
            times.extend(new);
            world.append(&events, first, &times[first..]).await;
        }
        println!("round {round}: {} events", times.len() - from);
        match round % 6 {
            1 => processes.push(world.process(&["seen", "other"]).await),
            2 => processes.remove(0).die(),
            3 => {
                block_in_place(|| {
                    world.kafka.stop();
                    world.kafka.restart();
                });
                processes.push(world.process(&["seen", "other"]).await);
            }
            4 => processes.remove(0).end().await,
            _ => tokio::time::sleep(Duration::from_millis(1500)).await,
        }
    }
    // The last windows wait for all partitions to have passed them.
    let counted = times.len();
    times.extend(vec![now_ms(); 2 * USERS]);
    world.append(&events, counted, &times[counted..]).await;
    assert!(stutter.again.load(Ordering::Relaxed) > 20);
    let last = processes.last().unwrap();
    for operator in ["seen", "other"] {
        last.counts(operator, &by_item(0..times.len())).await;
    }
    let mut windows: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for (number, at_ms) in times[..counted].iter().enumerate() {
        *windows.entry((item(number), (at_ms / SIZE_MS + 1) * SIZE_MS)).or_default() += 1;
    }
    let begun = Instant::now();
    for operator in ["seen", "other"] {
        loop {
            let mut said = last.said(&world.tenant, operator).await;
            // Those of the last events speak when the clock has passed them.
            said.retain(|(_, end), _| *end <= begin_ms + 300 * SECOND);
            if said == windows {
                break;
            }
            let wrong = || windows.iter().filter(|(window, count)| said.get(window) != Some(count)).collect::<Vec<_>>();
            assert!(begun.elapsed() < PATIENCE, "{operator}: {:?} in {said:?}", wrong());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    // Nothing comes later, and others can read it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    last.counts("seen", &by_item(0..times.len())).await;
    let messages = last.state.published(&world.tenant, "recommendation-metrics", 0, 10_000).await.unwrap();
    let last = messages.last().unwrap().offset;
    let mut announced = announced(&world.log(), messages.len()).await;
    announced.retain(|offset, _| *offset <= last);
    let expected = messages.into_iter().map(|message| (message.offset, (message.key, message.body)));
    assert_eq!(announced, expected.collect::<BTreeMap<_, _>>());
}

/// The messages of the tenant `acme` that others read of its windows, by their offsets.
async fn announced(log: &KafkaLog, count: usize) -> BTreeMap<u64, (String, String)> {
    let mut group = log.join("check", &Subscription::Topics(vec![Topic::Metrics])).unwrap();
    let (sender, mut records) = tokio::sync::mpsc::unbounded_channel();
    let reading = tokio::spawn(async move {
        while let Ok(change) = group.next().await {
            let Change::Assigned(assigned) = change else { continue };
            let starts = vec![Start::Oldest; assigned.partitions.len()];
            for mut partition in assigned.begin(starts).unwrap() {
                let sender = sender.clone();
                tokio::spawn(async move {
                    loop {
                        let records = partition.next(100).await;
                        if records.is_empty() {
                            return;
                        }
                        records.into_iter().for_each(|record| drop(sender.send(record)));
                    }
                });
            }
        }
    });
    let mut all = BTreeMap::new();
    let begun = Instant::now();
    while all.len() < count {
        let stored = tokio::time::timeout(PATIENCE, records.recv()).await.unwrap().unwrap();
        assert!(begun.elapsed() < PATIENCE);
        let (name, offset) = &stored.record.headers[0];
        assert_eq!(name, "offset");
        let offset: u64 = std::str::from_utf8(offset).unwrap().parse().unwrap();
        let key = String::from_utf8(stored.record.key).unwrap();
        let mut body: serde_json::Map<_, _> = serde_json::from_slice(&stored.record.payload).unwrap();
        assert_eq!(body.remove("tenant_id").unwrap(), "acme");
        let body: serde_json::Value = body.into();
        let ours = format!(r#"{{"by":{},"end":{},"count":{}}}"#, body["by"], body["end"], body["count"]);
        // What was announced again says the same.
        let told = (key.strip_prefix("acme/").unwrap().to_owned(), ours);
        let before = all.insert(offset, told.clone());
        assert!(before.is_none_or(|before| before == told));
    }
    reading.abort();
    all
}

/// Events from before Kafka are taken from the log, those after it from Kafka, and the
/// way back is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_there_before_is_taken_from_the_log() {
    let world = World::new().await;
    let alone = MongoEvents::new(Arc::clone(&world.store), Arc::new(NoLive));
    // As a version without Kafka has left it: some are taken, some are not.
    let state: Arc<dyn StreamStore> = MongoStreams::open(&alone).await.unwrap();
    let now = now_ms();
    world.append(&alone, 0, &[now; 30]).await;
    let engine = funnelweb_stream::Engine::new(Arc::new(alone.clone()), state);
    engine.step(&world.tenant, operator("seen").as_ref(), now).await.unwrap();
    world.append(&alone, 30, &[now; 30]).await;

    let process = world.process(&["seen"]).await;
    let events = world.events(world.publisher());
    world.append(&events, 60, &[now; 40]).await;
    process.counts("seen", &by_item(0..100)).await;
    // Everything is taken, and the export of it says so.
    process.watched.settle(&world.tenant).await.unwrap();
    let positions = process.watched.positions(&world.tenant).await.unwrap().unwrap();
    assert_eq!((positions[0].operator.as_str(), positions[0].next), ("seen", 101));
    let denied = MongoStreams::open(&alone).await.err().unwrap();
    assert!(matches!(&denied, Error::Denied(rule) if rule.contains("[kafka] is missing")), "{denied}");
    process.end().await;
}

/// What is no behaviour is passed over and kept with its reason, and an operator that is
/// broken holds up no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_broken_holds_up_nothing() {
    let world = World::new().await;
    let events = world.events(world.publisher());
    let process = world.process(&[BROKEN, "seen"]).await;
    let now = now_ms();
    world.append(&events, 0, &[now; USERS]).await;
    let of_another = r#"{"tenant_id":"other","event_id":"e"}"#;
    let records = ["no JSON", of_another].map(|payload| Record::new("user1", payload)).to_vec();
    let topic = Topic::Behaviors("acme".to_owned());
    world.log().producer().unwrap().append(&topic, records).await.unwrap();
    world.append(&events, USERS, &[now; USERS]).await;
    process.counts("seen", &by_item(0..2 * USERS)).await;
    // Others read of them, too. What a step changes is there one after the other.
    let (ends, begun) = (world.log().ends().unwrap(), Instant::now());
    let dead = loop {
        let dead = process.state.dead_letters(&world.tenant, 10).await.unwrap();
        let there = ends.of(&Topic::DeadBehaviors("acme".to_owned())).await.unwrap();
        if dead.len() == 2 && there.iter().map(|there| there.end - there.start).sum::<u64>() >= 2 {
            break dead;
        }
        assert!(begun.elapsed() < PATIENCE, "{dead:?} {there:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for (operator, letter) in dead {
        assert_eq!(operator, "seen");
        assert!(letter.reason.starts_with("expected") || letter.reason.contains("missing field"), "{letter:?}");
    }
    assert!(process.counted(BROKEN).await.is_empty());
    let behind = process.watched.settle(&world.tenant).await.unwrap_err();
    assert!(matches!(&behind, Error::Unavailable(rule) if rule.contains(BROKEN)), "{behind}");
    process.end().await;
}

/// A topic that somebody deletes begins anew, with offsets that were taken before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_topic_that_is_made_anew_is_read_from_its_begin() {
    let world = World::new().await;
    let events = world.events(world.publisher());
    let (now, process) = (now_ms(), world.process(&["seen"]).await);
    world.append(&events, 0, &vec![now; 4 * USERS]).await;
    process.counts("seen", &by_item(0..4 * USERS)).await;
    process.end().await;
    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", format!("127.0.0.1:{}", world.kafka.port())).create().unwrap();
    admin.delete_topics(&["user-behaviors-acme"], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    let (ends, topic, begun) = (world.log().ends().unwrap(), Topic::Behaviors("acme".to_owned()), Instant::now());
    while !ends.of(&topic).await.unwrap().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the topic is there yet");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let events = world.events(world.publisher());
    world.append(&events, 4 * USERS, &[now; USERS]).await;
    let process = world.process(&["seen"]).await;
    process.counts("seen", &by_item(0..5 * USERS)).await;
    process.end().await;
}

/// Who is deleted while events are on their way to operators is not counted any more; who
/// comes back is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_deleted_on_its_way_is_not_counted() {
    let world = World::new().await;
    let events = world.events(world.publisher());
    let announcer: Arc<dyn Announcer> = world.publisher();
    let _state = MongoStreams::sharded(&events, announcer).await.unwrap();
    let now = now_ms();
    world.append(&events, 0, &vec![now; 2 * USERS]).await;
    let documents = MongoDocuments::new(Arc::clone(&world.store), None);
    documents.delete_user(&world.tenant, "user1".to_owned()).await.unwrap();
    let process = world.process(&["seen"]).await;
    let is_there = |number: &usize| number % USERS != 1;
    process.counts("seen", &by_item((0..2 * USERS).filter(is_there))).await;
    world.append(&events, 2 * USERS, &[now; USERS]).await;
    let all = (0..2 * USERS).filter(is_there).chain(2 * USERS..3 * USERS);
    process.counts("seen", &by_item(all)).await;
    process.die();
}
