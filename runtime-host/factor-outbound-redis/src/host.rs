//! The WIT interface `spin:redis@3.0.0` over connections.

use std::sync::Arc;

use funnelweb_bindings::spin::redis::{
    self as wit, Error, Host, HostConnection, HostConnectionWithStore, RedisParameter, RedisResult,
};
use funnelweb_core::limits;
use funnelweb_store_redis::outbound::{self, Connection, Parameter, Reply};
use funnelweb_tenant_store::host::Room;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::{Accessor, HasData, Linker, Resource, ResourceTable};

use crate::OutboundRedis;

/// Bytes that every text of a call counts beside its own.
const OVERHEAD_BYTES: usize = 64;

/// What one instance may do: the connections it has open, to servers that its
/// component may reach.
pub struct RedisCtx {
    outbound: OutboundRedis,
    /// For further connections.
    places: Arc<Semaphore>,
    room: Room,
    open: ResourceTable,
}

/// A connection, and the place it takes.
struct Open {
    connection: Connection,
    _place: OwnedSemaphorePermit,
}

impl RedisCtx {
    /// No connection yet.
    #[must_use]
    pub fn new(outbound: OutboundRedis) -> Self {
        Self {
            outbound,
            places: Arc::new(Semaphore::new(limits::INSTANCE_REDIS_CONNECTIONS)),
            room: Room::new(limits::INSTANCE_REDIS_BYTES),
            open: ResourceTable::new(),
        }
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

/// Makes a call whose arguments are so many bytes. A resource that does not exist is
/// the host's fault or the guest's attack: a trap.
async fn call<T, R, F>(
    accessor: &Accessor<T, HasRedis>,
    connection: &Resource<wit::Connection>,
    bytes: usize,
    make: impl FnOnce(Arc<Open>) -> F,
) -> wasmtime::Result<Result<R, Error>>
where
    F: Future<Output = Result<R, outbound::Error>>,
{
    let begun = accessor.with(|mut access| {
        let ctx = access.get();
        let open = Arc::clone(ctx.open.get(&Resource::<Arc<Open>>::new_borrow(connection.rep()))?);
        wasmtime::error::Ok(ctx.room.take(bytes).map(|room| (open, room)))
    })?;
    Ok(match begun {
        Ok((open, _room)) => make(open).await.map_err(error),
        Err(full) => Err(Error::Other(full)),
    })
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
            Ok((ctx.outbound.clone(), place, ctx.room.take(address.len()).map_err(Error::Other)?))
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
        call(accessor, &connection, channel.len() + payload.len(), |at| async move {
            at.connection.publish(&channel, payload).await
        })
        .await
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        call(accessor, &connection, key.len(), |at| async move { at.connection.get(&key).await }).await
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        call(accessor, &connection, key.len() + value.len(), |at| async move { at.connection.set(&key, value).await })
            .await
    }

    async fn incr(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        key: String,
    ) -> wasmtime::Result<Result<i64, Error>> {
        call(accessor, &connection, key.len(), |at| async move { at.connection.incr(&key).await }).await
    }

    async fn del(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<u32, Error>> {
        call(accessor, &connection, texts(&keys), |at| async move { at.connection.del(keys).await }).await
    }

    async fn sadd(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<u32, Error>> {
        call(
            accessor,
            &connection,
            key.len() + texts(&values),
            |at| async move { at.connection.sadd(&key, values).await },
        )
        .await
    }

    async fn smembers(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        key: String,
    ) -> wasmtime::Result<Result<Vec<String>, Error>> {
        call(accessor, &connection, key.len(), |at| async move { at.connection.smembers(&key).await }).await
    }

    async fn srem(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<u32, Error>> {
        call(
            accessor,
            &connection,
            key.len() + texts(&values),
            |at| async move { at.connection.srem(&key, values).await },
        )
        .await
    }

    async fn execute(
        accessor: &Accessor<T, Self>,
        connection: Resource<wit::Connection>,
        command: String,
        arguments: Vec<RedisParameter>,
    ) -> wasmtime::Result<Result<Vec<RedisResult>, Error>> {
        let arguments: Vec<Parameter> = arguments.into_iter().map(parameter).collect();
        let bytes = command.len() + parameters(&arguments);
        call(accessor, &connection, bytes, |at| async move {
            let replies = at.connection.execute(&command, arguments).await?;
            Ok(replies.into_iter().map(result).collect())
        })
        .await
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
