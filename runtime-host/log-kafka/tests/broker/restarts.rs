//! Brokers that die, and connections that do.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use funnelweb_log_kafka::{KafkaLog, KafkaSettings, Position, Producer, StoredRecord, Topic, TopicPartition};
use funnelweb_test_servers::{
    Server, free_port,
    proxy::{Fault, Proxy},
};
use tokio::task::{JoinHandle, block_in_place};

use crate::harness::{Offsets, Reader, behaviors, check_order, connect, number, numbered, settings, until};

const TASKS: usize = 4;
const CALL: usize = 100;
/// Numbers that are each task's own.
const NUMBERS: usize = 10_000_000;

/// Tasks that append all the time, each to users of its own.
struct Appending {
    appended: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<(usize, Position)>>>,
}

impl Appending {
    fn start(producer: &Arc<Producer>, topic: &Topic) -> Self {
        let (appended, stop): (Arc<AtomicUsize>, Arc<AtomicBool>) = Default::default();
        let task = |task: usize| {
            let (producer, topic) = (Arc::clone(producer), topic.clone());
            let (appended, stop) = (Arc::clone(&appended), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                let mut from = task * NUMBERS;
                while !stop.load(Ordering::Relaxed) {
                    let mut records = numbered(from..from + CALL, 10);
                    for record in &mut records {
                        record.key.push(task as u8);
                    }
                    // The time is enough for all of them.
                    let positions = producer.append(&topic, records).await.unwrap();
                    acknowledged.extend((from..from + CALL).zip(positions));
                    from += CALL;
                    appended.fetch_add(CALL, Ordering::Relaxed);
                }
                acknowledged
            })
        };
        let tasks = (0..TASKS).map(task).collect();
        Self { appended, stop, tasks }
    }

    async fn more(&self, count: usize) {
        let before = self.appended.load(Ordering::Relaxed);
        until("appends go on", || self.appended.load(Ordering::Relaxed) > before + count).await;
    }

    async fn stop(self) -> Vec<(usize, Position)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        for task in self.tasks {
            acknowledged.extend(task.await.unwrap());
        }
        acknowledged
    }
}

/// That everything is there once, in order, and where it was said to be.
fn check(read: &[(TopicPartition, StoredRecord)], acknowledged: &[(usize, Position)]) {
    check_order(read);
    let there: HashSet<(usize, u32, u64)> =
        read.iter().map(|(at, stored)| (number(&stored.record), at.partition, stored.offset)).collect();
    let numbers: HashSet<usize> = there.iter().map(|(number, ..)| *number).collect();
    assert_eq!((numbers.len(), read.len()), (acknowledged.len(), acknowledged.len()));
    for (number, position) in acknowledged {
        assert!(numbers.contains(number), "{number} is lost");
        // One that was acknowledged by a retry may not know where it is.
        let Some(offset) = position.offset else { continue };
        assert!(there.contains(&(*number, position.partition, offset)), "{number} is not at {position:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_nothing_is_there_twice() {
    let mut server = Server::kafka(&[]);
    let log = connect(&server).await;
    let topic = behaviors(&log, "restart").await;
    let producer = Arc::new(log.producer().unwrap());
    let appending = Appending::start(&producer, &topic);
    for crash in 1..=3 {
        appending.more(5000).await;
        tokio::time::sleep(Duration::from_millis(37 * crash)).await;
        block_in_place(|| server.restart());
    }
    appending.more(5000).await;
    let acknowledged = appending.stop().await;
    let mut reader = Reader::of(&log, "restart", &topic, &Offsets::default());
    let mut read = reader.take(acknowledged.len()).await;
    read.extend(reader.rest(Duration::from_secs(2)).await);
    check(&read, &acknowledged);
    // A reader lives through it as well.
    block_in_place(|| server.restart());
    producer.append(&topic, numbered(99 * NUMBERS..99 * NUMBERS + 10, 3)).await.unwrap();
    let more = reader.take(10).await;
    assert!(more.iter().all(|(_, stored)| number(&stored.record) >= 99 * NUMBERS));
    reader.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_get_lost_double_nothing() {
    let behind = free_port();
    let proxy = Proxy::before(behind);
    let local = "127.0.0.1";
    let _server = Server::kafka(&[
        &format!(
            "listeners=PLAINTEXT://{local}:{{port}},FAULTY://{local}:{behind},CONTROLLER://{local}:{{controller}}"
        ),
        &format!("advertised.listeners=PLAINTEXT://{local}:{{port}},FAULTY://{local}:{}", proxy.port()),
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,FAULTY:PLAINTEXT",
    ]);
    let log = KafkaLog::connect(KafkaSettings { partitions: 3, ..settings(proxy.port()) }).await.unwrap();
    let topic = behaviors(&log, "answers").await;
    let producer = Arc::new(log.producer().unwrap());
    let appending = Appending::start(&producer, &topic);
    let mut reader = Reader::of(&log, "answers", &topic, &Offsets::default());
    for round in 0..10 {
        appending.more(500).await;
        proxy.set(Fault::HalfAReply);
        tokio::time::sleep(Duration::from_millis(20 + 7 * round)).await;
        proxy.set(Fault::Cut);
        tokio::time::sleep(Duration::from_millis(20)).await;
        proxy.set(Fault::None);
    }
    appending.more(500).await;
    let acknowledged = appending.stop().await;
    let mut read = reader.take(acknowledged.len()).await;
    read.extend(reader.rest(Duration::from_secs(2)).await);
    check(&read, &acknowledged);
    let unknown = acknowledged.iter().filter(|(_, position)| position.offset.is_none()).count();
    println!("{} records, {unknown} of them acknowledged by a retry", read.len());
    reader.leave().await;
}
