//! Members of a group: sharing, handing over, waiting.

use std::{collections::HashSet, time::Duration};

use funnelweb_log_kafka::{Change, Error, KafkaLog, KafkaSettings, Record, Start, Subscription, Topic, TopicPartition};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use tokio::time::timeout;

use crate::harness::{Offsets, PATIENCE, Reader, behaviors, check_order, number, numbered, settings, shared, until};

#[tokio::test(flavor = "multi_thread")]
async fn members_share_the_partitions_and_hand_them_over() {
    let server = shared();
    let log = KafkaLog::connect(KafkaSettings { partitions: 6, ..settings(server.port()) }).await.unwrap();
    let topic = behaviors(&log, "sharing").await;
    let producer = std::sync::Arc::new(log.producer().unwrap());
    let offsets = Offsets::default();
    let mut first = Reader::of(&log, "sharing", &topic, &offsets);
    until("one member has all", || first.partitions() == 6).await;
    // Appends go on through all of it.
    let (appending, stop) = (std::sync::Arc::clone(&producer), std::sync::Arc::new(tokio::sync::Notify::new()));
    let (to, stopped) = (topic.clone(), std::sync::Arc::clone(&stop));
    let appender = tokio::spawn(async move {
        let mut from = 0;
        loop {
            appending.append(&to, numbered(from..from + 50, 20)).await.unwrap();
            from += 50;
            if timeout(Duration::from_millis(5), stopped.notified()).await.is_ok() {
                return from;
            }
        }
    });
    let mut read = first.take(500).await;
    let mut second = Reader::of(&log, "sharing", &topic, &offsets);
    until("two members have three each", || first.partitions() == 3 && second.partitions() == 3).await;
    // At no time does a partition have two owners, so nobody reads a record twice.
    let by_second = second.take(500).await;
    assert!(by_second.iter().all(|(at, _)| second.mine.lock().unwrap().contains(at)));
    read.extend(first.rest(Duration::ZERO).await);
    read.extend(first.leave().await);
    until("the other has all", || second.partitions() == 6).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.notify_one();
    let appended = appender.await.unwrap();
    read.extend(by_second);
    read.extend(second.take(appended - read.len()).await);
    // What was committed is for others to look at.
    read.extend(second.leave().await);
    let numbers: HashSet<usize> = read.iter().map(|(_, stored)| number(&stored.record)).collect();
    assert_eq!((numbers.len(), read.len()), (appended, appended));
    read.sort_by_key(|(at, stored)| (at.partition, stored.offset));
    check_order(&read);
    let look: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", format!("127.0.0.1:{}", server.port()))
        .set("group.id", "sharing")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range("user-behaviors-sharing", 0, 5);
    let ends: u64 = offsets.lock().values().sum();
    let committed = tokio::task::block_in_place(|| look.committed_offsets(list, PATIENCE).unwrap());
    let of = |offset: Offset| offset.to_raw().unwrap().max(0) as u64;
    assert_eq!(committed.elements().iter().map(|element| of(element.offset())).sum::<u64>(), ends);
    assert_eq!(ends, appended as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_anothers_only_when_it_was_released() {
    let server = shared();
    let log = KafkaLog::connect(KafkaSettings { partitions: 2, ..settings(server.port()) }).await.unwrap();
    let topic = Subscription::Topics(vec![behaviors(&log, "released").await]);
    let mut first = log.join("released", &topic).unwrap();
    let Change::Assigned(assigned) = first.next().await.unwrap() else { panic!("nothing to revoke yet") };
    assert_eq!(assigned.partitions.len(), 2);
    let mut partitions = assigned.begin(vec![Start::Oldest; 2]).unwrap();
    let mut second = log.join("released", &topic).unwrap();
    let Change::Revoked(revoked) = timeout(PATIENCE, first.next()).await.unwrap().unwrap() else {
        panic!("one is to be the other's")
    };
    assert!(!revoked.lost && revoked.partitions.len() == 1);
    // Still ours.
    assert!(timeout(Duration::from_secs(3), second.next()).await.is_err());
    let gone = revoked.partitions[0].clone();
    revoked.release();
    let Change::Assigned(assigned) = timeout(PATIENCE, second.next()).await.unwrap().unwrap() else {
        panic!("it had none")
    };
    assert_eq!(assigned.partitions, std::slice::from_ref(&gone));
    // Its stream has ended, the other goes on.
    let at = partitions.iter().position(|partition| partition.at == gone).unwrap();
    assert_eq!(partitions.remove(at).next(10).await, []);
    assert!(timeout(Duration::from_millis(100), partitions[0].next(10)).await.is_err());
    // As many starts as partitions; and who does not begin, leaves.
    assert!(matches!(assigned.begin(vec![]), Err(Error::Invalid(message)) if message.starts_with("starts:")));
    assert!(matches!(timeout(PATIENCE, second.next()).await.unwrap(), Err(Error::Unavailable(_))));
    let Change::Assigned(assigned) = timeout(PATIENCE, first.next()).await.unwrap().unwrap() else {
        panic!("it is ours again")
    };
    assert_eq!(assigned.partitions, [gone]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_answer_loses_its_partitions() {
    let server = shared();
    let settings = KafkaSettings {
        partitions: 2,
        session_timeout_ms: 6000,
        rebalance_timeout_ms: 6000,
        ..settings(server.port())
    };
    let log = KafkaLog::connect(settings).await.unwrap();
    let topic = Subscription::Topics(vec![behaviors(&log, "lost").await]);
    let mut first = log.join("lost", &topic).unwrap();
    let Change::Assigned(assigned) = first.next().await.unwrap() else { panic!("nothing to revoke yet") };
    let _partitions = assigned.begin(vec![Start::Oldest; 2]).unwrap();
    let mut second = log.join("lost", &topic).unwrap();
    let Change::Revoked(revoked) = timeout(PATIENCE, first.next()).await.unwrap().unwrap() else {
        panic!("one is to be the other's")
    };
    // It is not waited for forever.
    let mut taken = 0;
    while taken < 2 {
        match timeout(PATIENCE, second.next()).await.unwrap().unwrap() {
            Change::Assigned(assigned) => {
                taken += assigned.partitions.len();
                let starts = vec![Start::Oldest; assigned.partitions.len()];
                assigned.begin(starts).unwrap();
            }
            Change::Revoked(revoked) => taken -= revoked.partitions.len(),
        }
    }
    drop(revoked);
    // What it had besides is lost, and that is said.
    let Change::Revoked(revoked) = timeout(PATIENCE, first.next()).await.unwrap().unwrap() else {
        panic!("it cannot have more before it lost all")
    };
    assert!(revoked.lost, "{revoked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_new_tenants_are_found() {
    let server = shared();
    let settings = KafkaSettings { topic_prefix: "found.".to_owned(), ..settings(server.port()) };
    let log = KafkaLog::connect(settings).await.unwrap();
    let producer = log.producer().unwrap();
    let first = behaviors(&log, "a").await;
    let mut reader = Reader::join(&log, "all", &Subscription::AllBehaviors, &Offsets::default());
    producer.append(&first, numbered(0..10, 3)).await.unwrap();
    assert!(reader.take(10).await.iter().all(|(at, _)| at.topic == first));
    // Neither dead letters nor anything else.
    let dead = Topic::DeadBehaviors("a".to_owned());
    log.ensure(&[dead.clone(), Topic::Metrics]).await.unwrap();
    producer.append(&dead, numbered(0..10, 3)).await.unwrap();
    producer.append(&Topic::Metrics, numbered(0..10, 3)).await.unwrap();
    for tenant in ["dead-a", "b.c:d"] {
        let topic = behaviors(&log, tenant).await;
        producer.append(&topic, numbered(0..10, 3)).await.unwrap();
        let read = reader.take(10).await;
        assert!(read.iter().all(|(at, _)| at.topic == topic), "{read:?}");
    }
    assert_eq!(reader.partitions(), 9);
    assert_eq!(reader.leave().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_partition_holds_up_no_other_and_memory_is_bounded() {
    const RECORDS: usize = 600;
    const BYTES: usize = 64 << 10;
    let server = shared();
    let settings = KafkaSettings { partitions: 2, read_buffer_bytes: 8 << 20, ..settings(server.port()) };
    let log = KafkaLog::connect(settings).await.unwrap();
    let topic = behaviors(&log, "slow").await;
    let producer = log.producer().unwrap();
    // Bytes that do not compress, to be as many on the way.
    let mut state = 1_u64;
    let mut noise = || {
        let byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        std::iter::repeat_with(byte).take(BYTES).collect::<Vec<u8>>()
    };
    for from in 0..RECORDS / 50 {
        let records = (0..50).map(|at| Record::new(format!("user_{}", from * 50 + at), noise())).collect();
        producer.append(&topic, records).await.unwrap();
    }
    let mut group = log.join("slow", &Subscription::Topics(vec![topic])).unwrap();
    let Change::Assigned(assigned) = group.next().await.unwrap() else { panic!("nothing to revoke yet") };
    let mut partitions = assigned.begin(vec![Start::Oldest; 2]).unwrap();
    let lag = group.lag().await.unwrap();
    let ends: Vec<u64> = lag.iter().map(|lag| lag.end).collect();
    assert_eq!((ends.iter().sum::<u64>(), lag.len()), (RECORDS as u64, 2), "{lag:?}");
    let end_of = |at: &TopicPartition| lag.iter().find(|lag| lag.at == *at).unwrap().end;
    // Nobody takes of the slow one.
    let mut fast = partitions.remove(0);
    let (end, mut next) = (end_of(&fast.at), 0);
    while next < end {
        let records = timeout(PATIENCE, fast.next(10)).await.unwrap();
        assert_eq!(records[0].offset, next);
        next += records.len() as u64;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut slow = partitions.remove(0);
    let held = slow.next(usize::MAX).await;
    let bytes: usize = held.iter().map(|stored| stored.record.payload.len()).sum();
    // A quarter of our half, and the record that was too much.
    assert!(bytes.abs_diff(1 << 20) <= BYTES, "{bytes}");
    let (end, mut next) = (end_of(&slow.at), held.len() as u64);
    while next < end {
        let records = timeout(PATIENCE, slow.next(10)).await.unwrap();
        assert_eq!(records[0].offset, next);
        next += records.len() as u64;
    }
    let at = slow.at.clone();
    group.commit(&[(fast.at.clone(), end_of(&fast.at)), (at.clone(), 5)]).unwrap();
    let lag = group.lag().await.unwrap();
    let of = |at: &TopicPartition| lag.iter().find(|lag| lag.at == *at).unwrap().records();
    assert_eq!((of(&fast.at), of(&at)), (0, end - 5));
    group.leave().await;
    assert_eq!(slow.next(1).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_slow_partitions_hold_up_no_other() {
    const PARTITIONS: u32 = 8;
    let server = shared();
    let settings = KafkaSettings { partitions: PARTITIONS, read_buffer_bytes: 8 << 20, ..settings(server.port()) };
    let log = KafkaLog::connect(settings).await.unwrap();
    let topic = behaviors(&log, "stuck").await;
    let producer = log.producer().unwrap();
    // Each partition has more than all of a member's memory.
    for from in 0..50 {
        let records = (0..64).map(|at| Record::new(format!("{from}-{at}"), vec![b'x'; 16 << 10])).collect();
        producer.append(&topic, records).await.unwrap();
    }
    let mut group = log.join("stuck", &Subscription::Topics(vec![topic])).unwrap();
    let Change::Assigned(assigned) = group.next().await.unwrap() else { panic!("nothing to revoke yet") };
    let mut partitions = assigned.begin(vec![Start::Oldest; PARTITIONS as usize]).unwrap();
    let lag = group.lag().await.unwrap();
    // Nobody takes of the others, and they have what they may.
    let mut fast = partitions.remove(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (end, mut next) = (lag.iter().find(|lag| lag.at == fast.at).unwrap().end, 0);
    while next < end {
        let records = timeout(PATIENCE, fast.next(10)).await.unwrap();
        assert_eq!(records[0].offset, next);
        next += records.len() as u64;
    }
    group.leave().await;
    drop(partitions);
}

#[tokio::test(flavor = "multi_thread")]
async fn rebalances_are_seen_while_memory_is_full() {
    let server = shared();
    let settings = KafkaSettings { partitions: 8, read_buffer_bytes: 8 << 20, ..settings(server.port()) };
    let log = KafkaLog::connect(settings).await.unwrap();
    let topic = behaviors(&log, "full").await;
    let producer = log.producer().unwrap();
    for from in 0..8 {
        let records = (0..200).map(|at| Record::new(format!("{from}-{at}"), vec![b'x'; 16 << 10])).collect();
        producer.append(&topic, records).await.unwrap();
    }
    let subscription = Subscription::Topics(vec![topic]);
    let mut first = log.join("full", &subscription).unwrap();
    let Change::Assigned(assigned) = first.next().await.unwrap() else { panic!("nothing to revoke yet") };
    let mut partitions = assigned.begin(vec![Start::Oldest; 8]).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let second = log.join("full", &subscription).unwrap();
    let Change::Revoked(revoked) = timeout(PATIENCE, first.next()).await.unwrap().unwrap() else {
        panic!("some are to be the other's")
    };
    assert!(!revoked.lost && revoked.partitions.len() == 4, "{revoked:?}");
    let gone = revoked.partitions.clone();
    revoked.release();
    // What is left is read whole.
    partitions.retain(|partition| !gone.contains(&partition.at));
    for mut partition in partitions {
        let lag = first.lag().await.unwrap();
        let end = lag.iter().find(|lag| lag.at == partition.at).unwrap().end;
        let mut next = 0;
        while next < end {
            for stored in timeout(PATIENCE, partition.next(100)).await.unwrap() {
                assert_eq!(stored.offset, next);
                next += 1;
            }
        }
    }
    drop(second);
}

#[tokio::test]
async fn what_is_gone_is_passed_over_and_a_new_log_is_read() {
    let server = shared();
    let log = KafkaLog::connect(KafkaSettings { partitions: 1, ..settings(server.port()) }).await.unwrap();
    let topic = behaviors(&log, "gone").await;
    log.producer().unwrap().append(&topic, numbered(0..10, 1)).await.unwrap();
    let offsets = Offsets::default();
    offsets.lock().insert(TopicPartition { topic: topic.clone(), partition: 0 }, 500);
    let mut reader = Reader::of(&log, "gone", &topic, &offsets);
    let read = reader.take(10).await;
    assert_eq!(read[0].1.offset, 0);
    assert_eq!(reader.leave().await, []);
    assert!(matches!(log.join("", &Subscription::AllBehaviors), Err(Error::Invalid(_))));
    assert!(matches!(log.join("none", &Subscription::Topics(vec![])), Err(Error::Invalid(_))));
}
