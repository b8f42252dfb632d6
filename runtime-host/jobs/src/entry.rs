//! What may happen to the runs of one job: a pure function over what is stored.

use funnelweb_core::{job::State, limits};
use serde::{Deserialize, Serialize};

use crate::store::{Error, Job, Run, Trigger};

/// Before a run that failed in a way that may pass is tried again the first time;
/// each further time it is four times as long.
const BACKOFF_MS: u64 = 10_000;
/// At most.
const LONGEST_BACKOFF_MS: u64 = 600_000;

/// A run with what only its keepers know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The run.
    pub run: Run,
    /// Its params, a JSON object.
    pub params: String,
    /// Of the claim that it was begun with last; 0 before.
    pub token: u64,
    /// Names that claim, so that a call that is made twice finds itself.
    pub claim: String,
    /// Until when it is its runner's, in milliseconds since 1970.
    pub lease_until_ms: u64,
    /// Before when it is not begun.
    pub due_ms: u64,
    /// How often it failed in a way that may pass, or was left.
    pub failures: u32,
    /// Whether it is to stop.
    pub cancel: bool,
}

/// What is kept of one job.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entry {
    /// The last that was given out; each is greater than every one before, those of a
    /// scenario of the same name that was deleted included.
    pub token: u64,
    /// When its schedule was acted upon last.
    pub scheduled_ms: u64,
    /// The run that waits or is at work.
    pub open: Option<Record>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// What it is at, for people.
    pub phase: String,
    /// 0 to 100.
    pub percent: f32,
    /// Seconds left, when that can be told.
    pub eta_s: Option<u32>,
}

/// How a runner lets go of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// It did what it was for: what came of it, a JSON object.
    Succeeded(String),
    /// It will not succeed: why.
    Failed(String),
    /// It may the next time: why it did not.
    Retry(String),
    /// It stopped as it was told to.
    Cancelled,
    /// The process ends: another may go on.
    Released,
}

/// A change of a job's runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Begins a run.
    Create {
        /// Its id ([`crate::new_id`]).
        id: String,
        /// Its params, a JSON object.
        params: String,
        /// When its schedule has it, in milliseconds since 1970; none for one that was
        /// asked for. If a run is open at that time, there is no further one.
        scheduled_ms: Option<u64>,
    },
    /// Takes the open run, if nobody has it.
    Claim {
        /// Unlike that of any other call.
        claim: String,
    },
    /// Says how far it is, and keeps it.
    Renew {
        /// Of the claim.
        token: u64,
        /// How far.
        report: Report,
    },
    /// Lets go of it.
    Finish {
        /// Of the claim.
        token: u64,
        /// How.
        end: End,
    },
    /// Has it stop.
    Cancel {
        /// The run.
        id: String,
    },
    /// Nobody can be at it: every process that was has ended.
    Abandon,
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// A run of this id is open.
    #[error("the run `{0}` waits or is at work")]
    Active(String),
    /// The run is somebody else's by now, or over.
    #[error("the run is no longer the caller's")]
    Stale,
    /// There is nothing to change: no open run, or none that can be taken; a schedule's
    /// time that was acted upon.
    #[error("there is nothing to do")]
    Nothing,
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The run, as it is now.
    pub record: Record,
    /// Whether that was the end of it: it is history, and its checkpoint goes.
    pub over: bool,
}

/// How long a run waits after its failure of this number, from 1.
#[must_use]
pub fn backoff_ms(failures: u32) -> u64 {
    BACKOFF_MS.saturating_mul(4_u64.saturating_pow(failures.saturating_sub(1))).min(LONGEST_BACKOFF_MS)
}

impl Change {
    /// Checks what is within it.
    ///
    /// # Errors
    /// `invalid`.
    pub fn check(&self, job: &Job) -> Result<(), Error> {
        Error::check_id("scenario-id", &job.scenario_id)?;
        match self {
            Self::Create { id, params, .. } => {
                Error::check_id("id", id)?;
                Error::check_count("params", params.len(), 2, limits::PARAMS_BYTES)
            }
            Self::Finish { end: End::Succeeded(outcome), .. } => {
                Error::check_count("outcome", outcome.len(), 2, limits::JOB_OUTCOME_BYTES)
            }
            _ => Ok(()),
        }
    }
}

impl Record {
    /// Whether a runner may take it now.
    #[must_use]
    pub fn is_free(&self, now_ms: u64) -> bool {
        match self.run.state {
            State::Queued => self.due_ms <= now_ms,
            State::Running => self.lease_until_ms <= now_ms,
            State::Succeeded | State::Failed | State::Cancelled => false,
        }
    }

    fn over(mut self, state: State, now_ms: u64) -> Applied {
        self.run.state = state;
        self.run.finished_ms = Some(now_ms);
        self.run.phase.clear();
        self.run.eta_s = None;
        Applied { record: self, over: true }
    }

    fn failed(mut self, error: String, now_ms: u64) -> Applied {
        self.run.error = cut(error);
        self.over(State::Failed, now_ms)
    }

    fn queued(mut self, phase: String, due_ms: u64) -> Applied {
        self.run.state = State::Queued;
        self.run.phase = cut(phase);
        self.run.eta_s = None;
        self.due_ms = due_ms;
        Applied { record: self, over: false }
    }
}

impl Entry {
    /// Makes a change, or leaves everything as it is.
    ///
    /// # Errors
    /// Why it cannot be made; never `Store`.
    pub fn apply(&mut self, job: &Job, change: Change, now_ms: u64) -> Result<Applied, Refused> {
        let applied = match change {
            Change::Create { id, params, scheduled_ms } => self.create(job, id, params, scheduled_ms, now_ms)?,
            Change::Claim { claim } => self.claim(claim, now_ms)?,
            Change::Renew { token, report } => {
                let mut record = self.held(token)?;
                let percent = if report.percent.is_nan() { 0.0 } else { report.percent.clamp(0.0, 100.0) };
                record.run.phase = cut(report.phase);
                record.run.percent = percent;
                record.run.eta_s = report.eta_s;
                record.lease_until_ms = lease(now_ms);
                Applied { record, over: false }
            }
            Change::Finish { token, end } => finish(self.held(token)?, end, now_ms),
            Change::Cancel { id } => {
                let mut record = self.open.clone().filter(|record| record.run.id == id).ok_or(Refused::Nothing)?;
                record.cancel = true;
                if record.run.state == State::Running && record.lease_until_ms > now_ms {
                    Applied { record, over: false }
                } else {
                    record.over(State::Cancelled, now_ms)
                }
            }
            Change::Abandon => {
                let mut record = self.open.clone().ok_or(Refused::Nothing)?;
                record.lease_until_ms = 0;
                Applied { record, over: false }
            }
        };
        self.token = self.token.max(applied.record.token);
        self.open = (!applied.over).then(|| applied.record.clone());
        Ok(applied)
    }

    fn create(
        &mut self,
        job: &Job,
        id: String,
        params: String,
        scheduled_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<Applied, Refused> {
        if let Some(at_ms) = scheduled_ms {
            if at_ms <= self.scheduled_ms {
                return Err(Refused::Nothing);
            }
            // Times that were missed are made up for by one run.
            self.scheduled_ms = at_ms.max(now_ms);
        }
        match &self.open {
            Some(record) if record.run.id == id || scheduled_ms.is_some() => {
                return Ok(Applied { record: record.clone(), over: false });
            }
            Some(record) => return Err(Refused::Active(record.run.id.clone())),
            None => {}
        }
        let trigger = if scheduled_ms.is_some() { Trigger::Schedule } else { Trigger::Api };
        let run = Run {
            id,
            scenario_id: job.scenario_id.clone(),
            kind: job.kind,
            state: State::Queued,
            trigger,
            phase: String::new(),
            percent: 0.0,
            eta_s: None,
            attempts: 0,
            created_ms: now_ms,
            started_ms: None,
            finished_ms: None,
            outcome: String::new(),
            error: String::new(),
        };
        let record = Record {
            run,
            params,
            token: 0,
            claim: String::new(),
            lease_until_ms: 0,
            due_ms: now_ms,
            failures: 0,
            cancel: false,
        };
        Ok(Applied { record, over: false })
    }

    fn claim(&self, claim: String, now_ms: u64) -> Result<Applied, Refused> {
        let mut record = self.open.clone().ok_or(Refused::Nothing)?;
        if record.claim == claim {
            return Ok(Applied { record, over: false });
        }
        if !record.is_free(now_ms) {
            return Err(Refused::Nothing);
        }
        if record.run.state == State::Running {
            record.failures += 1;
        }
        if record.cancel {
            return Ok(record.over(State::Cancelled, now_ms));
        }
        if record.failures >= limits::JOB_FAILURES {
            let error = format!("its process ended or was cut off; it failed {} times in all", record.failures);
            return Ok(record.failed(error, now_ms));
        }
        record.run.state = State::Running;
        record.run.attempts += 1;
        record.run.started_ms.get_or_insert(now_ms);
        record.run.phase.clear();
        // Time makes it greater than those of before the job was deleted.
        record.token = now_ms.max(self.token + 1);
        record.claim = claim;
        record.lease_until_ms = lease(now_ms);
        Ok(Applied { record, over: false })
    }

    /// Whether the open run is that of this claim.
    ///
    /// # Errors
    /// `Stale`.
    pub fn check_held(&self, token: u64) -> Result<(), Refused> {
        self.held(token).map(drop)
    }

    /// The run, if this claim of it is the last.
    fn held(&self, token: u64) -> Result<Record, Refused> {
        let held = |record: &Record| record.run.state == State::Running && record.token == token;
        self.open.clone().filter(held).ok_or(Refused::Stale)
    }
}

fn finish(mut record: Record, end: End, now_ms: u64) -> Applied {
    match end {
        End::Succeeded(outcome) => {
            record.run.outcome = outcome;
            record.run.percent = 100.0;
            record.over(State::Succeeded, now_ms)
        }
        End::Failed(error) => record.failed(error, now_ms),
        End::Cancelled => record.over(State::Cancelled, now_ms),
        End::Retry(_) | End::Released if record.cancel => record.over(State::Cancelled, now_ms),
        End::Retry(error) => {
            record.failures += 1;
            if record.failures >= limits::JOB_FAILURES {
                let error = format!("{error}; it failed {} times in all", record.failures);
                return record.failed(error, now_ms);
            }
            let due_ms = now_ms.saturating_add(backoff_ms(record.failures));
            record.queued(format!("to be tried again: {error}"), due_ms)
        }
        End::Released => record.queued(String::new(), now_ms),
    }
}

fn lease(now_ms: u64) -> u64 {
    now_ms.saturating_add(u64::try_from(limits::JOB_LEASE.as_millis()).unwrap_or(u64::MAX))
}

/// At most [`limits::JOB_OUTCOME_BYTES`] of a text.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limits::JOB_OUTCOME_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let pauses: Vec<u64> = (1..=6).map(|failures| backoff_ms(failures) / 1000).collect();
        assert_eq!(pauses, [10, 40, 160, 600, 600, 600]);
        assert_eq!(backoff_ms(u32::MAX), LONGEST_BACKOFF_MS);
    }
}
