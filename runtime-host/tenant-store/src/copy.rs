//! Copies of tenants' files while they are in use.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::{Error, Tenant, data_dir::tenant_file, file::BUSY_TIMEOUT};

/// Copies the tenant's file to `to`, which must not exist, as one moment has it:
/// everything that was acknowledged before the call is in the copy, and of each
/// transaction all or nothing. It only reads, so another process may serve and
/// write the file meanwhile; the WAL grows until the copy is done.
///
/// The copy is not synced to the disk.
///
/// # Errors
/// `invalid` when the tenant has no file; `unavailable` when it cannot be read or
/// the copy cannot be written.
pub fn copy_tenant(data_dir: &Path, tenant: &Tenant, to: &Path) -> Result<(), Error> {
    let file = tenant_file(data_dir, tenant);
    if !file.exists() {
        return Err(Error::invalid(tenant, format_args!("there is no {}", file.display())));
    }
    let cannot = |error| Error::Unavailable(format!("cannot copy {}: {error}", file.display()));
    let to = to.to_str().ok_or_else(|| Error::invalid(to.display(), "must be UTF-8"))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&file, flags).map_err(cannot)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(cannot)?;
    connection.execute("VACUUM INTO ?", [to]).map_err(cannot)?;
    Ok(())
}
