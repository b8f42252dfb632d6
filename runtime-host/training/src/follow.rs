//! Being followed, and told to stop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::context::Error;

/// How often somebody who waits looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Somebody who follows a run.
pub trait Follow: Send + Sync + 'static {
    /// The run is at `phase`, a text for people, and `part` of all of it is done, 0
    /// to 1.
    fn at(&self, phase: &str, part: f32);

    /// Whether it is to stop. Asked many times a second.
    fn is_cancelled(&self) -> bool;
}

/// One phase of a run, a part of all of it.
#[derive(Clone)]
pub(crate) struct Phase {
    follow: Arc<dyn Follow>,
    name: &'static str,
    from: f32,
    to: f32,
    /// Thousandths that were told.
    told: Arc<AtomicU32>,
}

impl Phase {
    /// Of the run from `from` to `to`, of 0 to 1.
    pub(crate) fn begin(follow: &Arc<dyn Follow>, name: &'static str, from: f32, to: f32) -> Self {
        follow.at(name, from);
        Self { follow: Arc::clone(follow), name, from, to, told: Arc::default() }
    }

    /// So much of the phase is done; whether to go on. For calls from tight loops.
    pub(crate) fn watch(&self, part: f32) -> bool {
        let thousandths = (part * 1000.0) as u32;
        if self.told.fetch_max(thousandths, Ordering::Relaxed) < thousandths {
            self.follow.at(self.name, self.from + (self.to - self.from) * part.min(1.0));
        }
        !self.follow.is_cancelled()
    }

    /// The same, for `?`.
    pub(crate) fn go_on(&self, part: f32) -> Result<(), Error> {
        if self.watch(part) { Ok(()) } else { Err(Error::Cancelled) }
    }

    /// What `work` gives, or at once that it is to stop. What runs on a thread of its
    /// own then goes on until it looks itself; nobody waits for it.
    pub(crate) async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let cancelled = async {
            while !self.follow.is_cancelled() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(Error::Cancelled)
        };
        tokio::select! {
            done = work => done,
            stopped = cancelled => stopped,
        }
    }
}
