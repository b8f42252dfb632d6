//! Events that a log has accepted, on their way to those who follow it elsewhere.

use async_trait::async_trait;

use crate::store::{Error, Event, Tenant};

/// An event that is in its log, and its place in the append that brought it.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// Where it stood in its batch, from 0. What was there before or is deleted by now is
    /// not published and leaves a gap, so an event has the same number each time.
    pub index: u32,
    /// In the tenant's log.
    pub offset: u64,
    /// The event.
    pub event: Event,
}

/// A message of a topic, on its way to those who follow it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// In the tenant's topic.
    pub offset: u64,
    /// Messages of the same key stay in their order.
    pub key: String,
    /// A JSON object.
    pub body: String,
}

/// Takes what operators say to where others follow it.
#[async_trait]
pub trait Announcer: Send + Sync + 'static {
    /// Publishes messages of a topic. When it returns they are durable there, in their order
    /// for each key. They may be published again: who follows tells repetitions by the offset.
    ///
    /// # Errors
    /// Some of them may not be there.
    async fn announce(&self, tenant: &Tenant, topic: &str, messages: Vec<Said>) -> Result<(), Error>;

    /// Publishes what operators could not take, each a JSON object with its reason, keyed by
    /// the user. They may be published again.
    ///
    /// # Errors
    /// Some of them may not be there.
    async fn bury(&self, tenant: &Tenant, letters: Vec<(String, String)>) -> Result<(), Error>;
}

/// Takes accepted events to where others follow them.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Publishes events of one batch, which ascend by their indexes. When it returns they
    /// are durable there, in this order for each user; how many of them are not, since
    /// they are too large for the place and would be each time.
    ///
    /// A batch may be published again, in part as well, and calls may run at once: who
    /// follows tells repetitions by batch and index. What was begun by a call that is
    /// dropped may go on, and what is begun in the order of the calls' first polls is
    /// published in that order.
    ///
    /// # Errors
    /// Some of them may not be there, and are worth publishing again.
    async fn publish(&self, tenant: &Tenant, batch: u128, events: Vec<Accepted>) -> Result<usize, Error>;
}
