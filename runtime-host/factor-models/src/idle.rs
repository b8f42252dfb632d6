//! What waits to be used again.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A few of something, each with when it was used last.
pub(crate) struct Idle<T> {
    /// The last used one last.
    kept: Mutex<VecDeque<(T, Instant)>>,
    most: usize,
}

impl<T> Idle<T> {
    pub(crate) fn new(most: usize) -> Self {
        Self { kept: Mutex::default(), most }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(T, Instant)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that was used last: its memory is nearest.
    pub(crate) fn take(&self) -> Option<T> {
        self.kept().pop_back().map(|(value, _)| value)
    }

    /// Keeps it, unless there are enough.
    pub(crate) fn put(&self, value: T) {
        let mut kept = self.kept();
        if kept.len() < self.most {
            kept.push_back((value, Instant::now()));
        }
    }

    /// Lets go of those that have not been used for so long.
    pub(crate) fn trim(&self, unused: Duration) {
        self.kept().retain(|(_, since)| since.elapsed() < unused);
    }

    /// Looks at the one that was used last.
    pub(crate) fn last<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.kept().back().map(|(value, _)| look(value))
    }
}

#[cfg(test)]
mod tests {
    use funnelweb_core::limits;

    use super::*;

    #[test]
    fn a_few_are_kept_and_the_last_used_is_taken_first() {
        let idle = Idle::new(limits::MODEL_IDLE_INSTANCES);
        (0..=limits::MODEL_IDLE_INSTANCES).for_each(|at| idle.put(at));
        assert_eq!(idle.last(|at| *at), Some(limits::MODEL_IDLE_INSTANCES - 1));
        let taken: Vec<usize> = std::iter::from_fn(|| idle.take()).collect();
        assert_eq!(taken, (0..limits::MODEL_IDLE_INSTANCES).rev().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_used_goes() {
        let idle = Idle::new(2);
        idle.put('a');
        std::thread::sleep(Duration::from_millis(20));
        idle.put('b');
        idle.trim(limits::MODEL_IDLE);
        assert_eq!(idle.kept().len(), 2);
        idle.trim(Duration::from_millis(15));
        assert_eq!((idle.take(), idle.take()), (Some('b'), None));
    }
}
