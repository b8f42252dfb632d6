//! Brokers, and a reader that does what a reader should.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use funnelweb_log_kafka::{
    Change, Group, KafkaLog, KafkaSettings, Record, Start, StoredRecord, Subscription, Topic, TopicPartition,
};
use funnelweb_test_servers::Server;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

/// Time for anything, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The broker that tests share which do nothing to it; their topics are of tenants of
/// their own.
pub fn shared() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Server::kafka(&[]));
        *shared = Arc::downgrade(&server);
        server
    })
}

/// With so much time that a busy machine does not make a call fail.
pub fn settings(port: u16) -> KafkaSettings {
    KafkaSettings {
        partitions: 3,
        connect_timeout_ms: 60_000,
        operation_timeout_ms: 60_000,
        append_timeout_ms: 120_000,
        session_timeout_ms: 30_000,
        discover_interval_ms: 1000,
        ..KafkaSettings::of(format!("127.0.0.1:{port}"))
    }
}

pub async fn connect(server: &Server) -> KafkaLog {
    KafkaLog::connect(settings(server.port())).await.unwrap()
}

/// The topic of a tenant's behaviours, which is there.
pub async fn behaviors(log: &KafkaLog, tenant: &str) -> Topic {
    let topic = Topic::Behaviors(tenant.to_owned());
    log.ensure(std::slice::from_ref(&topic)).await.unwrap();
    topic
}

/// Records of users, numbered in the order in which they are appended.
pub fn numbered(numbers: std::ops::Range<usize>, users: usize) -> Vec<Record> {
    numbers.map(|number| Record::new(format!("user_{}", number % users), number.to_string())).collect()
}

pub fn number(record: &Record) -> usize {
    std::str::from_utf8(&record.payload).unwrap().parse().unwrap()
}

/// Offsets as a reader's own store has them: of the next record to be done.
#[derive(Debug, Clone, Default)]
pub struct Offsets(Arc<Mutex<HashMap<TopicPartition, u64>>>);

impl Offsets {
    pub fn lock(&self) -> MutexGuard<'_, HashMap<TopicPartition, u64>> {
        self.0.lock().unwrap()
    }

    fn start(&self, at: &TopicPartition) -> Start {
        self.lock().get(at).map_or(Start::Oldest, |offset| Start::At(*offset))
    }
}

/// A member of a group that keeps offsets with what it reads.
pub struct Reader {
    records: mpsc::UnboundedReceiver<(TopicPartition, StoredRecord)>,
    pub mine: Arc<Mutex<Vec<TopicPartition>>>,
    leave: Option<tokio::sync::oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Reader {
    pub fn join(log: &KafkaLog, group: &str, subscription: &Subscription, offsets: &Offsets) -> Self {
        let group = log.join(group, subscription).unwrap();
        let (sender, records) = mpsc::unbounded_channel();
        let (leave, left) = tokio::sync::oneshot::channel();
        let mine = Arc::default();
        let task = tokio::spawn(work(group, offsets.clone(), sender, Arc::clone(&mine), left));
        Self { records, mine, leave: Some(leave), task }
    }

    pub fn of(log: &KafkaLog, group: &str, topic: &Topic, offsets: &Offsets) -> Self {
        Self::join(log, group, &Subscription::Topics(vec![topic.clone()]), offsets)
    }

    pub async fn take(&mut self, count: usize) -> Vec<(TopicPartition, StoredRecord)> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let next = timeout(PATIENCE, self.records.recv()).await;
            taken.push(next.unwrap_or_else(|_| panic!("{} of {count} records came", taken.len())).unwrap());
        }
        taken
    }

    /// What comes until nothing does for so long.
    pub async fn rest(&mut self, silence: Duration) -> Vec<(TopicPartition, StoredRecord)> {
        let mut taken = Vec::new();
        while let Ok(Some(next)) = timeout(silence, self.records.recv()).await {
            taken.push(next);
        }
        taken
    }

    pub fn partitions(&self) -> usize {
        self.mine.lock().unwrap().len()
    }

    /// Leaves; what it had done by then and nobody took.
    pub async fn leave(mut self) -> Vec<(TopicPartition, StoredRecord)> {
        self.leave.take();
        (&mut self.task).await.unwrap();
        self.rest(Duration::from_secs(1)).await
    }
}

async fn work(
    mut group: Group,
    offsets: Offsets,
    sender: mpsc::UnboundedSender<(TopicPartition, StoredRecord)>,
    mine: Arc<Mutex<Vec<TopicPartition>>>,
    mut leave: tokio::sync::oneshot::Receiver<()>,
) {
    let mut workers: HashMap<TopicPartition, JoinHandle<()>> = HashMap::new();
    loop {
        let change = tokio::select! {
            change = group.next() => change.unwrap(),
            _ = &mut leave => break,
        };
        match change {
            Change::Assigned(assigned) => {
                mine.lock().unwrap().extend(assigned.partitions.clone());
                let starts = assigned.partitions.iter().map(|at| offsets.start(at)).collect();
                for mut partition in assigned.begin(starts).unwrap() {
                    let (offsets, sender, at) = (offsets.clone(), sender.clone(), partition.at.clone());
                    let worker = tokio::spawn(async move {
                        loop {
                            let records = partition.next(100).await;
                            let Some(last) = records.last() else { return };
                            // At one stroke with the offset.
                            let mut offsets = offsets.lock();
                            offsets.insert(partition.at.clone(), last.offset + 1);
                            for record in records {
                                let _ = sender.send((partition.at.clone(), record));
                            }
                        }
                    });
                    workers.insert(at, worker);
                }
            }
            Change::Revoked(revoked) => {
                for at in &revoked.partitions {
                    stop(workers.remove(at).unwrap()).await;
                }
                mine.lock().unwrap().retain(|at| !revoked.partitions.contains(at));
                if !revoked.lost {
                    let done: Vec<_> = offsets.lock().iter().map(|(at, next)| (at.clone(), *next)).collect();
                    group.commit(&done).unwrap();
                }
                revoked.release();
            }
        }
    }
    for worker in workers.into_values() {
        stop(worker).await;
    }
    let done: Vec<_> = offsets.lock().iter().map(|(at, next)| (at.clone(), *next)).collect();
    group.commit(&done).unwrap();
    mine.lock().unwrap().clear();
    group.leave().await;
}

async fn stop(worker: JoinHandle<()>) {
    worker.abort();
    let _ = worker.await;
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// That records of one user are in the order of their numbers, and none is there twice.
pub fn check_order(records: &[(TopicPartition, StoredRecord)]) {
    let mut last: HashMap<&[u8], (usize, &TopicPartition)> = HashMap::new();
    let mut offsets: HashMap<&TopicPartition, u64> = HashMap::new();
    for (at, stored) in records {
        let number = number(&stored.record);
        if let Some((before, partition)) = last.insert(&stored.record.key, (number, at)) {
            assert!(before < number, "{number} came after {before}");
            assert_eq!(partition, at, "a user is in two partitions");
        }
        let next = offsets.insert(at, stored.offset + 1);
        assert_eq!(next.unwrap_or(stored.offset), stored.offset, "{at:?} has a gap");
    }
}
