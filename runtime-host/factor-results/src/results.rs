//! What stands before a backend.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use funnelweb_core::limits;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use crate::{
    check,
    flights::{Claim, Flights, Joined, Outcome},
    metrics,
    store::{Clock, Entry, Error, Key, ResultStore, Tenant, system_clock},
};

/// Results, each computed once by those who want it at the same time. Clones are the same.
#[derive(Clone)]
pub struct Results(Arc<Inner>);

struct Inner {
    store: Arc<dyn ResultStore>,
    clock: Clock,
    flights: Arc<Flights>,
    revalidator: OnceLock<Arc<dyn Revalidate>>,
    revalidations: Arc<Semaphore>,
}

/// Who computes results anew.
#[async_trait]
pub trait Revalidate: Send + Sync + 'static {
    /// Computes what `key` is of, and keeps it ([`Results::keep`]); `request` is the body of
    /// the request that it answers.
    ///
    /// # Errors
    /// Why it could not be.
    async fn revalidate(&self, tenant: &Tenant, key: &Key, request: String) -> Result<(), String>;
}

/// A result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// JSON.
    pub value: Arc<str>,
    /// For how many seconds more it is fresh; for how many it has not been, below 0.
    pub fresh_s: i32,
    /// Whether somebody else computed it while this look waited for it.
    pub collapsed: bool,
}

/// What a look came to.
pub enum Found {
    /// This.
    Fresh(Kept),
    /// This, which is to be computed anew by whoever has the claim.
    Stale(Kept, Option<Claim>),
    /// Nothing: it is the caller's to compute.
    Absent(Claim),
    /// Nothing: somebody computes it, and did not finish in time.
    Taken,
    /// The store did not answer.
    Unavailable,
}

impl Results {
    /// Over this backend.
    #[must_use]
    pub fn new(store: Arc<dyn ResultStore>) -> Self {
        Self::with_clock(store, system_clock())
    }

    /// With a clock of one's own, in milliseconds since 1970: that of the backend.
    #[must_use]
    pub fn with_clock(store: Arc<dyn ResultStore>, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            store,
            clock,
            flights: Arc::default(),
            revalidator: OnceLock::new(),
            revalidations: Arc::new(Semaphore::new(limits::REVALIDATIONS)),
        }))
    }

    /// Says who computes anew what is stale; the first to be said does. Nobody does before.
    pub fn revalidated_by(&self, revalidator: Arc<dyn Revalidate>) {
        self.0.revalidator.get_or_init(|| revalidator);
    }

    /// Looks for a result; where another look for it is being answered, waits for that for
    /// [`limits::RESULT_WAIT`].
    ///
    /// # Errors
    /// `invalid` for a key that is none. A backend that fails is none.
    pub async fn look(&self, tenant: &Tenant, key: &Key) -> Result<Found, Error> {
        check::key(key)?;
        let found = self.look_valid(tenant, key).await;
        metrics::looked(match &found {
            Found::Fresh(Kept { collapsed: true, .. }) => "collapsed",
            Found::Fresh(_) => "hit",
            Found::Stale(..) => "stale",
            Found::Absent(_) => "miss",
            Found::Taken => "taken",
            Found::Unavailable => "unavailable",
        });
        Ok(found)
    }

    async fn look_valid(&self, tenant: &Tenant, key: &Key) -> Found {
        let deadline = Instant::now() + limits::RESULT_WAIT;
        loop {
            match self.get(tenant, key).await {
                Err(()) => return Found::Unavailable,
                Ok(Some(entry)) => return self.found(tenant, key, &entry),
                Ok(None) => {}
            }
            match self.0.flights.join(tenant, key) {
                Joined::First(claim) => {
                    // Another one may have ended between the two.
                    return match self.get(tenant, key).await {
                        Ok(Some(entry)) if self.kept(&entry).fresh_s > 0 => Found::Fresh(self.kept(&entry)),
                        _ => Found::Absent(claim),
                    };
                }
                Joined::Waiting(mut outcome) => {
                    let ended = timeout_at(deadline, outcome.wait_for(|outcome| *outcome != Outcome::Open)).await;
                    match ended.map(|outcome| outcome.map(|outcome| outcome.clone())) {
                        Err(_) => return Found::Taken,
                        Ok(Ok(Outcome::Done(entry))) => {
                            return Found::Fresh(Kept { collapsed: true, ..self.kept(&entry) });
                        }
                        // The next one to come is the first.
                        Ok(_) => {}
                    }
                }
            }
        }
    }

    async fn get(&self, tenant: &Tenant, key: &Key) -> Result<Option<Entry>, ()> {
        self.0.store.get(tenant, key).await.map_err(|error| {
            metrics::failed("get");
            tracing::debug!(%tenant, %error, "kept results do not answer");
        })
    }

    fn found(&self, tenant: &Tenant, key: &Key, entry: &Entry) -> Found {
        let kept = self.kept(entry);
        if kept.fresh_s > 0 {
            return Found::Fresh(kept);
        }
        match self.0.flights.join(tenant, key) {
            Joined::First(claim) => Found::Stale(kept, Some(claim)),
            Joined::Waiting(_) => Found::Stale(kept, None),
        }
    }

    fn kept(&self, entry: &Entry) -> Kept {
        let left_ms = i128::from(entry.fresh_until_ms) - i128::from((self.0.clock)());
        // Up, so that 0 is the first that is stale.
        let fresh_s = i32::try_from(left_ms.div_euclid(1000) + i128::from(left_ms.rem_euclid(1000) > 0));
        Kept { value: Arc::clone(&entry.value), fresh_s: fresh_s.unwrap_or(i32::MAX), collapsed: false }
    }

    /// Keeps a result, and gives it to those who wait; whether it is kept. It is not when
    /// nobody has a claim to it, when it is too large, when it was forgotten meanwhile, or
    /// when the backend does not take it.
    ///
    /// # Errors
    /// `invalid` for a key that is none, or times that are too long.
    pub async fn keep(
        &self,
        tenant: &Tenant,
        key: &Key,
        value: String,
        fresh_s: u32,
        stale_s: u32,
    ) -> Result<bool, Error> {
        check::key(key)?;
        Error::check_count("fresh-s", fresh_s as usize, 0, limits::RESULT_S as usize)?;
        Error::check_count("stale-s", stale_s as usize, 0, limits::RESULT_S as usize)?;
        let fresh_until_ms = (self.0.clock)() + 1000 * u64::from(fresh_s);
        let stale_until_ms = fresh_until_ms + 1000 * u64::from(stale_s);
        let entry = Entry { value: value.into(), fresh_until_ms, stale_until_ms };
        if !self.0.flights.finish(tenant, key, &entry) || entry.value.len() > limits::RESULT_BYTES {
            return Ok(false);
        }
        if let Err(error) = self.0.store.put(tenant, key, entry).await {
            metrics::failed("put");
            tracing::debug!(%tenant, %error, "a result is not kept");
            return Ok(false);
        }
        // Whom it is of may have been deleted while it was written.
        if self.0.flights.is_void(tenant, key) {
            self.forget(tenant, key).await?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Forgets a result. A backend that fails keeps it until its time is over.
    ///
    /// # Errors
    /// `invalid` for a key that is none.
    pub async fn forget(&self, tenant: &Tenant, key: &Key) -> Result<(), Error> {
        check::key(key)?;
        if let Err(error) = self.0.store.remove(tenant, key).await {
            metrics::failed("remove");
            tracing::warn!(%tenant, %error, "a result is not forgotten");
        }
        Ok(())
    }

    /// Has what a claim is to be computed in the background. Where as many are as may, it is
    /// left to the next look.
    pub fn revalidate(&self, claim: Claim, request: String) {
        let permit = Arc::clone(&self.0.revalidations).try_acquire_owned();
        let (Some(revalidator), Ok(permit)) = (self.0.revalidator.get().cloned(), permit) else {
            return metrics::revalidated("put_off");
        };
        tokio::spawn(async move {
            let (tenant, key) = claim.of();
            match revalidator.revalidate(tenant, key, request).await {
                Ok(()) => metrics::revalidated("done"),
                Err(reason) => {
                    metrics::revalidated("failed");
                    tracing::warn!(%tenant, scenario = key.scenario_id, reason, "a stale result was not computed anew");
                }
            }
            drop((claim, permit));
        });
    }

    /// Forgets the results of a user, also those under way.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), Error> {
        self.0.flights.void(|of, key| of == tenant && key.user_id == user_id);
        self.0.store.forget_user(tenant, user_id).await
    }

    /// Forgets the results of a scenario, also those under way.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        self.0.flights.void(|of, key| of == tenant && key.scenario_id == scenario_id);
        self.0.store.forget_scenario(tenant, scenario_id).await
    }
}

#[cfg(test)]
mod tests;
