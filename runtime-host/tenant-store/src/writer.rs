//! Group commit.
//!
//! Jobs are run in the order they were queued. A batch is one transaction; the
//! jobs that are queued while it syncs become the next batch, so the more there
//! is to do the less a sync costs each. The drainer is a blocking task that
//! lives only while the queue is not empty: a tenant at rest costs no thread.

use std::{
    collections::VecDeque,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use crate::{Error, Part, lock};

/// Jobs that may wait for a tenant's writer; one more is `unavailable`.
const QUEUED_JOBS: usize = 4096;
/// Bytes that jobs which wait may hold together. One job alone may hold more.
const QUEUED_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that every job counts at least: itself and its place in the queue.
const JOB_BYTES: usize = 1024;
/// Jobs in one transaction.
const BATCH_JOBS: usize = 256;
/// Time after which a transaction takes no further job.
const BATCH_TIME: Duration = Duration::from_millis(20);

/// How long deferred writes wait for others to share a transaction with.
const DEFER_TIME: Duration = Duration::from_millis(10);

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As `Relaxed`, for what nobody waits for: it may be put off for some
    /// milliseconds, so that many share a transaction.
    Deferred,
    /// A crash of the process: it is in the WAL, which the system writes out in
    /// its own time (`synchronous=NORMAL`).
    Relaxed,
    /// A loss of power: it is synced to the disk (`synchronous=FULL`).
    Durable,
}

type Hook = Box<dyn FnOnce() + Send>;

/// What a job sees: the connection, within the job's savepoint.
pub struct Write<'a> {
    connection: &'a Connection,
    number: u64,
    parts: &'a Arc<[Arc<dyn Part>]>,
    hooks: Vec<Hook>,
}

impl Write<'_> {
    /// Has `hook` run when the job is committed, before anybody is answered:
    /// what is in memory follows here. Hooks of a tenant run in the order of
    /// their jobs, one at a time; that of a job that fails does not run.
    pub fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    /// Writes what all parts hold back to the tables ([`Part::settle`]), so that
    /// the job finds and changes everything there.
    ///
    /// # Errors
    /// Those of the parts.
    pub fn settle(&mut self) -> Result<(), Error> {
        for part in self.parts.iter() {
            part.settle(self)?;
        }
        Ok(())
    }

    /// [`crate::TenantFile::number`].
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Deref for Write<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// The answer to come of a job.
#[must_use]
pub struct Ticket<T, E>(oneshot::Receiver<Result<T, E>>);

impl<T, E: From<Error>> Ticket<T, E> {
    /// Waits until the job is committed.
    ///
    /// # Errors
    /// The job's own, or `unavailable` when the commit failed.
    pub async fn done(self) -> Result<T, E> {
        self.0.await.unwrap_or_else(|_| Err(Error::Unavailable("the write was abandoned".to_owned()).into()))
    }
}

/// A job whose types are forgotten.
trait Job: Send {
    /// Whether its changes are to be kept.
    fn run(&mut self, write: &mut Write<'_>) -> bool;
    /// Tells whoever waits, with the job's own result if `committed`.
    fn answer(self: Box<Self>, committed: &Result<(), Error>);
}

struct Task<F, T, E> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    asker: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Task<F, T, E>
where
    F: FnOnce(&mut Write<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn run(&mut self, write: &mut Write<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        let result = work(write);
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn answer(self: Box<Self>, committed: &Result<(), Error>) {
        let answer = match (self.result, committed) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(error)) => Err(error.clone().into()),
            // Without a result the asker learns it from the closed channel.
            (None, Ok(())) => return,
        };
        // Nobody waits any more: the write stands all the same.
        let _ = self.asker.send(answer);
    }
}

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Told when there is no more reason to put writes off.
    due: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Waiting>,
    /// Those that are not deferred.
    awaited: usize,
    bytes: usize,
    draining: bool,
}

struct Waiting {
    durability: Durability,
    bytes: usize,
    job: Box<dyn Job>,
}

impl State {
    fn pop_if(&mut self, which: impl FnOnce(Durability) -> bool) -> Option<(Durability, Box<dyn Job>)> {
        let Waiting { durability, bytes, job } = self.jobs.pop_front_if(|next| which(next.durability))?;
        self.bytes -= bytes;
        self.awaited -= usize::from(durability != Durability::Deferred);
        Some((durability, job))
    }

    /// Whether all jobs can wait for more to come.
    fn can_wait(&self) -> bool {
        self.awaited == 0 && (1..BATCH_JOBS).contains(&self.jobs.len())
    }
}

impl Queue {
    /// Queues a job; true when the caller must start the drainer.
    pub(crate) fn push<T, E>(
        &self,
        durability: Durability,
        bytes: usize,
        job: impl FnOnce(&mut Write<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<(Ticket<T, E>, bool), Error>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (asker, answer) = oneshot::channel();
        let mut state = lock(&self.state);
        if state.jobs.len() >= QUEUED_JOBS {
            return Err(Error::Unavailable(format!("{QUEUED_JOBS} writes are waiting already")));
        }
        let bytes = bytes.saturating_add(JOB_BYTES);
        if !state.jobs.is_empty() && state.bytes.saturating_add(bytes) > QUEUED_BYTES {
            return Err(Error::Unavailable(format!("writes of {} bytes are waiting already", state.bytes)));
        }
        state.bytes = state.bytes.saturating_add(bytes);
        state.jobs.push_back(Waiting {
            durability,
            bytes,
            job: Box::new(Task { work: Some(job), result: None, asker }),
        });
        state.awaited += usize::from(durability != Durability::Deferred);
        if !state.can_wait() {
            self.due.notify_one();
        }
        Ok((Ticket(answer), !std::mem::replace(&mut state.draining, true)))
    }

    /// Commits batches until the queue is empty.
    pub(crate) fn drain(&self, writer: &mut Writer) {
        while let Some((durability, first)) = self.pop_or_stop() {
            writer.commit(durability, first, || self.pop_for(durability));
        }
    }

    fn pop_or_stop(&self) -> Option<(Durability, Box<dyn Job>)> {
        let (mut state, _) = self
            .due
            .wait_timeout_while(lock(&self.state), DEFER_TIME, |state| state.can_wait())
            .unwrap_or_else(PoisonError::into_inner);
        let next = state.pop_if(|_| true);
        state.draining = next.is_some();
        next
    }

    /// The next job, if it can be part of a transaction of this durability: one
    /// that is not synced ends where a job wants a sync.
    fn pop_for(&self, durability: Durability) -> Option<Box<dyn Job>> {
        let mut state = lock(&self.state);
        let fits = |next: Durability| next != Durability::Durable || durability == Durability::Durable;
        state.pop_if(fits).map(|(_, job)| job)
    }
}

pub(crate) struct Writer {
    connection: Connection,
    number: u64,
    /// Whether the connection syncs each transaction.
    synced: bool,
    parts: Arc<[Arc<dyn Part>]>,
}

impl Writer {
    /// Takes a connection at `synchronous=FULL`.
    pub(crate) fn new(connection: Connection, number: u64, parts: Arc<[Arc<dyn Part>]>) -> Self {
        Self { connection, number, synced: true, parts }
    }

    /// [`Write::settle`], in a transaction of its own.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        let (number, parts) = (self.number, self.parts.clone());
        let tx = self.begin(Durability::Durable)?;
        let mut write = Write { connection: &tx, number, parts: &parts, hooks: Vec::new() };
        write.settle()?;
        let hooks = write.hooks;
        tx.commit()?;
        run_hooks(hooks);
        Ok(())
    }

    /// One batch: runs the jobs, commits, runs their hooks, answers everybody.
    fn commit(&mut self, durability: Durability, first: Box<dyn Job>, next: impl FnMut() -> Option<Box<dyn Job>>) {
        let mut done = Vec::new();
        let mut hooks = Vec::new();
        let committed = self.run(durability, first, next, &mut done, &mut hooks);
        if let Err(error) = &committed {
            tracing::error!(%error, "a batch of writes was not committed");
        } else {
            run_hooks(hooks);
        }
        for job in done {
            job.answer(&committed);
        }
    }

    fn run(
        &mut self,
        durability: Durability,
        first: Box<dyn Job>,
        mut next: impl FnMut() -> Option<Box<dyn Job>>,
        done: &mut Vec<Box<dyn Job>>,
        hooks: &mut Vec<Hook>,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let (number, parts) = (self.number, self.parts.clone());
        let mut tx = match self.begin(durability) {
            Ok(tx) => tx,
            Err(error) => {
                done.push(first);
                return Err(error);
            }
        };
        // It needs no savepoint, which costs a copy of every page that it changes: when it
        // fails, nothing else is in the transaction.
        if !run_job(first, Write { connection: &tx, number, parts: &parts, hooks: Vec::new() }, done, hooks) {
            return if tx.is_autocommit() { Ok(()) } else { Ok(tx.rollback()?) };
        }
        let rolled_back = || Error::Unavailable("the transaction was rolled back".to_owned());
        // A full disk makes SQLite roll back the whole transaction.
        if tx.is_autocommit() {
            return Err(rolled_back());
        }
        while done.len() < BATCH_JOBS && started.elapsed() < BATCH_TIME {
            let Some(current) = next() else { break };
            let savepoint = match tx.savepoint() {
                Ok(savepoint) => savepoint,
                Err(error) => {
                    done.push(current);
                    return Err(error.into());
                }
            };
            let write = Write { connection: &savepoint, number, parts: &parts, hooks: Vec::new() };
            if run_job(current, write, done, hooks) {
                savepoint.commit()?;
            } else {
                savepoint.finish()?;
            }
            if tx.is_autocommit() {
                return Err(rolled_back());
            }
        }
        Ok(tx.commit()?)
    }

    /// `synchronous` can be changed between transactions only.
    fn begin(&mut self, durability: Durability) -> Result<rusqlite::Transaction<'_>, Error> {
        let synced = durability == Durability::Durable;
        if synced != self.synced {
            self.connection.pragma_update(None, "synchronous", if synced { "FULL" } else { "NORMAL" })?;
            self.synced = synced;
        }
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

/// Runs a job; whether what it wrote is to be kept, and with it its hooks.
fn run_job(mut job: Box<dyn Job>, mut write: Write<'_>, done: &mut Vec<Box<dyn Job>>, hooks: &mut Vec<Hook>) -> bool {
    let kept = catch_unwind(AssertUnwindSafe(|| job.run(&mut write)));
    // Pushed before anything can fail, so that everybody is answered.
    done.push(job);
    match kept {
        Ok(true) => {
            hooks.extend(write.hooks);
            true
        }
        Ok(false) => false,
        Err(_) => {
            tracing::error!("a write panicked");
            false
        }
    }
}

fn run_hooks(hooks: Vec<Hook>) {
    for hook in hooks {
        if catch_unwind(AssertUnwindSafe(hook)).is_err() {
            tracing::error!("a hook after a commit panicked");
        }
    }
}
