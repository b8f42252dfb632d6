//! The topics, as those that a log of events and its operators publish to.

use async_trait::async_trait;
use funnelweb_factor_events::{
    publish::{Accepted, Announcer, Publisher, Said},
    store::{Error as StoreError, Tenant},
};
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::{
    behavior::Behavior,
    error::Error,
    log::KafkaLog,
    producer::{AppendError, Producer, Record},
    topics::Topic,
};

/// Topics that are known to be there.
const TOPICS: usize = 10_000;
/// The header with a message's offset in the tenant's topic.
const OFFSET: &str = "offset";

/// Publishes behaviours to `user-behaviors-{tenant}`, and what operators say to the topics
/// of all tenants. It creates a topic for its first record.
pub struct KafkaPublisher {
    log: KafkaLog,
    producer: Producer,
    ensured: Cache<Topic, ()>,
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
        Ok(Self { log, producer, ensured: Cache::new(TOPICS), ensuring: Mutex::default() })
    }

    /// Has the topic be there. When it is known to be, nothing is waited for: calls then
    /// hand their records over in the order in which they were made.
    async fn ensure(&self, topic: &Topic) -> Result<(), Error> {
        if self.ensured.get(topic).is_some() {
            return Ok(());
        }
        let _one_by_one = self.ensuring.lock().await;
        if self.ensured.get(topic).is_none() {
            self.log.ensure(std::slice::from_ref(topic)).await?;
            self.ensured.insert(topic.clone(), ());
        }
        Ok(())
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn publish(&self, tenant: &Tenant, batch: u128, events: Vec<Accepted>) -> Result<usize, StoreError> {
        let topic = Topic::Behaviors(tenant.to_string());
        self.ensure(&topic).await?;
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
                    self.ensured.remove(&topic);
                    return Err(error.into());
                }
            }
        }
        Ok(too_large)
    }
}

#[async_trait]
impl Announcer for KafkaPublisher {
    async fn announce(&self, tenant: &Tenant, topic: &str, messages: Vec<Said>) -> Result<(), StoreError> {
        let topic =
            Topic::of_all(topic).ok_or_else(|| Error::invalid("topic", format_args!("there is no `{topic}`")))?;
        let mut records = Vec::with_capacity(messages.len());
        for Said { offset, key, body } in messages {
            let mut body: Map<String, Value> = serde_json::from_str(&body)
                .map_err(|error| StoreError::invalid("body", format_args!("must be a JSON object: {error}")))?;
            // The topics are those of all tenants.
            body.insert("tenant_id".to_owned(), tenant.as_str().into());
            let mut record = Record::new(format!("{tenant}/{key}"), Value::Object(body).to_string());
            record.headers.push((OFFSET.to_owned(), offset.to_string().into_bytes()));
            records.push(record);
        }
        self.append(topic, records).await
    }

    async fn bury(&self, tenant: &Tenant, letters: Vec<(String, String)>) -> Result<(), StoreError> {
        let records = letters.into_iter().map(|(key, letter)| Record::new(key, letter)).collect();
        self.append(Topic::DeadBehaviors(tenant.to_string()), records).await
    }
}

impl KafkaPublisher {
    /// Appends to a topic, which is there then. What is too large for it is left out.
    async fn append(&self, topic: Topic, records: Vec<Record>) -> Result<(), StoreError> {
        self.ensure(&topic).await?;
        let Err(AppendError { outcomes, .. }) = self.producer.append(&topic, records).await else { return Ok(()) };
        for outcome in outcomes {
            match outcome {
                // It would be each time.
                Err(Error::TooLarge(reason)) => tracing::error!(?topic, reason, "a message is not published"),
                Err(error) => {
                    self.ensured.remove(&topic);
                    return Err(error.into());
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }
}
