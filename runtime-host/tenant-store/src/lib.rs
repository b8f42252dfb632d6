//! One SQLite file per tenant: `<data dir>/tenants/<tenant>.db`.
//!
//! A file holds everything a tenant has: documents, live structures, event log
//! and key-value stores are tables of it, each created by the crate that owns
//! them (a [`Part`]). So an event and all its effects are one transaction, and
//! isolation, backup and deletion are physical.
//!
//! Writes go through a group commit ([`TenantFile::write`]): jobs queue up, one
//! drainer per tenant runs them in batches, one transaction a batch and one
//! savepoint a job, and exists only while there is something to do. Reads run
//! on a few connections beside it and never wait for a writer. Changes that are
//! cheaper applied together may be held back in a journal ([`Overlay`]).
//!
//! One process writes a data directory ([`DataDirLock`]); another may copy files
//! of it at any time ([`copy_tenant`]).
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use funnelweb_tenant_store::{Durability, Error, Tenant, TenantStores};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let stores = TenantStores::new(folder.path())?;
//! let file = stores.open(&Tenant::new("acme").unwrap()).await?;
//! file.write(Durability::Durable, |write| {
//!     write.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (7)").map_err(Error::from)
//! })
//! .await?;
//! let x: i64 = file.read(|tx| Ok::<_, Error>(tx.query_one("SELECT x FROM t", [], |row| row.get(0))?)).await?;
//! assert_eq!(x, 7);
//! # Ok::<_, Error>(()) }).unwrap();
//! ```

mod breaker;
mod cache;
mod copy;
mod data_dir;
mod error;
mod file;
#[cfg(feature = "host")]
pub mod host;
mod overlay;
mod priority;
mod schema;
mod stores;
mod tenant;
mod walk;
mod writer;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use breaker::{Breaker, Refused, jitter};
pub use cache::{FreshCache, Stamp, bounded_cache};
pub use copy::copy_tenant;
pub use data_dir::{DataDirLock, tenant_file, tenants_folder, tenants_in};
pub use error::Error;
pub use file::TenantFile;
pub use overlay::{Overlay, set_settled, settled};
pub use priority::{NICE, give_way};
pub use schema::{Part, Purge};
pub use stores::{Clock, TenantStores};
pub use tenant::Tenant;
pub use walk::{Walk, pages};
pub use writer::{Durability, Ticket, Write};

/// Locks a mutex whose data stays whole when a holder panics.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
