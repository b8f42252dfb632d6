//! Turns: how many requests are in components at once, and how many may wait.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// Gives out turns.
pub(crate) struct Queue {
    /// One permit a request that is in a component.
    turns: Semaphore,
    waiting: AtomicUsize,
    /// Requests that may wait.
    places: usize,
    /// For how long.
    patience: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self::new(limits::CONCURRENT_REQUESTS, limits::QUEUED_REQUESTS, limits::QUEUE_TIMEOUT)
    }
}

impl Queue {
    fn new(turns: usize, places: usize, patience: Duration) -> Self {
        Self { turns: Semaphore::new(turns), waiting: AtomicUsize::new(0), places, patience }
    }

    /// A turn, which ends when it is dropped.
    ///
    /// # Errors
    /// `overloaded` when too many wait already, or when none came in time.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let _place = Place::take(&self.waiting, self.places).ok_or_else(|| {
            ApiError::new(Code::Overloaded, format!("{} requests wait already, which is the most", self.places))
        })?;
        match timeout(self.patience, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => {
                let waited = self.patience.as_secs_f32();
                Err(ApiError::new(Code::Overloaded, format!("the request waited {waited} s and had no turn")))
            }
        }
    }
}

/// A place among those who wait, left when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, places: usize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < places).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    type Turn<'a> = Pin<Box<dyn Future<Output = Result<SemaphorePermit<'a>, ApiError>> + 'a>>;

    fn poll<'a>(turn: &mut Turn<'a>) -> Poll<Result<SemaphorePermit<'a>, ApiError>> {
        turn.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn ask(queue: &Queue) -> Turn<'_> {
        Box::pin(queue.turn())
    }

    /// With the product's own numbers: nothing of this takes time.
    #[test]
    fn so_many_have_a_turn_so_many_wait_and_one_more_is_refused() {
        // Beside a runtime, not in it: a task that polls so much is made to pause.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _context = runtime.enter();
        let queue = Queue::default();
        let mut turns: Vec<_> = (0..limits::CONCURRENT_REQUESTS)
            .map(|_| match poll(&mut ask(&queue)) {
                Poll::Ready(turn) => turn.unwrap(),
                Poll::Pending => panic!("there are turns left"),
            })
            .collect();
        let mut waiting: Vec<_> = (0..limits::QUEUED_REQUESTS).map(|_| ask(&queue)).collect();
        assert!(waiting.iter_mut().all(|turn| poll(turn).is_pending()));
        for _ in 0..2 {
            let Poll::Ready(Err(error)) = poll(&mut ask(&queue)) else { panic!("there is no place left") };
            assert_eq!(error.code, Code::Overloaded);
            assert!(error.message.contains(&limits::QUEUED_REQUESTS.to_string()), "{}", error.message);
        }
        // Who gives up leaves its place.
        waiting.pop();
        assert!(poll(&mut ask(&queue)).is_pending());
        // Who came first is next.
        turns.pop();
        let next = poll(&mut waiting[0]);
        assert!(matches!(next, Poll::Ready(Ok(_))));
        assert!(poll(&mut waiting[1]).is_pending());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        assert_eq!(Queue::default().patience, limits::QUEUE_TIMEOUT);
        let queue = Queue::new(1, 1, Duration::from_millis(20));
        let turn = queue.turn().await.unwrap();
        let error = queue.turn().await.unwrap_err();
        assert_eq!(error.code, Code::Overloaded);
        assert!(error.message.contains("0.02 s"), "{}", error.message);
        drop(turn);
        drop(queue.turn().await.unwrap());
    }
}
