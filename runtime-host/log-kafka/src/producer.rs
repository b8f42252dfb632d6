//! Appending: records go to their brokers in batches, and a call returns when the last of
//! its own is acknowledged.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::KafkaError,
    message::{DeliveryResult, Header, Message, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode as Code,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    client::{self, Reports},
    error::Error,
    settings::KafkaSettings,
    topics::{Names, Topic},
};

/// What a record costs beside its bytes, about.
const RECORD_BYTES: usize = 256;
/// The unit that the buffer is counted in: a semaphore holds few more than a billion.
const UNIT_BYTES: usize = 256;
/// How long the client waits for more records to send together, in milliseconds. While a
/// broker is busy they come together by themselves.
const LINGER_MS: &str = "2";

/// How long a topic may be unknown before it counts as one that does not exist, in
/// milliseconds: brokers hear of a new one at different times.
const UNKNOWN_MS: &str = "5000";

/// How much longer than its time a record may take to be given up. The client says of all
/// of them what became of them, but when it is ended with a session and is slow to.
const SLACK: Duration = Duration::from_secs(10);

/// What is appended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Records of one key have an order: they go to one partition, which depends on the
    /// key as in Kafka's Java clients. Empty: to any partition.
    pub key: Vec<u8>,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Up to a megabyte, with all else.
    pub payload: Vec<u8>,
}

impl Record {
    /// Without headers.
    pub fn new(key: impl Into<Vec<u8>>, payload: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), headers: Vec::new(), payload: payload.into() }
    }

    /// The memory that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        RECORD_BYTES + self.key.len() + headers + self.payload.len()
    }
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The partition of the topic.
    pub partition: u32,
    /// The place there; unknown when the broker had acknowledged it and that got lost.
    pub offset: Option<u64>,
}

/// That some records of an append were not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{failed} of {} records are not acknowledged: {first}", outcomes.len())]
pub struct AppendError {
    /// What became of each record, in order. One that is
    /// [unavailable](Error::Unavailable) may be in the log all the same.
    pub outcomes: Vec<Result<Position, Error>>,
    /// The first that went wrong.
    pub first: Error,
    failed: usize,
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        error.first
    }
}

/// Appends to topics, from any number of tasks at once.
///
/// Calls of one task, one after the other, are in order; within a call records of one key
/// are. A retry of the client's own neither doubles nor reorders records, as long as its
/// session lasts: until the process ends, or the cluster forgets the session, which is
/// logged.
pub struct Producer {
    names: Names,
    settings: Arc<KafkaSettings>,
    /// Changes when the cluster has forgotten it.
    session: Mutex<Arc<Session>>,
    room: Arc<Semaphore>,
    /// All of `room`.
    units: u32,
}

struct Session {
    client: ThreadedProducer<Deliveries>,
    reports: Arc<Reports>,
}

impl Producer {
    pub(crate) fn new(settings: Arc<KafkaSettings>, names: Names) -> Result<Self, Error> {
        let units = u32::try_from(settings.append_buffer_bytes as usize / UNIT_BYTES).unwrap_or(u32::MAX >> 3);
        let session = Mutex::new(Arc::new(Session::new(&settings)?));
        Ok(Self { names, settings, session, room: Arc::new(Semaphore::new(units as usize)), units })
    }

    /// Appends records; returns when all of them are acknowledged by all in-sync copies,
    /// or `append_timeout_ms` after the last found room in the buffer. A call that is
    /// dropped may have written any of them, and goes on to.
    ///
    /// # Errors
    /// What became of each record, if not all are acknowledged: `too large` for one that
    /// is, `invalid` when there is no such topic, `denied` when we may not write there,
    /// `unavailable` when the time was over.
    pub async fn append(&self, topic: &Topic, records: Vec<Record>) -> Result<Vec<Position>, AppendError> {
        let append = Append::of(records.len());
        match self.names.of(topic) {
            Ok(name) => self.send(&name, records, &append).await,
            Err(error) => (0..records.len()).for_each(|at| append.settle(at, Err(error.clone()))),
        }
        append.outcomes(self.settings.append_timeout() + SLACK).await
    }

    async fn send(&self, name: &str, records: Vec<Record>, append: &Arc<Append>) {
        let deadline = Instant::now() + self.settings.append_timeout();
        let mut full = None;
        for (at, record) in records.into_iter().enumerate() {
            // What comes after one that was not sent is not sent: it may be of its key.
            let room = match &full {
                Some(error) => Err(Error::clone(error)),
                None => self.room(&record, deadline).await,
            };
            match room {
                Ok(room) => self.send_one(name, record, Waiting { append: Arc::clone(append), at, _room: room }),
                Err(error) => append.settle(at, Err(full.insert(error).clone())),
            }
        }
    }

    async fn room(&self, record: &Record, deadline: Instant) -> Result<OwnedSemaphorePermit, Error> {
        let units = u32::try_from(record.bytes().div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.units);
        let room = || Arc::clone(&self.room);
        if let Ok(permit) = room().try_acquire_many_owned(units) {
            return Ok(permit);
        }
        match timeout_at(deadline, room().acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Error::Unavailable("the producer is closed".to_owned())),
            Err(_) => {
                let bytes = self.settings.append_buffer_bytes;
                Err(Error::Unavailable(format!("append_buffer_bytes: {bytes} bytes are waiting already")))
            }
        }
    }

    fn send_one(&self, name: &str, record: Record, waiting: Waiting) {
        let mut waiting = Box::new(waiting);
        // Once more when only the session was over.
        for _ in 0..2 {
            let session = Arc::clone(&self.session());
            let headers = (!record.headers.is_empty()).then(|| {
                record
                    .headers
                    .iter()
                    .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, (key, value)| {
                        headers.insert(Header { key, value: Some(value) })
                    })
            });
            let mut message = BaseRecord::with_opaque_to(name, waiting).payload(&record.payload);
            message.headers = headers;
            message.key = (!record.key.is_empty()).then_some(&record.key);
            match session.client.send(message) {
                Ok(()) => return,
                Err((error, message)) => {
                    waiting = message.delivery_opaque;
                    if error.rdkafka_error_code() != Some(Code::Fatal) {
                        // Said by a broker it is of all records that were sent together.
                        let error = match error.rdkafka_error_code() {
                            Some(Code::MessageSizeTooLarge) => Error::TooLarge(format!("{name}: {error}")),
                            _ => session.reports.error(name, &error),
                        };
                        waiting.append.settle(waiting.at, Err(error));
                        return;
                    }
                    self.renew(&session);
                }
            }
        }
        let error = Error::Unavailable(format!("{name}: no session with the cluster"));
        waiting.append.settle(waiting.at, Err(error));
    }

    fn session(&self) -> MutexGuard<'_, Arc<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session in the place of one that can do no more: its retries could write twice.
    fn renew(&self, over: &Arc<Session>) {
        let reason = over.client.client().fatal_error();
        let mut current = self.session();
        if !Arc::ptr_eq(&current, over) {
            return;
        }
        tracing::error!(?reason, "the session of a producer is over, records in flight are not acknowledged");
        match Session::new(&self.settings) {
            Ok(new) => {
                let old = std::mem::replace(&mut *current, Arc::new(new));
                // It takes half a second to end.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => tracing::error!(%error, "a producer got no new session"),
        }
    }

    /// Waits until everything is acknowledged or has failed, and takes no more.
    ///
    /// # Errors
    /// `unavailable` when that takes longer than `patience`; what is left is given up.
    pub async fn close(self, patience: Duration) -> Result<(), Error> {
        let all = timeout(patience, Arc::clone(&self.room).acquire_many_owned(self.units)).await;
        let result = match all {
            Ok(_) => Ok(()),
            Err(_) => {
                let units = self.units as usize - self.room.available_permits();
                let bytes = units * UNIT_BYTES;
                Err(Error::Unavailable(format!("{bytes} bytes were not acknowledged when the producer was closed")))
            }
        };
        self.room.close();
        // It waits for threads of its own.
        drop(task::spawn_blocking(move || drop(self)).await);
        result
    }
}

impl Session {
    fn new(settings: &KafkaSettings) -> Result<Self, Error> {
        let reports = Reports::of("producer");
        let mut config = client::config(settings);
        // Bounded by `room` before it gets there: these bounds are above that, for what
        // the client counts otherwise.
        let most_kbytes = (2 * settings.append_buffer_bytes).div_ceil(1024);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", settings.append_timeout_ms.to_string())
            .set("topic.metadata.propagation.max.ms", UNKNOWN_MS)
            .set("linger.ms", LINGER_MS)
            .set("compression.type", "lz4")
            // As the Java clients do, so that what others write of a user is in the same
            // partition.
            .set("partitioner", "murmur2_random")
            .set("queue.buffering.max.kbytes", most_kbytes.to_string())
            .set("queue.buffering.max.messages", "0");
        let client = client::create(&config, Deliveries(Arc::clone(&reports)))?;
        Ok(Self { client, reports })
    }
}

/// An append that waits for its records.
struct Append {
    outcomes: Mutex<Vec<Result<Position, Error>>>,
    left: AtomicUsize,
    done: Notify,
}

impl Append {
    fn of(records: usize) -> Arc<Self> {
        let unknown = Err(Error::Unavailable("nothing is known of it".to_owned()));
        Arc::new(Self {
            outcomes: Mutex::new(vec![unknown; records]),
            left: AtomicUsize::new(records),
            done: Notify::new(),
        })
    }

    /// Says what became of one record, once.
    fn settle(&self, at: usize, outcome: Result<Position, Error>) {
        if let Some(place) = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
            *place = outcome;
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    async fn outcomes(&self, patience: Duration) -> Result<Vec<Position>, AppendError> {
        let done = async {
            while self.left.load(Ordering::Acquire) > 0 {
                self.done.notified().await;
            }
        };
        // Without it, nothing is known of those that are left.
        let _ = timeout(patience, done).await;
        let outcomes = std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner));
        let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        match outcomes.iter().find_map(|outcome| outcome.as_ref().err()) {
            Some(first) => Err(AppendError { first: first.clone(), failed, outcomes }),
            None => Ok(outcomes.into_iter().flatten().collect()),
        }
    }
}

/// One record on its way, with the room that it takes.
struct Waiting {
    append: Arc<Append>,
    at: usize,
    _room: OwnedSemaphorePermit,
}

struct Deliveries(Arc<Reports>);

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.heard(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Waiting>;

    fn delivery(&self, delivery: &DeliveryResult<'_>, waiting: Box<Waiting>) {
        let outcome = match delivery {
            Ok(message) => Ok(Position {
                partition: u32::try_from(message.partition()).unwrap_or_default(),
                offset: u64::try_from(message.offset()).ok(),
            }),
            Err((error, message)) => Err(self.0.error(message.topic(), error)),
        };
        waiting.append.settle(waiting.at, outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_that_is_over_is_replaced() {
        // Nobody is there, so what is appended waits.
        let settings = KafkaSettings { append_timeout_ms: 2000, ..KafkaSettings::of("127.0.0.1:9") };
        let producer = Arc::new(Producer::new(Arc::new(settings), Names::new("")).unwrap());
        let first = Arc::clone(&producer.session());
        let waiting = tokio::spawn({
            let producer = Arc::clone(&producer);
            async move { producer.append(&Topic::Metrics, vec![Record::new("a", "1")]).await }
        });
        task::yield_now().await;
        #[allow(unsafe_code, reason = "only the C library can pretend that the cluster has forgotten us")]
        // SAFETY: the client lives as long as `first`, the text is of all time.
        unsafe {
            rdkafka::bindings::rd_kafka_test_fatal_error(
                first.client.client().native_ptr(),
                rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                c"a test".as_ptr(),
            );
        }
        let error = producer.append(&Topic::Metrics, vec![Record::new("a", "2")]).await.unwrap_err();
        assert!(matches!(&error.first, Error::Unavailable(message) if message.contains("refused")), "{error:?}");
        assert!(!Arc::ptr_eq(&first, &producer.session()));
        // What was in flight is not lost sight of.
        drop(first);
        assert!(matches!(waiting.await.unwrap().unwrap_err().first, Error::Unavailable(_)));
    }
}
