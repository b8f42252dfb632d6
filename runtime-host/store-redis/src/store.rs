//! One server or cluster: calls with a deadline, retries and a circuit breaker.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use funnelweb_core::id;
use funnelweb_tenant_store::{Breaker, Error, Refused, Walk, jitter, lock, pages};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use redis::{Cmd, RedisError, Value, cluster_routing::SingleNodeRoutingInfo, cmd};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    command::{Command, list, text},
    keys::Keys,
    link::{Borrowed, Link},
    settings::{RedisSettings, without_login},
};

/// Tries after the first, of calls that may be made twice. All are.
const RETRIES: u32 = 2;
/// Before the first of them; the second waits twice as long.
const BACKOFF: Duration = Duration::from_millis(25);
/// Keys that a server looks at in one step of a search.
const SCAN_STEP: usize = 2000;

/// A Redis or Valkey server, or a cluster of them. Clones share its connections.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    name: String,
    link: Link,
    breaker: Breaker,
    deadline: Duration,
    keys: Keys,
    cluster: bool,
    round_trips: AtomicU64,
}

/// A node of a cluster; none is the one server.
type Node = Option<SingleNodeRoutingInfo>;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No answer: counts towards the breaker.
    #[error("{0}")]
    Down(RedisError),
    /// Not in time; likewise.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// It says that it cannot now, but may soon.
    #[error("{0}")]
    Busy(RedisError),
    /// It says no.
    #[error("{0}")]
    Refused(RedisError),
}

impl RedisStore {
    /// Connects, and checks that the server does what is needed of it.
    ///
    /// # Errors
    /// `invalid` with the name of a setting that is wrong, `unavailable` when the
    /// server does not answer or does not let us do our work.
    pub async fn connect(settings: &RedisSettings) -> Result<Self, Error> {
        let name = settings.urls.iter().map(|url| without_login(url)).collect::<Vec<_>>().join(", ");
        let store = Self(Arc::new(Inner {
            name,
            link: Link::new(settings)?,
            breaker: Breaker::of("redis"),
            deadline: settings.response_timeout(),
            keys: Keys::new(&settings.key_prefix),
            cluster: settings.cluster,
            round_trips: AtomicU64::new(0),
        }));
        store.check().await?;
        Ok(store)
    }

    /// Round trips so far. Commands that were sent together are one, whether to one
    /// node or to several at once.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.0.round_trips.load(Ordering::Relaxed)
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Whether keys that a script names must be of one slot.
    pub(crate) fn is_cluster(&self) -> bool {
        self.0.cluster
    }

    /// Sends commands together; their replies in order, none of which is an error.
    /// They may be sent twice.
    ///
    /// # Errors
    /// `unavailable` when one of them has no reply; others may have been done.
    pub(crate) async fn run(&self, commands: Vec<Command>) -> Result<Vec<Value>, Error> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.guarded(async |deadline| self.retried(deadline, &commands).await).await
    }

    /// Sends one command; see [`RedisStore::run`].
    pub(crate) async fn run_one(&self, command: Command) -> Result<Value, Error> {
        Ok(self.run(vec![command]).await?.pop().unwrap_or(Value::Nil))
    }

    /// Every key that fits the pattern, of all nodes, in steps that each have the
    /// time of a call.
    pub(crate) async fn scan(&self, pattern: &str) -> Result<Vec<String>, Error> {
        self.walk_keys(pattern.to_owned()).try_concat().await
    }

    /// [`RedisStore::scan`], step by step. Of the keys before, a hash is kept: one
    /// may be found twice.
    pub(crate) fn walk_keys(&self, pattern: String) -> Walk<'_, String> {
        let nodes = async {
            self.guarded(async |deadline| {
                timed(deadline, self.0.deadline, async {
                    let mut link = self.0.link.borrow().await.map_err(failure)?;
                    link.primaries().await.map_err(failure)
                })
                .await
            })
            .await
        };
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let node = move |node: Node| {
            let (pattern, seen) = (pattern.clone(), seen.clone());
            pages("0".to_owned(), move |cursor| {
                let (node, pattern, seen) = (node.clone(), pattern.clone(), seen.clone());
                async move {
                    let (mut keys, next) = self.scan_step(node.as_ref(), &pattern, &cursor).await?;
                    let mut seen = lock(&seen);
                    keys.retain(|key| seen.insert(id::handle(key)));
                    Ok((keys, next))
                }
            })
        };
        let nodes = nodes.into_stream().map_ok(|nodes: Vec<Node>| stream::iter(nodes.into_iter().map(Ok::<_, Error>)));
        nodes.try_flatten().map_ok(node).try_flatten().boxed()
    }

    /// Keys of a node, and the cursor of the next step.
    async fn scan_step(
        &self,
        node: Option<&SingleNodeRoutingInfo>,
        pattern: &str,
        cursor: &str,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        let scan = cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_STEP).to_owned();
        let step = self.guarded(async |deadline| {
            timed(deadline, self.0.deadline, async {
                let mut link = self.0.link.borrow().await.map_err(failure)?;
                self.0.round_trips.fetch_add(1, Ordering::Relaxed);
                let reply = link.send_to(node, &scan).await;
                let reply = reply.and_then(Value::extract_error).map_err(failure);
                if reply.is_err() {
                    link.discard();
                }
                reply
            })
            .await
        });
        let mut reply = list(step.await?).into_iter();
        let next = reply.next().and_then(text).filter(|cursor| cursor != "0");
        Ok((list(reply.next().unwrap_or(Value::Nil)).into_iter().filter_map(text).collect(), next))
    }

    async fn guarded<T>(&self, call: impl AsyncFnOnce(Instant) -> Result<T, Failure>) -> Result<T, Error> {
        let deadline = Instant::now() + self.0.deadline;
        let down = |failure: &Failure| matches!(failure, Failure::Down(_) | Failure::Late(_));
        let result = self.0.breaker.call(down, async || call(deadline).await).await;
        result.map_err(|refused| {
            if let Refused::Failed(failure) = &refused {
                tracing::warn!(server = %self.0.name, %failure, "a call to Redis failed");
                // Whatever is wrong with the connections, new ones may not have it. One
                // silent node of a cluster is no reason to leave the others.
                if matches!(failure, Failure::Late(_)) && (!self.0.cluster || self.0.breaker.is_open()) {
                    self.0.link.reset();
                }
            }
            Error::Unavailable(format!("redis: {refused}"))
        })
    }

    async fn retried(&self, deadline: Instant, commands: &[Command]) -> Result<Vec<Value>, Failure> {
        let mut tries = 0;
        loop {
            let failure = match timed(deadline, self.0.deadline, self.once(commands)).await {
                Ok(replies) => return Ok(replies),
                Err(failure) => failure,
            };
            let delay = jitter(BACKOFF * 2_u32.pow(tries));
            let again = matches!(failure, Failure::Down(_) | Failure::Busy(_));
            if !again || tries == RETRIES || Instant::now() + delay >= deadline {
                return Err(failure);
            }
            tries += 1;
            sleep(delay).await;
        }
    }

    async fn once(&self, commands: &[Command]) -> Result<Vec<Value>, Failure> {
        let mut link = self.0.link.borrow().await.map_err(failure)?;
        let sent = self.sent(&mut link, commands).await;
        if matches!(sent, Err(Failure::Down(_))) {
            link.discard();
        }
        sent
    }

    async fn sent(&self, link: &mut Borrowed<'_>, commands: &[Command]) -> Result<Vec<Value>, Failure> {
        self.0.round_trips.fetch_add(1, Ordering::Relaxed);
        let all: Vec<&Command> = commands.iter().collect();
        let mut replies = link.send(&all).await.map_err(failure)?;
        let unknown = |(at, (command, reply)): (usize, (&Command, &Value))| Some((at, command.with_text(reply)?));
        let again: Vec<_> = commands.iter().zip(&replies).enumerate().filter_map(unknown).collect();
        if !again.is_empty() {
            self.0.round_trips.fetch_add(1, Ordering::Relaxed);
            let commands: Vec<&Command> = again.iter().map(|(_, command)| command).collect();
            let texts = link.send(&commands).await.map_err(failure)?;
            for ((at, _), reply) in again.iter().zip(texts) {
                if let Some(place) = replies.get_mut(*at) {
                    *place = reply;
                }
            }
        }
        replies.into_iter().map(|reply| reply.extract_error().map_err(failure)).collect()
    }

    /// Fails unless the server is what the settings say and lets us run scripts.
    async fn check(&self) -> Result<(), Error> {
        let deadline = Instant::now() + self.0.deadline;
        let checked = timed(deadline, self.0.deadline, async {
            let mut link = self.0.link.borrow().await.map_err(failure)?;
            let mut ask =
                async |cmd: &Cmd| link.send_to(None, cmd).await.and_then(Value::extract_error).map_err(failure);
            ask(&cmd("PING")).await?;
            ask(cmd("EVAL").arg("return redis.call('PING')").arg(0)).await?;
            Ok(ask(cmd("INFO").arg("cluster")).await.ok().and_then(text).unwrap_or_default())
        });
        let name = &self.0.name;
        let info = checked.await.map_err(|failure| {
            let hint = match &failure {
                Failure::Refused(error) if self.0.cluster && error.to_string().contains("cluster support disabled") => {
                    "; it is no cluster, so `cluster` must be false"
                }
                _ => "",
            };
            Error::Unavailable(format!("redis at {name}: {failure}{hint}"))
        })?;
        if !self.0.cluster && info.contains("cluster_enabled:1") {
            return Err(Error::invalid("cluster", format_args!("redis at {name} is a cluster's node: must be true")));
        }
        Ok(())
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore").field(&self.0.name).finish()
    }
}

async fn timed<T>(
    deadline: Instant,
    within: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout_at(deadline, work).await.unwrap_or(Err(Failure::Late(within)))
}

fn failure(error: RedisError) -> Failure {
    use redis::{ErrorKind, RetryMethod};
    if error.is_timeout() || error.is_io_error() || error.kind() == ErrorKind::ClusterConnectionNotFound {
        return Failure::Down(error);
    }
    match error.retry_method() {
        RetryMethod::Reconnect | RetryMethod::ReconnectFromInitialConnections => Failure::Down(error),
        RetryMethod::NoRetry => Failure::Refused(error),
        _ => Failure::Busy(error),
    }
}
