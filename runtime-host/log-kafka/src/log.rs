//! The log as one connects to it.

use std::{sync::Arc, time::Duration};

use tokio::task;

use crate::{
    admin::{self, Ensured},
    client,
    ends::Ends,
    error::Error,
    group::{Group, Subscription},
    producer::Producer,
    settings::KafkaSettings,
    topics::{Names, Topic},
};

/// A Kafka cluster.
#[derive(Debug, Clone)]
pub struct KafkaLog {
    settings: Arc<KafkaSettings>,
    names: Names,
}

impl KafkaLog {
    /// Checks the settings, and that a broker answers.
    ///
    /// # Errors
    /// See [`KafkaLog::new`] and [`KafkaLog::ask`].
    pub async fn connect(settings: KafkaSettings) -> Result<Self, Error> {
        let log = Self::new(settings)?;
        log.ask().await?;
        Ok(log)
    }

    /// Checks the settings. Whether anybody is there shows when it is used.
    ///
    /// # Errors
    /// `invalid` that names the setting.
    pub fn new(settings: KafkaSettings) -> Result<Self, Error> {
        settings.check()?;
        let names = Names::new(&settings.topic_prefix);
        Ok(Self { settings: Arc::new(settings), names })
    }

    /// Checks that a broker answers.
    ///
    /// # Errors
    /// `denied` when the login is refused; `unavailable` when no broker answers in
    /// `connect_timeout_ms`, with the reason of the last that was tried.
    pub async fn ask(&self) -> Result<(), Error> {
        let ours = Arc::clone(&self.settings);
        let patience = Duration::from_millis(ours.connect_timeout_ms);
        // Of a topic that need not be there: the answer is short.
        let ask =
            move || client::metadata(&ours, Some(&format!("{}recommendation-metrics", ours.topic_prefix)), patience);
        let answer = task::spawn_blocking(ask).await.map_err(|error| Error::Unavailable(error.to_string()))??;
        tracing::info!(brokers = answer.brokers().len(), "connected to kafka");
        Ok(())
    }

    /// Creates the topics that are not there, with the configured partitions, copies and
    /// retention. One that is there is left as it is, and if its partitions are others
    /// that is logged.
    ///
    /// # Errors
    /// `invalid` for a tenant's id that is none, or for what the cluster does not accept;
    /// `denied` when we may not create topics; `unavailable`. Some may be created then.
    pub async fn ensure(&self, topics: &[Topic]) -> Result<Vec<Ensured>, Error> {
        admin::ensure(&self.settings, &self.names, topics).await
    }

    /// Something to append with: one for a process is best, its batches are larger.
    ///
    /// # Errors
    /// `invalid` for what the check of the settings does not see: a file that holds no
    /// certificate.
    pub fn producer(&self) -> Result<Producer, Error> {
        Producer::new(Arc::clone(&self.settings), self.names.clone())
    }

    /// Something to ask how far topics go.
    ///
    /// # Errors
    /// As of [`KafkaLog::producer`].
    pub fn ends(&self) -> Result<Ends, Error> {
        Ends::new(&self.settings, self.names.clone())
    }

    /// Joins a group of readers; the prefix begins its name, too.
    ///
    /// # Errors
    /// `invalid` for a group or subscription that is none. What else fails, the
    /// [`Group`] tells.
    pub fn join(&self, group_id: &str, subscription: &Subscription) -> Result<Group, Error> {
        Group::join(Arc::clone(&self.settings), self.names.clone(), group_id, subscription)
    }
}
