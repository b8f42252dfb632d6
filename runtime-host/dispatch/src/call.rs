//! One call of one stage: a fresh instance, a deadline, and a failure that says
//! what happened.

use std::time::{Duration, Instant};

use funnelweb_bindings::{
    dispatch::{StageReport, StageStatus},
    types::StageError,
};
use funnelweb_core::limits;
use funnelweb_engine::{TimedOut, deadline};
use wasmtime::Store;

use crate::{runner::Runner, stages::StageState};

/// How much longer than a computing guest a waiting one is given, so that the
/// former is stopped by its own clock, which says so precisely.
const GRACE: Duration = Duration::from_millis(5);

/// In Wasmtime's words; it has no type for this that can be named.
const OUT_OF_FUEL: &str = "fuel allocated for hostcalls has been exhausted";

/// Why a stage gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: StageStatus,
    pub(crate) reason: String,
}

impl Failure {
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self { status: StageStatus::Failed, reason: reason.into() }
    }

    pub(crate) fn not_built(name: &str) -> Self {
        Self { status: StageStatus::Unavailable, reason: format!("`{name}` has no component yet") }
    }

    pub(crate) fn unknown(name: &str) -> Self {
        Self { status: StageStatus::Unavailable, reason: format!("no stage is named `{name}`") }
    }

    fn timed_out(timeout: Duration) -> Self {
        Self { status: StageStatus::TimedOut, reason: format!("no answer within {} ms", timeout.as_millis()) }
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        Self::failed(bounded(error.message))
    }
}

impl Runner {
    /// Runs `work` on a new store and waits at most [`limits::STAGE_TIMEOUT`],
    /// the wait for one of the tenant's places included.
    pub(crate) async fn run<R>(
        &self,
        work: impl AsyncFnOnce(&mut Store<StageState>) -> wasmtime::Result<R>,
    ) -> Result<R, Failure> {
        let timeout = limits::STAGE_TIMEOUT;
        let mut store = Store::new(self.dispatcher.engine(), self.dispatcher.state(self.tenant.as_ref()));
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(limits::STAGE_ANSWER_BYTES);
        deadline(&mut store, timeout);
        let answer = async {
            // It is never closed.
            let _place = self.share.acquire().await;
            work(&mut store).await
        };
        match tokio::time::timeout(timeout + GRACE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(explain(&store, &error, timeout)),
            Err(_) => Err(Failure::timed_out(timeout)),
        }
    }
}

fn explain(store: &Store<StageState>, error: &wasmtime::Error, timeout: Duration) -> Failure {
    if error.downcast_ref::<TimedOut>().is_some() {
        return Failure::timed_out(timeout);
    }
    if store.data().limiter.denied() {
        return Failure::failed(format!(
            "more memory than its limit of {} MiB",
            limits::STAGE_MEMORY_BYTES / 1024 / 1024
        ));
    }
    let printed = store.data().log.take();
    let cause = error.root_cause();
    if cause.to_string().contains(OUT_OF_FUEL) {
        return Failure::failed(format!(
            "an answer of more bytes than its limit of {} MiB",
            limits::STAGE_ANSWER_BYTES / 1024 / 1024
        ));
    }
    Failure::failed(bounded(
        last_words(&printed).map_or_else(|| cause.to_string(), |words| format!("{words} ({cause})")),
    ))
}

/// What a guest printed as it panicked, which says more than « unreachable »:
/// `panicked at src/lib.rs:1:2: the message`. Or else the first line it printed.
fn last_words(printed: &str) -> Option<String> {
    let Some(panic) = printed.rfind("panicked at ").and_then(|at| printed.get(at..)) else {
        return printed.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    };
    // The place stands on the first line and the message below it, before notes.
    let lines = panic.lines().map(str::trim).take_while(|line| !line.starts_with("note: "));
    Some(lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" "))
}

/// A guest's words in a report: at most 200 characters of one line.
pub(crate) fn bounded(text: String) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(200).collect()
}

/// Measures a call and writes its report.
pub(crate) struct Timer {
    stage: String,
    component: String,
    candidates_in: usize,
    start: Instant,
}

impl Timer {
    pub(crate) fn start(stage: &str, component: &str, candidates_in: usize) -> Self {
        Self { stage: stage.to_owned(), component: component.to_owned(), candidates_in, start: Instant::now() }
    }

    pub(crate) fn ok(self, candidates_out: usize) -> StageReport {
        self.report(StageStatus::Ok, String::new(), candidates_out)
    }

    /// A stage that failed leaves the list as it was.
    pub(crate) fn failed(self, failure: Failure, candidates_out: usize) -> StageReport {
        if failure.status == StageStatus::Unavailable {
            // A config may name what is not built yet: known, and no news.
            tracing::debug!(stage = %self.stage, reason = %failure.reason, "stage passed over");
            return self.report(failure.status, failure.reason, candidates_out);
        }
        tracing::warn!(stage = %self.stage, component = %self.component, status = ?failure.status, reason = %failure.reason, "stage gave no answer");
        self.report(failure.status, failure.reason, candidates_out)
    }

    fn report(self, status: StageStatus, reason: String, candidates_out: usize) -> StageReport {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        StageReport {
            stage: self.stage,
            component: self.component,
            status,
            reason,
            elapsed_us: u32::try_from(self.start.elapsed().as_micros()).unwrap_or(u32::MAX),
            candidates_in: count(self.candidates_in),
            candidates_out: count(candidates_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        let printed =
            "hello\n\nthread 'main' (1) panicked at src/lib.rs:1:2:\nno\nmore\nnote: run with RUST_BACKTRACE=1\n";
        assert_eq!(last_words(printed).as_deref(), Some("panicked at src/lib.rs:1:2: no more"));
        assert_eq!(last_words("\n one \ntwo").as_deref(), Some("one"));
        assert_eq!(last_words(" \n"), None);
    }

    #[test]
    fn words_are_one_short_line() {
        assert_eq!(bounded("a\nb\u{1b}".to_owned()), "a b ");
        assert_eq!(bounded("é".repeat(300)).chars().count(), 200);
    }
}
