//! The WIT interfaces `wasi:keyvalue@0.2.0-draft2`: `store`, `atomics` and `batch`. A
//! bucket is a store that the manifest names, and a number is text: see
//! [`KeyValues`].

use funnelweb_bindings::wasi_keyvalue::{
    atomics::{self, CasError},
    batch,
    store::{self as wit, Bucket, Error, KeyResponse},
};
use funnelweb_core::limits;
use wasmtime::component::{Linker, Resource, ResourceTableError};

use super::{HasKeyValue, KeyValueCtx, Opened};
use crate::store;

type Answer<T> = wasmtime::Result<Result<T, Error>>;

/// Offers `store`, `atomics` and `batch` to components.
pub(super) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut KeyValueCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasKeyValue>(linker, ctx)?;
    atomics::add_to_linker::<T, HasKeyValue>(linker, ctx)?;
    batch::add_to_linker::<T, HasKeyValue>(linker, ctx)
}

/// A handle of compare-and-swap: a key, and its value when it was last looked at.
struct Cas {
    label: String,
    key: String,
    seen: Option<Vec<u8>>,
}

impl Cas {
    fn bytes(&self) -> usize {
        self.seen.as_ref().map_or(0, Vec::len)
    }
}

impl KeyValueCtx {
    /// Makes a call. A bucket that does not exist is the host's fault or the guest's
    /// attack: a trap.
    async fn call<R, F>(&mut self, bucket: &Resource<Bucket>, make: impl FnOnce(Opened) -> F) -> Answer<R>
    where
        F: Future<Output = Result<R, store::Error>>,
    {
        let label = self.open.get(&Resource::<String>::new_borrow(bucket.rep()))?.clone();
        Ok(match self.opened(label) {
            Some(opened) => make(opened).await.map_err(other),
            None => Err(Error::AccessDenied),
        })
    }

    /// A new handle on a key as it is now.
    async fn look(&mut self, at: Opened, key: String) -> Answer<Resource<atomics::Cas>> {
        let seen = match at.stores.get(&at.tenant, &at.label, &key).await {
            Ok(seen) => seen,
            Err(error) => return Ok(Err(other(error))),
        };
        let cas = Cas { label: at.label, key, seen };
        if let Err(error) = self.remember(cas.bytes()) {
            return Ok(Err(error));
        }
        let bytes = cas.bytes();
        match self.open.push(cas) {
            Ok(handle) => Ok(Ok(Resource::new_own(handle.rep()))),
            Err(ResourceTableError::Full) => {
                self.remembered -= bytes;
                Ok(Err(Error::Other("too many stores and handles are open".to_owned())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes room for so many bytes of values.
    fn remember(&mut self, bytes: usize) -> Result<(), Error> {
        let (sum, most) = (self.remembered + bytes, limits::INSTANCE_CAS_BYTES);
        if sum > most {
            return Err(Error::Other(format!(
                "the values of compare-and-swap handles must be at most {most} bytes together, got {sum}"
            )));
        }
        self.remembered = sum;
        Ok(())
    }

    /// Ends a handle.
    fn take(&mut self, cas: &Resource<atomics::Cas>) -> wasmtime::Result<Cas> {
        let cas = self.open.delete(Resource::<Cas>::new_own(cas.rep()))?;
        self.remembered -= cas.bytes();
        Ok(cas)
    }
}

impl wit::Host for KeyValueCtx {
    async fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
        if self.tenant.is_none() || !self.labels.contains(&identifier) {
            return Ok(Err(Error::AccessDenied));
        }
        match self.open.push(identifier) {
            Ok(bucket) => Ok(Ok(Resource::new_own(bucket.rep()))),
            Err(ResourceTableError::Full) => Ok(Err(Error::Other("too many stores and handles are open".to_owned()))),
            Err(error) => Err(error.into()),
        }
    }
}

impl wit::HostBucket for KeyValueCtx {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        self.call(&bucket, |at| async move { at.stores.get(&at.tenant, &at.label, &key).await }).await
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        self.call(&bucket, |at| async move { at.stores.set(&at.tenant, &at.label, &key, value).await }).await
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        self.call(&bucket, |at| async move { at.stores.delete(&at.tenant, &at.label, &key).await }).await
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        self.call(&bucket, |at| async move { at.stores.exists(&at.tenant, &at.label, &key).await }).await
    }

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<String>) -> Answer<KeyResponse> {
        self.call(&bucket, |at| async move {
            let page = at.stores.list_keys(&at.tenant, &at.label, cursor).await?;
            Ok(KeyResponse { keys: page.keys, cursor: page.cursor })
        })
        .await
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.open.delete(Resource::<String>::new_own(bucket.rep()))?;
        Ok(())
    }
}

impl atomics::Host for KeyValueCtx {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: i64) -> Answer<i64> {
        self.call(&bucket, |at| async move { at.stores.increment(&at.tenant, &at.label, &key, delta).await }).await
    }

    async fn swap(&mut self, cas: Resource<atomics::Cas>, value: Vec<u8>) -> wasmtime::Result<Result<(), CasError>> {
        let Cas { label, key, seen } = self.take(&cas)?;
        let Some(at) = self.opened(label) else { return Ok(Err(CasError::StoreError(Error::AccessDenied))) };
        match at.stores.compare_and_set(&at.tenant, &at.label, &key, seen, value).await {
            Ok(true) => Ok(Ok(())),
            Ok(false) => Ok(Err(match self.look(at, key).await? {
                Ok(again) => CasError::CasFailed(again),
                Err(error) => CasError::StoreError(error),
            })),
            Err(error) => Ok(Err(CasError::StoreError(other(error)))),
        }
    }
}

impl atomics::HostCas for KeyValueCtx {
    async fn new(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Resource<atomics::Cas>> {
        let label = self.open.get(&Resource::<String>::new_borrow(bucket.rep()))?.clone();
        match self.opened(label) {
            Some(at) => self.look(at, key).await,
            None => Ok(Err(Error::AccessDenied)),
        }
    }

    /// What is seen here is what `swap` expects.
    async fn current(&mut self, cas: Resource<atomics::Cas>) -> Answer<Option<Vec<u8>>> {
        let handle = Resource::<Cas>::new_borrow(cas.rep());
        let before = self.open.get(&handle)?;
        let (key, bytes) = (before.key.clone(), before.bytes());
        let Some(at) = self.opened(before.label.clone()) else { return Ok(Err(Error::AccessDenied)) };
        let seen = match at.stores.get(&at.tenant, &at.label, &key).await {
            Ok(seen) => seen,
            Err(error) => return Ok(Err(other(error))),
        };
        self.remembered -= bytes;
        if let Err(error) = self.remember(seen.as_ref().map_or(0, Vec::len)) {
            self.remembered += bytes;
            return Ok(Err(error));
        }
        self.open.get_mut(&handle)?.seen.clone_from(&seen);
        Ok(Ok(seen))
    }

    async fn drop(&mut self, cas: Resource<atomics::Cas>) -> wasmtime::Result<()> {
        self.take(&cas)?;
        Ok(())
    }
}

impl batch::Host for KeyValueCtx {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<(String, Option<Vec<u8>>)>> {
        self.call(&bucket, |at| async move {
            let values = at.stores.get_many(&at.tenant, &at.label, keys.clone()).await?;
            Ok(keys.into_iter().zip(values).collect())
        })
        .await
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, pairs: Vec<(String, Vec<u8>)>) -> Answer<()> {
        self.call(&bucket, |at| async move { at.stores.set_many(&at.tenant, &at.label, pairs).await }).await
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        self.call(&bucket, |at| async move { at.stores.delete_many(&at.tenant, &at.label, keys).await }).await
    }
}

fn other(error: store::Error) -> Error {
    Error::Other(error.to_string())
}
