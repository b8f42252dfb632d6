//! What is recorded of a stage call, in the terms of its report.

use funnelweb_bindings::dispatch::{StageReport, StageStatus};
use funnelweb_recording::{Outcome, StageTape, Status};
use serde::Serialize;

/// Ends a stage call with its report and its answer, if that is noted anywhere.
pub(crate) fn end(tape: &StageTape, report: &mut StageReport, output: &impl Serialize) {
    if !tape.is_noted() {
        return;
    }
    let mut outcome = Outcome {
        component: report.component.clone(),
        version: report.version.clone(),
        digest: report.digest.clone(),
        status: of_status(report.status),
        reason: report.reason.clone(),
        elapsed_us: report.elapsed_us,
    };
    tape.end(&mut outcome, output);
    report.elapsed_us = outcome.elapsed_us;
}

/// The report of a stage call that cannot be made again: it ends as it did.
pub(crate) fn ended(tape: &StageTape, stage: &str, candidates: (usize, usize)) -> Option<StageReport> {
    let Outcome { component, version, digest, status, reason, elapsed_us } = tape.ended()?;
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Some(StageReport {
        stage: stage.to_owned(),
        component,
        version,
        digest,
        status: to_status(status),
        reason,
        elapsed_us,
        candidates_in: count(candidates.0),
        candidates_out: count(candidates.1),
    })
}

fn of_status(status: StageStatus) -> Status {
    match status {
        StageStatus::Ok => Status::Ok,
        StageStatus::Unavailable => Status::Unavailable,
        StageStatus::Failed => Status::Failed,
        StageStatus::TimedOut => Status::TimedOut,
    }
}

fn to_status(status: Status) -> StageStatus {
    match status {
        Status::Ok => StageStatus::Ok,
        Status::Unavailable => StageStatus::Unavailable,
        Status::Failed => StageStatus::Failed,
        Status::TimedOut => StageStatus::TimedOut,
    }
}
