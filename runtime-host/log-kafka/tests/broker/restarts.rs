//! Brokers that die.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use funnelweb_test_servers::Server;

use crate::harness::{Offsets, Reader, behaviors, check_order, connect, number, numbered, until};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_nothing_is_there_twice() {
    const TASKS: usize = 4;
    const CALL: usize = 100;
    let mut server = Server::kafka(&[]);
    let log = connect(&server).await;
    let topic = behaviors(&log, "restart").await;
    let producer = Arc::new(log.producer().unwrap());
    let appended = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    // Each has numbers and users of its own.
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (producer, topic) = (Arc::clone(&producer), topic.clone());
            let (appended, stop) = (Arc::clone(&appended), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                let mut from = task * 10_000_000;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut records = numbered(from..from + CALL, 10);
                    for record in &mut records {
                        record.key.push(task as u8);
                    }
                    let outcomes = match producer.append(&topic, records).await {
                        Ok(positions) => positions.into_iter().map(Ok).collect(),
                        Err(error) => error.outcomes,
                    };
                    assert_eq!(outcomes.len(), CALL);
                    let well = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_ok());
                    acknowledged.extend(well.map(|(at, outcome)| (from + at, *outcome.as_ref().unwrap())));
                    from += CALL;
                    appended.fetch_add(CALL, std::sync::atomic::Ordering::Relaxed);
                }
                (acknowledged, from - task * 10_000_000)
            })
        })
        .collect();
    for kill in 1..=3 {
        let before = appended.load(std::sync::atomic::Ordering::Relaxed);
        until("appends go on", || appended.load(std::sync::atomic::Ordering::Relaxed) > before + 5000).await;
        tokio::time::sleep(Duration::from_millis(37 * kill)).await;
        tokio::task::block_in_place(|| server.restart());
    }
    let before = appended.load(std::sync::atomic::Ordering::Relaxed);
    until("appends go on", || appended.load(std::sync::atomic::Ordering::Relaxed) > before + 5000).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let (mut acknowledged, mut sent) = (Vec::new(), 0);
    for task in tasks {
        let (of_task, count) = task.await.unwrap();
        acknowledged.extend(of_task);
        sent += count;
    }
    // The time was enough for all of them.
    assert_eq!(acknowledged.len(), sent);
    let start = Instant::now();
    let mut reader = Reader::of(&log, "restart", &topic, &Offsets::default());
    let mut read = reader.take(sent).await;
    read.extend(reader.rest(Duration::from_secs(2)).await);
    println!("{sent} records appended through three crashes, read in {:?}", start.elapsed());
    check_order(&read);
    let there: HashSet<(usize, u32, u64)> =
        read.iter().map(|(at, stored)| (number(&stored.record), at.partition, stored.offset)).collect();
    assert_eq!((there.len(), read.len()), (sent, sent));
    for (number, position) in acknowledged {
        // One that was acknowledged by a retry may not know where it is.
        let Some(offset) = position.offset else { continue };
        assert!(there.contains(&(number, position.partition, offset)), "{number} is not at {position:?}");
    }
    // A reader lives through it as well.
    tokio::task::block_in_place(|| server.restart());
    producer.append(&topic, numbered(99_000_000..99_000_010, 3)).await.unwrap();
    let more = reader.take(10).await;
    assert!(more.iter().all(|(_, stored)| number(&stored.record) >= 99_000_000));
    reader.leave().await;
}
