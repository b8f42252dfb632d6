//! How much a stage computes: whether its call is worth a task of its own.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A task of its own costs a wake-up and cold caches, about 50 µs on both sides; a
/// stage that computes for less than this is sooner done where it was called.
const HEAVY: Duration = Duration::from_micros(300);

/// The time that calls of one stage keep a thread busy: a moving average, in
/// nanoseconds, over about the last eight. Waiting for a store does not count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Effort(Arc<AtomicU64>);

impl Effort {
    /// Whether a call is better run beside others than before them.
    pub(crate) fn is_heavy(&self) -> bool {
        Duration::from_nanos(self.0.load(Ordering::Relaxed)) > HEAVY
    }

    /// Runs a call of the stage and takes its time.
    pub(crate) async fn measure<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        let mut spent = Duration::ZERO;
        let answer = std::future::poll_fn(|cx| {
            let start = Instant::now();
            let polled = call.as_mut().poll(cx);
            spent += start.elapsed();
            polled
        })
        .await;
        self.add(spent);
        answer
    }

    fn add(&self, spent: Duration) {
        let spent = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX) / 8;
        let before = self.0.load(Ordering::Relaxed);
        // Of two at the same time one may be lost: it is an average.
        self.0.store(before - before / 8 + spent, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_is_no_effort() {
        let effort = Effort::default();
        for _ in 0..8 {
            assert_eq!(effort.measure(async { tokio::time::sleep(Duration::from_millis(5)).await }).await, ());
        }
        assert!(!effort.is_heavy(), "{effort:?}");
    }

    #[test]
    fn the_last_calls_decide() {
        let effort = Effort::default();
        (0..8).for_each(|_| effort.add(4 * HEAVY));
        assert!(effort.is_heavy(), "{effort:?}");
        (0..30).for_each(|_| effort.add(HEAVY / 4));
        assert!(!effort.is_heavy(), "{effort:?}");
        effort.add(Duration::MAX);
        assert!(effort.is_heavy(), "{effort:?}");
    }
}
