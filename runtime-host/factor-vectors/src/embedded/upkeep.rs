//! What is done beside the calls: rebuilding, making durable, closing what is idle.

use std::{
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use tokio::{
    sync::{OwnedMutexGuard, oneshot},
    task::spawn_blocking,
};

use super::{Name, Shared, abandoned, open::Open};
use crate::store::Error;

/// A change survives the machine after this time at the latest.
const TICK: Duration = Duration::from_secs(5);

/// Rebuilds the space in the background if that is due.
pub(super) fn look_after(shared: &Arc<Shared>, name: &Name, open: &Arc<Open>) {
    let Ok(one) = Arc::clone(&open.upkeep).try_lock_owned() else { return };
    if !open.store.maintenance_due() {
        return;
    }
    let (shared, name, open) = (Arc::clone(shared), name.clone(), Arc::clone(open));
    tokio::spawn(async move {
        match maintain(&shared, &open, one).await {
            Err(error) if !open.is_dropped() => tracing::warn!(%name, %error, "vectors were not rebuilt"),
            _ => {}
        }
    });
}

/// Rebuilds the space, on a thread of its own: it may take minutes, and the end of the
/// process does not wait for it.
pub(super) async fn maintain(shared: &Arc<Shared>, open: &Arc<Open>, one: OwnedMutexGuard<()>) -> Result<(), Error> {
    let permit = Arc::clone(&shared.builds).acquire_owned().await.map_err(abandoned)?;
    let (done, answer) = oneshot::channel();
    let (shared, open) = (Arc::clone(shared), Arc::clone(open));
    let work = move || {
        let result = open.maintain();
        drop((open, one, permit));
        shared.table.trim();
        // Whoever asked may be gone.
        let _ = done.send(result);
    };
    let started = thread::Builder::new().name("vectors".to_owned()).spawn(work);
    started.map_err(|error| Error::Unavailable(format!("vectors: cannot start a thread: {error}")))?;
    answer.await.map_err(abandoned)?
}

/// Looks after the open spaces for as long as there are any to come.
pub(super) async fn keep(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(shared) = shared.upgrade() else { return };
        // It fails when it panics, and the next one may not.
        let _ = spawn_blocking(move || shared.sweep()).await;
    }
}

impl Shared {
    /// Makes changes durable, closes what is idle.
    pub fn sweep(&self) {
        for open in self.table.all() {
            if let Err(error) = open.sync() {
                tracing::warn!(%error, "vectors were not made durable");
            }
        }
        self.table.trim();
        self.table.tidy();
    }
}
