//! The WIT interface `spin:redis@3.0.0` over connections.

use std::sync::Arc;

use funnelweb_bindings::spin::redis::{
    self as wit, Error, Host, HostConnection, HostConnectionWithStore, RedisParameter, RedisResult,
};
use funnelweb_core::limits;
use funnelweb_store_redis::outbound::{self, Connection, Parameter, Reply};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::{Accessor, HasData, Linker, Resource, ResourceTable};

use crate::OutboundRedis;

/// Bytes that every call counts, and every text in it beside its own.
const OVERHEAD_BYTES: usize = 64;

/// What one instance may do: the connections it has open, to servers that its
/// component may reach.
pub struct RedisCtx {
    outbound: OutboundRedis,
    /// For further connections.
    places: Arc<Semaphore>,
    /// In bytes, for further calls: a guest can begin many before one is done.
    room: Arc<Semaphore>,
    open: ResourceTable,
}

/// A connection, and the place it takes.
struct Open {
    connection: Connection,
    _place: OwnedSemaphorePermit,
}

/// A call that has room.
struct Call {
    open: Arc<Open>,
    _room: OwnedSemaphorePermit,
}

impl RedisCtx {
    /// No connection yet.
    #[must_use]
    pub fn new(outbound: OutboundRedis) -> Self {
        Self {
            outbound,
            places: Arc::new(Semaphore::new(limits::INSTANCE_REDIS_CONNECTIONS)),
            room: Arc::new(Semaphore::new(limits::INSTANCE_REDIS_BYTES)),
            open: ResourceTable::new(),
        }
    }

    fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let permits = u32::try_from(bytes.saturating_add(OVERHEAD_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).try_acquire_many_owned(permits).map_err(|_| {
            let most = limits::INSTANCE_REDIS_BYTES;
            Error::Other(format!("the calls of an instance at once must be at most {most} bytes long"))
        })
    }
}

/// Marks where the context stands in an instance's data.
pub struct HasRedis;

impl HasData for HasRedis {
    type Data<'a> = &'a mut RedisCtx;
}

/// Offers `spin:redis/redis@3.0.0` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut RedisCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasRedis>(linker, ctx)
}

/// Begins a call of so many bytes. A resource that does not exist is the host's
/// fault or the guest's attack: a trap.
fn begin<T>(
    accessor: &Accessor<T, HasRedis>,
    connection: &Resource<wit::Connection>,
    bytes: usize,
) -> wasmtime::Result<Result<Call, Error>> {
    accessor.with(|mut access| {
        let ctx = access.get();
        let open = Arc::clone(ctx.open.get(&Resource::<Arc<Open>>::new_borrow(connection.rep()))?);
        Ok(ctx.room(bytes).map(|room| Call { open, _room: room }))
    })
}

impl Call {
    fn connection(&self) -> &Connection {
        &self.open.connection
    }
}

impl<T: Send> HostConnectionWithStore<T> for HasRedis {
    async fn drop(accessor: &Accessor<T, Self>, connection: Resource<wit::Connection>) -> wasmtime::Result<()> {
        accessor.with(|mut access| access.get().open.delete(Resource::<Arc<Open>>::new_own(connection.rep())))?;
        Ok(())
    }

    async fn open(
        accessor: &Accessor<T, Self>,
        address: String,
    ) -> wasmtime::Result<Result<Resource<wit::Connection>, Error>> {
        let begun = accessor.with(|mut access| {
            let ctx = access.get();
            let place = Arc::clone(&ctx.places).try_acquire_owned().map_err(|_| Error::TooManyConnections)?;
            Ok((ctx.outbound.clone(), place, ctx.room(address.len())?))
        });
        let (outbound, place, _room) = match begun {
            Ok(begun) => begun,
            Err(error) => return Ok(Err(error)),
        };
        let connection = match outbound.open(&address).await {
            Ok(connection) => connection,
            Err(failed) => return Ok(Err(error(failed))),
        };
        let open = Arc::new(Open { connection, _place: place });
        let resource = accessor.with(|mut access| access.get().open.push(open))?;
        Ok(Ok(Resource::new_own(resource.rep())))
    }

    async fn publish(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        channel: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        Ok(match begin(accessor, &connection, channel.len() + payload.len())? {
            Ok(call) => call.connection().publish(&channel, payload).await.map_err(error),
            Err(error) => Err(error),
        })
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        Ok(match begin(accessor, &connection, key.len())? {
            Ok(call) => call.connection().get(&key).await.map_err(error),
            Err(error) => Err(error),
        })
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        Ok(match begin(accessor, &connection, key.len() + value.len())? {
            Ok(call) => call.connection().set(&key, value).await.map_err(error),
            Err(error) => Err(error),
        })
    }

    async fn incr(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        key: String,
    ) -> wasmtime::Result<Result<i64, Error>> {
        Ok(match begin(accessor, &connection, key.len())? {
            Ok(call) => call.connection().incr(&key).await.map_err(error),
            Err(error) => Err(error),
        })
    }

    async fn del(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<u32, Error>> {
        Ok(match begin(accessor, &connection, texts(&keys))? {
            Ok(call) => call.connection().del(keys).await.map_err(error),
            Err(error) => Err(error),
        })
    }

    async fn sadd(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<u32, Error>> {
        Ok(match begin(accessor, &connection, key.len() + texts(&values))? {
            Ok(call) => call.connection().sadd(&key, values).await.map_err(error),
            Err(error) => Err(error),
        })
    }

    async fn smembers(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        key: String,
    ) -> wasmtime::Result<Result<Vec<String>, Error>> {
        Ok(match begin(accessor, &connection, key.len())? {
            Ok(call) => call.connection().smembers(&key).await.map_err(error),
            Err(error) => Err(error),
        })
    }

    async fn srem(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<u32, Error>> {
        Ok(match begin(accessor, &connection, key.len() + texts(&values))? {
            Ok(call) => call.connection().srem(&key, values).await.map_err(error),
            Err(error) => Err(error),
        })
    }

    async fn execute(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        command: String,
        arguments: Vec<RedisParameter>,
    ) -> wasmtime::Result<Result<Vec<RedisResult>, Error>> {
        let arguments: Vec<Parameter> = arguments.into_iter().map(parameter).collect();
        Ok(match begin(accessor, &connection, command.len() + parameters(&arguments))? {
            Ok(call) => {
                let replies = call.connection().execute(&command, arguments).await;
                replies.map(|replies| replies.into_iter().map(result).collect()).map_err(error)
            }
            Err(error) => Err(error),
        })
    }
}

impl Host for RedisCtx {}
impl HostConnection for RedisCtx {}

fn texts(texts: &[String]) -> usize {
    texts.iter().map(|text| text.len() + OVERHEAD_BYTES).sum()
}

fn parameters(parameters: &[Parameter]) -> usize {
    let bytes = |parameter: &Parameter| match parameter {
        Parameter::Int64(_) => 0,
        Parameter::Binary(bytes) => bytes.len(),
    };
    parameters.iter().map(|parameter| bytes(parameter) + OVERHEAD_BYTES).sum()
}

fn parameter(parameter: RedisParameter) -> Parameter {
    match parameter {
        RedisParameter::Int64(number) => Parameter::Int64(number),
        RedisParameter::Binary(bytes) => Parameter::Binary(bytes),
    }
}

fn result(reply: Reply) -> RedisResult {
    match reply {
        Reply::Nil => RedisResult::Nil,
        Reply::Status(status) => RedisResult::Status(status),
        Reply::Int64(number) => RedisResult::Int64(number),
        Reply::Binary(bytes) => RedisResult::Binary(bytes),
    }
}

fn error(error: outbound::Error) -> Error {
    match error {
        outbound::Error::InvalidAddress => Error::InvalidAddress,
        outbound::Error::TooManyConnections => Error::TooManyConnections,
        outbound::Error::TypeError => Error::TypeError,
        outbound::Error::Other(message) => Error::Other(message),
    }
}
