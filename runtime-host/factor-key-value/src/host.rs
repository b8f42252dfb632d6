//! The WIT interfaces over the trait: `spin:key-value@3.0.0` here, `wasi:keyvalue` in
//! `wasi`. A component opens the stores its manifest names; each tenant has its own
//! of every name.

mod wasi;

use std::sync::Arc;

use funnelweb_bindings::spin::key_value::{self as wit, Error, Host, HostStore, HostStoreWithStore, Store};
use funnelweb_core::limits;
use funnelweb_tenant_store::host::Room;
use wasmtime::component::{
    Accessor, FutureReader, HasData, Linker, Resource, ResourceTable, ResourceTableError, StreamReader,
};

use crate::store::{self, KeyValues, Tenant};

/// What one instance may do: the stores of one tenant that its manifest names.
pub struct KeyValueCtx {
    stores: Arc<dyn KeyValues>,
    tenant: Option<Tenant>,
    labels: Arc<[String]>,
    open: ResourceTable,
    room: Room,
    /// Bytes of the values that handles of compare-and-swap remember.
    remembered: usize,
}

impl KeyValueCtx {
    /// `labels` are the manifest's `key_value_stores`.
    #[must_use]
    pub fn new(stores: Arc<dyn KeyValues>, tenant: Option<Tenant>, labels: Arc<[String]>) -> Self {
        let mut open = ResourceTable::new();
        open.set_max_capacity(limits::INSTANCE_STORES);
        let room = Room::new(limits::INSTANCE_KEY_VALUE_BYTES);
        Self { stores, tenant, labels, open, room, remembered: 0 }
    }

    /// None without a tenant.
    fn opened(&self, label: String) -> Option<Opened> {
        let tenant = self.tenant.clone()?;
        Some(Opened { stores: Arc::clone(&self.stores), tenant, label })
    }
}

/// Marks where the context stands in an instance's data.
pub struct HasKeyValue;

impl HasData for HasKeyValue {
    type Data<'a> = &'a mut KeyValueCtx;
}

/// Offers `spin:key-value/key-value@3.0.0` and `wasi:keyvalue@0.2.0-draft2` to
/// components.
///
/// # Errors
/// When an interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut KeyValueCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasKeyValue>(linker, ctx)?;
    wasi::add_to_linker(linker, ctx)
}

/// A store or bucket that is open: what a call needs once it has let go of the
/// instance's data.
struct Opened {
    stores: Arc<dyn KeyValues>,
    tenant: Tenant,
    label: String,
}

/// Makes a call whose arguments are so many bytes. A resource that does not exist is
/// the host's fault or the guest's attack: a trap.
async fn call<T, R, F>(
    accessor: &Accessor<T, HasKeyValue>,
    store: &Resource<Store>,
    bytes: usize,
    make: impl FnOnce(Opened) -> F,
) -> wasmtime::Result<Result<R, Error>>
where
    F: Future<Output = Result<R, store::Error>>,
{
    let begun = accessor.with(|mut access| {
        let ctx = access.get();
        let label = ctx.open.get(&Resource::<String>::new_borrow(store.rep()))?.clone();
        let Some(opened) = ctx.opened(label) else { return Ok(Err(Error::AccessDenied)) };
        wasmtime::error::Ok(ctx.room.take(bytes).map(|room| (opened, room)).map_err(Error::Other))
    })?;
    Ok(match begun {
        Ok((opened, _room)) => make(opened).await.map_err(other),
        Err(error) => Err(error),
    })
}

impl<T: Send> HostStoreWithStore<T> for HasKeyValue {
    async fn drop(accessor: &Accessor<T, Self>, store: Resource<Store>) -> wasmtime::Result<()> {
        accessor.with(|mut access| access.get().open.delete(Resource::<String>::new_own(store.rep())))?;
        Ok(())
    }

    async fn open(accessor: &Accessor<T, Self>, label: String) -> wasmtime::Result<Result<Resource<Store>, Error>> {
        accessor.with(|mut access| {
            let ctx = access.get();
            if ctx.tenant.is_none() || !ctx.labels.contains(&label) {
                return Ok(Err(Error::AccessDenied));
            }
            match ctx.open.push(label) {
                Ok(resource) => Ok(Ok(Resource::new_own(resource.rep()))),
                Err(ResourceTableError::Full) => Ok(Err(Error::StoreTableFull)),
                Err(error) => Err(error.into()),
            }
        })
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        store: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        call(accessor, &store, key.len(), |at| async move { at.stores.get(&at.tenant, &at.label, &key).await }).await
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        store: Resource<Store>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        call(accessor, &store, key.len() + value.len(), |at| async move {
            at.stores.set(&at.tenant, &at.label, &key, value).await
        })
        .await
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        store: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        call(accessor, &store, key.len(), |at| async move { at.stores.delete(&at.tenant, &at.label, &key).await }).await
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        store: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<bool, Error>> {
        call(accessor, &store, key.len(), |at| async move { at.stores.exists(&at.tenant, &at.label, &key).await }).await
    }

    async fn get_keys(
        accessor: &Accessor<T, Self>,
        store: Resource<Store>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), Error>>)> {
        let keys =
            call(accessor, &store, 0, |at| async move { at.stores.get_keys(&at.tenant, &at.label).await }).await?;
        let (keys, end) = match keys {
            Ok(keys) => (keys, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        accessor.with(|mut access| {
            let end = FutureReader::new(&mut access, async move { wasmtime::error::Ok(end) })?;
            Ok((StreamReader::new(&mut access, keys)?, end))
        })
    }
}

impl Host for KeyValueCtx {}
impl HostStore for KeyValueCtx {}

fn other(error: store::Error) -> Error {
    Error::Other(error.to_string())
}
