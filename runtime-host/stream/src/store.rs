//! Where a stream engine keeps what it needs to go on: the trait, and what a step
//! leaves behind.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use async_trait::async_trait;
use funnelweb_core::limits;
pub use funnelweb_tenant_store::{Error, Tenant};

use funnelweb_factor_events::store::{Change, Position};

use crate::operator::Message;

/// An operator's place in a tenant's log, or in a part of it that has an order of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Whose log.
    pub tenant: Tenant,
    /// The name of the operator.
    pub operator: String,
    /// [`MAIN`], or the part. Panes, their changes, and how far they are, are each shard's
    /// own; windows are of all shards together, and speak at the main place.
    pub shard: u32,
}

/// Where an operator is that takes nothing any more: behind all offsets.
pub const ENDED: u64 = i64::MAX.cast_unsigned();

/// The shard that is the tenant's log itself.
pub const MAIN: u32 = 0;

impl Place {
    /// The place in the tenant's log itself.
    #[must_use]
    pub fn main(tenant: &Tenant, operator: &str) -> Self {
        Self { tenant: tenant.clone(), operator: operator.to_owned(), shard: MAIN }
    }

    /// The operator's place in another shard.
    #[must_use]
    pub fn at(&self, shard: u32) -> Self {
        Self { shard, ..self.clone() }
    }
}

/// A pane of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pane {
    /// In the order of the operator's declaration.
    pub key: Vec<String>,
    /// Where it begins, in milliseconds since 1970.
    pub from_ms: u64,
}

/// A key with its panes in order: where each begins, and its accumulator.
pub type Panes = (Vec<String>, Vec<(u64, Vec<u8>)>);

/// How far an operator has come with a tenant's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The offset of the next event; those below it were taken.
    pub next: u64,
    /// The newest time of an event, in milliseconds since 1970, not after it was read.
    pub newest_ms: u64,
    /// Windows that end up to then have said what they have to say.
    pub fired_ms: u64,
    /// Which windows are at it, and the key that was last.
    pub firing: Option<(u64, Vec<String>)>,
    /// Another one after each deletion of something of the tenant, and, where several
    /// processes may make steps, after each of them: what a step has read before is not
    /// written after.
    pub fence: u64,
}

impl Progress {
    /// Whether it is behind this offset of the log.
    pub(crate) fn has_taken(&self, offset: u64) -> bool {
        // The first event of a log has the offset 1.
        self.next.max(1) > offset
    }

    /// No event from before then is waited for, by what came so far.
    pub(crate) fn watermark(&self) -> u64 {
        self.newest_ms.saturating_sub(limits::STREAM_OUT_OF_ORDER.as_millis() as u64)
    }
}

/// A window of a key, by its end.
pub type Window = (Vec<String>, u64);

/// A window that has to speak again, or for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub window: Window,
    /// What tells the store of later events from those that the window is to speak of:
    /// shards, and a number of each.
    pub marks: Vec<(u32, u64)>,
}

/// What an operator has to remember of records, so as to know them when they come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What is below [`Step::forget_below`] of a later step is no longer needed.
    pub generation: u64,
    /// For whoever reads the shard to read.
    pub bytes: Vec<u8>,
}

/// Whose events are not to be counted any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A user's.
    User(String),
    /// A scenario's.
    Scenario(String),
}

/// A counter of a tenant: its name, and names and values of its labels, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series {
    /// Without `funnelweb_`.
    pub name: String,
    /// By name.
    pub labels: Vec<(String, String)>,
}

/// An event that an operator cannot take, or a window that it cannot sum up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Of the event; 0 for a window.
    pub offset: u64,
    /// The event's, or none.
    pub scenario_id: String,
    /// The event's, or none.
    pub user_id: String,
    /// Why.
    pub reason: String,
    /// The event's id, or which window of which key.
    pub about: String,
}

/// What a step changes, all of it or nothing.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Afterwards.
    pub progress: Progress,
    /// Panes, with their accumulators.
    pub put: Vec<(Pane, Vec<u8>)>,
    /// Panes that begin before are no longer needed.
    pub drop_before_ms: u64,
    /// Windows that have to speak again.
    pub due: Vec<Window>,
    /// Windows that did.
    pub spoke: Vec<Due>,
    /// What counters get.
    pub counts: Vec<(Series, f64)>,
    /// What is changed of hot lists, items' counters and profiles.
    pub changes: Vec<Change>,
    /// What is published.
    pub messages: Vec<Message>,
    /// What was passed over.
    pub dead: Vec<DeadLetter>,
    /// What is to be remembered, of a shard.
    pub seen: Vec<Seen>,
    /// And what is not, by generation.
    pub forget_below: u64,
}

/// The counters of a tenant.
pub type Counters = BTreeMap<Series, f64>;

/// A message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Grows along the topic.
    pub offset: u64,
    /// Messages of the same key stay in their order.
    pub key: String,
    /// A JSON object.
    pub body: String,
}

/// The state of operators, of each tenant apart.
#[async_trait]
pub trait StreamStore: Send + Sync + 'static {
    /// How far an operator has come.
    async fn progress(&self, place: &Place) -> Result<Progress, Error>;

    /// The accumulators of a shard's panes, in order; none for one that is not there.
    async fn accumulators(&self, place: &Place, panes: Vec<Pane>) -> Result<Vec<Option<Vec<u8>>>, Error>;

    /// Where the first pane of any shard begins that does so at `from_ms` or later.
    async fn first_pane(&self, main: &Place, from_ms: u64) -> Result<Option<u64>, Error>;

    /// The panes of all shards that begin in `range`, of the keys after `after`, key by key
    /// in an order that never changes; and whether there are more keys. Up to
    /// [`limits::STREAM_KEYS`](funnelweb_core::limits::STREAM_KEYS) keys, and fewer when
    /// they are larger than
    /// [`limits::STREAM_WINDOWS_BYTES`](funnelweb_core::limits::STREAM_WINDOWS_BYTES), at
    /// least one.
    async fn panes(
        &self,
        main: &Place,
        range: Range<u64>,
        after: Option<Vec<String>>,
    ) -> Result<(Vec<Panes>, bool), Error>;

    /// Windows that have spoken, ended at `fired_ms` or before, and have to speak again,
    /// each with its panes, whose size is `size_ms`; as many as of [`Self::panes`].
    async fn due(&self, main: &Place, size_ms: u64, fired_ms: u64) -> Result<Vec<(Due, Panes)>, Error>;

    /// Makes the changes of a step that begins at `before`; false, and nothing is
    /// changed, when the operator has come to elsewhere meanwhile. Only the main place
    /// drops panes, which are then those of all shards, and only it speaks. Several operators
    /// may make steps at once.
    async fn commit(&self, place: &Place, before: Progress, step: Step) -> Result<bool, Error>;

    /// How far all operators have come, without those that were ended.
    async fn positions(&self, tenant: &Tenant) -> Result<Vec<Position>, Error>;

    /// Has operators go on from there: those that are named, or else all of them, from
    /// the offset `next`. Not while they follow.
    async fn set_positions(&self, tenant: &Tenant, to: Result<Vec<Position>, u64>) -> Result<(), Error>;

    /// Has an operator take nothing any more, whoever still asks it, and deletes what it
    /// keeps. What it changed elsewhere stays. Returns the offset of the first event that it
    /// did not take, however often it is ended; its progress has that as its `newest_ms`.
    async fn end_operator(&self, tenant: &Tenant, operator: &str) -> Result<u64, Error>;

    /// Messages of a topic from `offset` on.
    async fn published(&self, tenant: &Tenant, topic: &str, offset: u64, limit: u32) -> Result<Vec<Published>, Error>;

    /// What was passed over, newest first.
    async fn dead_letters(&self, tenant: &Tenant, limit: u32) -> Result<Vec<(String, DeadLetter)>, Error>;

    /// All counters of all tenants; those of one whose file cannot be read are left out.
    async fn counters(&self) -> Result<Vec<(Tenant, Arc<Counters>)>, Error>;

    /// The tenants that may have a log.
    async fn tenants(&self) -> Result<Vec<Tenant>, Error>;

    // --- where several processes share it ---

    /// Whether other processes follow the same logs, and have them grow.
    fn is_shared(&self) -> bool {
        false
    }

    /// Has this process be the one that follows the tenant's log, for some seconds; false
    /// while another one is.
    async fn lead(&self, tenant: &Tenant) -> Result<bool, Error> {
        let _ = tenant;
        Ok(true)
    }

    /// Lets others follow it, and one of them must at `wake_ms`, in milliseconds since
    /// 1970, if the log has not grown before.
    async fn leave(&self, tenant: &Tenant, wake_ms: Option<u64>) -> Result<(), Error> {
        let _ = (tenant, wake_ms);
        Ok(())
    }

    /// The tenants whose logs nobody follows though somebody must.
    async fn abandoned(&self) -> Result<Vec<Tenant>, Error> {
        Ok(Vec::new())
    }

    // --- where logs have shards ---

    /// The last event that is taken from the log itself: those after it come with shards.
    async fn log_until(&self, tenant: &Tenant) -> Result<u64, Error> {
        let _ = tenant;
        Ok(u64::MAX)
    }

    /// How far an operator has come with shards, of those that it has begun with: what is
    /// below has changed everything that it changes.
    async fn shards(&self, main: &Place) -> Result<BTreeMap<u32, Progress>, Error> {
        let _ = main;
        Ok(BTreeMap::new())
    }

    /// How far windows are, perhaps with a step that is not applied yet.
    async fn fired(&self, main: &Place) -> Result<Progress, Error> {
        self.progress(main).await
    }

    /// What is remembered of a shard.
    async fn seen(&self, place: &Place) -> Result<Vec<Seen>, Error> {
        let _ = place;
        Ok(Vec::new())
    }

    /// Those of the windows that end at `end_ms`, of keys after `after`, which have an
    /// event from just before they speak for the first time.
    async fn marks(&self, main: &Place, end_ms: u64, after: Option<Vec<String>>) -> Result<Vec<Due>, Error> {
        let _ = (main, end_ms, after);
        Ok(Vec::new())
    }

    /// Those of the subjects that were deleted lately, each with the last offset that the
    /// tenant's log had then.
    async fn deleted(&self, tenant: &Tenant, of: Vec<Subject>) -> Result<BTreeMap<Subject, u64>, Error> {
        let _ = (tenant, of);
        Ok(BTreeMap::new())
    }
}
