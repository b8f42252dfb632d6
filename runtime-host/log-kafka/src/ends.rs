//! How far topics go.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::{RDKafkaErrorCode as Code, RDKafkaRespErr},
};
use tokio::task;

use crate::{
    client::{self, Listener, Reports},
    error::Error,
    settings::KafkaSettings,
    topics::{Names, Topic},
};

/// How long an answer is waited for: others wait with it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Reports that are fetched after each question.
const REPORTS: usize = 16;

/// Asks brokers which records of topics are there. One question at a time.
#[derive(Clone)]
pub struct Ends {
    names: Names,
    patience: Duration,
    client: Arc<Mutex<BaseConsumer<Listener>>>,
    reports: Arc<Reports>,
}

impl Ends {
    pub(crate) fn new(settings: &KafkaSettings, names: Names) -> Result<Self, Error> {
        let reports = Reports::of("ends");
        let client = client::create(&client::config(settings), Listener(Arc::clone(&reports)))?;
        let patience = settings.operation_timeout().min(PATIENCE);
        Ok(Self { names, patience, client: Arc::new(Mutex::new(client)), reports })
    }

    /// The offsets that each partition has, from the first that is there to the one that the
    /// next record will get; no partitions of a topic that does not exist.
    ///
    /// # Errors
    /// `unavailable` when the cluster does not say in time, `denied` when it does not want to.
    pub async fn of(&self, topic: &Topic) -> Result<Vec<Range<u64>>, Error> {
        let (this, name) = (self.clone(), self.names.of(topic)?);
        let ask = move || {
            let client = this.client.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = ask(&client, &name, this.patience);
            (0..REPORTS).for_each(|_| drop(client.poll(Duration::ZERO)));
            answer.map_err(|error| this.reports.error("asking for the ends", &error))
        };
        task::spawn_blocking(ask).await.map_err(|error| Error::Unavailable(error.to_string()))?
    }
}

/// See [`Ends::of`]. Blocks.
fn ask(client: &BaseConsumer<Listener>, name: &str, patience: Duration) -> Result<Vec<Range<u64>>, KafkaError> {
    let metadata = client.fetch_metadata(Some(name), patience)?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(Vec::new()) };
    match topic.error() {
        None => {}
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => return Ok(Vec::new()),
        Some(other) => return Err(KafkaError::MetadataFetch(Code::from(other))),
    }
    let count = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
    let at = |offset: Offset| {
        let mut list = TopicPartitionList::new();
        for partition in 0..count {
            // In the place of a time: the earliest, or the latest.
            list.add_partition_offset(name, partition, offset)?;
        }
        let found = client.offsets_for_times(list, patience)?;
        let mut offsets = Vec::new();
        for partition in 0..count {
            let element = found.find_partition(name, partition);
            let element = element.ok_or(KafkaError::OffsetFetch(Code::UnknownPartition))?;
            element.error()?;
            let offset = element.offset().to_raw().and_then(|offset| u64::try_from(offset).ok());
            offsets.push(offset.ok_or(KafkaError::OffsetFetch(Code::NoOffset))?);
        }
        Ok::<_, KafkaError>(offsets)
    };
    // What is appended meanwhile is left out, what is deleted too.
    let ends = at(Offset::End)?;
    Ok(at(Offset::Beginning)?.into_iter().zip(ends).map(|(first, end)| first.min(end)..end).collect())
}
