//! Users who were deleted, until nothing of them is in what was learned.
//!
//! A model is a file about all users, which only the next training makes anew. So that
//! a deletion holds at once, a mark stands beside the models: an empty blob that is
//! named by the user's handle, and whose version is the time of the deletion. A model
//! whose training began to read before that, as far as clocks agree, is read as if the
//! user were not in it. A mark goes when every model is newer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use funnelweb_blob_store::store::{Blobs, Error as BlobError};
use funnelweb_core::handles::HandleMap;
use funnelweb_tenant_store::lock;

use crate::{
    names,
    store::{Error, Tenant},
};

/// By how much the clocks of two processes may differ.
const SKEW_MS: u64 = 5 * 60 * 1000;
/// A mark stays for so long at least: of a training that is under way nothing is known
/// until it is done.
const KEPT_MS: u64 = 24 * 3600 * 1000;
/// Tenants whose marks are remembered.
const TENANTS: usize = 4096;

/// When which users were deleted, in milliseconds since 1970.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks(Arc<HandleMap<u64>>);

impl Marks {
    /// Whether nobody is marked.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a model whose training began to read then may have what was deleted.
    pub(crate) fn has(&self, user: u64, began_ms: u64) -> bool {
        self.0.get(&user).is_some_and(|at_ms| at_ms.saturating_add(SKEW_MS) >= began_ms)
    }

    /// Those who are gone from such a model.
    pub(crate) fn of(&self, began_ms: u64) -> Vec<u64> {
        self.0.keys().copied().filter(|user| self.has(*user, began_ms)).collect()
    }
}

struct Slot {
    /// Held by whoever reads or writes the marks.
    flight: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    known: Option<Marks>,
    looked: Instant,
    looking: bool,
}

/// The marks of every tenant.
pub(crate) struct Gone {
    blobs: Arc<dyn Blobs>,
    /// Between two looks for what other processes have marked.
    every: Duration,
    slots: Mutex<HashMap<Tenant, Arc<Slot>>>,
}

impl Gone {
    pub(crate) fn new(blobs: Arc<dyn Blobs>, every: Duration) -> Arc<Self> {
        Arc::new(Self { blobs, every, slots: Mutex::default() })
    }

    /// The marks of a tenant; waits only when nothing is known of them yet.
    ///
    /// # Errors
    /// When they cannot be read: then nobody can tell who is gone.
    pub(crate) async fn get(self: &Arc<Self>, tenant: &Tenant) -> Result<Marks, Error> {
        let slot = self.slot(tenant);
        let known = {
            let mut state = lock(&slot.state);
            let known = state.known.clone();
            if known.is_some() && !state.looking && state.looked.elapsed() >= self.every {
                state.looking = true;
                let (gone, tenant) = (Arc::clone(self), tenant.clone());
                tokio::spawn(async move {
                    if let Err(error) = gone.look(&tenant).await {
                        tracing::warn!(%tenant, %error, "users whom others have deleted are not known yet");
                    }
                });
            }
            known
        };
        match known {
            Some(known) => Ok(known),
            None => self.look(tenant).await,
        }
    }

    /// The marks as they are stored.
    pub(crate) async fn look(&self, tenant: &Tenant) -> Result<Marks, Error> {
        let slot = self.slot(tenant);
        let _flight = slot.flight.lock().await;
        let listed = self.blobs.list(tenant, names::GONE).await;
        let mut state = lock(&slot.state);
        (state.looking, state.looked) = (false, Instant::now());
        let marks = listed?.into_iter().filter_map(|blob| Some((names::gone_user(&blob.name)?, blob.version)));
        let marks = Marks(Arc::new(marks.collect()));
        state.known = Some(marks.clone());
        Ok(marks)
    }

    /// Marks a user as deleted now.
    pub(crate) async fn mark(&self, tenant: &Tenant, user: u64) -> Result<(), Error> {
        let slot = self.slot(tenant);
        let _flight = slot.flight.lock().await;
        let (name, mut at_ms) = (names::gone(user), now_ms());
        // Again, or by somebody whose clock is ahead.
        while let Err(error) = self.blobs.put(tenant, &name, at_ms, Bytes::new()).await {
            match error {
                BlobError::Stale { latest, .. } => at_ms = latest + 1,
                error => return Err(error.into()),
            }
        }
        let mut state = lock(&slot.state);
        if let Some(Marks(known)) = &mut state.known {
            Arc::make_mut(known).insert(user, at_ms);
        }
        Ok(())
    }

    /// Removes the marks that are older than any model, of which the oldest began to
    /// read then.
    pub(crate) async fn prune(&self, tenant: &Tenant, oldest_ms: u64) -> Result<(), Error> {
        let before_ms = oldest_ms.saturating_sub(SKEW_MS).min(now_ms().saturating_sub(KEPT_MS));
        let marks = self.blobs.list(tenant, names::GONE).await?;
        for mark in marks.iter().filter(|mark| mark.version < before_ms) {
            self.blobs.delete(tenant, &mark.name, mark.version).await?;
        }
        self.look(tenant).await.map(drop)
    }

    fn slot(&self, tenant: &Tenant) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(tenant) {
            return Arc::clone(slot);
        }
        if slots.len() >= TENANTS {
            let oldest = slots.iter().min_by_key(|(_, slot)| lock(&slot.state).looked);
            if let Some(tenant) = oldest.map(|(tenant, _)| tenant.clone()) {
                slots.remove(&tenant);
            }
        }
        let state = State { known: None, looked: Instant::now(), looking: false };
        let slot = Arc::new(Slot { flight: tokio::sync::Mutex::new(()), state: Mutex::new(state) });
        slots.insert(tenant.clone(), Arc::clone(&slot));
        slot
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
