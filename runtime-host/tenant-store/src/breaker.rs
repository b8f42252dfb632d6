//! A circuit breaker: a server that is down costs a timeout now and then, not one
//! per request.

use std::{
    future::Future,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{Error, lock};

/// When a breaker opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it, at least 1.
    pub failures: u32,
    /// How long it stays open the first time; twice as long after each probe
    /// that fails.
    pub open_first: Duration,
    /// How long it stays open at most.
    pub open_most: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, open_first: Duration::from_millis(200), open_most: Duration::from_secs(5) }
    }
}

/// Closed while calls work. After a number of failures in a row it is open: calls
/// fail at once. When its time is up it is half-open: one call is let through as
/// a probe, which closes it or opens it for longer.
///
/// [`Error::Unavailable`] is a failure, anything else shows that the server
/// answers.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use funnelweb_tenant_store::{Breaker, BreakerSettings, Error};
///
/// let breaker = Breaker::new("redis", BreakerSettings { failures: 1, ..BreakerSettings::default() });
/// let down = || async { Err::<(), _>(Error::Unavailable("connection refused".to_owned())) };
/// assert!(breaker.call(down).await.is_err());
/// let reached = breaker.call(|| async { unreachable!("it is open") }).await;
/// # let _: Result<(), _> = reached;
/// # });
/// ```
pub struct Breaker {
    name: &'static str,
    settings: BreakerSettings,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed {
        /// In a row.
        failures: u32,
    },
    Open {
        until: Instant,
        /// For how long it was opened.
        length: Duration,
        /// Whether a probe is on its way; it is half-open.
        probing: bool,
    },
}

/// Takes note of how a call ended, also of one that was dropped.
struct Outcome<'a> {
    breaker: &'a Breaker,
    probe: bool,
    told: bool,
}

impl Breaker {
    /// A closed one; `name` is what messages call the server.
    #[must_use]
    pub fn new(name: &'static str, settings: BreakerSettings) -> Self {
        Self { name, settings, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Runs `work`, or fails at once while the breaker is open.
    ///
    /// # Errors
    /// Those of `work`; `unavailable` while the breaker is open.
    pub async fn call<T, F>(&self, work: impl FnOnce() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut outcome = Outcome { breaker: self, probe: self.enter()?, told: false };
        let result = work().await;
        outcome.told = true;
        match &result {
            Err(Error::Unavailable(_)) => self.failed(outcome.probe),
            Ok(_) | Err(_) => self.worked(),
        }
        result
    }

    /// Whether a call now would fail at once.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match *lock(&self.state) {
            State::Closed { .. } => false,
            State::Open { until, probing, .. } => probing || Instant::now() < until,
        }
    }

    /// Whether the call that may begin now is a probe.
    fn enter(&self) -> Result<bool, Error> {
        let mut state = lock(&self.state);
        let State::Open { until, probing, .. } = &mut *state else { return Ok(false) };
        let wait = until.saturating_duration_since(Instant::now());
        if *probing || !wait.is_zero() {
            let name = self.name;
            return Err(Error::Unavailable(format!("{name} does not answer; next try in {} ms", wait.as_millis())));
        }
        *probing = true;
        Ok(true)
    }

    fn worked(&self) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Open { .. }) {
            tracing::info!(server = self.name, "the server answers again");
        }
        *state = State::Closed { failures: 0 };
    }

    fn failed(&self, probe: bool) {
        let BreakerSettings { failures: most, open_first, open_most } = self.settings;
        let mut state = lock(&self.state);
        let length = match &mut *state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures < most {
                    return;
                }
                tracing::warn!(server = self.name, "the server does not answer; calls fail at once for a while");
                open_first
            }
            State::Open { length, .. } if probe => length.saturating_mul(2).min(open_most),
            // One that began before it opened tells nothing new.
            State::Open { .. } => return,
        };
        *state = State::Open { until: Instant::now() + length, length, probing: false };
    }
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        if self.probe && !self.told {
            // The caller gave up: it is not known, and the next one may try.
            if let State::Open { probing, .. } = &mut *lock(&self.breaker.state) {
                *probing = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const SETTINGS: BreakerSettings =
        BreakerSettings { failures: 2, open_first: Duration::from_millis(20), open_most: Duration::from_millis(40) };

    async fn fail(breaker: &Breaker, calls: &AtomicU32) {
        let work = || async {
            calls.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(Error::Unavailable("down".to_owned()))
        };
        assert!(matches!(breaker.call(work).await, Err(Error::Unavailable(_))));
    }

    #[tokio::test]
    async fn opens_probes_and_closes() {
        let (breaker, calls) = (Breaker::new("test", SETTINGS), AtomicU32::new(0));
        fail(&breaker, &calls).await;
        assert!(!breaker.is_open());
        // A refusal is an answer: what failed before it counts no more.
        let _ = breaker.call(|| async { Err::<(), _>(Error::invalid("x", "y")) }).await;
        for _ in 0..5 {
            fail(&breaker, &calls).await;
        }
        assert_eq!((calls.load(Ordering::Relaxed), breaker.is_open()), (3, true));
        tokio::time::sleep(SETTINGS.open_first).await;
        // A probe that fails opens it again, for longer.
        for _ in 0..5 {
            fail(&breaker, &calls).await;
        }
        assert_eq!(calls.load(Ordering::Relaxed), 4);
        tokio::time::sleep(2 * SETTINGS.open_first).await;
        assert_eq!(breaker.call(|| async { Ok(7) }).await, Ok(7));
        assert!(!breaker.is_open());
    }

    #[tokio::test]
    async fn one_probe_at_a_time_and_a_dropped_one_does_not_block() {
        let (breaker, calls) = (Breaker::new("test", SETTINGS), AtomicU32::new(0));
        fail(&breaker, &calls).await;
        fail(&breaker, &calls).await;
        tokio::time::sleep(SETTINGS.open_first).await;
        let hangs = breaker.call(std::future::pending::<Result<(), Error>>);
        let other = async {
            fail(&breaker, &calls).await;
            assert_eq!(calls.load(Ordering::Relaxed), 2, "a second call went through beside the probe");
        };
        tokio::select! { biased; _ = hangs => {}, () = other => {} }
        assert_eq!(breaker.call(|| async { Ok(1) }).await, Ok(1));
    }
}
