//! The plain side of `spin:redis@3.0.0`: connections of components to servers of
//! their choice.
//!
//! The host binds the WIT to this and checks with [`address`] that the component
//! may reach the server. A connection is one component instance's own, since
//! commands may change what it is (`SELECT`, `MULTI`, `SUBSCRIBE`), and it is never
//! made anew behind the component's back: when it breaks, every further call
//! fails. Nothing is tried twice.
//!
//! ```no_run
//! # async fn example() -> Result<(), funnelweb_store_redis::outbound::Error> {
//! use funnelweb_store_redis::outbound::{Outbound, Parameter};
//!
//! let outbound = Outbound::new();
//! let connection = outbound.open("redis://localhost:6379").await?;
//! connection.set("greeting", b"hello".to_vec()).await?;
//! assert_eq!(connection.incr("count").await?, 1);
//! connection.execute("EXPIRE", vec![Parameter::Binary(b"count".to_vec()), Parameter::Int64(60)]).await?;
//! # Ok(()) }
//! ```

mod stream;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use funnelweb_core::limits;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo, RedisError, Value,
    aio::MultiplexedConnection, cmd,
};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::timeout,
};

use self::stream::{Allowance, Limited};

/// Bytes of a command's name.
const COMMAND_BYTES: usize = 64;
/// Bytes that the commands of one call have beside their arguments.
const ARGUMENT_BYTES: usize = 16;
/// Calls in a row that a server may leave without an answer. What was sent is kept
/// until it is answered, so at one more the connection ends.
const UNANSWERED_CALLS: usize = 4;

/// The errors of the WIT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("invalid address")]
    InvalidAddress,
    /// There are [`limits::REDIS_CONNECTIONS`] already.
    #[error("too many connections")]
    TooManyConnections,
    /// The value at the key is of another type.
    #[error("the value is of another type")]
    TypeError,
    /// Anything else: a limit, a failure, or what the server says.
    #[error("{0}")]
    Other(String),
}

/// An argument of [`Connection::execute`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// A number.
    Int64(i64),
    /// Bytes.
    Binary(Vec<u8>),
}

/// A part of what [`Connection::execute`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nil,
    /// A status, such as `OK`.
    Status(String),
    /// A number.
    Int64(i64),
    /// Bytes.
    Binary(Vec<u8>),
}

/// A server that a component names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or a number.
    pub host: String,
    /// 6379 when the address names none.
    pub port: u16,
    /// Whether it is spoken to with TLS.
    pub tls: bool,
}

/// Which server an address names: what a list of allowed hosts is checked with.
///
/// # Errors
/// [`Error::InvalidAddress`] for what is no `redis://` or `rediss://` URL; sockets
/// of the machine are not a component's to open.
pub fn address(address: &str) -> Result<Address, Error> {
    parse(address).map(|(address, _)| address)
}

fn parse(address: &str) -> Result<(Address, ConnectionInfo), Error> {
    if address.len() > limits::HEADER_BYTES {
        return Err(Error::InvalidAddress);
    }
    let info = address.into_connection_info().map_err(|_| Error::InvalidAddress)?;
    let named = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Address { host: host.clone(), port: *port, tls: false },
        // Whoever may be spoken to must be who they say.
        ConnectionAddr::TcpTls { host, port, insecure: false, .. } => {
            Address { host: host.clone(), port: *port, tls: true }
        }
        _ => return Err(Error::InvalidAddress),
    };
    Ok((named, info))
}

/// Connections of all components.
#[derive(Debug, Clone)]
pub struct Outbound {
    places: Arc<Semaphore>,
    timeout: Duration,
}

impl Default for Outbound {
    fn default() -> Self {
        Self::new()
    }
}

impl Outbound {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_timeout(limits::REDIS_TIMEOUT)
    }

    /// With another time for one call than [`limits::REDIS_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(timeout: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(limits::REDIS_CONNECTIONS)), timeout }
    }

    /// Connects to the server at `address`, which was checked to be allowed.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`], [`Error::TooManyConnections`], or
    /// [`Error::Other`] when it cannot be reached in time.
    pub async fn open(&self, address: &str) -> Result<Connection, Error> {
        let (server, info) = parse(address)?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| Error::TooManyConnections)?;
        let allowance = Allowance::new(limits::REDIS_REPLY_BYTES);
        let connect = async {
            let stream = stream::connect(&server).await.map_err(other)?;
            let stream = Limited::new(stream, allowance.clone());
            // Time is kept here.
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            MultiplexedConnection::new_with_config(info.redis_settings(), stream, config).await.map_err(other)
        };
        let (connection, driver) = timeout(self.timeout, connect).await.unwrap_or_else(|_| Err(late(self.timeout)))?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Connection {
            connection: Mutex::new(connection),
            driver,
            allowance,
            unanswered: AtomicUsize::new(0),
            timeout: self.timeout,
            _place: place,
        })
    }
}

/// A component's connection to one server. It makes one call at a time.
pub struct Connection {
    connection: Mutex<MultiplexedConnection>,
    driver: AbortHandle,
    allowance: Allowance,
    unanswered: AtomicUsize,
    timeout: Duration,
    _place: OwnedSemaphorePermit,
}

/// The driver would wait for replies that nobody waits for.
impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Publishes a message to a channel.
    ///
    /// # Errors
    /// See [`Error`]; as of all that follow.
    pub async fn publish(&self, channel: &str, payload: Vec<u8>) -> Result<(), Error> {
        self.ask::<Value>(cmd("PUBLISH").arg(channel).arg(payload)).await.map(|_| ())
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::TypeError`] when it is no string.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.ask(cmd("GET").arg(key)).await
    }

    /// Sets a key.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn set(&self, key: &str, value: Vec<u8>) -> Result<(), Error> {
        self.ask::<Value>(cmd("SET").arg(key).arg(value)).await.map(|_| ())
    }

    /// Adds one to a number; what it is then.
    ///
    /// # Errors
    /// [`Error::TypeError`] when it is no number.
    pub async fn incr(&self, key: &str) -> Result<i64, Error> {
        self.ask(cmd("INCR").arg(key)).await
    }

    /// Deletes keys; how many there were.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn del(&self, keys: Vec<String>) -> Result<u32, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        self.ask(cmd("DEL").arg(keys)).await
    }

    /// Adds values to a set; how many are new.
    ///
    /// # Errors
    /// [`Error::TypeError`] when it is no set.
    pub async fn sadd(&self, key: &str, values: Vec<String>) -> Result<u32, Error> {
        if values.is_empty() {
            return Ok(0);
        }
        self.ask(cmd("SADD").arg(key).arg(values)).await
    }

    /// The members of a set.
    ///
    /// # Errors
    /// [`Error::TypeError`] when it is no set, or one of them is no text.
    pub async fn smembers(&self, key: &str) -> Result<Vec<String>, Error> {
        self.ask(cmd("SMEMBERS").arg(key)).await
    }

    /// Removes values from a set; how many there were.
    ///
    /// # Errors
    /// [`Error::TypeError`] when it is no set.
    pub async fn srem(&self, key: &str, values: Vec<String>) -> Result<u32, Error> {
        if values.is_empty() {
            return Ok(0);
        }
        self.ask(cmd("SREM").arg(key).arg(values)).await
    }

    /// Any command; what it replies, list within list made one list.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn execute(&self, command: &str, arguments: Vec<Parameter>) -> Result<Vec<Reply>, Error> {
        if command.is_empty() || command.len() > COMMAND_BYTES {
            return Err(Error::Other(format!("command: must be 1 to {COMMAND_BYTES} bytes long")));
        }
        let mut call = cmd(command);
        for argument in arguments {
            match argument {
                Parameter::Int64(number) => call.arg(number),
                Parameter::Binary(bytes) => call.arg(bytes),
            };
        }
        let mut replies = Vec::new();
        flatten(self.ask(&call).await?, &mut replies)?;
        Ok(replies)
    }

    async fn ask<T: FromRedisValue>(&self, call: &Cmd) -> Result<T, Error> {
        let bytes: usize = call
            .args_iter()
            .map(|argument| match argument {
                redis::Arg::Simple(argument) => argument.len() + ARGUMENT_BYTES,
                _ => ARGUMENT_BYTES,
            })
            .sum();
        if bytes > limits::REDIS_REQUEST_BYTES {
            let most = limits::REDIS_REQUEST_BYTES;
            return Err(Error::Other(format!("command: must be at most {most} bytes long, got {bytes}")));
        }
        let asked = async {
            let mut connection = self.connection.lock().await;
            self.allowance.renew();
            if self.unanswered.fetch_add(1, Ordering::Relaxed) == UNANSWERED_CALLS {
                self.driver.abort();
            }
            let reply = connection.send_packed_command(call).await;
            // Replies come in order: those before it came as well.
            self.unanswered.store(0, Ordering::Relaxed);
            reply.and_then(Value::extract_error)
        };
        let reply = timeout(self.timeout, asked).await.map_err(|_| late(self.timeout))?;
        let reply = reply.map_err(|error| match error.code() {
            Some("WRONGTYPE") => Error::TypeError,
            Some("ERR") if error.detail().is_some_and(|detail| detail.contains("not an integer")) => Error::TypeError,
            _ if self.allowance.is_spent() => {
                Error::Other(format!("the reply is longer than {} bytes", limits::REDIS_REPLY_BYTES))
            }
            _ => other(error),
        })?;
        redis::from_redis_value(reply).map_err(|_| Error::TypeError)
    }
}

fn late(within: Duration) -> Error {
    Error::Other(format!("no answer within {within:?}"))
}

fn other(error: impl Into<RedisError>) -> Error {
    Error::Other(error.into().to_string())
}

fn flatten(value: Value, into: &mut Vec<Reply>) -> Result<(), Error> {
    match value {
        Value::Nil => into.push(Reply::Nil),
        Value::Int(number) => into.push(Reply::Int64(number)),
        Value::Boolean(yes) => into.push(Reply::Int64(yes.into())),
        Value::Double(number) => into.push(Reply::Binary(number.to_string().into_bytes())),
        Value::BulkString(bytes) => into.push(Reply::Binary(bytes)),
        Value::VerbatimString { text, .. } => into.push(Reply::Binary(text.into_bytes())),
        Value::Okay => into.push(Reply::Status("OK".to_owned())),
        Value::SimpleString(status) => into.push(Reply::Status(status)),
        Value::Array(values) | Value::Set(values) => {
            for value in values {
                flatten(value, into)?;
            }
        }
        Value::Map(pairs) => {
            for (key, value) in pairs {
                flatten(key, into)?;
                flatten(value, into)?;
            }
        }
        Value::Attribute { data, .. } => flatten(*data, into)?,
        Value::ServerError(error) => return Err(other(error)),
        _ => return Err(Error::Other("the reply is of a kind that has no place here".to_owned())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_host_port_and_tls() {
        let of = |host: &str, port, tls| Ok(Address { host: host.to_owned(), port, tls });
        assert_eq!(address("redis://cache"), of("cache", 6379, false));
        assert_eq!(address("rediss://ann:secret@10.0.0.1:7000/3"), of("10.0.0.1", 7000, true));
        // What a list of hosts says of one must not be said of another.
        assert_eq!(address("redis://good.example@evil.example"), of("evil.example", 6379, false));
        for wrong in ["", "cache:6379", "http://cache", "unix:///run/redis.sock", "redis+unix:///run/redis.sock"] {
            assert_eq!(address(wrong), Err(Error::InvalidAddress), "{wrong}");
        }
        assert_eq!(address("rediss://cache/#insecure"), Err(Error::InvalidAddress));
        assert_eq!(address(&format!("redis://{}", "x".repeat(40_000))), Err(Error::InvalidAddress));
    }

    #[test]
    fn replies_within_replies_are_one_list() {
        let inner = Value::Array(vec![Value::Okay, Value::Nil, Value::BulkString(vec![0, 255])]);
        let mut replies = Vec::new();
        flatten(Value::Array(vec![Value::Int(7), inner]), &mut replies).unwrap();
        let expected = [Reply::Int64(7), Reply::Status("OK".to_owned()), Reply::Nil, Reply::Binary(vec![0, 255])];
        assert_eq!(replies, expected);
    }
}
