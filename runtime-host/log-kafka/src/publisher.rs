//! The tenants' topics of behaviours, as those that a log of events publishes to.

use async_trait::async_trait;
use funnelweb_factor_events::{
    publish::{Accepted, Publisher},
    store::{Error as StoreError, Tenant},
};
use quick_cache::sync::Cache;
use tokio::sync::Mutex;

use crate::{
    behavior::Behavior,
    error::Error,
    log::KafkaLog,
    producer::{AppendError, Producer},
    topics::Topic,
};

/// Tenants whose topics are known to be there.
const TENANTS: usize = 10_000;

/// Publishes behaviours to `user-behaviors-{tenant}`, which it creates for a tenant's
/// first ones.
pub struct KafkaPublisher {
    log: KafkaLog,
    producer: Producer,
    ensured: Cache<Tenant, ()>,
    /// Whoever makes sure of a topic: one at a time, since each asks for all of them.
    ensuring: Mutex<()>,
}

impl KafkaPublisher {
    /// With a producer of its own.
    ///
    /// # Errors
    /// See [`KafkaLog::producer`].
    pub fn new(log: KafkaLog) -> Result<Self, Error> {
        let producer = log.producer()?;
        Ok(Self { log, producer, ensured: Cache::new(TENANTS), ensuring: Mutex::default() })
    }

    /// Has the topic be there. When it is known to be, nothing is waited for: calls then
    /// hand their records over in the order in which they were made.
    async fn ensure(&self, tenant: &Tenant, topic: &Topic) -> Result<(), Error> {
        if self.ensured.get(tenant).is_some() {
            return Ok(());
        }
        let _one_by_one = self.ensuring.lock().await;
        if self.ensured.get(tenant).is_none() {
            self.log.ensure(std::slice::from_ref(topic)).await?;
            self.ensured.insert(tenant.clone(), ());
        }
        Ok(())
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn publish(&self, tenant: &Tenant, batch: u128, events: Vec<Accepted>) -> Result<usize, StoreError> {
        let topic = Topic::Behaviors(tenant.to_string());
        self.ensure(tenant, &topic).await?;
        let ids: Vec<String> = events.iter().map(|accepted| accepted.event.event_id.clone()).collect();
        let records = events.into_iter().map(|accepted| Behavior { batch, accepted }.encode(tenant));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        let Err(AppendError { outcomes, .. }) = self.producer.append(&topic, records).await else { return Ok(0) };
        let mut too_large = 0;
        for (outcome, event_id) in outcomes.into_iter().zip(ids) {
            match outcome {
                Ok(_) => {}
                Err(Error::TooLarge(reason)) => {
                    tracing::error!(%tenant, event_id, reason, "a behaviour is not published, now or later");
                    too_large += 1;
                }
                Err(error) => {
                    // Perhaps somebody has deleted it.
                    self.ensured.remove(tenant);
                    return Err(error.into());
                }
            }
        }
        Ok(too_large)
    }
}
