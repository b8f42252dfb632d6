//! The engine: one step of one operator on one tenant's log.
//!
//! A step takes what the log has next, adds it to its panes, and commits the panes, what
//! counters get, and how far it has come, together. Before, windows whose end has passed
//! say what they have to say, some keys a step, so that a log that never rests leaves
//! nothing lying. Whatever happens between two commits is made again from the first of
//! them, and operators are pure: so every event counts once.
//!
//! # Time
//! The watermark is the newest event's time less [`limits::STREAM_OUT_OF_ORDER`]; a log
//! at rest is followed by the clock, [`limits::STREAM_IDLE`] behind. An event ahead of the
//! clock counts as of the time when it is read. A window fires when the watermark has
//! passed its end, and again for what comes late within the allowed lateness. What comes
//! later still is counted all the same (`changes`), in a pane of its own; windows say
//! nothing of it. A shard has a watermark of its own: windows fire by that of the shard
//! that is furthest behind, of those that have something to be read.

use std::{collections::BTreeSet, sync::Arc};

use funnelweb_core::limits;
use funnelweb_factor_events::store::{Event, Events, StoredEvent};

use crate::{
    operator::{Failure, Operator},
    shards::{Arrivals, Shards},
    store::{Error, MAIN, Place, Progress, Step, StreamStore, Subject, Tenant},
    turn::{Behind, Turn},
    window::Windows,
};

/// When it is looked again for events that are on their way.
pub(crate) const SOON_MS: u64 = 1_000;
/// [`limits::STREAM_IDLE`].
pub(crate) const IDLE_MS: u64 = limits::STREAM_IDLE.as_millis() as u64;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There may be more to do at once.
    Advanced,
    /// There is nothing to do, and when there will be if no event comes, in milliseconds
    /// since 1970.
    Rests(Option<u64>),
}

/// Why a step was not made.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A store did not do its part.
    #[error(transparent)]
    Store(#[from] Error),
    /// The operator fails whatever it is given.
    #[error("operator `{operator}`: {failure}")]
    Operator {
        /// Its name.
        operator: String,
        /// What it says.
        failure: Failure,
    },
}

/// Runs operators.
#[derive(Clone)]
pub struct Engine {
    log: Arc<dyn Events>,
    store: Arc<dyn StreamStore>,
    shards: Option<Arc<dyn Shards>>,
    /// Whether all events are read from the log itself.
    is_whole: bool,
}

impl Engine {
    /// Over a log, with state in `store`.
    #[must_use]
    pub fn new(log: Arc<dyn Events>, store: Arc<dyn StreamStore>) -> Self {
        Self { log, store, shards: None, is_whole: false }
    }

    /// Over logs that go on in shards, of which `shards` knows.
    #[must_use]
    pub fn with_shards(self, shards: Arc<dyn Shards>) -> Self {
        Self { shards: Some(shards), ..self }
    }

    /// Over the logs themselves, also where others follow them in shards: for operators
    /// that have no place in any.
    #[must_use]
    pub fn whole(self) -> Self {
        Self { shards: None, is_whole: true, ..self }
    }

    /// Where the state is.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn StreamStore> {
        &self.store
    }

    /// Makes one step at this time, of the tenant's log itself, and of windows.
    ///
    /// # Errors
    /// Nothing is changed then, and the same step can be made later.
    pub async fn step(&self, tenant: &Tenant, operator: &dyn Operator, now_ms: u64) -> Result<Outcome, StepError> {
        let main = Place::main(tenant, operator.name());
        let turn = self.turn(main, operator, now_ms).await?;
        let until = if self.is_whole { u64::MAX } else { self.store.log_until(tenant).await? };
        let shards = self.shards.as_ref().filter(|_| turn.before.has_taken(until));
        // Those that speak again first: to fire drops panes.
        let step = match turn.again().await? {
            Some(step) => Ok(step),
            None => match shards {
                Some(shards) => turn.fire_all(shards.as_ref(), self.log.as_ref(), now_ms).await?,
                None => self.go_on(&turn, until, now_ms).await?,
            },
        };
        match step {
            Ok(step) => {
                // Another one came between: what there is to do is what it left.
                self.store.commit(&turn.place, turn.before, step).await?;
                Ok(Outcome::Advanced)
            }
            Err(until) => Ok(Outcome::Rests(until)),
        }
    }

    /// Makes a step of a shard; false, and nothing is changed, when the operator is not
    /// where it begins.
    ///
    /// # Errors
    /// Nothing is changed then, and the same step can be made later.
    pub async fn take(
        &self,
        place: &Place,
        operator: &dyn Operator,
        arrivals: Arrivals,
        now_ms: u64,
    ) -> Result<bool, StepError> {
        let turn = self.turn(place.clone(), operator, now_ms).await?;
        if turn.before.next != arrivals.from {
            return Ok(false);
        }
        let Arrivals { from: _, next, events, dead, seen, forget_below } = arrivals;
        let until = self.store.log_until(&place.tenant).await?;
        let events = self.not_deleted(&place.tenant, events, until).await?;
        let mut step = turn.take(&events, now_ms).await?;
        step.counts.extend(turn.count_dead(&dead));
        step.dead.extend(dead);
        step.progress.next = next;
        Ok(self.store.commit(place, turn.before, Step { seen, forget_below, ..step }).await?)
    }

    /// Those events that the log itself does not give, and nobody has deleted.
    async fn not_deleted(
        &self,
        tenant: &Tenant,
        mut events: Vec<(StoredEvent, u64)>,
        until: u64,
    ) -> Result<Vec<StoredEvent>, Error> {
        events.retain(|(_, logged)| *logged > until);
        let subjects =
            |event: &Event| [Subject::User(event.user_id.clone()), Subject::Scenario(event.scenario_id.clone())];
        let all: BTreeSet<Subject> = events.iter().flat_map(|(stored, _)| subjects(&stored.event)).collect();
        let deleted = self.store.deleted(tenant, all.into_iter().collect()).await?;
        if !deleted.is_empty() {
            let is_gone = |stored: &StoredEvent, logged: u64| {
                subjects(&stored.event).iter().filter_map(|subject| deleted.get(subject)).any(|last| logged <= *last)
            };
            events.retain(|(stored, logged)| !is_gone(stored, *logged));
        }
        Ok(events.into_iter().map(|(stored, _)| stored).collect())
    }

    async fn turn<'a>(&'a self, place: Place, operator: &'a dyn Operator, now_ms: u64) -> Result<Turn<'a>, StepError> {
        let rule = |rule| StepError::Operator { operator: operator.name().to_owned(), failure: Failure::Guest(rule) };
        let windows = Windows::new(operator.declaration()).map_err(rule)?;
        let before = self.store.progress(&place).await?;
        let (fired, may_fire_ms) = match place.shard {
            MAIN => (before.clone(), 0),
            // By the clock they fire later; another process's may be ahead of ours.
            _ => (self.store.fired(&place.at(MAIN)).await?, before.watermark().max(now_ms.saturating_sub(IDLE_MS / 2))),
        };
        Ok(Turn { store: self.store.as_ref(), place, operator, windows, before, fired, may_fire_ms })
    }

    /// The next step of the log itself, up to this offset, or when there will be one.
    async fn go_on(&self, turn: &Turn<'_>, until: u64, now_ms: u64) -> Result<Result<Step, Option<u64>>, StepError> {
        if let Some(step) = turn.fire(turn.watermark()).await? {
            return Ok(Ok(step));
        }
        let tenant = &turn.place.tenant;
        // Before it is read: what is there by now is in it.
        let is_open = self.shards.is_some() && self.log.is_on_its_way(tenant, until).await?;
        let from = turn.before.next.max(turn.operator.begins());
        let mut events = self.log.read(tenant, from, turn.operator.step_events()).await?;
        events.retain(|stored| stored.offset <= until);
        if !events.is_empty() {
            return Ok(Ok(turn.take(&events, now_ms).await?));
        }
        if self.shards.is_some() {
            if is_open {
                return Ok(Err(Some(now_ms + SOON_MS)));
            }
            // What was there of it is deleted.
            let progress = Progress { next: until.saturating_add(1), ..turn.before.clone() };
            return Ok(Ok(Step { progress, ..Step::default() }));
        }
        let rest_ms = now_ms.saturating_sub(IDLE_MS);
        match turn.rest(Behind { watermark_ms: turn.watermark().max(rest_ms), rest_ms, again_ms: None }).await? {
            Err(until) => {
                let soon = self.log.is_on_its_way(tenant, u64::MAX).await?.then_some(now_ms + SOON_MS);
                Ok(Err(until.into_iter().chain(soon).min()))
            }
            step => Ok(step),
        }
    }
}
