//! Has runs done: takes one that is free, does it on a thread of its own, and keeps
//! it until it is over.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use funnelweb_core::job::State;
use funnelweb_tenant_store::{give_way, jitter, lock};
use serde_json::Value;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout_at},
};

use crate::{
    jobs::Inner,
    new_id,
    store::{Change, End, Open, Record, Refused, Report, Tenant},
    work::{Cancel, Failure, Progress, Task, Work},
};

/// Time that a run has to stop when the process ends.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// How often the store is told of the end of a run, when it does not answer.
const TELLS: u32 = 6;
/// Before the second time; each further pause is twice as long.
const TELL_PAUSE: Duration = Duration::from_millis(500);

/// Works until the jobs are drained.
pub(crate) async fn run(inner: Arc<Inner>) {
    let mut last = None;
    loop {
        let seat = tokio::select! {
            biased;
            () = inner.closing.cancelled() => return,
            seat = Arc::clone(&inner.seats).acquire_owned() => seat,
        };
        // The seats are never closed.
        let Ok(seat) = seat else { return };
        match take(&inner, last.as_ref()).await {
            Some(open) => {
                last = Some(open.tenant.clone());
                tokio::spawn(Attempt { inner: Arc::clone(&inner), open, _seat: seat }.run());
            }
            None => {
                drop(seat);
                tokio::select! {
                    () = inner.closing.cancelled() => return,
                    () = inner.wake.notified() => {}
                    () = sleep(jitter(inner.options.poll)) => {}
                }
            }
        }
    }
}

/// Takes a run that is free: the oldest of a tenant, tenants in turn.
async fn take(inner: &Inner, last: Option<&Tenant>) -> Option<Open> {
    let mut open = match inner.store.open().await {
        Ok(open) => open,
        Err(error) => {
            tracing::warn!(%error, "cannot look for runs of jobs");
            return None;
        }
    };
    let now_ms = inner.now_ms();
    open.retain(|open| open.record.is_free(now_ms));
    open.sort_by_cached_key(|open| {
        (last.is_some_and(|last| open.tenant <= *last), open.tenant.clone(), open.record.run.id.clone())
    });
    for Open { tenant, job, .. } in open {
        if inner.closing.is_cancelled() {
            return None;
        }
        let claim = Change::Claim { claim: new_id(inner.now_ms()) };
        match inner.store.change(&tenant, &job, claim).await {
            Ok(record) if record.run.state == State::Running => return Some(Open { tenant, job, record }),
            // It was the end of it; or another was before us.
            Ok(_) | Err(Refused::Nothing | Refused::Stale | Refused::Active(_)) => {}
            Err(Refused::Store(error)) => {
                tracing::warn!(%error, "cannot take a run of a job");
                return None;
            }
        }
    }
    None
}

/// One run that is ours.
struct Attempt {
    inner: Arc<Inner>,
    open: Open,
    _seat: OwnedSemaphorePermit,
}

/// What a run ended with, and why it was told to stop if it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    /// Somebody wants it to.
    Cancel,
    /// The process ends.
    Close,
    /// It is another's by now.
    Lost,
}

impl Attempt {
    async fn run(self) {
        let Open { tenant, job, record } = &self.open;
        let (id, kind) = (record.run.id.as_str(), job.kind.as_str());
        tracing::info!(%tenant, scenario = %job.scenario_id, kind, run = id, attempt = record.run.attempts, "a job runs");
        let (cancel, progress) = (Cancel::default(), Arc::new(Progress::default()));
        let here = (tenant.clone(), id.to_owned());
        lock(&self.inner.running).insert(here.clone(), cancel.clone());
        let done = match self.task(&cancel, &progress) {
            Ok((work, task)) => begin(work, task, kind),
            Err(failure) => {
                let (tell, done) = oneshot::channel();
                let _ = tell.send(Err(failure));
                done
            }
        };
        let (result, told) = self.keep(done, &cancel, &progress).await;
        lock(&self.inner.running).remove(&here);
        if let Some(end) = end(result, told) {
            self.finish(end).await;
        }
        // Another may be waiting for its turn.
        self.inner.wake.notify_one();
    }

    fn task(&self, cancel: &Cancel, progress: &Arc<Progress>) -> Result<(Arc<dyn Work>, Task), Failure> {
        let Open { tenant, job, record } = &self.open;
        let params =
            serde_json::from_str(&record.params).map_err(|error| Failure::Permanent(format!("params: {error}")))?;
        self.inner.check(job.kind, &params).map_err(|(pointer, message)| {
            let at = if pointer.is_empty() { String::new() } else { format!("{pointer}: ") };
            Failure::Permanent(format!("params: {at}{message}"))
        })?;
        let work = self.inner.works.get(&job.kind).ok_or_else(|| Failure::Permanent("no such job".to_owned()))?;
        let task = Task {
            tenant: tenant.clone(),
            scenario_id: job.scenario_id.clone(),
            run_id: record.run.id.clone(),
            params: Value::Object(params),
            token: record.token,
            attempt: record.run.attempts,
            progress: Arc::clone(progress),
            cancel: cancel.clone(),
            job: job.clone(),
            store: Arc::clone(&self.inner.store),
        };
        Ok((Arc::clone(work), task))
    }

    /// Keeps the run ours until it is done, or was told to stop for good.
    async fn keep(&self, mut done: Done, cancel: &Cancel, progress: &Progress) -> (Option<Outcome>, Told) {
        let beat = self.inner.options.heartbeat;
        let mut beats = interval_at(Instant::now() + beat, beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pace = Pace::default();
        let mut told = Told::Nothing;
        loop {
            tokio::select! {
                result = &mut done => {
                    // It may have heard of it first.
                    let told = if told == Told::Nothing && cancel.is_cancelled() { Told::Cancel } else { told };
                    return (result.ok(), told);
                }
                () = self.inner.closing.cancelled(), if told == Told::Nothing => {
                    cancel.cancel();
                    let result = timeout_at(Instant::now() + GRACE, &mut done).await;
                    return (result.ok().and_then(Result::ok), Told::Close);
                }
                () = cancel.cancelled(), if told == Told::Nothing => told = Told::Cancel,
                _ = beats.tick() => match self.renew(pace.report(progress)).await {
                    Ok(record) if record.cancel => cancel.cancel(),
                    Ok(_) => {}
                    Err(Refused::Store(error)) => tracing::warn!(%error, "cannot keep a run of a job"),
                    Err(Refused::Stale | Refused::Nothing | Refused::Active(_)) => {
                        told = Told::Lost;
                        cancel.cancel();
                    }
                },
            }
        }
    }

    async fn renew(&self, report: Report) -> Result<Record, Refused> {
        let Open { tenant, job, record } = &self.open;
        self.inner.store.change(tenant, job, Change::Renew { token: record.token, report }).await
    }

    async fn finish(&self, end: End) {
        let Open { tenant, job, record } = &self.open;
        let change = Change::Finish { token: record.token, end };
        for tell in 0..TELLS {
            match self.inner.store.change(tenant, job, change.clone()).await {
                Ok(record) => {
                    let (run, state, error) = (&record.run.id, record.run.state.as_str(), &record.run.error);
                    tracing::info!(%tenant, scenario = %job.scenario_id, kind = job.kind.as_str(), run, state, error, "a job stopped");
                    return;
                }
                Err(Refused::Store(error)) => {
                    tracing::warn!(%error, "cannot tell of the end of a run of a job");
                    if self.inner.closing.is_cancelled() {
                        return;
                    }
                    sleep(TELL_PAUSE * 2_u32.pow(tell)).await;
                }
                // Said already, by a call whose answer was lost; or it is another's.
                Err(Refused::Stale | Refused::Nothing | Refused::Active(_)) => return,
            }
        }
    }
}

type Outcome = Result<Value, Failure>;
type Done = oneshot::Receiver<Outcome>;

/// Does the work on a thread of its own.
fn begin(work: Arc<dyn Work>, task: Task, kind: &str) -> Done {
    let (tell, done) = oneshot::channel();
    let runtime = Handle::current();
    let body = move || {
        give_way();
        let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(work.run(task))));
        let result = result.unwrap_or_else(|panic| Err(Failure::Permanent(format!("it panicked: {}", said(&*panic)))));
        let _ = tell.send(result);
    };
    // Without a thread the sender is gone, which says it.
    if let Err(error) = thread::Builder::new().name(format!("job-{kind}")).spawn(body) {
        tracing::error!(%error, "no thread for a job");
    }
    done
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// How a run is let go of; not at all when it is another's.
fn end(result: Option<Outcome>, told: Told) -> Option<End> {
    let end = match (result, told) {
        (_, Told::Lost) => return None,
        (Some(Ok(value)), _) => succeeded(&value),
        (_, Told::Cancel) => End::Cancelled,
        (_, Told::Close) => End::Released,
        (Some(Err(Failure::Transient(error))), Told::Nothing) => End::Retry(error),
        (Some(Err(Failure::Permanent(error))), Told::Nothing) => End::Failed(error),
        (Some(Err(Failure::Cancelled)), Told::Nothing) => End::Failed("it stopped without being told to".to_owned()),
        (None, Told::Nothing) => End::Retry("it could not be begun".to_owned()),
    };
    Some(end)
}

fn succeeded(value: &Value) -> End {
    use funnelweb_core::limits::JOB_OUTCOME_BYTES;
    let text = value.to_string();
    if value.is_object() && text.len() <= JOB_OUTCOME_BYTES {
        return End::Succeeded(text);
    }
    End::Failed(format!("the outcome must be a JSON object of at most {JOB_OUTCOME_BYTES} bytes, got {}", text.len()))
}

/// Tells the time left by the rate since the work first said how far it is: before,
/// it may have taken up what an earlier attempt did.
#[derive(Debug, Default)]
struct Pace {
    first: Option<(Instant, f32)>,
}

impl Pace {
    /// Percent that must have been done before the rate says anything.
    const LEAST: f32 = 1.0;

    fn report(&mut self, progress: &Progress) -> Report {
        let (phase, percent) = progress.now();
        if percent <= 0.0 {
            return Report { phase, percent, eta_s: None };
        }
        let (since, from) = *self.first.get_or_insert((Instant::now(), percent));
        Report { eta_s: left_s(since.elapsed(), percent - from, 100.0 - percent), phase, percent }
    }
}

fn left_s(elapsed: Duration, done: f32, left: f32) -> Option<u32> {
    let left_s = elapsed.as_secs_f32() / done * left;
    (done >= Pace::LEAST && left_s.is_finite() && left_s >= 0.0).then(|| left_s.round() as u32)
}

#[cfg(test)]
mod tests;
