//! One call to the server: its deadline, the breaker, and what is tried again.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use funnelweb_tenant_store::{Breaker, Error, Refused, jitter};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::{
    Code, Request,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    proto::{Answer, Status},
    settings::MilvusSettings,
};

/// How often a call is tried again: every one of them changes nothing when repeated.
const RETRIES: u32 = 2;
/// The first wait before that; it doubles.
const RETRY_WAIT: Duration = Duration::from_millis(20);
/// Bytes of an answer: a thousand of the longest vectors, several times over.
const ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// How often a connection without calls is asked whether it is one.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Codes of `Status`: those of servers since 2.3, and before.
const NO_COLLECTION: (i32, i32) = (100, 4);
const NOT_LOADED: (i32, i32) = (101, 101);
const NO_INDEX: (i32, i32) = (700, 11);

/// Why a call to the server failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It did not answer, or cannot at the moment.
    Down(String),
    /// There is no such collection.
    NoCollection,
    /// The collection is there and has to be loaded.
    NotLoaded,
    /// The collection has no index.
    NoIndex,
    /// It refused: what it was asked, and why not.
    Refused(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(match failure {
            Failure::Down(text) | Failure::Refused(text) => text,
            Failure::NoCollection => "milvus: the collection is gone".to_owned(),
            Failure::NotLoaded => "milvus: the collection is not loaded".to_owned(),
            Failure::NoIndex => "milvus: the collection has no index".to_owned(),
        })
    }
}

/// A connection, made again when it breaks.
pub(crate) struct Link {
    channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
    database: Option<MetadataValue<Ascii>>,
    timeout: Duration,
    breaker: Breaker,
}

impl Link {
    /// To the server that is named; nothing is sent yet.
    pub(crate) fn new(settings: &MilvusSettings) -> Result<Self, Error> {
        let address = settings.check()?;
        let invalid = |name: &str, error: &dyn std::fmt::Display| Error::invalid(name, error);
        let is_tls = address.scheme_str() == Some("https");
        let mut endpoint = Endpoint::from(address)
            .connect_timeout(settings.connect_timeout())
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        if is_tls {
            let tls = match &settings.tls_ca_file {
                None => ClientTlsConfig::new().with_native_roots(),
                Some(path) => {
                    let pem = std::fs::read(path).map_err(|error| invalid("tls_ca_file", &error))?;
                    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
                }
            };
            endpoint = endpoint.tls_config(tls).map_err(|error| invalid("url", &error))?;
        }
        let header = |name: &str, text: &str| {
            let value = MetadataValue::try_from(text);
            value.map_err(|_| invalid(name, &"must be of printable ASCII characters"))
        };
        let token =
            settings.token.as_deref().map(|token| header("token", &BASE64_STANDARD.encode(token))).transpose()?;
        let database = Some(&*settings.database).filter(|name| !name.is_empty());
        Ok(Self {
            channel: endpoint.connect_lazy(),
            authorization: token,
            database: database.map(|name| header("database", name)).transpose()?,
            timeout: settings.operation_timeout(),
            breaker: Breaker::of("milvus"),
        })
    }

    /// Calls the server, and again when it did not answer.
    pub(crate) async fn call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Answer,
    {
        let start = Instant::now();
        let left = || self.timeout.saturating_sub(start.elapsed());
        let mut wait = RETRY_WAIT;
        for _ in 0..RETRIES {
            match self.once(method, request.clone(), left()).await {
                Err(Failure::Down(_)) if !self.breaker.is_open() && left() > 2 * wait => {
                    tokio::time::sleep(jitter(wait)).await;
                    wait *= 2;
                }
                answer => return answer,
            }
        }
        self.once(method, request, left()).await
    }

    async fn once<Q, A>(&self, method: &'static str, request: Q, time: Duration) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Answer,
    {
        let call = async || match tokio::time::timeout(time, self.send(method, request, time)).await {
            Ok(answer) => answer,
            Err(_) => Err(no_answer(method, time)),
        };
        let answer = self.breaker.call(|failure| matches!(failure, Failure::Down(_)), call).await;
        answer.map_err(|refused| match refused {
            Refused::Failed(failure) => failure,
            Refused::Open => Failure::Down(format!("milvus: {method}: not tried, the calls before failed")),
        })
    }

    async fn send<Q, A>(&self, method: &'static str, request: Q, time: Duration) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Answer,
    {
        let path = format!("/milvus.proto.milvus.MilvusService/{method}");
        let path = PathAndQuery::try_from(path).map_err(|error| Failure::Refused(error.to_string()))?;
        let mut request = Request::new(request);
        request.set_timeout(time);
        if let Some(token) = &self.authorization {
            request.metadata_mut().insert("authorization", token.clone());
        }
        if let Some(database) = &self.database {
            request.metadata_mut().insert("dbname", database.clone());
        }
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES);
        grpc.ready().await.map_err(|error| down(method, &error.to_string(), error.source()))?;
        let answer = grpc.unary(request, path, ProstCodec::<Q, A>::default()).await;
        let answer = answer.map_err(|failed| match failed.code() {
            // The client's own deadline is the same, and may be the first to end.
            Code::DeadlineExceeded | Code::Cancelled => no_answer(method, time),
            Code::Unavailable | Code::Unknown | Code::ResourceExhausted => {
                down(method, failed.message(), failed.source())
            }
            _ => Failure::Refused(format!("milvus: {method}: {}", failed.message())),
        })?;
        let answer = answer.into_inner();
        match answer.status() {
            Some(status) => check(method, status).map(|()| answer),
            None => Ok(answer),
        }
    }
}

fn no_answer(method: &str, time: Duration) -> Failure {
    Failure::Down(format!("milvus: {method}: no answer in {} ms", time.as_millis()))
}

/// What the server says of a call that arrived.
fn check(method: &str, status: &Status) -> Result<(), Failure> {
    let is = |(code, before): (i32, i32)| {
        // A server that has the newer codes says the older as well.
        if status.code == 0 { status.error_code == before } else { status.code == code }
    };
    if status.code == 0 && status.error_code == 0 {
        Ok(())
    } else if is(NO_COLLECTION) {
        Err(Failure::NoCollection)
    } else if is(NOT_LOADED) {
        Err(Failure::NotLoaded)
    } else if is(NO_INDEX) {
        Err(Failure::NoIndex)
    } else {
        let text = format!("milvus: {method}: {} (code {})", status.reason, status.code.max(status.error_code));
        Err(if status.retriable { Failure::Down(text) } else { Failure::Refused(text) })
    }
}

/// With what caused it, which tells more.
fn down(method: &str, message: &str, mut cause: Option<&(dyn std::error::Error + 'static)>) -> Failure {
    let mut text = format!("milvus: {method}: {message}");
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    Failure::Down(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_codes_mean_the_same() {
        let status = |code, error_code, retriable| Status { code, error_code, retriable, reason: "why".to_owned() };
        let check = |code, error_code| check("Search", &status(code, error_code, false));
        assert_eq!(check(0, 0), Ok(()));
        assert_eq!((check(100, 4), check(0, 4)), (Err(Failure::NoCollection), Err(Failure::NoCollection)));
        assert_eq!((check(101, 1), check(700, 1)), (Err(Failure::NotLoaded), Err(Failure::NoIndex)));
        let refused = "milvus: Search: why (code 1100)".to_owned();
        assert_eq!(check(1100, 1), Err(Failure::Refused(refused.clone())));
        assert_eq!(super::check("Search", &status(1100, 1, true)), Err(Failure::Down(refused)));
    }
}
