//! Creating topics, and looking at those that are there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    types::RDKafkaErrorCode as Code,
};
use tokio::{
    task,
    time::{Instant, sleep},
};

use crate::{
    client::{self, Listener, Reports},
    error::Error,
    settings::KafkaSettings,
    topics::{Names, Topic},
};

/// Leaves the number of copies to the cluster.
const CLUSTERS_REPLICATION: i32 = -1;

/// Between two looks at the topics.
const AGAIN: Duration = Duration::from_millis(50);

/// A topic that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// The topic.
    pub topic: Topic,
    /// As it is called.
    pub name: String,
    /// Those that it has, which may be others than configured.
    pub partitions: u32,
    /// Whether it was not there before.
    pub created: bool,
}

/// Creates the topics that are not there.
pub(crate) async fn ensure(
    settings: &Arc<KafkaSettings>,
    names: &Names,
    topics: &[Topic],
) -> Result<Vec<Ensured>, Error> {
    let names = topics.iter().map(|topic| names.of(topic)).collect::<Result<Vec<_>, _>>()?;
    let found = partitions(settings).await?;
    let missing: Vec<&str> = names.iter().map(String::as_str).filter(|name| !found.contains_key(*name)).collect();
    let created = create(settings, &missing).await?;
    let found = if missing.len() == created.len() { found } else { all_of(settings, &names, &created).await? };
    let ensured = topics.iter().zip(names).map(|(topic, name)| {
        let created = created.contains(&name);
        let partitions = found.get(&name).copied().unwrap_or(settings.partitions);
        if partitions != settings.partitions {
            tracing::warn!(topic = name, partitions, configured = settings.partitions, "a topic is used as it is");
        }
        Ok(Ensured { topic: topic.clone(), name, partitions, created })
    });
    ensured.collect()
}

/// Waits until the topics that somebody else has created in between are to be seen: the
/// broker that is asked may not have heard of them.
async fn all_of(
    settings: &Arc<KafkaSettings>,
    names: &[String],
    created: &[String],
) -> Result<HashMap<String, u32>, Error> {
    let deadline = Instant::now() + settings.operation_timeout();
    loop {
        let found = partitions(settings).await?;
        match names.iter().find(|name| !created.contains(*name) && !found.contains_key(*name)) {
            None => return Ok(found),
            Some(name) if Instant::now() > deadline => {
                return Err(Error::Unavailable(format!("{name} was created by somebody, and is not there")));
            }
            Some(_) => sleep(AGAIN).await,
        }
    }
}

/// The topics that are there, with their partitions.
async fn partitions(settings: &Arc<KafkaSettings>) -> Result<HashMap<String, u32>, Error> {
    let settings = Arc::clone(settings);
    let ask = move || {
        let metadata = client::metadata(&settings, None, settings.operation_timeout())?;
        let topics = metadata.topics().iter();
        Ok(topics.map(|topic| (topic.name().to_owned(), topic.partitions().len() as u32)).collect())
    };
    task::spawn_blocking(ask).await.map_err(|error| Error::Unavailable(error.to_string()))?
}

/// Creates topics; the names of those that were not there by now.
async fn create(settings: &Arc<KafkaSettings>, names: &[&str]) -> Result<Vec<String>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let reports = Reports::of("admin");
    // One that is there all the time would collect reports that nobody fetches.
    let client: AdminClient<Listener> = client::create(&client::config(settings), Listener(Arc::clone(&reports)))?;
    let copies = settings.replication_factor.map_or(CLUSTERS_REPLICATION, i32::from);
    let partitions = i32::try_from(settings.partitions).unwrap_or(i32::MAX);
    let retention_ms = settings.retention().as_millis().to_string();
    let new = |name| {
        NewTopic::new(name, partitions, TopicReplication::Fixed(copies))
            .set("cleanup.policy", "delete")
            .set("retention.ms", &retention_ms)
    };
    let topics: Vec<NewTopic<'_>> = names.iter().copied().map(new).collect();
    let patience = Some(settings.operation_timeout());
    let options = AdminOptions::new().request_timeout(patience).operation_timeout(patience);
    let answers = client.create_topics(&topics, &options).await;
    // It waits for a thread of its own.
    drop(task::spawn_blocking(move || drop(client)));
    let mut created = Vec::new();
    for answer in answers.map_err(|error| reports.error("creating topics", &error))? {
        match answer {
            Ok(name) => {
                tracing::info!(topic = name, partitions, "topic created");
                created.push(name);
            }
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                return Err(Error::with_code(Some(code), format!("creating the topic {name}: {code}")));
            }
        }
    }
    Ok(created)
}
