//! Connections to the server, made again when they break.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use funnelweb_tenant_store::{Error, lock};
use futures::future::try_join_all;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, Pipeline, RedisError, RedisResult, TlsCertificates, Value,
    aio::MultiplexedConnection,
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, Slot, SlotAddr},
};

use crate::{command::Command, settings::RedisSettings};

/// Commands that wait for their turn on one connection.
const QUEUED_COMMANDS: usize = 1024;
/// How often the cluster's client follows a slot that moved.
const REDIRECTS: u32 = 3;
/// Milliseconds that it waits before it does, at least and at most.
const REDIRECT_WAIT_MS: (u64, u64) = (10, 100);

/// Several connections that calls share, in turn.
pub(crate) struct Link {
    target: Target,
    places: Vec<Place>,
    next: AtomicUsize,
}

enum Target {
    Server(Client, AsyncConnectionConfig),
    Cluster(ClusterClient),
}

/// Where a connection is, or is not yet.
#[derive(Default)]
struct Place {
    connection: Mutex<Option<(u64, Connection)>>,
    /// Whose turn it is to make it.
    turn: tokio::sync::Mutex<()>,
    /// Attempts to connect so far: they number the connections.
    attempts: AtomicU64,
}

#[derive(Clone)]
enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A connection in use.
pub(crate) struct Borrowed<'a> {
    place: &'a Place,
    number: u64,
    connection: Connection,
}

impl Link {
    pub(crate) fn new(settings: &RedisSettings) -> Result<Self, Error> {
        let addresses = settings.check()?;
        let invalid = |error: RedisError| Error::invalid("urls", error);
        let certificates = certificates(settings)?;
        if addresses.iter().any(|address| matches!(address.addr(), redis::ConnectionAddr::TcpTls { .. })) {
            choose_cryptography();
        }
        let target = if settings.cluster {
            Target::Cluster(cluster(settings, addresses, certificates).map_err(invalid)?)
        } else {
            let address = addresses.into_iter().next().ok_or_else(|| Error::invalid("urls", "must name a server"))?;
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(settings.connect_timeout()))
                .set_response_timeout(Some(settings.response_timeout()))
                .set_pipeline_buffer_size(QUEUED_COMMANDS);
            Target::Server(client(address, certificates).map_err(invalid)?, config)
        };
        let places = (0..settings.connections).map(|_| Place::default()).collect();
        Ok(Self { target, places, next: AtomicUsize::new(0) })
    }

    /// The next connection, made first when there is none. Whoever waits while
    /// another tries to connect shares its failure.
    pub(crate) async fn borrow(&self) -> RedisResult<Borrowed<'_>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let place = self.places.get(turn % self.places.len().max(1));
        let place = place.ok_or((redis::ErrorKind::Client, "no connections"))?;
        let attempts = place.attempts.load(Ordering::Acquire);
        if let Some(borrowed) = place.borrow() {
            return Ok(borrowed);
        }
        let _turn = place.turn.lock().await;
        if let Some(borrowed) = place.borrow() {
            return Ok(borrowed);
        }
        if place.attempts.load(Ordering::Acquire) != attempts {
            let io = std::io::Error::new(std::io::ErrorKind::NotConnected, "connecting failed just now");
            return Err(io.into());
        }
        let connection = self.connect().await;
        let number = place.attempts.fetch_add(1, Ordering::AcqRel) + 1;
        let connection = connection?;
        *lock(&place.connection) = Some((number, connection.clone()));
        Ok(Borrowed { place, number, connection })
    }

    /// Has every connection be made anew.
    pub(crate) fn reset(&self) {
        for place in &self.places {
            *lock(&place.connection) = None;
        }
    }

    async fn connect(&self) -> RedisResult<Connection> {
        match &self.target {
            Target::Server(client, config) => {
                client.get_multiplexed_async_connection_with_config(config).await.map(Connection::Server)
            }
            Target::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

impl Place {
    fn borrow(&self) -> Option<Borrowed<'_>> {
        let (number, connection) = lock(&self.connection).clone()?;
        Some(Borrowed { place: self, number, connection })
    }
}

impl Borrowed<'_> {
    /// Sends commands together and waits for all replies, in their order; one may
    /// be a [`Value::ServerError`]. A cluster gets those of each slot apart, but at
    /// once.
    pub(crate) async fn send(&mut self, commands: &[&Command]) -> RedisResult<Vec<Value>> {
        match &mut self.connection {
            Connection::Server(connection) => {
                let pipeline = pipeline(commands.iter().map(|command| command.cmd()));
                connection.send_packed_commands(&pipeline, 0, commands.len()).await
            }
            Connection::Cluster(connection) => {
                let mut by_slot: HashMap<Slot, Vec<usize>> = HashMap::new();
                for (at, command) in commands.iter().enumerate() {
                    by_slot.entry(Slot::for_key(command.key())).or_default().push(at);
                }
                let each = by_slot.into_iter().map(|(slot, places)| {
                    let mut connection = connection.clone();
                    let chosen = places.iter().filter_map(|at| commands.get(*at)).map(|command| command.cmd());
                    let pipeline = pipeline(chosen);
                    async move {
                        let to = SingleNodeRoutingInfo::SpecificNode(Route::with_slot(slot, SlotAddr::Master));
                        let replies = connection.route_pipeline(pipeline, 0, places.len(), to).await?;
                        Ok::<_, RedisError>(places.into_iter().zip(replies).collect::<Vec<_>>())
                    }
                });
                let mut replies: Vec<_> = try_join_all(each).await?.into_iter().flatten().collect();
                replies.sort_unstable_by_key(|(at, _)| *at);
                Ok(replies.into_iter().map(|(_, reply)| reply).collect())
            }
        }
    }

    /// The nodes that together hold every key, for [`Borrowed::send_to`].
    pub(crate) async fn primaries(&mut self) -> RedisResult<Vec<Option<SingleNodeRoutingInfo>>> {
        let Connection::Cluster(connection) = &mut self.connection else { return Ok(vec![None]) };
        let slots = redis::cmd("CLUSTER").arg("SLOTS").to_owned();
        let Value::Array(ranges) =
            connection.route_command(slots, RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random)).await?
        else {
            return Ok(Vec::new());
        };
        let mut nodes: Vec<(String, u16)> = Vec::new();
        for range in ranges {
            let Value::Array(range) = range else { continue };
            // First slot, last slot, primary, replicas.
            let Some(primary) = range.into_iter().nth(2) else { continue };
            let Value::Array(primary) = primary else { continue };
            let mut fields = primary.into_iter();
            let (Some(host), Some(port)) = (fields.next(), fields.next()) else { continue };
            let node = (redis::from_redis_value(host)?, redis::from_redis_value(port)?);
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        Ok(nodes.into_iter().map(|(host, port)| Some(SingleNodeRoutingInfo::ByAddress { host, port })).collect())
    }

    /// Sends one command to a node that [`Borrowed::primaries`] named.
    pub(crate) async fn send_to(&mut self, node: Option<&SingleNodeRoutingInfo>, cmd: &Cmd) -> RedisResult<Value> {
        match (&mut self.connection, node) {
            (Connection::Cluster(connection), node) => {
                let node = node.cloned().unwrap_or(SingleNodeRoutingInfo::Random);
                connection.route_command(cmd.clone(), RoutingInfo::SingleNode(node)).await
            }
            (Connection::Server(connection), _) => connection.send_packed_command(cmd).await,
        }
    }

    /// The connection is of no use any more. Those to a cluster's nodes are made
    /// again by its client.
    pub(crate) fn discard(self) {
        if matches!(self.connection, Connection::Cluster(_)) {
            return;
        }
        let mut held = lock(&self.place.connection);
        if held.as_ref().is_some_and(|(number, _)| *number == self.number) {
            *held = None;
        }
    }
}

fn pipeline<'a>(commands: impl Iterator<Item = &'a Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command.clone());
    }
    pipeline
}

pub(crate) fn client(address: ConnectionInfo, certificates: Option<TlsCertificates>) -> RedisResult<Client> {
    match certificates {
        Some(certificates) => Client::build_with_tls(address, certificates),
        None => Client::open(address),
    }
}

fn cluster(
    settings: &RedisSettings,
    addresses: Vec<ConnectionInfo>,
    certificates: Option<TlsCertificates>,
) -> RedisResult<ClusterClient> {
    let (least, most) = REDIRECT_WAIT_MS;
    let mut builder = ClusterClient::builder(addresses)
        .connection_timeout(settings.connect_timeout())
        .response_timeout(settings.response_timeout())
        .overall_response_timeout(Some(settings.response_timeout()))
        .tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true))
        .retries(REDIRECTS)
        .min_retry_wait(least)
        .max_retry_wait(most);
    if let Some(certificates) = certificates {
        builder = builder.certs(certificates);
    }
    builder.build()
}

fn certificates(settings: &RedisSettings) -> Result<Option<TlsCertificates>, Error> {
    let Some(path) = &settings.tls_ca_file else { return Ok(None) };
    if !settings.urls.iter().all(|url| url.starts_with("rediss:") || url.starts_with("valkeys:")) {
        return Err(Error::invalid("tls_ca_file", "is for `rediss://` urls"));
    }
    let root_cert = std::fs::read(path)
        .map_err(|error| Error::invalid("tls_ca_file", format_args!("cannot read {}: {error}", path.display())))?;
    Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(root_cert) }))
}

/// Other crates may have built other cryptography in, and then one must be named.
pub(crate) fn choose_cryptography() {
    // Fails when it was done before, by whomever.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
