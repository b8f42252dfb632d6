//! What a version did since this process has it: calls and how they ended, what they took,
//! and what it printed.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use funnelweb_core::{limits, time};
use funnelweb_engine::{Histogram, breaks_a_line};
use funnelweb_tenant_store::{Breaker, lock};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::sandbox::{Fault, FaultKind, Spent};

/// Why a call was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The tenant's components had their time.
    Budget,
    /// The version failed again and again.
    Resting,
    /// As many of the tenant's components as may are at work.
    Busy,
}

impl Skip {
    /// Every kind, in order.
    pub const ALL: [Self; 3] = [Self::Budget, Self::Resting, Self::Busy];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Resting => "resting",
            Self::Busy => "busy",
        }
    }
}

/// A version at work in this process.
pub(crate) struct AtWork {
    pub(crate) breaker: Breaker,
    ok: AtomicU64,
    faults: [AtomicU64; FaultKind::ALL.len()],
    skips: [AtomicU64; Skip::ALL.len()],
    /// Of answers, in microseconds of a processor.
    times: Histogram,
    /// Of answers.
    fuel: Histogram,
    last_fault: Mutex<Option<String>>,
    printed: Mutex<String>,
}

/// What was counted.
#[derive(Debug, Serialize)]
pub(crate) struct Usage {
    /// Calls that were made.
    calls: u64,
    ok: u64,
    failures: Map<String, Value>,
    /// Calls that were not made, and why.
    skipped: Map<String, Value>,
    time_us: Quantiles,
    fuel: Quantiles,
    /// `at_work`, or `resting`: it failed again and again, and is tried now and then.
    state: &'static str,
    /// Why the last call that failed did.
    last_failure: Option<String>,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    p50: u64,
    p99: u64,
}

impl AtWork {
    pub(crate) fn new() -> Self {
        Self {
            breaker: Breaker::new(
                "component",
                limits::COMPONENT_FAILURES,
                limits::COMPONENT_REST..limits::COMPONENT_REST_MOST,
            ),
            ok: AtomicU64::new(0),
            faults: Default::default(),
            skips: Default::default(),
            times: Histogram::default(),
            fuel: Histogram::default(),
            last_fault: Mutex::new(None),
            printed: Mutex::new(String::new()),
        }
    }

    pub(crate) fn answered(&self, spent: &Spent) {
        self.ok.fetch_add(1, Ordering::Relaxed);
        self.times.add(spent.busy.as_secs_f64() * 1e6);
        self.fuel.add(spent.fuel as f64);
        self.print(&spent.printed);
    }

    pub(crate) fn failed(&self, fault: &Fault, spent: &Spent) {
        if let Some(count) = self.faults.get(fault.kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        *lock(&self.last_fault) = Some(fault.reason.clone());
        self.print(&spent.printed);
    }

    pub(crate) fn skipped(&self, skip: Skip) {
        if let Some(count) = self.skips.get(skip as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn last_fault(&self) -> Option<String> {
        lock(&self.last_fault).clone()
    }

    fn print(&self, printed: &str) {
        if printed.is_empty() {
            return;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut log = lock(&self.printed);
        log.push_str(&time::format_ms(u64::try_from(now.as_millis()).unwrap_or_default()));
        log.push(' ');
        // What a terminal would take for a command is none.
        log.extend(
            printed.chars().map(|of| if breaks_a_line(of) && of != '\n' && of != '\t' { '\u{fffd}' } else { of }),
        );
        log.push('\n');
        let surplus = log.len().saturating_sub(limits::COMPONENT_LOG_BYTES);
        let whole = (surplus..=log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or_default();
        log.drain(..whole);
    }

    /// The newest of what it printed, each time with the moment.
    pub(crate) fn printed(&self) -> String {
        lock(&self.printed).clone()
    }

    pub(crate) fn state(&self) -> &'static str {
        if self.breaker.is_open() { "resting" } else { "at_work" }
    }

    pub(crate) fn usage(&self) -> Usage {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let quantiles = |of: &Histogram| Quantiles { p50: of.quantile(0.5) as u64, p99: of.quantile(0.99) as u64 };
        let failures = FaultKind::ALL.iter().zip(&self.faults);
        let skipped = Skip::ALL.iter().zip(&self.skips);
        let failed: u64 = self.faults.iter().map(of).sum();
        let ok = of(&self.ok);
        Usage {
            calls: ok + failed,
            ok,
            failures: failures.map(|(kind, count)| (kind.as_str().to_owned(), of(count).into())).collect(),
            skipped: skipped.map(|(skip, count)| (skip.as_str().to_owned(), of(count).into())).collect(),
            time_us: quantiles(&self.times),
            fuel: quantiles(&self.fuel),
            state: self.state(),
            last_failure: self.last_fault(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spent(printed: &str) -> Spent {
        Spent { busy: Duration::from_micros(40), fuel: 1000, memory_bytes: 1, printed: printed.to_owned() }
    }

    #[test]
    fn calls_are_counted_by_how_they_ended() {
        let at_work = AtWork::new();
        at_work.answered(&spent(""));
        at_work.failed(&Fault { kind: FaultKind::Fuel, reason: "no more".to_owned() }, &spent(""));
        at_work.skipped(Skip::Budget);
        let usage = serde_json::to_value(at_work.usage()).unwrap();
        assert_eq!((&usage["calls"], &usage["ok"], &usage["failures"]["fuel"]), (&2.into(), &1.into(), &1.into()));
        assert_eq!((&usage["failures"]["trap"], &usage["skipped"]["budget"]), (&0.into(), &1.into()));
        assert_eq!((&usage["state"], &usage["last_failure"]), (&"at_work".into(), &"no more".into()));
        assert!((30..60).contains(&usage["time_us"]["p50"].as_u64().unwrap()), "{usage}");
    }

    #[test]
    fn the_newest_is_kept_of_what_is_printed_and_it_is_text() {
        let at_work = AtWork::new();
        at_work.answered(&spent("\u{1b}[2Jhello\tyou\n\u{202e}there"));
        let printed = at_work.printed();
        assert!(printed.contains("Z \u{fffd}[2Jhello\tyou\n\u{fffd}there"), "{printed:?}");
        (0..limits::COMPONENT_LOG_BYTES).for_each(|at| at_work.answered(&spent(&format!("é{at}"))));
        let printed = at_work.printed();
        assert!(printed.len() <= limits::COMPONENT_LOG_BYTES && printed.len() > limits::COMPONENT_LOG_BYTES - 4);
        assert!(printed.ends_with(&format!("é{}\n", limits::COMPONENT_LOG_BYTES - 1)));
    }
}
