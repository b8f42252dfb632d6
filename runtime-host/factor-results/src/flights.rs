//! Who computes what: of those who want the same at once, one does.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use funnelweb_tenant_store::lock;
use tokio::sync::watch;

use crate::store::{Entry, Key, Tenant};

/// What is being computed in this process.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Of, Arc<Flight>>>);

type Of = (Tenant, Key);

/// One computation.
struct Flight {
    outcome: watch::Sender<Outcome>,
    /// Whether what comes of it must not be kept: whom it is of was deleted.
    void: AtomicBool,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is under way.
    Open,
    /// This.
    Done(Entry),
    /// Nothing: another one may begin.
    Dropped,
}

/// The right, and the duty, to compute a result: until it is dropped, others who look for the
/// same wait.
pub struct Claim {
    flights: Arc<Flights>,
    of: Of,
}

/// A place in a computation.
pub(crate) enum Joined {
    /// One's own.
    First(Claim),
    /// Somebody else's.
    Waiting(watch::Receiver<Outcome>),
}

impl Flights {
    pub(crate) fn join(self: &Arc<Self>, tenant: &Tenant, key: &Key) -> Joined {
        let of = (tenant.clone(), key.clone());
        let mut flights = lock(&self.0);
        if let Some(flight) = flights.get(&of) {
            return Joined::Waiting(flight.outcome.subscribe());
        }
        let flight = Flight { outcome: watch::channel(Outcome::Open).0, void: AtomicBool::new(false) };
        flights.insert(of.clone(), Arc::new(flight));
        Joined::First(Claim { flights: Arc::clone(self), of })
    }

    /// Gives `entry` to those who wait. Whether it may be kept.
    pub(crate) fn finish(&self, tenant: &Tenant, key: &Key, entry: &Entry) -> bool {
        let Some(flight) = self.get(tenant, key) else { return false };
        flight.outcome.send_replace(Outcome::Done(entry.clone()));
        !flight.void.load(Ordering::SeqCst)
    }

    /// Whether what comes of it must not be kept; also when it is over.
    pub(crate) fn is_void(&self, tenant: &Tenant, key: &Key) -> bool {
        self.get(tenant, key).is_none_or(|flight| flight.void.load(Ordering::SeqCst))
    }

    /// What comes of those under way that `which` is true of must not be kept.
    pub(crate) fn void(&self, which: impl Fn(&Tenant, &Key) -> bool) {
        for (_, flight) in lock(&self.0).iter().filter(|((tenant, key), _)| which(tenant, key)) {
            flight.void.store(true, Ordering::SeqCst);
        }
    }

    fn get(&self, tenant: &Tenant, key: &Key) -> Option<Arc<Flight>> {
        lock(&self.0).get(&(tenant.clone(), key.clone())).cloned()
    }
}

impl Claim {
    pub(crate) fn of(&self) -> (&Tenant, &Key) {
        (&self.of.0, &self.of.1)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(flight) = lock(&self.flights.0).remove(&self.of) {
            flight.outcome.send_if_modified(|outcome| {
                let open = *outcome == Outcome::Open;
                if open {
                    *outcome = Outcome::Dropped;
                }
                open
            });
        }
    }
}
