//! A circuit breaker: a server that does not answer is left alone for a while, so
//! that it does not cost every request a timeout.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use std::time::Duration;
//! use funnelweb_tenant_store::{Breaker, Refused};
//!
//! let breaker = Breaker::new("redis", 2, Duration::from_millis(50)..Duration::from_secs(1));
//! for _ in 0..2 {
//!     let down = breaker.call(|_| true, async || Err::<(), _>("down")).await;
//!     assert_eq!(down, Err(Refused::Failed("down")));
//! }
//! // From now on nobody waits.
//! assert_eq!(breaker.call(|_: &&str| true, async || Ok(7)).await, Err(Refused::Open));
//! tokio::time::sleep(Duration::from_millis(100)).await;
//! assert_eq!(breaker.call(|_: &&str| true, async || Ok(7)).await, Ok(7));
//! # });
//! ```

use std::{
    hash::{BuildHasher, RandomState},
    ops::Range,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::lock;

/// Of [`Breaker::of`]: calls in a row without an answer until no more are made, and
/// for how long.
const THRESHOLD: u32 = 5;
const OPEN: Range<Duration> = Duration::from_millis(200)..Duration::from_secs(2);

/// Lets calls through while they succeed.
///
/// Closed, it counts failures in a row; at the threshold it opens and refuses
/// calls. When its time is over it lets one through: on success it closes, on
/// failure it opens for twice as long.
#[derive(Debug)]
pub struct Breaker {
    name: &'static str,
    threshold: u32,
    open: Range<Duration>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
    /// How often it opened since it was closed.
    opened: u32,
    probing: bool,
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused<E> {
    /// It was not made: the calls before it failed.
    #[error("not tried, the calls before failed")]
    Open,
    /// It was made and failed.
    #[error(transparent)]
    Failed(E),
}

/// A call that was let through. When it is dropped without a result it counts as
/// nothing: whoever waited for it has left.
struct Passage<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Breaker {
    /// Opens after `threshold` failures in a row, for the start of `open` at first
    /// and never longer than its end; `name` is what the log calls the server.
    #[must_use]
    pub fn new(name: &'static str, threshold: u32, open: Range<Duration>) -> Self {
        Self { name, threshold, open, state: Mutex::default() }
    }

    /// One that fits a server in the same network.
    #[must_use]
    pub fn of(name: &'static str) -> Self {
        Self::new(name, THRESHOLD, OPEN)
    }

    /// Makes the call unless the breaker is open. `is_failure` says of an error
    /// whether the server is to blame; any other is an answer.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn call<T, E>(
        &self,
        is_failure: impl Fn(&E) -> bool,
        call: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, Refused<E>> {
        let Some(passage) = self.admit(Instant::now()) else { return Err(Refused::Open) };
        let result = call().await;
        match &result {
            Err(error) if is_failure(error) => self.failed(passage.probe, Instant::now()),
            _ => self.succeeded(),
        }
        result.map_err(Refused::Failed)
    }

    /// Whether calls are refused, or were until one finds out.
    #[must_use]
    pub fn is_open(&self) -> bool {
        lock(&self.state).open_until.is_some()
    }

    fn admit(&self, now: Instant) -> Option<Passage<'_>> {
        let mut state = lock(&self.state);
        let probe = match state.open_until {
            None => false,
            Some(until) if now < until || state.probing => return None,
            Some(_) => true,
        };
        state.probing = probe;
        Some(Passage { breaker: self, probe })
    }

    fn succeeded(&self) {
        let before = std::mem::take(&mut *lock(&self.state));
        if before.open_until.is_some() {
            tracing::info!(server = self.name, "the server answers again");
        }
    }

    fn failed(&self, probe: bool, now: Instant) {
        let mut state = lock(&self.state);
        // A call from before it opened says nothing new.
        if state.open_until.is_some() && !probe {
            return;
        }
        state.failures += 1;
        if probe || state.failures >= self.threshold {
            let longer = self.open.start.saturating_mul(2_u32.saturating_pow(state.opened));
            state.open_until = Some(now + jitter(longer.min(self.open.end)));
            state.opened += 1;
            if state.opened == 1 {
                tracing::warn!(server = self.name, "the server does not answer; calls fail at once for a while");
            }
        }
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if self.probe {
            lock(&self.breaker.state).probing = false;
        }
    }
}

/// Half to all of `most`, at random, so that those who failed together do not
/// come again together.
#[must_use]
pub fn jitter(most: Duration) -> Duration {
    // Every `RandomState` has keys of its own.
    let random = RandomState::new().hash_one(0) % 1024;
    most / 2 + most.mul_f64(random as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(8);

    fn breaker() -> (Breaker, Instant) {
        (Breaker::new("test", 3, OPEN..OPEN * 4), Instant::now())
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let (breaker, now) = breaker();
        for _ in 0..2 {
            breaker.failed(false, now);
        }
        breaker.succeeded();
        for _ in 0..2 {
            breaker.failed(false, now);
        }
        assert!(breaker.admit(now).is_some());
        breaker.failed(false, now);
        assert!(breaker.admit(now).is_none());
        assert!(breaker.admit(now + OPEN / 2 - Duration::from_millis(1)).is_none());
    }

    #[test]
    fn half_open_lets_one_through_and_a_failure_opens_for_longer() {
        let (breaker, now) = breaker();
        for _ in 0..3 {
            breaker.failed(false, now);
        }
        let later = now + OPEN;
        let probe = breaker.admit(later).unwrap();
        assert!(probe.probe);
        assert!(breaker.admit(later).is_none());
        // What began before it opened does not prolong it.
        breaker.failed(false, later);
        breaker.failed(true, later);
        drop(probe);
        assert!(breaker.admit(later + OPEN - Duration::from_millis(1)).is_none());
        let probe = breaker.admit(later + 2 * OPEN).unwrap();
        breaker.succeeded();
        drop(probe);
        assert!(breaker.admit(later + 2 * OPEN).is_some());
        assert!(!breaker.admit(later + 2 * OPEN).unwrap().probe);
    }

    #[test]
    fn a_probe_that_was_given_up_makes_place_for_the_next() {
        let (breaker, now) = breaker();
        for _ in 0..3 {
            breaker.failed(false, now);
        }
        drop(breaker.admit(now + OPEN).unwrap());
        assert!(breaker.admit(now + OPEN).is_some());
    }

    #[tokio::test]
    async fn an_error_that_is_an_answer_closes() {
        let breaker = Breaker::new("test", 1, OPEN..OPEN);
        let answer = breaker.call(|error| *error == "down", async || Err::<(), _>("wrong type")).await;
        assert_eq!(answer, Err(Refused::Failed("wrong type")));
        assert!(breaker.admit(Instant::now()).is_some());
        breaker.call(|error| *error == "down", async || Err::<(), _>("down")).await.unwrap_err();
        assert_eq!(breaker.call(|_: &&str| true, async || Ok(1)).await, Err(Refused::Open));
    }

    #[test]
    fn jitter_is_half_to_all() {
        for _ in 0..100 {
            let delay = jitter(Duration::from_millis(100));
            assert!((50..=100).contains(&delay.as_millis()), "{delay:?}");
        }
    }
}
