//! One call to the server: its deadline, the breaker, and what is tried again.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use bson::Document;
use funnelweb_tenant_store::{Refused, jitter};
use futures::TryStreamExt;
use mongodb::error::{Error as DriverError, ErrorKind, WriteFailure};

use crate::server::MongoStore;

/// How often a call that changes nothing when it is repeated is tried again.
const RETRIES: u32 = 2;
/// The first wait before that; it doubles.
const RETRY_WAIT: Duration = Duration::from_millis(20);
/// The code of a duplicate key.
const DUPLICATE_KEY: i32 = 11_000;
/// Codes of a server that cannot serve at the moment: it shuts down, is no
/// primary, or lost its own connections.
const NOT_NOW: [i32; 11] = [6, 7, 89, 91, 189, 9001, 10_107, 11_600, 11_602, 13_435, 13_436];

/// Why a call to the server failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It did not answer; whether it did what it was asked is not known.
    Down(String),
    /// It refused: what it was asked, and why not.
    Refused(&'static str, Box<DriverError>),
}

impl Failure {
    /// Whether a unique index has the key already.
    pub(crate) fn is_duplicate(&self) -> bool {
        let Self::Refused(_, error) = self else { return false };
        match &*error.kind {
            ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
            // What a server over PostgreSQL says when two insert at the same moment.
            ErrorKind::Command(error) => {
                error.code == DUPLICATE_KEY || error.message.contains("duplicate key value violates unique constraint")
            }
            ErrorKind::InsertMany(error) => {
                let errors = error.write_errors.as_deref().unwrap_or_default();
                !errors.is_empty() && errors.iter().all(|error| error.code == DUPLICATE_KEY)
            }
            _ => false,
        }
    }

    /// The places of the documents of an unordered insert that were there
    /// already; the failure itself when there was another reason.
    pub(crate) fn duplicates(self) -> Result<Vec<usize>, Self> {
        if !self.is_duplicate() {
            return Err(self);
        }
        let Self::Refused(_, error) = &self else { return Err(self) };
        let ErrorKind::InsertMany(errors) = &*error.kind else { return Err(self) };
        Ok(errors.write_errors.iter().flatten().map(|error| error.index).collect())
    }

    /// Whether a transaction may just be begun again.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Refused(_, error) if error.contains_label(mongodb::error::TRANSIENT_TRANSACTION_ERROR))
    }
}

fn is_down(error: &DriverError) -> bool {
    match &*error.kind {
        ErrorKind::Io(_)
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::InvalidResponse { .. }
        | ErrorKind::Shutdown => true,
        ErrorKind::Command(error) => NOT_NOW.contains(&error.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => NOT_NOW.contains(&error.code),
        _ => false,
    }
}

impl MongoStore {
    /// Calls the server once.
    pub(crate) async fn once<T, F>(&self, what: &'static str, work: impl FnOnce() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, DriverError>>,
    {
        self.within(what, self.settings.operation_timeout(), work).await
    }

    async fn within<T, F>(&self, what: &'static str, time: Duration, work: impl FnOnce() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, DriverError>>,
    {
        let call = async || match tokio::time::timeout(time, work()).await {
            Ok(Err(error)) if is_down(&error) => Err(Failure::Down(format!("mongodb: {what}: {error}"))),
            Ok(answer) => answer.map_err(|error| Failure::Refused(what, Box::new(error))),
            Err(_) => Err(Failure::Down(format!("mongodb: {what}: no answer in {} ms", time.as_millis()))),
        };
        let answer = self.breaker.call(|failure| matches!(failure, Failure::Down(_)), call).await;
        answer.map_err(|refused| match refused {
            Refused::Failed(failure) => failure,
            Refused::Open => Failure::Down(format!("mongodb: {what}: not tried, the calls before failed")),
        })
    }

    /// Calls the server, and again when it did not answer: for what changes
    /// nothing when it is repeated.
    pub(crate) async fn again<T, F>(&self, what: &'static str, work: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, DriverError>>,
    {
        let start = Instant::now();
        let left = || self.settings.operation_timeout().saturating_sub(start.elapsed());
        let mut wait = RETRY_WAIT;
        for _ in 0..RETRIES {
            match self.within(what, left(), &work).await {
                // With no time left there is nothing to try.
                Err(Failure::Down(_)) if !self.breaker.is_open() && left() > 2 * wait => {
                    tokio::time::sleep(jitter(wait)).await;
                    wait *= 2;
                }
                answer => return answer,
            }
        }
        self.within(what, left(), work).await
    }

    /// The documents that fit.
    pub(crate) async fn find(&self, collection: &str, find: &Find) -> Result<Vec<Document>, Failure> {
        let collection = self.collection(collection);
        let collection = &collection;
        self.again("find", || async move {
            let mut action = collection.find(find.filter.clone());
            if let Some(fields) = &find.fields {
                action = action.projection(fields.clone());
            }
            if let Some(sort) = &find.sort {
                action = action.sort(sort.clone());
            }
            if let Some(limit) = find.limit {
                // One batch: nothing is left open on the server.
                action = action.limit(limit).batch_size(u32::try_from(limit).unwrap_or(u32::MAX));
            }
            if let Some(skip) = find.skip {
                action = action.skip(skip);
            }
            action.max_time(self.settings.operation_timeout()).await?.try_collect().await
        })
        .await
    }
}

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Find {
    pub(crate) filter: Document,
    pub(crate) fields: Option<Document>,
    pub(crate) sort: Option<Document>,
    pub(crate) skip: Option<u64>,
    pub(crate) limit: Option<i64>,
}
