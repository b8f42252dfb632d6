//! What is appended, and what of it is read.

use std::time::{Duration, Instant};

use funnelweb_log_kafka::{Change, Error, KafkaLog, KafkaSettings, Position, Record, Start, Subscription, Topic};
use funnelweb_test_servers::Server;

use crate::harness::{Offsets, Reader, behaviors, check_order, connect, number, numbered, settings, shared};

#[tokio::test]
async fn a_log_is_read_from_any_offset() {
    let server = shared();
    let log = KafkaLog::connect(KafkaSettings { partitions: 1, ..settings(server.port()) }).await.unwrap();
    let topic = behaviors(&log, "any-offset").await;
    let producer = log.producer().unwrap();
    let records: Vec<Record> = numbered(0..100, 7)
        .into_iter()
        .map(|record| Record { headers: vec![("event-id".to_owned(), record.payload.clone())], ..record })
        .collect();
    let positions = producer.append(&topic, records.clone()).await.unwrap();
    let expected: Vec<_> = (0..100).map(|offset| Position { partition: 0, offset: Some(offset) }).collect();
    assert_eq!(positions, expected);
    for (at, start) in [0, 1, 50, 99].into_iter().enumerate() {
        let offsets = Offsets::default();
        let partition = funnelweb_log_kafka::TopicPartition { topic: topic.clone(), partition: 0 };
        offsets.lock().insert(partition, start);
        let mut reader = Reader::of(&log, &format!("any-offset-{at}"), &topic, &offsets);
        let read = reader.take(100 - start as usize).await;
        assert_eq!(read[0].1.offset, start);
        let read: Vec<Record> = read.into_iter().map(|(_, stored)| stored.record).collect();
        assert_eq!(read, records[start as usize..]);
        assert_eq!(reader.leave().await, []);
    }
    // From now on; the time is that of appending.
    let mut group = log.join("newest", &Subscription::Topics(vec![topic.clone()])).unwrap();
    let Change::Assigned(assigned) = group.next().await.unwrap() else { panic!("nothing to revoke yet") };
    let mut partitions = assigned.begin(vec![Start::Newest]).unwrap();
    // It finds the end some time after that.
    let (mut number, mut read) = (100, Vec::new());
    while read.is_empty() {
        producer.append(&topic, numbered(number..number + 1, 7)).await.unwrap();
        number += 1;
        read = tokio::time::timeout(Duration::from_millis(100), partitions[0].next(1)).await.unwrap_or_default();
    }
    assert!(read[0].offset >= 100, "{read:?}");
    let now_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    assert!(read[0].timestamp_ms.abs_diff(now_ms) < 600_000, "{read:?}");
    group.leave().await;
    assert_eq!(partitions[0].next(1000).await.iter().filter(|stored| stored.offset < 100).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_append_at_once_is_in_order_for_each_user() {
    let server = shared();
    let log = connect(&server).await;
    let topic = behaviors(&log, "order").await;
    let producer = std::sync::Arc::new(log.producer().unwrap());
    let tasks = (0..8).map(|task| {
        let (producer, topic) = (std::sync::Arc::clone(&producer), topic.clone());
        tokio::spawn(async move {
            for call in 0..20 {
                let records = numbered(call * 50..(call + 1) * 50, 5);
                let of_task = |record: Record| Record { key: [&record.key[..], &[task]].concat(), ..record };
                let positions = producer.append(&topic, records.into_iter().map(of_task).collect()).await.unwrap();
                assert_eq!(positions.len(), 50);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let mut reader = Reader::of(&log, "order", &topic, &Offsets::default());
    let read = reader.take(8000).await;
    check_order(&read);
    let partitions: std::collections::HashSet<_> = read.iter().map(|(at, _)| at.partition).collect();
    assert_eq!(partitions.len(), 3);
    assert_eq!(reader.leave().await, []);
}

#[tokio::test]
async fn a_users_partition_is_that_of_java_clients() {
    let server = shared();
    let log = connect(&server).await;
    let topic = behaviors(&log, "murmur").await;
    // `Utils.toPositive(Utils.murmur2(key)) % 3` in org.apache.kafka.common.utils.
    let records = ["ann", "bob", "cid", "user_0001"].map(|key| Record::new(key, "{}")).to_vec();
    let positions = log.producer().unwrap().append(&topic, records.clone()).await.unwrap();
    for (record, position) in records.iter().zip(positions) {
        assert_eq!(position.partition, (murmur2(&record.key) & 0x7fff_ffff) % 3);
    }
}

/// As the Java client has it.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().unwrap()).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    for (at, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * at);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[tokio::test]
async fn what_became_of_each_record_is_told() {
    let server = shared();
    let log = connect(&server).await;
    let topic = behaviors(&log, "partly").await;
    let producer = log.producer().unwrap();
    assert_eq!(producer.append(&topic, vec![]).await, Ok(vec![]));
    let mut records = numbered(0..5, 1);
    records[2].payload = vec![0; 2 << 20];
    let error = producer.append(&topic, records).await.unwrap_err();
    let well: Vec<bool> = error.outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(well, [true, true, false, true, true]);
    assert!(matches!(&error.outcomes[2], Err(Error::TooLarge(message)) if message.contains("too large")), "{error:?}");
    assert!(error.to_string().starts_with("1 of 5 records are not acknowledged"), "{error}");
    // Ones that nobody can have.
    let nobody = producer.append(&Topic::Behaviors("a/b".to_owned()), numbered(0..2, 1)).await.unwrap_err();
    assert!(matches!(&nobody.first, Error::Invalid(message) if message.starts_with("tenant:")), "{nobody:?}");
    let start = Instant::now();
    let missing = producer.append(&Topic::Behaviors("nobody".to_owned()), numbered(0..2, 1)).await.unwrap_err();
    assert!(matches!(&missing.first, Error::Invalid(message) if message.contains("nobody")), "{missing:?}");
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn appends_wait_for_room_and_give_up_in_time() {
    let mut server = Server::kafka(&[]);
    let small = KafkaSettings { append_buffer_bytes: 8 << 20, append_timeout_ms: 3000, ..settings(server.port()) };
    let log = KafkaLog::connect(small).await.unwrap();
    let topic = behaviors(&log, "room").await;
    let producer = log.producer().unwrap();
    // More than there is room for, while somebody takes it.
    let large = |count: usize| (0..count).map(|at| Record::new(at.to_string(), vec![b'x'; 512 << 10])).collect();
    let positions = producer.append(&topic, large(64)).await.unwrap();
    assert_eq!(positions.len(), 64);
    // And while nobody does: what found no room waits as long as the rest.
    server.stop();
    let start = Instant::now();
    let error = producer.append(&topic, large(64)).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(error.outcomes.iter().all(|outcome| matches!(outcome, Err(Error::Unavailable(_)))), "{error:?}");
    let full = |outcome: &&Result<_, Error>| outcome.as_ref().unwrap_err().to_string().contains("append_buffer_bytes");
    let full = error.outcomes.iter().filter(full).count();
    assert!((1..=64 - 15).contains(&full), "{full}");
    // Closing waits no longer than it may.
    let start = Instant::now();
    assert_eq!(producer.close(Duration::from_secs(5)).await, Ok(()));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn closing_waits_for_what_is_on_its_way() {
    let server = shared();
    let log = connect(&server).await;
    let topic = behaviors(&log, "closing").await;
    let producer = log.producer().unwrap();
    // A call that is dropped goes on.
    {
        let append = producer.append(&topic, numbered(0..1000, 3));
        assert!(tokio::time::timeout(Duration::ZERO, append).await.is_err());
    }
    producer.close(Duration::from_secs(60)).await.unwrap();
    let mut reader = Reader::of(&log, "closing", &topic, &Offsets::default());
    let mut numbers: Vec<usize> = reader.take(1000).await.iter().map(|(_, stored)| number(&stored.record)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    assert_eq!(reader.leave().await, []);
}
