//! Models of one kind in memory: loaded when they are first asked for, and again when
//! there is a newer version.
//!
//! Whether there is one is asked beside the requests. Of a scenario one load is under
//! way at a time, and goes on when the request that began it has left. A version that
//! is damaged is passed over: the newest one that is whole is served.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use funnelweb_blob_store::store::{Blobs, Error as BlobError};
use funnelweb_tenant_store::lock;

use crate::store::{Error, Tenant};

/// Scenarios that are remembered, those without a model among them.
const SLOTS: usize = 4096;
/// Versions remembered as damaged, of a scenario.
const DAMAGED: usize = 16;

/// Why a version is not loaded.
pub(crate) enum Unloaded {
    /// It never will be.
    Damaged(String),
    /// It may be later.
    Store(Error),
}

impl From<Error> for Unloaded {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// One kind of model.
#[async_trait]
pub(crate) trait Load: Send + Sync + 'static {
    /// What requests are answered from.
    type Model: Send + Sync + 'static;

    /// The name of its blob.
    fn blob(&self, scenario_id: &str) -> String;

    /// Everything that must be done before a version is served.
    async fn load(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        version: u64,
        bytes: Bytes,
    ) -> Result<Self::Model, Unloaded>;

    /// Whether what it needs besides is still there.
    async fn is_whole(&self, tenant: &Tenant, scenario_id: &str, model: &Self::Model) -> Result<bool, Error>;

    /// In memory.
    fn bytes(&self, model: &Self::Model) -> usize;
}

/// A model and its version.
type Served<M> = Option<(u64, Arc<M>)>;

struct Slot<M> {
    /// Held by whoever looks for a newer version.
    flight: tokio::sync::Mutex<()>,
    state: Mutex<State<M>>,
}

struct State<M> {
    /// What the last look found; none before the first.
    found: Option<Result<Served<M>, Error>>,
    looked: Instant,
    /// Whether a look was begun beside a request.
    looking: bool,
    used: Instant,
    damaged: BTreeSet<u64>,
}

type Slots<M> = HashMap<Tenant, HashMap<String, Arc<Slot<M>>>>;

/// The models of one kind, of every tenant.
pub(crate) struct Shelf<L: Load> {
    load: L,
    blobs: Arc<dyn Blobs>,
    /// Between two looks for a newer version.
    every: Duration,
    most_bytes: usize,
    slots: Mutex<Slots<L::Model>>,
}

impl<L: Load> Shelf<L> {
    pub(crate) fn new(load: L, blobs: Arc<dyn Blobs>, every: Duration, most_bytes: usize) -> Arc<Self> {
        Arc::new(Self { load, blobs, every, most_bytes, slots: Mutex::default() })
    }

    /// What is served of a scenario; waits only when nothing is known of it yet.
    pub(crate) async fn get(
        self: &Arc<Self>,
        tenant: &Tenant,
        scenario_id: &str,
    ) -> Result<Option<Arc<L::Model>>, Error> {
        let slot = self.slot(tenant, scenario_id);
        let known = {
            let mut state = lock(&slot.state);
            state.used = Instant::now();
            let known = state.found.clone();
            if known.is_some() && !state.looking && state.looked.elapsed() >= self.every {
                state.looking = true;
                drop(self.spawn_look(&slot, tenant, scenario_id, true));
            }
            known
        };
        let found = match known {
            Some(found) => found,
            None => {
                // Not bound to the request: the next one finds what this one began.
                let look = self.spawn_look(&slot, tenant, scenario_id, false);
                look.await.map_err(|error| Error::Unavailable(format!("loading was abandoned: {error}")))??;
                lock(&slot.state).found.clone().unwrap_or(Ok(None))
            }
        };
        Ok(found?.map(|(_, model)| model))
    }

    /// What is served of a scenario, if it was asked for before.
    pub(crate) fn peek(&self, tenant: &Tenant, scenario_id: &str) -> Option<Arc<L::Model>> {
        let slot = lock(&self.slots).get(tenant)?.get(scenario_id).cloned()?;
        let state = lock(&slot.state);
        Some(state.found.as_ref()?.as_ref().ok()?.as_ref()?.1.clone())
    }

    /// Looks for a newer version now.
    pub(crate) async fn refresh(self: &Arc<Self>, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        let slot = self.slot(tenant, scenario_id);
        let look = self.spawn_look(&slot, tenant, scenario_id, true);
        look.await.map_err(|error| Error::Unavailable(format!("loading was abandoned: {error}")))?
    }

    /// Forgets the scenario.
    pub(crate) fn forget(&self, tenant: &Tenant, scenario_id: &str) {
        if let Some(scenarios) = lock(&self.slots).get_mut(tenant) {
            scenarios.remove(scenario_id);
        }
    }

    fn slot(&self, tenant: &Tenant, scenario_id: &str) -> Arc<Slot<L::Model>> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(tenant).and_then(|scenarios| scenarios.get(scenario_id)) {
            return Arc::clone(slot);
        }
        if slots.values().map(HashMap::len).sum::<usize>() >= SLOTS {
            remove_oldest(&mut slots, None);
        }
        let now = Instant::now();
        let state = State { found: None, looked: now, looking: false, used: now, damaged: BTreeSet::new() };
        let slot = Arc::new(Slot { flight: tokio::sync::Mutex::new(()), state: Mutex::new(state) });
        slots.entry(tenant.clone()).or_default().insert(scenario_id.to_owned(), Arc::clone(&slot));
        slot
    }

    /// Looks for the version to serve, also when it is known already if `anew`.
    fn spawn_look(
        self: &Arc<Self>,
        slot: &Arc<Slot<L::Model>>,
        tenant: &Tenant,
        scenario_id: &str,
        anew: bool,
    ) -> tokio::task::JoinHandle<Result<(), Error>> {
        let (shelf, slot) = (Arc::clone(self), Arc::clone(slot));
        let (tenant, scenario_id) = (tenant.clone(), scenario_id.to_owned());
        tokio::spawn(async move {
            let _flight = slot.flight.lock().await;
            let before = lock(&slot.state).found.clone();
            if before.is_some() && !anew {
                return Ok(());
            }
            let served = before.and_then(Result::ok).flatten();
            let looked = shelf.look(&slot, &tenant, &scenario_id, served.clone()).await;
            let done = looked.as_ref().map(|_| ()).map_err(Clone::clone);
            {
                let mut state = lock(&slot.state);
                state.looked = Instant::now();
                state.looking = false;
                state.found = Some(match looked {
                    // The last good one stays.
                    Err(error) if served.is_some() => {
                        tracing::warn!(%tenant, scenario_id, %error, "what was learned cannot be brought up to date");
                        Ok(served)
                    }
                    found => found,
                });
            }
            shelf.make_room(&slot);
            done
        })
    }

    /// The newest version that is whole.
    async fn look(
        &self,
        slot: &Slot<L::Model>,
        tenant: &Tenant,
        scenario_id: &str,
        served: Served<L::Model>,
    ) -> Result<Served<L::Model>, Error> {
        let name = self.load.blob(scenario_id);
        let Some(latest) = self.blobs.latest(tenant, &name).await? else { return Ok(None) };
        if let Some((version, model)) = &served
            && *version == latest
            && self.load.is_whole(tenant, scenario_id, model).await?
        {
            return Ok(served);
        }
        let mut versions: Vec<u64> =
            self.blobs.list(tenant, &name).await?.into_iter().map(|blob| blob.version).collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        for version in versions.iter().copied().filter(|version| !lock(&slot.state).damaged.contains(version)) {
            if let Some((of, model)) = &served
                && *of == version
                && self.load.is_whole(tenant, scenario_id, model).await?
            {
                return Ok(served);
            }
            let loaded = match self.blobs.get(tenant, &name, version).await {
                Ok(Some(bytes)) => self.load.load(tenant, scenario_id, version, bytes).await,
                // Deleted meanwhile.
                Ok(None) => continue,
                Err(BlobError::Damaged { reason, .. }) => Err(Unloaded::Damaged(reason)),
                Err(error) => Err(Unloaded::Store(error.into())),
            };
            match loaded {
                Ok(model) => {
                    tracing::info!(%tenant, scenario_id, name, version, "serving what was learned");
                    return Ok(Some((version, Arc::new(model))));
                }
                Err(Unloaded::Damaged(reason)) => {
                    tracing::error!(%tenant, scenario_id, name, version, reason, "what was learned is damaged");
                    let mut state = lock(&slot.state);
                    state.damaged.insert(version);
                    if state.damaged.len() > DAMAGED {
                        state.damaged.pop_first();
                    }
                }
                Err(Unloaded::Store(error)) => return Err(error),
            }
        }
        match (served, versions.is_empty()) {
            // Its file is gone or damaged, and it is served all the same.
            (Some(served), false) => Ok(Some(served)),
            (_, true) => Ok(None),
            (None, false) => Err(Error::Unavailable(format!("{name}: all versions are damaged, train it again"))),
        }
    }

    /// Forgets models, those used longest ago first, until the rest is small enough.
    /// Whoever holds one goes on with it.
    fn make_room(&self, keep: &Arc<Slot<L::Model>>) {
        let mut slots = lock(&self.slots);
        let held = |slots: &Slots<L::Model>| -> usize {
            slots.values().flat_map(HashMap::values).map(|slot| self.held(slot)).sum()
        };
        while held(&slots) > self.most_bytes && remove_oldest(&mut slots, Some(keep)) {}
    }

    fn held(&self, slot: &Slot<L::Model>) -> usize {
        match &lock(&slot.state).found {
            Some(Ok(Some((_, model)))) => self.load.bytes(model),
            _ => 0,
        }
    }
}

/// Whether there was one, other than `keep`.
fn remove_oldest<M>(slots: &mut Slots<M>, keep: Option<&Arc<Slot<M>>>) -> bool {
    let all = slots.iter().flat_map(|(tenant, scenarios)| scenarios.iter().map(move |(id, slot)| (tenant, id, slot)));
    let others = all.filter(|(_, _, slot)| keep.is_none_or(|keep| !Arc::ptr_eq(keep, slot)));
    let oldest = others.min_by_key(|(_, _, slot)| lock(&slot.state).used);
    let Some((tenant, id)) = oldest.map(|(tenant, id, _)| (tenant.clone(), id.clone())) else { return false };
    if let Some(scenarios) = slots.get_mut(&tenant) {
        scenarios.remove(&id);
        if scenarios.is_empty() {
            slots.remove(&tenant);
        }
    }
    true
}

#[cfg(test)]
mod tests;
