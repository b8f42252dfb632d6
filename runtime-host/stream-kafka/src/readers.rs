//! Members of the operators' groups.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use funnelweb_log_kafka::{Assigned, Change, Error, Group, KafkaLog, Revoked, Start, Subscription, TopicPartition};
use funnelweb_stream::{Streams, operator::Operator};
use funnelweb_tenant_store::lock;
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use crate::{
    partition::{Known, Shared, Work, stopped},
    shards::place,
};

/// Between two looks at windows that may have come to their end.
const LOOK: Duration = Duration::from_secs(1);
/// Begins the names of the groups.
const GROUP: &str = "streams-";
/// Time after which it is tried again to be a member.
const REJOIN: Duration = Duration::from_secs(5);
/// Steps that an operator makes at once, at least: they wait for servers, mostly.
const STEPS: usize = 4;
/// How long the group waits until it is found out how far an operator is; the partition goes
/// on finding out.
const FIND_OUT: Duration = Duration::from_secs(5);
/// How often the group is told how far partitions are.
const COMMIT: Duration = Duration::from_secs(5);
/// How long it is waited for a step that is being made when its partition goes.
const STOP: Duration = Duration::from_secs(10);

/// Takes the partitions that the operators' groups give this process.
pub struct Readers {
    log: KafkaLog,
    shared: Arc<Shared>,
}

impl Readers {
    /// Has the operators of `streams` take what `log` has. Each makes as many steps at once as
    /// there are cores, and at least four.
    #[must_use]
    pub fn new(log: KafkaLog, streams: Arc<Streams>) -> Self {
        Self { log, shared: Arc::new(Shared { streams, moved: Mutex::default() }) }
    }

    /// Takes partitions until `stop` is true, or gone; then others have them at once. When
    /// it is dropped they have them a session later.
    pub async fn follow(self, stop: watch::Receiver<bool>) {
        let mut members = JoinSet::new();
        for operator in self.shared.streams.operators() {
            let member = Member::new(self.log.clone(), Arc::clone(&self.shared), Arc::clone(operator));
            members.spawn(member.follow(stop.clone()));
        }
        let looks = async {
            loop {
                tokio::time::sleep(LOOK).await;
                let moved = std::mem::take(&mut *lock(&self.shared.moved));
                moved.iter().for_each(|tenant| self.shared.streams.look_at(tenant));
            }
        };
        let ended = async { while members.join_next().await.is_some() {} };
        tokio::select! {
            () = ended => {}
            () = looks => {}
        }
    }
}

/// A member of the group of an operator.
struct Member {
    log: KafkaLog,
    shared: Arc<Shared>,
    operator: Arc<dyn Operator>,
    steps: Arc<Semaphore>,
    workers: HashMap<TopicPartition, Worker>,
}

/// Who works on a partition.
struct Worker {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
    done: Arc<AtomicU64>,
    /// What of it the group knows.
    told: u64,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Member {
    fn new(log: KafkaLog, shared: Arc<Shared>, operator: Arc<dyn Operator>) -> Self {
        let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let steps = Arc::new(Semaphore::new(at_once.max(STEPS)));
        Self { log, shared, operator, steps, workers: HashMap::new() }
    }

    async fn follow(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let name = format!("{GROUP}{}", self.operator.name());
            match self.log.join(&name, &Subscription::AllBehaviors) {
                Ok(mut group) => {
                    tokio::select! {
                        biased;
                        () = stopped(&mut stop) => {}
                        () = self.take_part(&mut group) => {}
                    }
                    let workers = self.workers.drain().collect();
                    commit(&group, &stop_all(workers).await);
                    group.leave().await;
                }
                Err(error) => tracing::error!(group = name, %error, "an operator cannot read"),
            }
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return,
                () = tokio::time::sleep(REJOIN) => {}
            }
        }
    }

    /// Follows the group until it has ended for us.
    async fn take_part(&mut self, group: &mut Group) {
        let mut tick = tokio::time::interval(COMMIT);
        loop {
            let change = tokio::select! {
                change = group.next() => change,
                _ = tick.tick() => {
                    self.tell(group);
                    if self.workers.values().any(|worker| worker.task.is_finished()) {
                        tracing::warn!(operator = self.operator.name(), "a partition is begun again, with all others");
                        return;
                    }
                    continue;
                }
            };
            match change {
                Ok(Change::Assigned(assigned)) => {
                    if let Err(error) = self.begin(assigned).await {
                        tracing::error!(operator = self.operator.name(), %error, "partitions are not begun");
                        return;
                    }
                }
                Ok(Change::Revoked(revoked)) => self.end(group, revoked).await,
                Err(Error::Denied(reason)) => {
                    tracing::error!(operator = self.operator.name(), reason, "an operator may not read");
                }
                Err(error) => {
                    tracing::error!(operator = self.operator.name(), %error, "an operator reads no more, for now");
                    return;
                }
            }
        }
    }

    async fn begin(&mut self, assigned: Assigned) -> Result<(), Error> {
        let places = assigned.partitions.iter().map(|at| place(at, self.operator.name()));
        let find_out = places.map(|place| {
            let (shared, of) = (Arc::clone(&self.shared), place.clone());
            let known = tokio::spawn(async move {
                let place = of?;
                let known = tokio::time::timeout(FIND_OUT, Known::load(&shared.streams, &place)).await;
                let known = known.map_err(|_| "it takes too long".to_owned());
                let known = known.and_then(|known| known.map_err(|error| error.to_string()));
                let known = known.inspect_err(|error| {
                    tracing::warn!(tenant = %place.tenant, error, "it cannot be told yet how far an operator is");
                });
                known.ok()
            });
            (place, known)
        });
        let mut all = Vec::with_capacity(assigned.partitions.len());
        for (place, known) in find_out.collect::<Vec<_>>() {
            // One that panicked said so.
            let known = known.await.ok().flatten();
            all.push(place.map(|place| (place, known)));
        }
        // What was taken is passed over again by one that does not know yet.
        let position = |known: &Option<Known>| known.as_ref().map_or(0, |known| known.next);
        let start = |found: &Option<(_, Option<Known>)>| {
            found.as_ref().map_or(Start::Newest, |(_, known)| Start::At(position(known)))
        };
        let starts = all.iter().map(start).collect();
        for (partition, found) in assigned.begin(starts)?.into_iter().zip(all) {
            let Some((place, known)) = found else { continue };
            let (at, (stop, stopped), done) = (partition.at.clone(), watch::channel(false), Arc::default());
            let (shared, operator) = (Arc::clone(&self.shared), Arc::clone(&self.operator));
            let (steps, position) = (Arc::clone(&self.steps), position(&known));
            let work = Work { shared, steps, operator, place, done: Arc::clone(&done), stop: stopped };
            let task = tokio::spawn(work.go_on(partition, position, known));
            self.workers.insert(at, Worker { task, stop, done, told: 0 });
        }
        Ok(())
    }

    /// Ends the work on partitions before they are another's: what is being made is made, or
    /// is left to whoever comes next.
    async fn end(&mut self, group: &Group, revoked: Revoked) {
        let gone = revoked.partitions.iter().filter_map(|at| Some((at.clone(), self.workers.remove(at)?)));
        let gone: Vec<(TopicPartition, Worker)> = gone.collect();
        let done = stop_all(gone).await;
        if !revoked.lost {
            commit(group, &done);
        }
        revoked.release();
    }

    /// Tells the group how far partitions are that have moved.
    fn tell(&mut self, group: &Group) {
        let mut moved = Vec::new();
        for (at, worker) in &mut self.workers {
            let done = worker.done.load(Ordering::Relaxed);
            if done > worker.told {
                worker.told = done;
                moved.push((at.clone(), done));
            }
        }
        commit(group, &moved);
    }
}

/// Stops workers; how far they came.
async fn stop_all(mut workers: Vec<(TopicPartition, Worker)>) -> Vec<(TopicPartition, u64)> {
    for (_, worker) in &workers {
        worker.stop.send_replace(true);
    }
    let (mut done, end) = (Vec::new(), Instant::now() + STOP);
    for (at, worker) in &mut workers {
        if tokio::time::timeout_at(end, &mut worker.task).await.is_err() {
            worker.task.abort();
            tracing::warn!(?at, "a step is given up: its partition goes");
        }
        let next = worker.done.load(Ordering::Relaxed);
        if next > 0 {
            done.push((at.clone(), next));
        }
    }
    done
}

/// For those who look at the group's lag.
fn commit(group: &Group, done: &[(TopicPartition, u64)]) {
    if let Err(error) = group.commit(done) {
        tracing::debug!(%error, "the group is not told how far partitions are");
    }
}
