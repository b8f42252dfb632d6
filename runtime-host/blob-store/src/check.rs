//! What the calls of every backend of [`Blobs`](crate::store::Blobs) must be, before
//! the store is asked. The errors name the argument and the rule.

use funnelweb_core::limits;

use crate::store::StoreError;

/// A name: 1 to [`limits::BLOB_NAME_SEGMENTS`] ids joined by `/`.
///
/// # Errors
/// `invalid`.
pub fn name(name: &str) -> Result<(), StoreError> {
    segments("name", name)
}

/// A prefix: as a name, or empty.
///
/// # Errors
/// `invalid`.
pub fn prefix(prefix: &str) -> Result<(), StoreError> {
    if prefix.is_empty() { Ok(()) } else { segments("prefix", prefix) }
}

/// What is to be written.
///
/// # Errors
/// `invalid`.
pub fn put(name: &str, version: u64, bytes: usize) -> Result<(), StoreError> {
    segments("name", name)?;
    // What databases take as a number, too.
    if version == 0 || i64::try_from(version).is_err() {
        return Err(StoreError::invalid("version", format_args!("must be 1 to {}, got {version}", i64::MAX)));
    }
    StoreError::check_count("bytes", bytes, 0, limits::BLOB_BYTES)
}

/// Whether `name` is `prefix` or lies below it.
#[must_use]
pub fn is_below(name: &str, prefix: &str) -> bool {
    prefix.is_empty() || name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn segments(what: &str, name: &str) -> Result<(), StoreError> {
    StoreError::check_count(what, name.split('/').count(), 1, limits::BLOB_NAME_SEGMENTS)?;
    name.split('/').try_for_each(|segment| StoreError::check_id(what, segment))
}
